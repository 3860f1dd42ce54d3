"""`ironbench plan --show`: what a plan will do, reckoned from the noise of bundles that were measured before."""

import json
import math
import statistics

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.errors import IronbenchError
from ironbench.forecast import HostNoise, find_noise, make_forecast, read_noise, render
from ironbench.records import SCHEMA, Claim, Claims, Comparison, Protocol
from ironbench.stats import ALPHA, smallest_effect

from .made import LAYOUT, WINDOW_S, due, experiment, plan, replace, reseal, seal_next, study

SCATTER = {
    "baseline": (0.0, 0.0, 0.0, 0.0),
    "baseline.again": (0.02, -0.01, 0.03, 0.0),
    "final": (-0.3, -0.2, -0.4, -0.1),
}
"""Log of the app's work by side and block, beyond that of the first baseline."""


def protocol(blocks, *, a_a=True):
    return Protocol(blocks=blocks, warmup_s=2, window_s=WINDOW_S, a_a=a_a)


def asked(blocks, *, a_a=True, **changes):
    made = study(protocols={"p": protocol(blocks, a_a=a_a)}, **changes)
    return plan("p", of=made, experiments=["signin"], variants=["baseline", "final"])


def measured(tmp_path, name, the_plan, *, sealed=None, layout=None, created=""):
    """Seal a whole plan whose app works as SCATTER has it; ``created`` is in place of this moment."""
    the_plan = replace(the_plan, id=name)
    bundle = bundles.create(tmp_path / "results", the_plan, study(), tmp_path)
    if created:  # before the first run is sealed under it
        manifest = replace(bundles.read_manifest(bundle), created=created)
        (bundle / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        reseal(bundle, bundle / "manifest.json")
    for _ in range(len(the_plan.runs) if sealed is None else sealed):
        run = due(bundle)
        share = 0.3 * math.exp(SCATTER[run.side][run.block - 1])
        changes = {} if layout is None else {"layout": layout}
        seal_next(bundle, tmp_path / name, app_share=share, **changes)
    return bundle


@pytest.fixture
def study_dir(tmp_path):
    directory = tmp_path / "study"
    directory.mkdir()
    made = study(protocols={"p": protocol(4), "six": protocol(6)})
    (directory / "experiments.yml").write_bytes(msgspec.yaml.encode(made))
    return directory


@pytest.fixture
def show(run, study_dir, tmp_path):
    """Run `ironbench plan --show` and return what it prints."""

    def show(*arguments, protocol="p"):
        code, out, err = run(
            "plan", "--show", "--study", study_dir, "--protocol", protocol, "--results", tmp_path / "results",
            "--experiment", "signin", "--variant", "baseline", "--variant", "final", *arguments,
        )  # fmt: skip
        assert (code, err) == (0, "")
        return out

    return show


def noise(**changes):
    made = HostNoise(
        sd=0.02, blocks=10, of="A/A", bundle="earlier", hosts=["box"], window_s=WINDOW_S, packed=False
    )
    return {"signin": {"app_cpu_ms": replace(made, **changes)}}


def test_the_noise_is_what_a_twin_differs_by(tmp_path):
    bundle = measured(tmp_path, "one", asked(4))
    found = read_noise(bundle, asked(10))["signin"]["app_cpu_ms"]
    assert (found.of, found.blocks, found.bundle, found.hosts) == ("A/A", 4, "one", ["box"])
    assert found.sd == pytest.approx(statistics.stdev(SCATTER["baseline.again"]), rel=0.02)


def test_without_a_twin_it_is_how_variants_scatter(tmp_path):
    bundle = measured(tmp_path, "one", asked(4, a_a=False))
    found = read_noise(bundle, asked(10))["signin"]["app_cpu_ms"]
    assert found.of == "variants"
    assert found.sd == pytest.approx(statistics.stdev(SCATTER["final"]), rel=0.02)


def test_a_run_with_an_instrument_fault_is_no_noise(tmp_path):
    bundle = bundles.create(tmp_path / "results", replace(asked(4), retries=0), study(), tmp_path)
    while run := due(bundle):
        fault = {"steal": 9.0} if (run.block, run.side) == (3, "baseline.again") else {}
        share = 0.3 * math.exp(SCATTER[run.side][run.block - 1])
        seal_next(bundle, tmp_path, app_share=share, **fault)
    found = read_noise(bundle, asked(10))["signin"]["app_cpu_ms"]
    counted = [log for block, log in enumerate(SCATTER["baseline.again"], 1) if block != 3]
    assert found.blocks == 3
    assert found.sd == pytest.approx(statistics.stdev(counted), rel=0.02)


def test_the_newest_bundle_with_enough_blocks_of_the_same_load_counts(tmp_path):
    results = tmp_path / "results"
    assert find_noise(results, asked(10)) == ({}, [])
    measured(tmp_path, "three", asked(3), created="2026-01-07T00:00:00Z")
    assert find_noise(results, asked(10)) == ({}, []), "three blocks are too few"
    measured(tmp_path, "four", asked(4), created="2026-01-06T00:00:00Z")
    other = asked(4, experiments={"signin": experiment(rate=4.0)})
    measured(tmp_path, "other", other, created="2026-01-08T00:00:00Z")
    begun = measured(tmp_path, "begun", asked(4), sealed=3, created="2026-01-09T00:00:00Z")
    found, skipped = find_noise(results, asked(10))
    assert (found["signin"]["app_cpu_ms"].bundle, skipped) == ("four", [])
    (begun / "plan.json").write_text("{}")
    found, skipped = find_noise(results, asked(10))
    assert found["signin"]["app_cpu_ms"].bundle == "four"
    assert len(skipped) == 1
    assert "begun" in skipped[0]


def test_the_figures_agree_with_each_other():
    forecast = make_forecast(asked(10), [], noise(), effect=0.05)
    (expected,) = forecast.expected
    (sight,) = expected.sights
    assert sight.smallest == smallest_effect(10, 0.02, ALPHA, a_a=True)
    assert sight.blocks is not None
    assert sight.smallest is not None
    assert (sight.blocks <= 10) == (sight.smallest <= 0.05)
    enough = smallest_effect(sight.blocks, 0.02, ALPHA, a_a=True)
    one_less = smallest_effect(sight.blocks - 1, 0.02, ALPHA, a_a=True)
    assert enough is not None
    assert enough <= 0.05
    assert one_less is None or one_less > 0.05
    assert sight.seconds == pytest.approx(sight.blocks * 3 * forecast.run_s), "two variants and the twin"
    assert forecast.expected_s == pytest.approx(30 * forecast.run_s)


def test_a_plan_without_a_twin_needs_to_get_over_no_floor():
    with_floor, without = (
        make_forecast(asked(10, a_a=a_a), [], noise(), effect=0.05).expected[0].sights[0].smallest
        for a_a in (True, False)
    )
    assert with_floor is not None
    assert without is not None
    assert without < with_floor


def claims(count):
    pairs = [
        Comparison(experiment="signin", metric=metric, variant="final", against="baseline")
        for metric in ("app_cpu_ms", "latency_mean", "postgresql_cpu_ms", "valkey_cpu_ms")
    ]
    return [
        Claim(
            id=f"c{number}",
            says="it is lower",
            source="here",
            kind="direction",
            comparison=pair,
            expects="lower",
        )
        for number, pair in enumerate(pairs[:count])
    ]


def test_claims_are_reckoned_with_after_holms_correction():
    forecast = make_forecast(asked(10), claims(2), noise(), effect=0.05)
    app, latency = forecast.expected
    assert (app.metric, latency.metric, forecast.comparisons) == ("app_cpu_ms", "latency_mean", 2)
    assert [sight.comparisons for sight in app.sights] == [1, 2]
    assert app.sights[1].smallest == smallest_effect(10, 0.02, ALPHA / 2, a_a=True)
    assert latency.noise is None
    assert "after Holm's correction over 2, " in render(forecast)


def test_it_says_when_the_claims_are_too_many_for_the_blocks():
    assert "6 blocks can decide none. Measure 7 blocks" in render(
        make_forecast(asked(6), claims(2), noise(), effect=0.05)
    )
    assert "can decide none" not in render(make_forecast(asked(6), claims(1), noise(), effect=0.05))
    assert "can decide none" not in render(make_forecast(asked(7), claims(2), noise(), effect=0.05))
    assert "can decide nothing" in render(make_forecast(asked(3), [], noise(), effect=0.05))


def test_latency_gets_no_verdict_where_services_share_cpus(tmp_path):
    bundle = measured(tmp_path, "one", asked(4), layout=replace(LAYOUT, packed=True))
    forecast = make_forecast(asked(10), claims(2), read_noise(bundle, asked(10)), effect=0.05)
    assert forecast.comparisons == 1, "Holm's correction leaves it out as well"
    _, latency = forecast.expected
    assert latency.no_verdict == "no verdict on a packed layout"
    assert [sight.comparisons for sight in latency.sights] == [1]


def test_show_creates_nothing_and_prints_the_order(show, tmp_path):
    out = show("--seed", "7")
    assert not (tmp_path / "results").exists()
    blocks = [line.split(":") for line in out.splitlines() if line.startswith("  block ")]
    assert [line[0].split() for line in blocks] == [["block", str(block), "signin"] for block in (1, 2, 3, 4)]
    order = [side.strip() for line in blocks for side in line[1].split(",")]
    planned = plan(
        "p",
        seed=7,
        of=study(protocols={"p": protocol(4)}),
        experiments=["signin"],
        variants=["baseline", "final"],
    )
    assert order == [run.side.replace(".", " ") for run in planned.runs]


def test_unknown_noise_is_said_and_a_table_stands_in_for_it(show):
    out = show()
    assert "The noise of signin is unknown" in out
    rows = [line for line in out.splitlines() if "% (sd)" in line]
    assert [row.split("%")[0].strip() for row in rows] == ["1", "2", "5", "10"]
    assert all("see 5 %" in row for row in rows)
    assert "see 8 %" in show("--effect", "8")


def test_known_noise_is_one_sentence_an_experiment(show, tmp_path):
    measured(tmp_path, "one", asked(4))
    out = show(protocol="six")
    assert "The noise of signin is that of one, measured on box." in out
    (line,) = [line for line in out.splitlines() if line.startswith("  signin, app CPU-ms per request: ")]
    assert "see 5 %; this plan's 6 see " in line
    assert line.endswith("(sd 1.8 % of A/A over 4 blocks)")
    assert "unknown" not in out


def test_the_record_says_the_same(show, tmp_path):
    bundle = measured(tmp_path, "one", asked(4))
    made = json.loads(show("--json", "--seed", "7", "--noise", str(bundle)))
    assert (made["blocks"], made["a_a"], made["seed"], len(made["runs"])) == (4, True, 7, 12)
    (expected,) = made["expected"]
    assert expected["noise"]["bundle"] == "one"
    assert expected["sights"][0]["smallest"] is None, "four blocks decide nothing"
    assert expected["sights"][0]["blocks"] > 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--resume",), "--show is of a plan that is not begun"),
        (("--effect", "0"), "--effect 0 is not an effect to look for"),
        (("--noise", "nowhere"), "nowhere is not a bundle"),
    ],
)
def test_bad_input_is_one_sentence(run, study_dir, tmp_path, arguments, sentence):
    code, out, err = run(
        "plan",
        "--show",
        "--study",
        study_dir,
        "--protocol",
        "p",
        "--results",
        tmp_path / "results",
        *arguments,
    )
    assert (code, out) == (2, "")
    assert err.startswith(f"ironbench: {sentence}")
    assert err.count("\n") == 1


