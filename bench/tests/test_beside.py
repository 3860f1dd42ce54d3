"""What stands beside the scorecards: blocked event loops, searches, and effects that depend on a second factor."""

import json

import pytest
from ironbench import bundle as bundles
from ironbench.beside import dependences
from ironbench.cells import pairs
from ironbench.collect.slow_callbacks import loop_blocks
from ironbench.effects import compare
from ironbench.errors import IronbenchError
from ironbench.load.search import search_result
from ironbench.records import (
    Claim,
    Claims,
    Comparison,
    ExperimentCell,
    LoadChange,
    Protocol,
    Search,
    SearchStep,
)
from ironbench.report import compute
from ironbench.report.document import make_document

from .made import (
    DRAINED,
    START,
    WINDOW_S,
    due,
    experiment,
    load_result,
    plan,
    replace,
    seal_next,
    study,
)

CELLS = {
    f"{variant}-{arrivals}": ExperimentCell(variant=variant, load=LoadChange(arrivals=arrivals))
    for variant in ("baseline", "final")
    for arrivals in ("even", "poisson")
}
SIGNIN = experiment(variants=list(CELLS), cells=CELLS, factor=["variant", "arrivals"])
RATE = replace(experiment().load, rate=15.0)
LONG = {"long": Protocol(blocks=6, warmup_s=2, window_s=WINDOW_S)}


