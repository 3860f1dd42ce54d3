"""What the article printed against what its raw logs say, and the claims that are judged from both."""

import math
import os
import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from ironbench.bundle import create, read_claims
from ironbench.claims import load_claims
from ironbench.errors import IronbenchError
from ironbench.files import decode_record, encode_record
from ironbench.importing.bundle import import_bundle
from ironbench.importing.files import read_sar, read_wrk2
from ironbench.metrics import METRICS, PLAN_METRICS
from ironbench.plan import make_plan
from ironbench.published import RULES, Published, judge_record, load_published, published_series
from ironbench.records import Claim, Claims
from ironbench.report import compute
from ironbench.stats import MIN_BLOCKS, blocks_for_family
from ironbench.study import load_study
from ironbench.verdict import family

from .made import plan, replace, study

CHECKOUT = Path(__file__).parents[2]
STUDY = CHECKOUT / "studies/iron_track"
REFERENCE = Path(os.environ.get("IRONBENCH_REFERENCE", CHECKOUT.parent / "shared/reference")) / "iron-track"
needs_logs = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"{REFERENCE} is absent: set IRONBENCH_REFERENCE to the published raw logs"
)


@pytest.fixture(scope="module")
def published() -> Published:
    found = load_published(STUDY)
    assert found
    return found


@pytest.fixture(scope="module")
def claims() -> list[Claim]:
    return load_claims(STUDY, load_study(STUDY)).claims


def record(rule, states=None, **arguments):
    return Claim(
        id="made", says="-", source="-", kind="record", published=states or {}, rule=rule, arguments=arguments
    )


def by_id(claims, name):
    (found,) = (claim for claim in claims if claim.id == name)
    return found


# --- the facts ---------------------------------------------------------------------------------


def test_published_figures_are_one_run_of_three(published):
    found = {(one.test, one.variant): one for one in published_series(published)}
    assert {name: one.run for name, one in found.items()} == {
        ("signup", "baseline"): 3,
        ("signup", "optimization-1"): 1,
        ("signup", "final"): 2,
        ("signin", "baseline"): 2,
        ("signin", "optimization-1"): 3,
        ("signin", "final"): 1,
        ("me", "baseline"): 2,
        ("me", "optimization-1"): 1,
        ("me", "final"): 3,
        ("ping", "pure"): 1,
        ("ping", "logging"): 2,
        ("serialization", "msgspec"): 3,
        ("serialization", "pydantic"): 2,
        ("serialization", "jsonable"): None,
    }
    assert [one.run for one in published_series(published)] == [one.published_run for one in published.series]
    assert not any(one.is_mean for one in found.values())
    assert {len(one.runs_ms) for one in found.values()} == {3}
    assert max(len(one.runs_ms) for one in found.values()) < MIN_BLOCKS


MEANS_AND_CVS = {
    # Mean of the three runs (ms) and coefficient of variation (%), as worked out from the raw logs by hand.
    ("signup", "baseline"): (618.32, 6.3),
    ("signup", "optimization-1"): (655.10, 0.4),
    ("signup", "final"): (606.51, 0.9),
    ("signin", "baseline"): (856.95, 0.1),
    ("signin", "optimization-1"): (615.64, 13.5),
    ("signin", "final"): (583.52, 9.3),
    ("me", "baseline"): (4.31, 12.6),
    ("me", "optimization-1"): (4.53, 6.6),
    ("me", "final"): (2.58, 12.0),
    ("ping", "pure"): (2.54, 10.3),
    ("ping", "logging"): (2.99, 5.7),
    ("serialization", "msgspec"): (1.86, 7.8),
    ("serialization", "pydantic"): (8.05, 5.2),
}


def test_means_of_all_runs(published):
    found = {(one.test, one.variant): one for one in published_series(published)}
    for name, (mean, cv) in MEANS_AND_CVS.items():
        assert found[name].mean_ms == pytest.approx(mean, abs=0.0051), name
        assert 100 * (found[name].cv or 0) == pytest.approx(cv, abs=0.051), name