def test_noise_and_effect_are_of_show_alone(run, study_dir, tmp_path):
    code, _, err = run(
        "plan", "--study", study_dir, "--protocol", "p", "--results", tmp_path / "results", "--effect", "5"
    )
    assert code == 2
    assert "add --show" in err
    assert not (tmp_path / "results").exists()


def test_the_claims_of_the_study_are_read(show, study_dir):
    text = msgspec.yaml.encode(Claims(schema=SCHEMA, claims=claims(2)))
    (study_dir / "claims.yml").write_bytes(text)
    assert "Claims rest on 2 comparisons" in show()


def test_a_damaged_bundle_given_by_name_is_refused(tmp_path):
    bundle = measured(tmp_path, "one", asked(3), sealed=1)
    (bundle / "plan.json").write_text("{}")
    with pytest.raises(IronbenchError):
        read_noise(bundle, asked(3))


def test_every_experiment_takes_its_own_newest_bundle(tmp_path):
    both = plan("p", of=study(protocols={"p": protocol(4)}), variants=["baseline", "final"])
    measured(tmp_path, "one", asked(4))
    found, _ = find_noise(tmp_path / "results", both)
    assert found.keys() == {"signin"}
    forecast = make_forecast(both, [], found, effect=0.05)
    known = {one.experiment: one.noise is not None for one in forecast.expected}
    assert known == {"signin": True, "me": False}
    text = render(forecast)
    assert text.index("signin, app") < text.index("The noise of me is unknown")
