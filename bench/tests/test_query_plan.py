"""Query plans without PostgreSQL: rows, what psql prints, figures, verdicts, the record in its bundle."""

import json
from pathlib import Path

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.claims import check_claims
from ironbench.errors import IronbenchError
from ironbench.query_plan.explain import MARK, execution_script, read_executions
from ironbench.query_plan.measure import forget, random_blocks
from ironbench.query_plan.summary import summarise
from ironbench.query_plan.table import copy_lines, selected_rows
from ironbench.records import (
    SCHEMA,
    Claim,
    Claims,
    Comparison,
    QueryExecution,
    QueryPlanCase,
    QueryPlanOrder,
    QueryPlanRecord,
    QueryPlanTest,
    Results,
    ShownPlan,
)
from ironbench.report import compute, write_report
from ironbench.study import check_study

from .made import plan, replace, study

FOUR, ONE = "random-page-cost-4", "random-page-cost-1"
BITMAP = "Bitmap Heap Scan > Bitmap Index Scan"
TEST = QueryPlanTest(
    title="one per cent",
    rows=1_000,
    selected=10,
    executions=8,
    settings={FOUR: {"random_page_cost": "4.0"}, ONE: {"random_page_cost": "1.0"}},
    configurations={"defaults": {}},
)
ORDER = QueryPlanOrder(schema=SCHEMA, name="planner", test=TEST, seed=5)
CASE = "planner.defaults.cached"


# --- the table ---------------------------------------------------------------------------------


def test_rows_come_from_the_seed():
    lines = b"".join(copy_lines(TEST, 5)).splitlines()
    assert lines == b"".join(copy_lines(TEST, 5)).splitlines()
    assert lines != b"".join(copy_lines(TEST, 6)).splitlines()
    rows = [line.split(b"\t") for line in lines]
    assert len(rows) == 1_000
    assert {len(row) for row in rows} == {15}
    defaults = [number for number, row in enumerate(rows) if row[9] == b"t"]
    assert set(defaults) == selected_rows(TEST, 5)
    assert len(defaults) == 10
    # Slugs of system defaults alone, each once; an owner for the others alone.
    assert [rows[number][11] for number in defaults] == [b"system-exercise-%d" % n for n in range(1, 11)]
    assert all((row[11] == b"\\N") == (row[10] != b"\\N") for row in rows)
    assert len({row[0] for row in rows}) == 1_000


# --- what psql prints --------------------------------------------------------------------------


def printed(*executions):
    """Print as psql does: (scan, ms, hit, bytes before, bytes after) of each execution."""
    text = "noise of what came first\n"
    for scan, ms, hit, before, after in executions:
        node = {"Node Type": scan, "Actual Rows": 10, "Shared Hit Blocks": hit, "Shared Read Blocks": 1}
        if scan.startswith("Bitmap"):
            node["Plans"] = [{"Node Type": "Bitmap Index Scan"}]
        told = [{"Plan": node, "Planning Time": 0.1, "Execution Time": ms}]
        io = "rchar: 1\n{0}\ncancelled_write_bytes: 0\n"
        text += f"{MARK}\n{io.format('' if before is None else f'read_bytes: {before}')}"
        text += f"{MARK}\n{json.dumps(told, indent=2)}\n"
        text += f"{MARK}\n{io.format('' if after is None else f'read_bytes: {after}')}"
    return text


def test_executions_are_read():
    text = printed(
        ("Bitmap Heap Scan", 3.5, 90, 0, 0),
        ("Bitmap Heap Scan", 3.0, 100, 0, 4096),
        ("Index Scan", 2.0, 105, None, None),
    )
    found = read_executions(text, [(1, FOUR), (1, ONE)], skipped=1)
    assert found == [
        QueryExecution(
            setting=FOUR, block=1, scan=BITMAP, rows=10, planning_ms=0.1, execution_ms=3.0, hit=100, read=1, disk_bytes=4096,
        ),
        QueryExecution(
            setting=ONE, block=1, scan="Index Scan", rows=10, planning_ms=0.1, execution_ms=2.0, hit=105, read=1, disk_bytes=None,
        ),
    ]  # fmt: skip


def test_executions_that_are_missing_are_not_made_up():
    with pytest.raises(IronbenchError, match="printed 1 executions and 2 were asked for"):
        read_executions(printed(("Index Scan", 2.0, 105, 0, 0)), [(1, FOUR), (1, ONE)])


def test_script_sets_and_runs_in_order():
    lines = execution_script(TEST.settings.values()).splitlines()
    assert [line for line in lines if line.startswith("SET")] == [
        "SET random_page_cost = '4.0';",
        "SET random_page_cost = '1.0';",
    ]
    assert sum(line.startswith("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT *") for line in lines) == 2