def line(took_s, at_ns=START + 10**9, text="Executing <Task pending> took {:.3f} seconds"):
    return json.dumps({"__REALTIME_TIMESTAMP": str(at_ns // 1000), "MESSAGE": text.format(took_s)})


def log(*lines):
    return "\n".join(lines).encode() + b"\n"


# --- what blocks ---------------------------------------------------------------------------------


def test_blocks_of_the_window_are_counted():
    text = log(
        line(0.150),
        line(9.999, START - 10**9),
        line(0.040),
        line(9.999, DRAINED + 10**9),
        line(9.999, text="something else took {:.3f} seconds"),
    )
    found = loop_blocks(text, load_result([10**6] * 2))
    assert (found.callbacks, found.durations_ms, found.total_ms, found.per_request_ms) == (
        2,
        [40, 150],
        190,
        95,
    )


def test_nothing_blocked_and_nothing_answered():
    assert loop_blocks(b"", load_result([])).per_request_ms == 0


def test_message_that_is_not_text_is_no_callback():
    entry = json.dumps({"__REALTIME_TIMESTAMP": str(START // 1000 + 1), "MESSAGE": [69, 255]})
    assert loop_blocks(log(entry, line(0.002)), load_result()).durations_ms == [2]


@pytest.mark.parametrize("text", ["{", "[]", '{"MESSAGE": "x"}', '{"__REALTIME_TIMESTAMP": "soon"}'])
def test_other_text_is_refused_by_its_line(text):
    with pytest.raises(IronbenchError, match="line 2 is none of journalctl's JSON"):
        loop_blocks(log(line(0.1), text), load_result())


# --- effects beside each other -------------------------------------------------------------------


def dependence(baseline, final, *, blocks=6, metric="app_cpu_ms", packed=False):
    """Compare both variants at each of two kinds of arrivals, by what they cost there."""
    figures = {f"baseline-{level}": cost for level, cost in baseline.items()}
    figures |= {f"final-{level}": cost for level, cost in final.items()}
    noisy = {
        side: {block: cost * (1 + 0.001 * (block % 3)) for block in range(blocks)}
        for side, cost in figures.items()
    }
    effects = []
    for one, against in pairs(SIGNIN, "baseline"):
        asked = Comparison(experiment="signin", metric=metric, variant=one, against=against)
        effects.append(compare(asked, noisy[one], noisy[against], margin=0.02, packed=packed))
    (found,) = dependences(plan(of=study(experiments={"signin": SIGNIN})), effects)
    return found


def test_an_effect_that_is_the_same_everywhere_does_not_depend():
    one = dependence({"even": 4, "poisson": 5}, {"even": 2, "poisson": 3})
    assert (one.factor, one.change) == ("arrivals", "final against baseline")
    assert {level: effect.call for level, effect in one.effects.items()} == {
        "even": "lower",
        "poisson": "lower",
    }
    assert one.effects["poisson"].comparison.variant == "final-poisson"
    assert one.depends is False


def test_an_effect_that_another_level_turns_round_depends():
    assert dependence({"even": 4, "poisson": 4}, {"even": 2, "poisson": 6}).depends is True
    assert dependence({"even": 4, "poisson": 4}, {"even": 2, "poisson": 4}).depends is True


def test_what_is_open_at_one_level_is_not_decided():
    assert dependence({"even": 4, "poisson": 4}, {"even": 2, "poisson": 6}, blocks=3).depends is None


def test_latency_on_a_packed_layout_is_not_decided():
    costs = {"even": 4, "poisson": 4}, {"even": 2, "poisson": 6}
    assert dependence(*costs, metric="latency_mean").depends is True
    assert dependence(*costs, metric="latency_mean", packed=True).depends is None


# --- bundles -------------------------------------------------------------------------------------


def finished(tmp_path, made, *, shares, claims=(), **changes):
    bundle = bundles.create(
        tmp_path / "results", plan("long", of=made), made, tmp_path,
        claims=Claims(schema=1, claims=list(claims)), published=None,
    )  # fmt: skip
    while run := due(bundle):
        noise = 1 + 0.002 * ((run.position * 7) % 5 - 2)
        seal_next(bundle, tmp_path, app_share=shares[run.variant] * noise, **changes)
    return compute(bundle)


def test_a_bundle_says_what_blocked(tmp_path):
    """As a host hands it in: the journal's lines among the raw outputs."""
    variants = ["baseline", "final"]
    made = study(
        protocols=LONG,
        experiments={"signin": experiment(load=RATE, variants=variants, slow_callbacks=True)},
    )
    claim = Claim(
        id="blocked", says="It blocks longer.", source="a test", kind="direction", expects="higher",
        comparison=Comparison(experiment="signin", metric="blocked_ms", variant="baseline", against="final"),
    )  # fmt: skip
    blocks = {"baseline": 0.150, "final": 0.003}
    results = finished(tmp_path, made, shares=dict.fromkeys(variants, 0.3), claims=[claim],
                       slow_callbacks=lambda session: log(*[line(blocks[session.variant])] * 240))  # fmt: skip
    told = {one.side: one for one in results.blocked}
    assert told["baseline"].quantiles_ms == {"p50": 150, "p90": 150, "p99": 150, "max": 150}
    assert (told["baseline"].from_100_ms, told["final"].from_100_ms) == (6 * 240, 0)
    assert told["final"].per_request_ms == pytest.approx(6)
    (verdict,) = results.claims
    assert verdict.effect
    assert (verdict.word, verdict.effect.value) == ("holds here", pytest.approx(50))


def test_a_bundle_says_what_a_search_found(tmp_path):
    search = Search(p99_ms=50, from_rate=100, to_rate=400, steps=3, step_s=10)
    made = study(
        protocols={"long": Protocol(blocks=1, warmup_s=2, window_s=WINDOW_S)},
        experiments={"signin": experiment(variants=["final"], search=search)},
    )
    steps = [
        SearchStep(rate=rate, achieved_rps=rate, requests=1000, p99_ms=9, own_send_lag_p99_ms=0.1, kept=kept)
        for rate, kept in ((100, True), (400, False), (200, True))
    ]
    results = finished(tmp_path, made, shares={"final": 0.3}, search=search_result(search, steps))
    (found,) = results.searched
    assert (found.side, found.block, found.result.highest_rps, found.packed) == ("final", 1, 200, False)
    assert results.runs[0].figures["highest_rps"] == 200
    assert "blocked_ms" not in results.runs[0].figures
    assert results.blocked == []
    document = make_document(results)
    (section,) = [one for one in document.sections if one.title.startswith("Highest rate")]
    assert section.table
    assert section.table.rows[0][3:5] == ["200", "400"]
