"""Bundles of two times and two hosts: what differs, what is compared, and what is refused."""

import json
from itertools import count

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.compare.cli import read_side
from ironbench.compare.compute import Compared, compare
from ironbench.compare.environment import paired_hosts
from ironbench.records import Protocol

from .made import (
    LAYOUT,
    START,
    WINDOW_S,
    S,
    due,
    experiment,
    latencies,
    new_bundle,
    plan,
    replace,
    seal_next,
    study,
)

FACTS = {
    "schema": 1,
    "name": "box",
    "cpu_model": "A 1000",
    "kernel": "6.1",
    "governors": {"0": "x", "1": "x"},
}
SHARES = {"baseline": 0.4, "final": 0.3}
MOMENTS = count(START, 60 * S)


def made_study(blocks=6, **experiments):
    protocols = {"long": Protocol(blocks=blocks, warmup_s=2, window_s=WINDOW_S)}
    signin = experiment(variants=["baseline", "final"], load=replace(experiment().load, rate=15.0))
    return study(protocols=protocols, experiments={"signin": signin, **experiments})


def make(
    directory, *, facts=FACTS, shares=SHARES, of=None, layout=LAYOUT, slower=1.0, claims=None, measured=None
):
    """Make a finished bundle whose sessions have a little noise of their own; return its path."""
    """Each has times of its own, as bundles have that were measured."""
    directory.mkdir()
    bundle = new_bundle(directory, replace(plan("long", of=of or made_study()), id=directory.name), claims)
    bundles.write_environment(bundle, "box", json.dumps(facts).encode())
    while run := due(bundle):
        noise = 1 + 0.002 * ((run.position * 7) % 5 - 2)
        seal_next(
            bundle,
            directory,
            started_ns=next(MOMENTS),
            layout=layout,
            app_share=shares[run.variant] * noise,
            durations_ns=latencies(60.0 * slower * noise, 120),
            measured=measured,
        )
    return bundle


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return make(tmp_path_factory.mktemp("first") / "a")


@pytest.fixture
def second(tmp_path):
    def second(**changes):
        return make(tmp_path / "b", **changes)

    return second


def compared(*paths, metrics=("app_cpu_ms", "latency_mean")):
    return compare([read_side(letter, path) for letter, path in zip("ABC", paths, strict=False)], metrics)


def row(answer, metric, variant):
    (found,) = [one for one in answer.between if (one.metric, one.variant) == (metric, variant)]
    return found


# --- price -------------------------------------------------------------------------------------


def test_price_of_a_million_requests(first, second):
    machine = {"type": "small", "price_per_hour": "0.09"}
    facts = {
        "cpu_model": "B",
        "machine": machine,
        "cpu_count": 4,
        "services": ["app", "pgbouncer", "postgresql", "valkey"],
    }
    answer = compared(first, second(facts=FACTS | facts))
    assert [one.variant for one in answer.priced] == ["baseline", "final"]
    for one in answer.priced:
        here, there = one.cpu_ms
        assert there is not None
        assert here == pytest.approx(there)
        # So many CPU-seconds for a thousand requests; an hour of one CPU costs 0.0225.
        assert one.per_million == [None, pytest.approx(there * 1000 / 3600 * 0.0225)]


def test_no_price_no_table(first, second):
    assert compared(first, second()).priced == []


# --- what differs ------------------------------------------------------------------------------


def test_nothing_differs(first, second):
    answer = compared(first, second())
    assert answer.differences == []
    assert answer.refused == []


def test_only_differing_facts_are_told(first, second):
    facts = FACTS | {"kernel": "6.12", "governors": {"0": "y", "1": "y"}, "boost": "on"}
    found = {(one.where, one.fact): one.values for one in compared(first, second(facts=facts)).differences}
    assert found == {
        ("host box", "kernel"): ["6.1", "6.12"],
        ("host box", "governors"): ["x", "y"],
        ("host box", "boost"): ["not told", "on"],
    }


def test_protocol_and_layout_are_told(first, second):
    layout = replace(LAYOUT, name="other", housekeeping="5,7")
    other = second(layout=layout, of=made_study(7))
    found = {one.fact: one.values for one in compared(first, other).differences}
    assert found["blocks"] == ["6", "7"]
    assert found["layout.housekeeping"] == ["5", "5,7"]


def test_hosts_that_stand_for_each_other(first):
    side = read_side("A", first)

    def of(*names, services=("app",)):
        told = {
            name: {"services": [services[i]] if i < len(services) else []} for i, name in enumerate(names)
        }
        return replace(
            side, results=replace(side.results, layout=dict.fromkeys(names, LAYOUT), environment=told)
        )

    assert paired_hosts([of("x"), of("y")]) == [["x", "y"]]
    assert paired_hosts([of("x", "y"), of("y", "x")]) == [["x", "x"], ["y", "y"]]
    assert paired_hosts([of("app1", "load1"), of("app2", "load2")]) == [["app1", "app2"], ["load1", "load2"]]
    assert paired_hosts([of("app1", "load1"), of("all")]) == [["app1", "all"], ["load1", None]]
    several = of("x", "y", services=())
    assert paired_hosts([several, of("z")]) == [["x", None], ["y", None], [None, "z"]]