def test_order_is_random_within_blocks_and_that_of_the_seed():
    orders = {tuple(random_blocks(replace(ORDER, seed=seed), "x")) for seed in range(20)}
    assert len(orders) > 10
    for order in orders:
        assert [block for block, _ in order] == [block for block in range(1, 9) for _ in range(2)]
        assert {frozenset(order[i : i + 2]) for i in range(0, 16, 2)} == {
            frozenset({(block, FOUR), (block, ONE)}) for block in range(1, 9)
        }


def test_forgetting_keeps_the_content(tmp_path):
    file = tmp_path / "16384"
    file.write_bytes(b"x" * 100_000)
    forget([file])
    assert file.read_bytes() == b"x" * 100_000


# --- figures and verdicts ----------------------------------------------------------------------


def record(
    *, four_ms=11.5, one_ms=7.8, four=BITMAP, one="Index Scan", hits=(3861, 3967), executions=8, host="box"
):
    def execution(setting, block, scan, ms, hit):
        return QueryExecution(
            setting=setting, block=block, scan=scan, rows=10, planning_ms=0.1, execution_ms=ms + block / 100,
            hit=hit, read=0, disk_bytes=0,
        )  # fmt: skip

    done = []
    for block in range(1, executions + 1):
        done.append(execution(FOUR, block, four, four_ms, hits[0]))
        done.append(execution(ONE, block, one, one_ms, hits[1]))
    shown = {
        setting: ShownPlan(text=[f"plan of {setting}", "  Buffers: <hit>"], raw=[])
        for setting in TEST.settings
    }
    return QueryPlanRecord(
        schema=SCHEMA, order=ORDER, host=host, postgresql="PostgreSQL 17", cpus="2-3", started_ns=0, load_s=9.0,
        heap_pages=9000, index_pages=26,
        cases=[QueryPlanCase(configuration="defaults", state="cached", parameters={"jit": "on"}, plans=shown, executions=done)],
    )  # fmt: skip


def comparison(metric):
    return Comparison(experiment=CASE, metric=metric, variant=ONE, against=FOUR)


RATIO = Claim(
    id="ratio",
    says="x",
    source="y",
    kind="ratio",
    comparison=comparison("execution_ms"),
    ratio=0.674,
    tolerance=0.218,
)
LOWER = Claim(
    id="lower", says="x", source="y", kind="direction", comparison=comparison("execution_ms"), expects="lower"
)
MORE = Claim(
    id="more", says="x", source="y", kind="direction", comparison=comparison("buffers"), expects="higher"
)
SCAN = Claim(
    id="scan", says="x", source="y", kind="mechanism", comparison=comparison("index_scan"), expects="higher"
)
CLAIMS = [RATIO, LOWER, MORE, SCAN]


def own_bundle(tmp_path, *records, claims=CLAIMS):
    tested = replace(study(), query_plans={"planner": TEST})
    alone = replace(plan(), id="alone", protocol="query-plan", experiments={}, runs=[])
    bundle = bundles.create(
        tmp_path / "results", alone, tested, tmp_path, claims=Claims(schema=SCHEMA, claims=claims)
    )
    for one in records:
        bundles.seal_query_plans(bundle, one.host, msgspec.json.encode(one))
    return bundle


def words(tmp_path, *records):
    return [verdict.word for verdict in compute(own_bundle(tmp_path, *records)).claims]


def test_medians_effects_and_correction():
    summary = summarise(record(), CLAIMS)
    four, one = summary.figures
    assert (four.case, four.setting, four.scans) == (CASE, FOUR, {BITMAP: 8})
    assert four.execution_ms == pytest.approx(11.545)
    assert four.low is not None
    assert four.high is not None
    assert four.low <= four.execution_ms <= four.high
    assert (one.hit, one.read, one.disk_bytes) == (3967, 0, 0)
    time, buffers = summary.effects
    assert time.value == pytest.approx(7.845 / 11.545, rel=1e-3)
    assert (time.call, buffers.call) == ("lower", "higher")
    # Two comparisons that directions rest on.
    assert (time.family, buffers.family) == (2, 2)
    assert time.p is not None
    assert time.p_holm == pytest.approx(2 * time.p)


def test_the_articles_figures_hold(tmp_path):
    assert words(tmp_path, record()) == ["holds here"] * 4


def test_the_opposite_does_not(tmp_path):
    opposite = record(four_ms=7.8, one_ms=11.5, four="Index Scan", one=BITMAP, hits=(3967, 3861))
    assert words(tmp_path, opposite) == ["does not hold here"] * 4