@pytest.mark.parametrize(
    ("series", "against", "printed", "all_runs", "word"),
    [
        ("signup/final", "signup/baseline", "-9.3 %", -1.9, "does not hold here"),
        ("signup/optimization-1", "signup/baseline", "-0.9 %", 5.9, "does not hold here"),
        ("signin/final", "signin/baseline", "-39.2 %", -31.9, "holds here"),
        ("signin/final", "signin/optimization-1", "-21.6 %", -5.2, "does not hold here"),
        ("me/optimization-1", "me/baseline", "+14.3 %", 5.0, "does not hold here"),
        ("me/final", "me/baseline", "-36.5 %", -40.3, "holds here"),
        ("ping/logging", "ping/pure", "+25.2 %", 17.7, "holds here"),
    ],
)
def test_what_differences_become_with_all_runs(published, series, against, printed, all_runs, word):
    found, reason = judge_record(
        record("published-delta-of-means", series=series, against=against), published
    )
    assert found == word
    told = re.match(r"(\S+ %) as printed and (\S+) % with the means of all runs", reason)
    assert told, reason
    assert told[1] == printed
    assert float(told[2]) == pytest.approx(all_runs, abs=0.11)  # some logs have three decimals, some two
    assert ("overlap" in reason) == (word == "does not hold here")


def test_pydantic_against_msgspec(published):
    columns = {"table": "serialization", "figure": "mean_ms", "above": "pydantic", "below": "msgspec"}
    word, reason = judge_record(record("ratio-of-table", {"low": 4, "high": 5}, **columns), published)
    assert word == "holds here"
    assert "is 4.49 in table serialization; with the means of all runs it is 4.33" in reason
    assert judge_record(record("ratio-of-table", {"low": 5, "high": 6}, **columns), published)[0] == (
        "does not hold here"
    )


def test_stability_gate(published):
    word, reason = judge_record(record("stable-series"), published)
    assert word == "does not hold here"
    assert reason.startswith(
        "3 of 13 series have a coefficient of variation below 3 % (signin/baseline 0.1 %, "
    )
    assert judge_record(record("stable-series", below="0.14"), published)[0] == "holds here"


def test_every_printed_difference_follows_from_its_columns(published):
    word, reason = judge_record(record("delta-arithmetic"), published)
    assert (word, reason) == ("holds here", "All 102 differences of 8 tables follow from their columns.")


@pytest.mark.parametrize(
    ("row", "field"), [("mean_ms", "absolute"), ("cpu0_usr_percent", "relative_percent")]
)
@pytest.mark.parametrize("by", [-0.1, 0.1])
def test_a_difference_that_does_not_follow_is_named(published, row, field, by):
    table = next(table for table in published.tables if table.name == "signup-scorecard")
    rows = dict(table.rows)
    rows[row] = replace(rows[row], **{field: round(getattr(rows[row], field) + by, 2)})
    wrong = replace(published, tables=[replace(table, rows=rows)])
    word, reason = judge_record(record("delta-arithmetic"), wrong)
    assert word == "does not hold here"
    assert re.match(rf"Table signup-scorecard prints -?[0-9.]+ in row {row}, and it is ", reason)
    assert ";" not in reason


def test_p99_above_max_is_the_edge_of_a_bucket(published):
    word, reason = judge_record(record("percentile-not-above-max"), published)
    assert word == "holds here"
    assert "signup/final has p99_ms 662.02 and max_ms 661.50: upper and lower edge of one bucket" in reason
    final = next(table for table in published.tables if table.name == "signup-scorecard")
    rows = {**final.rows, "p99_ms": replace(final.rows["p99_ms"], figures=[679.93, 684.54, 662.20])}
    word, reason = judge_record(
        record("percentile-not-above-max"), replace(published, tables=[replace(final, rows=rows)])
    )
    assert word == "does not hold here"
    assert (
        reason == "1 of 6 percentiles are above their Max: signup/final has p99_ms 662.20 and max_ms 661.50."
    )