# --- within each bundle ------------------------------------------------------------------------


def test_same_effect_everywhere(first, second):
    answer = compared(
        first, second(facts=FACTS | {"cpu_model": "B 2000"}, shares={"baseline": 0.8, "final": 0.6})
    )
    (effect,) = [one for one in answer.effects if one.comparison.metric == "app_cpu_ms"]
    assert effect.says == "lower everywhere"
    assert [one and round(one.value or 0, 2) for one in effect.effects] == [0.75, 0.75]
    none, ratio = effect.against_first
    assert none is None
    assert ratio
    assert ratio.low
    assert ratio.high
    assert ratio.low < 1 < ratio.high
    assert ratio.sessions == (6, 6)


def test_effect_that_is_not_the_same_on_another_host(first, second):
    answer = compared(first, second(shares={"baseline": 0.3, "final": 0.4}))
    (effect,) = [one for one in answer.effects if one.comparison.metric == "app_cpu_ms"]
    assert effect.says == "opposite"
    ratio = effect.against_first[1]
    assert ratio
    assert ratio.low
    assert ratio.low > 1.5


def test_three_bundles_and_too_few_blocks(first, second):
    answer = compared(first, first, second(of=made_study(3)))
    (effect,) = [one for one in answer.effects if one.comparison.metric == "app_cpu_ms"]
    assert effect.says == "too few runs"
    assert [bundle.letter for bundle in answer.bundles] == ["A", "B", "C"]
    assert len(effect.effects) == 3


def test_effect_that_one_bundle_does_not_have(first, second):
    of = made_study(me=experiment(rate=60.0, variants=["baseline", "final"]))
    answer = compared(second(of=of), first)
    says = {(one.comparison.experiment, one.comparison.metric): one.says for one in answer.effects}
    assert says["me", "app_cpu_ms"] == "not in every bundle"
    assert says["signin", "app_cpu_ms"] == "lower everywhere"


# --- between bundles ---------------------------------------------------------------------------


def test_same_host_at_two_times(first, second):
    answer = compared(first, second(shares={"baseline": 0.4, "final": 0.27}))
    final = row(answer, "app_cpu_ms", "final")
    assert final.sessions == [6, 6]
    assert final.ratios == [None, pytest.approx(0.9, abs=0.01)]
    assert row(answer, "app_cpu_ms", "baseline").ratios[1] == pytest.approx(1, abs=0.01)
    assert row(answer, "latency_mean", "final").ratios[1] == pytest.approx(1, abs=0.01)


def test_another_cpu_model_is_refused_in_one_sentence(first, second):
    answer = compared(first, second(facts=FACTS | {"cpu_model": "B 2000"}))
    (sentence,) = answer.refused
    assert sentence == (
        "No absolute times of B: A ran on A 1000 and B on B 2000; the ratios above compare what can be "
        "compared."
    )
    assert answer.between == []
    assert answer.effects


def test_another_layout_is_refused(first, second):
    answer = compared(first, second(layout=replace(LAYOUT, housekeeping="5,7")))
    assert ["the core layouts of A and B differ" in sentence for sentence in answer.refused] == [True]
    assert answer.between == []


def test_another_layout_may_be_what_is_compared(first, second):
    other = second(layout=replace(LAYOUT, load_generator="5,7"), shares={"baseline": 0.5, "final": 0.3})
    sides = [read_side(letter, path) for letter, path in zip("AB", (first, other), strict=True)]
    answer = compare(sides, ["app_cpu_ms"], factor="layout")
    assert answer.refused == []
    assert [one.fact == "layout.load_generator" for one in answer.differences] == [True]
    ratios = {one.variant: one.ratios[1] for one in answer.between}
    assert ratios == {"baseline": pytest.approx(1.25, abs=0.01), "final": pytest.approx(1, abs=0.01)}


def test_name_of_a_layout_is_no_difference(first, second):
    answer = compared(first, second(layout=replace(LAYOUT, name="renamed")))
    assert answer.refused == []
    assert answer.between


def test_unknown_cpu_model_is_refused(first, second):
    answer = compared(first, second(facts={"imported": "not observed"}))
    assert ["the CPU model of A or B is not known" in sentence for sentence in answer.refused] == [True]
    assert answer.between == []


