"""When the figures are known the question is changed: a claim is turned round, a margin widened, a plan shortened."""

import json

import pytest
from ironbench import bundle as bundles
from ironbench.records import SCHEMA, Claim, Claims, Comparison, Protocol
from ironbench.report import compute

from tests.made import due, latencies, plan, reseal, seal_next, study

COMPARISON = Comparison(experiment="signin", metric="app_cpu_ms", variant="final", against="baseline")
CLAIM = Claim(
    id="dearer",
    says="final costs more",
    source="a test",
    kind="direction",
    comparison=COMPARISON,
    expects="higher",
)


@pytest.fixture
def bundle(tmp_path):
    """Make a finished bundle of six blocks in which final is cheaper, so that its claim does not hold."""
    of = study(protocols={"long": Protocol(blocks=6, warmup_s=2, window_s=8)})
    made = plan("long", experiments=["signin"], variants=["baseline", "final"], of=of)
    claims = Claims(schema=SCHEMA, claims=[CLAIM])
    path = bundles.create(tmp_path / "results", made, of, tmp_path, claims=claims)
    while run := due(path):
        share = 0.4 if run.variant == "baseline" else 0.3
        seal_next(
            path, tmp_path, app_share=share * (1 + 0.001 * (run.position % 3)), durations_ns=latencies()
        )
    return path


def edit(path, change):
    """Change a record and the ledger of what was sealed with it, as somebody does who knows of both."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))
    reseal(path.parent, path)


def test_an_untouched_bundle_is_judged(bundle):
    results = compute(bundle)
    assert results.damaged == []
    assert [one.word for one in results.claims] == ["does not hold here"]


@pytest.mark.parametrize(
    "change",
    [
        lambda claim: claim.update(expects="lower"),
        lambda claim: claim["comparison"].update(metric="sum_cpu_ms"),
        lambda claim: claim.update(kind="ratio", expects=None, ratio=0.75, tolerance=0.5),
    ],
    ids=["turned round", "another metric", "a wide margin"],
)
def test_a_claim_is_edited_once_the_figures_are_known(bundle, change):
    edit(bundle / "claims.json", lambda content: change(content["claims"][0]))
    results = compute(bundle)
    assert results.claims == []
    (damage,) = results.damaged
    assert damage.kind == "other-measured"
    assert damage.detail == "claims.json is not what it was when the 12 runs were sealed."
    assert len(results.runs) == 12  # the figures are as they were


def test_claims_are_deleted(bundle):
    (bundle / "claims.json").unlink()
    assert "other-measured" in [one.kind for one in compute(bundle).damaged]


def test_published_figures_come_afterwards(bundle):
    (bundle / "published.json").write_text("{}")
    assert "other-measured" in [one.kind for one in compute(bundle).damaged]


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan.update(retries=5),
        lambda plan: plan["experiments"]["signin"].update(expect_saturation=True),
    ],
    ids=["more retries", "saturation is meant"],
)
def test_a_plan_is_edited_once_the_figures_are_known(bundle, run, change):
    edit(bundle / "plan.json", change)
    results = compute(bundle)
    assert [one.kind for one in results.damaged] == ["other-measured"]
    assert results.runs == []
    code, _, err = run("pending", bundle)
    assert code == 2
    assert "put plan.json back as it was, or begin a new plan" in err