def test_a_series_prints_the_same_in_each_of_its_tables(published):
    seen = {}
    for table in published.tables:
        for name, row in table.rows.items():
            for column, figure in zip(table.columns, row.figures, strict=True):
                assert seen.setdefault((table.test, column, name), figure) == figure


def test_cpu_load_of_the_tables_is_the_user_share_of_the_whole_record(published):
    for series in published.series:
        printed = [
            table.rows[f"cpu{cpu}_usr_percent"].figures[table.columns.index(series.variant)]
            for table in published.tables
            if table.test == series.test and series.variant in table.columns
            for cpu in (0, 1)
        ]
        if printed:
            assert printed == series.cpu.usr_whole_record * (len(printed) // 2)
            # The same record under load alone is busier by a third and more.
            pairs = zip(series.cpu.usr_whole_record, series.cpu.nonidle_in_window, strict=True)
            assert all(window > 1.3 * whole for whole, window in pairs)


# --- the logs, where they are at hand ----------------------------------------------------------

LOGS = {
    "signup/baseline": "test-signup/baseline",
    "signup/optimization-1": "test-signup/optimization-01",
    "signup/final": "test-signup/final",
    "me/baseline": "test-me/baseline",
    "serialization/jsonable": "test-serialization/jsonable",
}


@needs_logs
@pytest.mark.parametrize("name", LOGS)
def test_runs_are_those_of_the_logs(published, name):
    (series,) = (series for series in published.series if series.name == name)
    directory = REFERENCE / LOGS[name]
    samples = []
    for run in series.runs:
        pattern = f"wrk2-logs/run_{run.number}_*.txt" if run.number else "sar/wrk_report.txt"
        (path,) = directory.glob(pattern)
        log = read_wrk2(path)
        found = log.corrected.latency_ms
        told = (run.mean_ms, run.p90_ms, run.p99_ms, run.stdev_ms, run.max_ms)
        assert told == (found.mean, found.p90, found.p99, found.stdev, found.max)
        assert (run.requests, run.achieved_rps, run.non_2xx) == (
            log.requests,
            log.requests_per_s,
            log.non_2xx,
        )
        if run.number:
            samples.append(log.corrected.recorded)
    assert series.samples_per_run == (min(samples), max(samples))
    if series.p90_mean_of_runs_ms:
        mean = sum(run.p90_ms for run in series.measured) / 3
        assert series.p90_mean_of_runs_ms == pytest.approx(mean, abs=0.011)


@needs_logs
@pytest.mark.parametrize("name", [name for name in LOGS if name != "serialization/jsonable"])
def test_sar_figures_are_those_of_the_logs(published, name):
    (series,) = (series for series in published.series if series.name == name)
    directory = REFERENCE / LOGS[name] / "sar"
    head, *lines = (directory / "cpu.txt").read_text().splitlines()
    assert series.kernel in head
    assert f"{series.date:%m/%d/%Y}" in head
    average = [line.split() for line in lines if re.match(r"Average: +[01] ", line)]
    assert series.cpu.usr_whole_record == [float(columns[2]) for columns in average]
    assert series.cpu.nonidle_whole_record == pytest.approx([100 - float(columns[-1]) for columns in average])
    cores = read_sar(directory / "cpu.txt", (2, 31)).cores[:2]
    assert series.cpu.nonidle_in_window == [round(100 - core.idle, 1) for core in cores]
    system = {one.name: one for one in read_sar(directory / "system.txt", None).series}
    assert (series.sar.runq_max, series.sar.cswch_max) == (system["runq-sz"].max, system["cswch/s"].max)
    assert series.sar.runq_mean == pytest.approx(system["runq-sz"].mean)
    assert series.sar.cswch_mean == pytest.approx(system["cswch/s"].mean, abs=0.01)


@needs_logs
def test_report_of_the_imported_logs(tmp_path):
    """Which published figures are one run of three, all runs beside them, and too few runs for a verdict."""
    description = STUDY / "published/reference-logs.yml"
    results = compute(import_bundle(REFERENCE, description, tmp_path, "published", STUDY))
    found = {(one.test, one.variant): one for one in results.published}
    assert (found["signup", "baseline"].run, len(found["signup", "baseline"].runs_ms)) == (3, 3)
    verdicts = {verdict.claim.id: verdict for verdict in results.claims}
    measured = verdicts["signup-final-mean"]
    assert measured.word == "undecided"
    assert measured.reason == "Too few runs for a verdict: 1 block, 6 are needed."
    assert measured.effect
    assert measured.effect.value == pytest.approx(606.51 / 618.32, abs=1e-4)
    assert "-1.9 %" in verdicts["signup-final-mean-of-all-runs"].reason
    assert verdicts["signin-final-mean"].word == "not testable here"


# --- the claims of the study -------------------------------------------------------------------


def test_claims_load_and_say_how_they_are_judged(claims):
    kinds = Counter(claim.kind for claim in claims)
    told = re.findall(
        r"^\| `(\w+)` \|.*\| (\d+) \| (\d+) \|$", (CHECKOUT / "docs/claims.md").read_text(), re.MULTILINE
    )
    to_come = Counter(claim.kind for claim in claims if claim.not_testable)
    assert {kind: (int(count), int(later)) for kind, count, later in told} == {
        kind: (count, to_come[kind]) for kind, count in kinds.items()
    }
    for claim in claims:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim.id)
        assert claim.says.endswith(".")
        assert claim.comparison is None or claim.comparison.metric in (*METRICS, *PLAN_METRICS)
        assert claim.comparison or claim.rule or claim.not_testable or claim.share, claim.id
        assert not claim.not_testable or claim.not_testable.endswith(".")