def test_one_refused_bundle_does_not_hide_the_other(first, second):
    answer = compared(first, second(facts=FACTS | {"cpu_model": "B 2000"}), first)
    final = row(answer, "app_cpu_ms", "final")
    assert final.ratios == [None, None, 1.0]
    assert [median is None for median in final.medians] == [False, True, False]


def test_another_load_is_another_question(first, second):
    base = experiment(variants=["baseline", "final"])
    of = made_study(signin=replace(base, load=replace(base.load, rate=15.0, connections=8)))
    answer = compared(first, second(of=of))
    assert answer.refused == [
        "No absolute times of B in signin: it asks something else of signin (load.connections)."
    ]
    assert answer.between == []


def test_only_sessions_that_count_and_no_twin(first):
    side = read_side("A", first)
    one = next(run for run in side.results.runs if run.variant == "final")
    figures = {"app_cpu_ms": 1e6}
    wild = [
        replace(one, counted=False, block=7, figures=figures),
        replace(one, again=True, block=8, figures=figures),
        replace(one, number=1, block=9, figures={}),
    ]
    other = replace(side, results=replace(side.results, runs=[*side.results.runs, *wild]))
    assert row(compare([side, other]), "app_cpu_ms", "final").sessions == [6, 6]


def test_session_of_several_runs(first):
    """Its latency is the mean by count, its percentiles are left out, and other figures are the mean."""
    side = read_side("A", first)
    runs = []
    for run in side.results.runs:
        longer = replace(run.latency, count=3 * run.latency.count, mean=2 * run.latency.mean)
        runs += [run, replace(run, number=2, latency=longer)]
        runs += [replace(run, number=0, figures=run.figures | {"app_cpu_ms": 4 * run.figures["app_cpu_ms"]})]
    other = replace(side, results=replace(side.results, runs=runs))
    answer = compare([side, other], ("app_cpu_ms", "latency_mean", "latency_p50"))
    ratios = {one.metric: one.ratios[1] for one in answer.between if one.variant == "final"}
    assert ratios["app_cpu_ms"] == pytest.approx(2.0, rel=0.01)  # (1 + 1 + 4) / 3
    assert ratios["latency_mean"] == pytest.approx(1.75, rel=0.01)  # (1 + 3 x 2) / 4
    assert "latency_p50" not in ratios


def test_packed_layout_has_no_verdict_on_latency(first, second):
    def packed(letter, path):
        side = read_side(letter, path)
        effects = [replace(effect, packed=True) for effect in side.results.effects]
        return replace(side, results=replace(side.results, effects=effects))

    answer = compare([packed("A", first), packed("B", second(slower=2.0))], ("app_cpu_ms", "latency_mean"))
    (latency,) = [one for one in answer.effects if one.comparison.metric == "latency_mean"]
    assert latency.says == "no verdict: packed"


# --- the command -------------------------------------------------------------------------------


def test_readable(first, second, run, tmp_path):
    other = second(facts=FACTS | {"kernel": "6.12"}, shares={"baseline": 0.4, "final": 0.27})
    code, out, err = run("compare", first, other, "--markdown", tmp_path / "c.md")
    assert (code, err) == (0, "")
    order = [
        "What differs in the environments",
        "Effects within each bundle",
        "The same variant between bundles",
    ]
    for text in (out, (tmp_path / "c.md").read_text()):
        places = [text.index(title) for title in order]
        assert places == sorted(places)
        assert "6.12" in text
        assert "lower everywhere" in text
        assert "report.html" not in text
    assert "| host box | kernel | 6.1 | 6.12 |" in (tmp_path / "c.md").read_text()


def test_json_is_a_typed_record(first, second, run):
    code, out, _ = run("compare", first, second(), "--json", "--metric", "latency_p50")
    answer = msgspec.json.decode(out, type=Compared)
    assert code == 0
    assert {one.metric for one in answer.between} == {"latency_p50"}


def test_damaged_bundle_is_compared_without_what_is_damaged(first, second, run):
    other = second()
    (other / "runs/signin/01/final/run.json").write_text("{")
    code, out, _ = run("compare", first, other)
    assert code == 0
    assert "B is damaged: 1 of its files are left out" in out
    assert row(compared(first, other), "app_cpu_ms", "final").sessions == [6, 5]


@pytest.mark.parametrize("given", [1, 27])
def test_how_many_bundles(first, run, given):
    code, out, err = run("compare", *[first] * given)
    assert (code, out) == (2, "")
    assert err.startswith("ironbench: a comparison needs two bundles or more")


def test_no_bundle_and_no_place_to_write(first, second, run, tmp_path):
    assert run("compare", first, tmp_path)[0] == 2
    code, _, err = run("compare", first, second(), "--markdown", tmp_path / "none/c.md")
    assert (code, err) == (2, f"ironbench: cannot write {tmp_path}/none/c.md: No such file or directory.\n")
