"""Claims are checked before anything is planned, and travel in the bundle."""

import re

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.claims import load_claims
from ironbench.errors import IronbenchError
from ironbench.records import SCHEMA, Claim, Claims, Comparison
from ironbench.report import compute

from .made import experiment, new_bundle, plan, replace, study

ME = Comparison(experiment="me", metric="app_cpu_ms", variant="final", against="baseline")
DIRECTION = Claim(
    id="me-cpu", says="final costs less", source="me, table", kind="direction", comparison=ME, expects="lower"
)
RATIO = Claim(
    id="me-ratio", says="half", source="me, table", kind="ratio", comparison=ME, ratio=0.5, tolerance=0.2
)
RECORD = Claim(id="log", says="one of three", source="me", kind="record", rule="published-is-mean")


def written(tmp_path, *claims, schema=SCHEMA):
    (tmp_path / "claims.yml").write_bytes(msgspec.yaml.encode(Claims(schema=schema, claims=list(claims))))
    return tmp_path


def test_good_claims_round_trip(tmp_path):
    claims = [
        DIRECTION,
        RATIO,
        RECORD,
        replace(
            DIRECTION,
            id="same",
            kind="mechanism",
            expects="same",
            comparison=replace(ME, metric="sum_cpu_ms"),
        ),
    ]
    assert load_claims(written(tmp_path, *claims), study()).claims == claims


def test_study_without_claims(tmp_path):
    assert load_claims(tmp_path, study()).claims == []


def test_untestable_claims_need_no_comparison(tmp_path):
    bare = Claim(
        id="old", says="x", source="y", kind="direction", not_testable="It is about another machine."
    )
    assert load_claims(written(tmp_path, bare), study()).claims == [bare]


def test_untestable_claims_may_name_an_experiment_to_come(tmp_path):
    to_come = replace(ME, experiment="logging", variant="with", against="without")
    claim = replace(
        DIRECTION, comparison=to_come, not_testable="No experiment of this study measures it yet."
    )
    assert load_claims(written(tmp_path, claim), study()).claims == [claim]
    with pytest.raises(IronbenchError, match="rests on the metric 'speed'"):
        load_claims(written(tmp_path, replace(claim, comparison=replace(to_come, metric="speed"))), study())
    with pytest.raises(IronbenchError, match="rests on the experiment 'logging'"):
        load_claims(written(tmp_path, replace(claim, not_testable="")), study())