def test_claims_of_every_row_of_the_tables(published, claims):
    """One claim a row and table, CPUs as one; and what it states is what the table prints."""
    rows = {"mean", "p90", "p99", "stdev", "max", "cpu"}
    prefixes = {
        "signup-round1": "signup-round-1",
        "signin-round1": "signin-round-1",
        "me-round1": "me-round-1",
        "signup-final": "signup-scorecard",
        "signin-final": "signin-scorecard",
        "me-final": "me-scorecard",
        "serialization": "serialization",
        "logging": "ping",
    }
    tables = {table.name: table for table in published.tables}
    for prefix, name in prefixes.items():
        for row in rows:
            claim = by_id(claims, f"{prefix}-{row}")
            keys = ("cpu0_usr_percent", "cpu1_usr_percent") if row == "cpu" else (f"{row}_ms",)
            columns = [tables[name].rows[key].figures for key in keys]
            first, last = (sum(figures[i] for figures in columns) / len(keys) for i in (0, -1))
            assert claim.comparison
            assert claim.published[claim.comparison.against] == pytest.approx(first)
            assert claim.published[claim.comparison.variant] == pytest.approx(last)
            assert (claim.comparison.metric == "app_cpu_ms") == (row == "cpu")


def test_ratios_and_tolerances_follow_from_the_published_figures(claims):
    for claim in claims:
        if claim.kind != "ratio":
            continue
        sides = (claim.comparison.variant, claim.comparison.against) if claim.comparison else claim.published
        above, below = (claim.published[side] for side in sides)
        assert claim.ratio == pytest.approx(above / below, abs=0.0006), claim.id
        half = math.sqrt(max(claim.ratio, 1 / claim.ratio)) - 1
        assert claim.tolerance == pytest.approx(half, abs=0.0011), claim.id


def test_ten_blocks_can_decide_all_comparisons(claims):
    of = load_study(STUDY)
    made = make_plan(of, "rigorous", plan_id="made", seed=1, retries=1, experiments=[], variants=[])
    assert family(claims, made, set(of.experiments))
    assert blocks_for_family(len(family(claims, made))) <= of.protocols["rigorous"].blocks