def test_the_same_plan_on_both_sides_refutes_the_mechanism(tmp_path):
    assert words(tmp_path, record(four="Index Scan"))[3] == "does not hold here"


def test_too_few_executions(tmp_path):
    assert words(tmp_path, record(executions=5)) == ["undecided"] * 4


def test_without_a_record(tmp_path):
    verdicts = compute(own_bundle(tmp_path)).claims
    assert {verdict.word for verdict in verdicts} == {"not testable here"}
    assert "has no query plans of planner.defaults.cached" in verdicts[0].reason


# --- bundle and report -------------------------------------------------------------------------


def test_record_is_sealed_once(tmp_path):
    bundle = own_bundle(tmp_path, record())
    path = bundle / "query_plans/box.json"
    kept = path.read_bytes()
    with pytest.raises(IronbenchError, match="is sealed already"):
        bundles.seal_query_plans(bundle, "box", msgspec.json.encode(record(one_ms=1.0)))
    assert path.read_bytes() == kept
    bundles.seal_query_plans(bundle, "other", msgspec.json.encode(record(host="other")))
    assert [one.host for one in bundles.read_query_plans(bundle)[0]] == ["box", "other"]


def test_sealing_prints_plans_times_and_verdicts(tmp_path, run):
    bundle = own_bundle(tmp_path)
    code, out, err = run("query-plan", "seal", bundle, "--host", "box", stdin=msgspec.json.encode(record()))
    assert (code, err) == (0, "")
    assert out.count("plan of random-page-cost-") == 2
    assert "11.545" in out
    assert out.count("  holds here: ") == 4


def test_ordering_makes_a_bundle_with_the_claims_on_query_plans(tmp_path, run):
    source = tmp_path / "study"
    source.mkdir()
    (source / "experiments.yml").write_bytes(msgspec.yaml.encode(study(query_plans={"planner": TEST})))
    other = Claim(id="log", says="x", source="y", kind="record", rule="published-is-mean")
    (source / "claims.yml").write_bytes(msgspec.yaml.encode(Claims(schema=SCHEMA, claims=[RATIO, other])))
    given = ["--study", source, "--results", tmp_path / "results"]
    code, out, _ = run("query-plan", "order", *given, "--seed", 4, "--executions", 9)
    answer = json.loads(out)
    assert code == 0
    assert (answer["created"], answer["order"]["seed"], answer["order"]["test"]["executions"]) == (True, 4, 9)
    assert bundles.read_claims(Path(answer["bundle"]))[0] == [RATIO]
    code, out, _ = run("query-plan", "order", *given, "--bundle", answer["bundle"])
    assert json.loads(out)["created"] is False
    code, _, err = run("query-plan", "order", *given, "--test", "x")
    assert (code, err) == (2, "ironbench: study made has no query plan 'x'; it has planner.\n")


def test_damaged_record_is_named(tmp_path):
    bundle = own_bundle(tmp_path, record())
    (bundle / "query_plans/box.json").write_text("{")
    results = compute(bundle)
    assert results.query_plans == []
    assert "query_plans/box.json" in results.damaged[0].detail


def test_report_shows_both_plans(tmp_path):
    bundle = own_bundle(tmp_path, record())
    results, text = write_report(bundle)
    for shown in (text, (bundle / "report.md").read_text()):
        assert f"plan of {FOUR}" in shown
        assert f"plan of {ONE}" in shown
        assert "Too few runs" not in shown
    assert "&lt;hit&gt;" in (bundle / "report.html").read_text()
    assert msgspec.json.decode((bundle / "results.json").read_bytes(), type=Results) == results
    assert "query_plan_seed" in "".join(results.reproduce)


# --- the study ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"selected": 1_001}, "needs 1 <= selected <= rows"),
        ({"settings": {FOUR: {}}}, "two settings to compare"),
        ({"configurations": {"x": {"work_mem": "4MB'; DROP"}}}, "no parameter with a plain value"),
        ({"configurations": {"A B": {}}}, "the name 'A B' must be of"),
    ],
)
def test_bad_tests_are_refused(change, complaint):
    with pytest.raises(IronbenchError, match=complaint):
        check_study(study(query_plans={"planner": replace(TEST, **change)}), "here")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"experiment": "planner.defaults.warm"},
            "the query plans of study made are planner.defaults.cached",
        ),
        ({"against": "random-page-cost-2"}, "compares the setting 'random-page-cost-2'"),
    ],
)
def test_claims_name_cases_and_settings_that_are_there(change, complaint):
    claim = replace(LOWER, comparison=replace(comparison("execution_ms"), **change))
    with pytest.raises(IronbenchError, match=complaint):
        check_claims(Claims(schema=SCHEMA, claims=[claim]), study(query_plans={"planner": TEST}), "here")