BAD = {
    "the id me-cpu is given to 2 claims": [DIRECTION, DIRECTION],
    "claim 'Me CPU' has a bad id": [replace(DIRECTION, id="Me CPU")],
    "has an empty `says`": [replace(DIRECTION, says=" ")],
    "has an empty `source`": [replace(DIRECTION, source="")],
    "is of kind direction and gives no `expects`": [replace(DIRECTION, expects=None)],
    "is of kind direction and gives no `comparison`": [replace(DIRECTION, comparison=None)],
    "is of kind ratio and gives no `ratio`": [replace(RATIO, ratio=None)],
    "is of kind ratio and gives no `tolerance`": [replace(RATIO, tolerance=None)],
    "is of kind ratio and gives `expects`, which belongs to direction and mechanism": [
        replace(RATIO, expects="lower")
    ],
    "is of kind direction and gives `ratio`, which belongs to ratio": [replace(DIRECTION, ratio=0.5)],
    "is of kind record and gives no `rule`": [replace(RECORD, rule="")],
    "is of kind direction and gives `rule`, which belongs to record": [replace(DIRECTION, rule="x")],
    "is judged by the rule 'dice', and there are published-is-mean": [replace(RECORD, rule="dice")],
    "has ratio -1; a ratio is above 0": [replace(RATIO, ratio=-1.0)],
    "has tolerance 0; give a part above 0": [replace(RATIO, tolerance=0.0)],
    "rests on the metric 'speed', and there are app_cpu_ms": [
        replace(DIRECTION, comparison=replace(ME, metric="speed"))
    ],
    "rests on the experiment 'ping', and study made has signin, me": [
        replace(DIRECTION, comparison=replace(ME, experiment="ping"))
    ],
    "compares the variant 'beyond', and experiment me has baseline, optimization-1, final": [
        replace(DIRECTION, comparison=replace(ME, variant="beyond"))
    ],
    "compares final with itself": [replace(DIRECTION, comparison=replace(ME, against="final"))],
    "rests on background_errors, and experiment me has no background": [
        replace(DIRECTION, comparison=replace(ME, metric="background_errors"))
    ],
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_claims_are_named(tmp_path, sentence):
    with pytest.raises(IronbenchError, match=re.escape(sentence)) as raised:
        load_claims(written(tmp_path, *BAD[sentence]), study())
    assert str(raised.value).startswith(f"{tmp_path}/claims.yml: ")
    assert str(raised.value).endswith(".")


def test_files_that_are_no_claims(tmp_path):
    with pytest.raises(IronbenchError, match="has schema 9, and this ironbench reads schema 1 only"):
        load_claims(written(tmp_path, DIRECTION, schema=9), study())
    (tmp_path / "claims.yml").write_text("schema: 1\nclaims: [{id: x, sayz: y}]\n")
    with pytest.raises(IronbenchError, match="does not hold claims"):
        load_claims(tmp_path, study())


# --- in a bundle -------------------------------------------------------------------------------


def with_claims(tmp_path, *claims):
    made = Claims(schema=SCHEMA, claims=list(claims))
    return bundles.create(tmp_path / "results", plan(), study(), tmp_path, claims=made)


def test_bundle_carries_its_claims(tmp_path):
    bundle = with_claims(tmp_path, DIRECTION, RECORD)
    assert bundles.read_claims(bundle) == ([DIRECTION, RECORD], None, [])
    verdicts = compute(bundle).claims
    assert [verdict.claim for verdict in verdicts] == [DIRECTION, RECORD]
    assert (verdicts[0].word, verdicts[0].reason) == (
        "undecided",
        "No verdict: 0 of 18 runs are sealed, and a verdict needs all of them.",
    )
    assert (verdicts[1].word, verdicts[1].reason) == (
        "not testable here", "This bundle carries no published runs.",
    )  # fmt: skip


def test_bundle_without_claims(tmp_path):
    bundle = new_bundle(tmp_path)
    assert not (bundle / "claims.json").exists()
    assert bundles.read_claims(bundle) == ([], None, [])
    assert compute(bundle).claims == []


def test_damaged_claims_are_named_and_the_rest_is_reported(tmp_path):
    bundle = with_claims(tmp_path, DIRECTION)
    path = bundle / "claims.json"
    path.write_bytes(path.read_bytes()[:40])
    results = compute(bundle)
    assert results.claims == []
    assert [damage.kind for damage in results.damaged] == ["unreadable"]
    assert "claims.json" in results.damaged[0].detail
    path.write_text('{"schema": 7, "claims": []}')
    assert [damage.kind for damage in compute(bundle).damaged] == ["other-schema"]


def test_plan_command_writes_claims_and_refuses_bad_ones(tmp_path, run):
    where = written(tmp_path / "study", DIRECTION) if (tmp_path / "study").mkdir() is None else tmp_path
    (where / "experiments.yml").write_bytes(msgspec.yaml.encode(study()))
    planned = ["plan", "--study", where, "--protocol", "quick", "--results", tmp_path / "results", "--id"]
    assert run(*planned, "good")[0] == 0
    assert bundles.read_claims(tmp_path / "results" / "good")[0] == [DIRECTION]
    written(where, replace(DIRECTION, expects=None))
    code, _, error = run(*planned, "bad")
    assert code == 2
    assert "claim 'me-cpu' is of kind direction and gives no `expects`" in error
    assert not (tmp_path / "results" / "bad").exists()


def test_claim_on_a_background_of_a_mixed_experiment(tmp_path):
    mixed = msgspec.convert(
        {
            **msgspec.to_builtins(experiment()),
            "background": {
                "request": msgspec.to_builtins(experiment().request),
                "load": msgspec.to_builtins(experiment().load),
            },
        },
        type(experiment()),
    )
    made = study(experiments={"me": mixed})
    claim = replace(DIRECTION, comparison=replace(ME, metric="background_latency_mean"))
    assert load_claims(written(tmp_path, claim), made).claims == [claim]