def test_rules_judge_every_record_of_the_study(claims, published):
    """A rule that cannot find what a claim names gives a reason too; these are all that may."""
    records = [claim for claim in claims if claim.kind == "record" and not claim.not_testable]
    assert {claim.rule for claim in records} == set(RULES)
    words = {claim.id: judge_record(claim, published) for claim in records}
    untestable = {name: reason for name, (word, reason) in words.items() if word == "not testable here"}
    assert set(untestable) == {"jitter-nine-runs-in-log", "jsonable-serves-150-in-log"}
    assert untestable["jsonable-serves-150-in-log"].startswith(
        "No log of serialization/jsonable at 150 requests per second was published; at 600 "
    )
    refuted = {name for name, (word, _) in words.items() if word == "does not hold here"}
    assert refuted == {
        *(f"{test}-averaged-in-log" for test in ("signup", "signin", "me", "ping", "serialization")),
        "signup-round1-mean-of-all-runs",
        "signup-final-mean-of-all-runs",
        "signin-final-against-optimization-1-of-all-runs",
        "me-round1-mean-of-all-runs",
        "stable-runs-in-log",
        "signup-p99-has-samples-in-log",
        "signin-p99-has-samples-in-log",
        "signup-baseline-stdev-in-log",
        "me-baseline-stdev-in-log",
        "ping-max-in-log",
        "me-round1-cpu-in-per-cent",
        "logging-cpu-of-the-text-in-table",
        "signin-rsa-signing-in-svg",
        "signin-optimized-no-token-code-in-svg",
        "logging-share-in-svg",
    }


def test_reasons_are_sentences(claims, published):
    for claim in claims:
        if claim.rule:
            _, reason = judge_record(claim, published)
            assert re.fullmatch(r"[A-Z0-9+-][^\n]*[^.]\.", reason), reason


# --- rules -------------------------------------------------------------------------------------


def test_mean_of_runs_that_is_published_as_such(published):
    runs = [
        replace(run, mean_ms=mean)
        for run, mean in zip(published.series[0].runs, (1, 660.0, 662.0, 666.28), strict=True)
    ]
    fair = replace(published, series=[replace(published.series[0], runs=runs)])
    assert judge_record(record("published-is-mean", test="signup"), fair) == (
        "holds here",
        "The table shows of signup/baseline the mean (662.76 ms; the mean is 662.76).",
    )
    assert published_series(fair)[0].is_mean
    assert published_series(fair)[0].run is None


@pytest.mark.parametrize(
    ("runs", "word"),
    [
        ((600.0, 601.0, 602.0), "holds here"),
        ((600.0, 601.0, 617.0), "does not hold here"),  # reaches into the other's runs
        ((640.0, 641.0, 642.0), "does not hold here"),  # another sign
        ((560.0, 561.0, 562.0), "does not hold here"),  # twice the change and more
        ((613.0, 613.5, 614.0), "does not hold here"),  # less than half of it
    ],
)
def test_when_a_printed_difference_is_borne_out(published, runs, word):
    """Printed: 600 against 616, 2.6 % less; all of the other side's runs lie from 616 to 620."""
    table = published.tables[0]
    rows = {"mean_ms": replace(table.rows["mean_ms"], figures=[616.0, 600.0])}
    sides = []
    for series, means in zip(published.series[:2], ((616.0, 618.0, 620.0), runs), strict=True):
        logged = [replace(run, mean_ms=mean) for run, mean in zip(series.measured, means, strict=True)]
        sides.append(replace(series, runs=logged))
    made = replace(published, tables=[replace(table, rows=rows)], series=sides)
    claim = record("published-delta-of-means", series="signup/optimization-1", against="signup/baseline")
    assert judge_record(claim, made)[0] == word


def test_spikes_and_shares_have_limits(published):
    def word(rule, states, **arguments):
        return judge_record(record(rule, states, **arguments), published)[0]

    spike = {"series": "signup/baseline"}
    assert word("spike-in-log", {"runq_max": 10}, **spike) == "holds here"
    assert word("spike-in-log", {"runq_max": 11}, **spike) == "does not hold here"
    assert word("spike-in-log", {"runq_max": 11}, about="0.1", **spike) == "holds here"
    assert word("spike-in-log", {"idle_mean": 50}, **spike) == "not testable here"
    assert word("spike-in-log", {"__class__": 1}, **spike) == "not testable here"
    share = {"graph": "signin", "functions": "encode-first-token"}
    assert word("share-in-graph", {"low": 32, "high": 34}, **share) == "holds here"
    assert word("share-in-graph", {"low": 32, "high": 33.5}, **share) == "does not hold here"
    assert word("share-in-graph", {"low": 35.5, "high": 40}, **share) == "holds here"
    assert word("share-in-graph", {"low": 36, "high": 40}, **share) == "does not hold here"
    assert word("share-in-graph", {"low": 32, "high": 34}, points="0.5", **share) == "does not hold here"
    assert word("spike-lower", {}, series="signup/baseline", against="signup/final", figure="runq_max") == (
        "does not hold here"
    )
    assert word("requests-at-most", {"requests": 594}, test="signup") == "does not hold here"
    assert word("serves-rate", {}, series="signup/final") == "does not hold here"  # 4.93 of 5
    assert word("serves-rate", {}, series="me/baseline") == "holds here"
    assert word("saturates", {}, series="me/baseline") == "does not hold here"
    assert word("runs-published", {"runs": 2}, series="ping/pure") == "does not hold here"
    cpu = {"table": "ping", "figure": "cpu"}
    assert word("figure-in-table", {"value": 24}, column="pure", **cpu) == "holds here"
    assert word("relative-change", {"percent": 61}, **cpu) == "holds here"
    assert word("other-runs-agree", {}, series="me/baseline", figure="max_ms") == "holds here"


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (record("guess"), "This ironbench has no rule guess: it has published-is-mean, "),
        (record("published-is-mean", test="logout"), "No published table shows a series of logout "),
        (record("published-delta-of-means", series="a/b", against="signup/final"), "No logs of a/b were published; "),
        (record("published-delta-of-means", series="signup/final"), "The claim gives the rule published-delta-of-means no argument against."),
        (record("stable-series", below="little"), "The argument below of the rule stable-series is 'little', not a number."),
        (record("spike-in-log", {"runq_max": 3}, series="me/final"), "No sar record of me/final with runq_max was published."),
        (record("share-in-graph", {"low": 1}, graph="me", functions="x"), "The claim states no figure high, which the rule share-in-graph needs."),
        (record("share-in-graph", {"low": 1, "high": 2}, graph="you", functions="x"), "No flame graph you was published."),
        (record("share-in-graph", {"low": 1, "high": 2}, graph="me", functions="x"), "The share of x in the flame graph me is not at hand."),
        (record("delta-arithmetic", table="planner"), "No difference is printed there."),
        (record("delta-arithmetic", table="x"), "There is no table x; there are signup-round-1, "),
        (record("figure-in-table", {"value": 1}, table="ping", figure="cpu", column="x"), "Table ping has no column x; it has pure, logging."),
        (record("figure-in-table", {"value": 1}, table="planner", figure="cpu", column="random-page-cost-4"), "Table planner has no row cpu; it has execution_ms, buffers_hit."),
        (record("other-runs-agree", series="ping/logging", figure="max_ms"), "No log of another run of ping/logging with max_ms was published."),
        (record("other-runs-agree", series="signup/final", figure="speed"), "The rule other-runs-agree knows no figure speed; "),
        (record("percentile-has-samples", test="ping"), "How many samples a run of ping/pure has is not at hand."),
        (record("saturates", series="signin/final"), "The logs of signin/final with the rate of each run were not published."),
    ],
    ids=lambda one: one.rule if isinstance(one, Claim) else "",
)  # fmt: skip
def test_what_cannot_be_judged_says_why(published, claim, reason):
    word, found = judge_record(claim, published)
    assert word == "not testable here"
    assert found.startswith(reason)


def test_zero_in_a_table(published):
    table = published.tables[0]
    rows = {**table.rows, "stdev_ms": replace(table.rows["stdev_ms"], figures=[0.0, 24.5])}
    made = replace(published, tables=[replace(table, rows=rows)])
    claim = record("other-runs-agree", series="signup/baseline", figure="stdev_ms")
    assert judge_record(claim, made) == (
        "not testable here", "A figure that the rule other-runs-agree divides by is zero.",
    )  # fmt: skip


# --- files -------------------------------------------------------------------------------------


def test_study_without_a_publication(tmp_path):
    assert load_published(tmp_path) is None
    assert published_series(None) == []


def test_published_figures_travel_in_the_bundle(tmp_path, published):
    claim = record("stable-series", test="signup")
    bundle = create(
        tmp_path / "results",
        plan(),
        study(),
        tmp_path,
        claims=Claims(schema=1, claims=[claim]),
        published=published,
    )
    assert read_claims(bundle) == ([claim], published, [])
    results = compute(bundle)
    assert [verdict.word for verdict in results.claims] == ["does not hold here"]
    assert len(results.published) == 14
    assert decode_record(encode_record(results), type(results), "results.json") == results


BAD = {
    "row mean_ms of table t has 1 figures for 2 columns; give each column one": (
        "tables.yml",
        "tables: [{name: t, section: s, test: x, columns: [a, b], rows: {mean_ms: {figures: [1]}}}]",
    ),
    "there are 2 entries for table t; keep one": (
        "tables.yml",
        f"tables: [{', '.join(['{name: t, section: s, test: x, columns: [], rows: {}}'] * 2)}]",
    ),
    "Invalid enum value 'speed'": (
        "tables.yml",
        "tables: [{name: t, section: s, test: x, columns: [a], rows: {speed: {figures: [1]}}}]",
    ),
    "unknown field `sections`": ("tables.yml", "tables: [{sections: s}]"),
    "x/a has no measured run": ("runs.yml", "series: [{SERIES, runs: [{number: 0, mean_ms: 1}]}]"),
    "there are 2 entries for run of x/a 1": (
        "runs.yml",
        "series: [{SERIES, runs: [{number: 1, mean_ms: 1}, {number: 1, mean_ms: 2}]}]",
    ),
    "x/a published run 4, and its runs are 1": (
        "runs.yml",
        "series: [{SERIES, published_run: 4, runs: [{number: 1, mean_ms: 1}]}]",
    ),
    "Expected `float` > 0.0": ("runs.yml", "series: [{SERIES, runs: [{number: 1, mean_ms: 0}]}]"),
    "has schema 2, and this ironbench reads schema 1 only": ("runs.yml", "series: []"),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_files_are_named(tmp_path, sentence):
    name, text = BAD[sentence]
    head = "test: x, variant: a, date: 2026-05-18, kernel: k, rate: 5, connections: 4"
    path = tmp_path / "published" / name
    path.parent.mkdir()
    path.write_text(
        f"schema: {2 if 'schema' in sentence else 1}\nsource: s\n{text.replace('SERIES', head)}\n"
    )
    with pytest.raises(IronbenchError, match=re.escape(sentence)) as raised:
        load_published(tmp_path)
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_one_file_is_enough(tmp_path):
    (tmp_path / "published").mkdir()
    (tmp_path / "published/tables.yml").write_bytes((STUDY / "published/tables.yml").read_bytes())
    made = load_published(tmp_path)
    assert made
    assert (len(made.tables), made.series, made.graphs) == (10, [], ())
    assert judge_record(record("delta-arithmetic"), made)[0] == "holds here"
    assert judge_record(record("stable-series"), made) == (
        "not testable here", "No published table shows a series of this study whose logs are at hand.",
    )  # fmt: skip
    assert msgspec.json.decode(encode_record(made), type=Published) == made
