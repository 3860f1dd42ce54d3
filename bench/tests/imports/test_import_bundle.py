"""A directory of logs and a description become a bundle that the report takes as any other."""

import json
from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.cli import main
from ironbench.errors import IronbenchError
from ironbench.importing.bundle import import_bundle
from ironbench.importing.describe import read_description
from ironbench.plan import pending
from ironbench.records import Claim, Claims, Comparison, Manifest, Results
from ironbench.report import compute, write_report

from .logs import cpu_section, plain_section, sar_report, wrk2_log

SIGNUP, ME = "/api/v1/access/signup", "/api/v1/access/me"


def signup(mean_us, **changes):
    """Write a run with 100 samples around a mean."""
    return wrk2_log([mean_us + 500 * i for i in range(-50, 50)], **changes)


def description(**changes):
    load = {"rate": 5, "connections": 4, "threads": 2, "arrivals": "wrk2-phase", "backend": "wrk2"}
    request = {"method": "POST", "path": SIGNUP, "expect": {"status": 201}}
    runs = []
    for variant in ("baseline", "final"):
        runs.append(
            {
                "experiment": "signup", "variant": variant, "run": "sar", "log": f"{variant}/wrk_report.txt",
                "sar": [f"{variant}/cpu.txt", f"{variant}/system.txt"], "window": "2-5",
            }
        )  # fmt: skip
        runs += [
            {
                "experiment": "signup", "variant": variant, "run": number, "log": f"{variant}/run_{number}.txt",
                "started": datetime(2026, 5, 18, 13, number, tzinfo=timezone(timedelta(hours=3))),
            }
            for number in (1, 2, 3)
        ]  # fmt: skip
    made = {
        "schema": 1,
        "study": "made",
        "title": "Made",
        "source": "https://example.org/logs",
        "revision": "v1",
        "licence": "MIT",
        "protocol": "article",
        "warmup_s": 5,
        "window_s": 30,
        "host": {
            "name": "box",
            "layout": {
                "name": "article", "app": "0-1", "database": "2", "cache": "3", "load_generator": "4",
                "housekeeping": "3",
            },
            "facts": {"cpu_model": "FX-8320"},
        },
        "experiments": {
            "signup": {
                "title": "POST signup", "request": request, "load": load, "variants": ["baseline", "final"],
            }
        },
        "runs": runs,
    }  # fmt: skip
    return made | changes


@pytest.fixture
def logs(tmp_path):
    directory = tmp_path / "logs"
    for variant, mean_us, usr in (("baseline", 660_000, 80.0), ("final", 600_000, 60.0)):
        (directory / variant).mkdir(parents=True)
        texts = {f"run_{n}.txt": signup(mean_us + 10_000 * n) for n in (1, 2, 3)}
        texts["wrk_report.txt"] = signup(100_000)
        texts["cpu.txt"] = sar_report(
            cpu_section(9, busy=lambda _, s, usr=usr: usr if 2 <= s <= 5 else 1.0, average_usr=usr / 2)
        )
        texts["system.txt"] = sar_report(
            plain_section(("proc/s", "cswch/s"), [(1, 100 * second) for second in range(1, 10)]),
            plain_section(("runq-sz", "blocked"), [(10 - second, 0) for second in range(1, 10)]),
        )
        for name, text in texts.items():
            (directory / variant / name).write_text(text)
    return directory


@pytest.fixture
def make(logs, tmp_path):
    def make(described=None, name="made"):
        path = tmp_path / "logs.yml"
        path.write_bytes(msgspec.yaml.encode(described or description()))
        return import_bundle(logs, path, tmp_path / "results", name)

    return make


def change(described, index, **changes):
    described["runs"][index] |= changes
    return described


# --- the bundle --------------------------------------------------------------------------------


def test_it_is_a_sealed_bundle(make):
    bundle = make()
    runs, plan = bundles.read_runs(bundle), bundles.read_plan(bundle)
    assert [run.run for run in runs] == plan.runs
    assert pending(plan, runs, []).done
    assert [run.run.key for run in runs][:3] == [
        "signup.01.baseline.sar",
        "signup.01.baseline",
        "signup.01.baseline.run2",
    ]
    assert {run.load.backend for run in runs} == {"wrk2"}
    manifest = msgspec.json.decode((bundle / "manifest.json").read_bytes(), type=Manifest)
    assert manifest.imported
    assert manifest.imported.source == "https://example.org/logs"
    assert bundles.read_environment(bundle)["box"]["imported"] == "not observed by ironbench"


def test_the_logs_are_in_it(make, logs):
    directory = make() / "runs/signup/01/final.run3"
    assert (directory / "raw/box/load/wrk2.log").read_text() == (logs / "final/run_3.txt").read_text()
    assert (directory / "latency.hgrm").read_text() in (logs / "final/run_3.txt").read_text()
    assert (directory.parent / "final.sar/raw/box/sar/1-cpu.txt").is_file()


def results(bundle) -> Results:
    write_report(bundle)
    return msgspec.json.decode((bundle / "results.json").read_bytes(), type=Results)


def row(card, name):
    return next(row for row in card.rows if row.name == name)


def test_measured_runs_give_the_latency_and_the_sar_run_the_cpu(make):
    (card,) = results(make()).scorecards
    assert (card.sessions, card.runs) == ({"baseline": 1, "final": 1}, {"baseline": 3, "final": 3})
    assert card.requests == {"baseline": 300, "final": 300}
    mean = row(card, "Mean latency").cells
    assert mean["baseline"].value == pytest.approx(680, abs=1)
    assert mean["final"].value == pytest.approx(620, abs=1)
    usr, busy = (
        row(card, f"CPU 1 {what}").cells for what in ("%usr, whole sar record", "busy in the window")
    )
    assert (usr["baseline"].value, busy["baseline"].value) == (40, 82)
    assert (usr["final"].value, busy["final"].value) == (30, 62)


def test_the_sar_run_gives_the_scheduler(make):
    bundle = make()
    (card,) = results(bundle).scorecards
    queue = row(card, "Run queue in the window, max").cells["baseline"]
    switches = row(card, "Context switches in the window, mean").cells["baseline"]
    assert (queue.value, switches.value) == (8, 350)  # samples 2 to 5
    of_sar_run, other = bundles.read_runs(bundle)[:2]
    (system,) = of_sar_run.system
    assert (system.host, system.samples) == ("box", 4)
    assert system.runq_sz
    assert (system.runq_sz.max_whole_record, system.runq_sz.mean_whole_record) == (9, 5)
    assert other.system == []


def test_one_column_in_two_files_is_refused(make, logs):
    described = description()
    described["runs"][0]["sar"].append("final/system.txt")
    with pytest.raises(IronbenchError, match=r"wrk_report\.txt: two of the sar files have the column proc/s"):
        make(described)


def test_a_lone_run_keeps_the_figures_of_its_log(make, logs):
    described = description()
    described["runs"] = [run for run in described["runs"] if run["run"] == 2]
    (card,) = results(make(described)).scorecards
    text = (logs / "baseline/run_2.txt").read_text()
    mean, stdev = (f"{row(card, name).cells['baseline'].value:.3f}" for name in ("Mean latency", "StdDev"))
    assert f"#[Mean    = {mean:>12}, StdDeviation   = {stdev:>12}]" in text


def test_what_is_not_known_is_absent_and_never_zero(make):
    made = results(make())
    for card in made.scorecards:
        for line in card.rows:
            if line.unit == "CPU-ms":
                assert {(cell.value, cell.note) for cell in line.cells.values()} == {(None, "not measured")}
    assert {(run.app_cpu_ms, run.sum_cpu_ms, run.mhz) for run in made.runs} == {(None, None, None)}
    assert [run.started for run in made.runs[:2]] == ["", "2026-05-18 10:01:00 UTC"]


@pytest.mark.parametrize("name", ["report.md", "report.html", "terminal"])
def test_the_report_says_so(make, name):
    bundle = make()
    terminal = write_report(bundle)[1]
    text = terminal if name == "terminal" else (bundle / name).read_text()
    for sentence in (
        "Imported: not observed by ironbench. Logs of https://example.org/logs (v1; MIT)",
        "Not known: imported, not observed by ironbench.",
        "baseline 300 requests in 3 runs of 1 sessions",
        "exact to one step",
        "ironbench import bundle LOGS --describe results/made/description.yml",
    ):
        assert sentence in text, sentence
    order = ("baseline (sar run)", "final (run 3)", "its latency is here and not in the tables above")
    assert all((sentence in text) == (name != "report.md") for sentence in order)


def test_the_report_is_the_same_every_time(make):
    bundle = make()
    first = write_report(bundle)[1], (bundle / "report.html").read_bytes()
    assert (write_report(bundle)[1], (bundle / "report.html").read_bytes()) == first


def test_it_can_be_made_again_from_its_own_description(make, logs, tmp_path):
    bundle = make()
    again = import_bundle(logs, bundle / "description.yml", tmp_path / "results", "again")
    assert [r.load for r in bundles.read_runs(again)] == [r.load for r in bundles.read_runs(bundle)]


def test_requests_under_way_at_the_end_are_no_saturation_and_a_backlog_is(make, logs):
    (logs / "final/run_1.txt").write_text(signup(600_000, requests=120))
    (logs / "final/run_2.txt").write_text(signup(600_000, requests=148, errors=(0, 0, 0, 2), non_2xx=1))
    outcomes = {run.key: [f.kind for f in run.outcomes] for run in results(make()).runs if run.outcomes}
    assert outcomes == {
        "signup.01.final": ["saturation"],
        "signup.01.final.run2": ["timeouts", "unexpected-status"],
    }


def test_the_command(logs, tmp_path, capsys):
    path = tmp_path / "logs.yml"
    path.write_bytes(msgspec.yaml.encode(description()))
    out = str(tmp_path / "results")
    assert (
        main(["import", "bundle", str(logs), "--describe", str(path), "--out", out, "--id", "x", "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {"bundle": f"{out}/x"}
    assert main(["report", f"{out}/x"]) == 0
    assert "Imported: not observed" in capsys.readouterr().out
    assert main(["import", "bundle", str(logs), "--describe", str(path), "--out", out, "--id", "x"]) == 2
    assert "exists already" in capsys.readouterr().err


# --- refused before anything is written ---------------------------------------------------------


@pytest.mark.parametrize(
    ("described", "what"),
    [
        (change(description(), 1, log="baseline/none.txt"), "cannot read"),
        (change(description(), 1, log="../logs.yml"), "lies outside of"),
        (change(description(), 1, variant="finale"), "'finale', and signup has baseline, final"),
        (change(description(), 1, experiment="signin"), "'signin', and there are signup"),
        (change(description(), 2, run=1), "signup.01.baseline more than once"),
        (change(description(), 1, run=0), "a block and a run of 1 or more"),
        (change(description(), 1, run="quick"), "does not describe logs"),
        (change(description(), 0, sar=[]), "gives no files of sar"),
        (change(description(), 0, window=None), "needs sar files and a window"),
        (change(description(), 0, window="2-99"), "the samples 1 to 9"),
        (change(description(), 0, sar=["baseline/system.txt"]), "must have the CPUs"),
        (
            change(description(), 1, started=datetime.fromisoformat("2026-05-18T13:01:00")),
            "needs a time zone",
        ),
        (description(window_s=60), "it took 30.02 s, not 60"),
        (description(schema=2), "reads schema 1 only"),
        (description(runs=[]), "describes no run"),
        (description(study="No!"), "must be of a-z"),
    ],
)
def test_a_description_that_does_not_fit(make, tmp_path, described, what):
    with pytest.raises(IronbenchError, match=what):
        make(described)
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())


@pytest.mark.parametrize(
    ("log", "what"),
    [
        (signup(600_000, url="http://x/signin"), "went to /signin, not to /api/v1/access/signup"),
        (signup(600_000, connections=10), "2 threads and 10 connections, not 2 and 4"),
        (signup(600_000, requests=300), "requests per second were answered and only 5 offered"),
        (signup(600_000, latency=False), "ran without --latency"),
        (signup(600_000)[:900], r"final/run_3\.txt, line \d+"),
    ],
)
def test_a_log_that_is_not_what_the_description_says(make, logs, tmp_path, log, what):
    (logs / "final/run_3.txt").write_text(log)
    with pytest.raises(IronbenchError, match=what):
        make()
    assert not (tmp_path / "results").exists()


def test_a_layout_that_the_sar_record_does_not_have(make):
    described = description()
    described["host"]["layout"]["app"] = "0-2"
    with pytest.raises(IronbenchError, match=r"puts the app on CPU 2, and the sar files of .* have 0, 1"):
        make(described)


@pytest.mark.parametrize(
    ("load", "what"),
    [
        ({"arrivals": "even"}, "with the backend wrk2 load.arrivals must be wrk2-phase"),
        ({"backend": "ironbench"}, "needs `backend: wrk2`"),
    ],
)
def test_a_load_that_is_not_wrk2s(make, load, what):
    described = description()
    described["experiments"]["signup"]["load"] |= load
    with pytest.raises(IronbenchError, match=what):
        make(described)


def test_bundle_carries_the_claims_of_its_study(run, logs, tmp_path):
    comparison = Comparison(experiment="signup", metric="latency_mean", variant="final", against="baseline")
    claim = Claim(id="a", says="-", source="-", kind="direction", comparison=comparison, expects="lower")
    where = tmp_path / "study"
    where.mkdir()
    (where / "claims.yml").write_bytes(msgspec.yaml.encode(Claims(schema=1, claims=[claim])))
    described = tmp_path / "logs.yml"
    described.write_bytes(msgspec.yaml.encode(description()))
    study = read_description(described).as_study()
    (where / "experiments.yml").write_bytes(msgspec.yaml.encode(study))
    command = ["import", "bundle", logs, "--describe", described, "--study", where]
    command += ["--out", tmp_path / "results"]
    assert run(*command, "--id", "one")[0] == 0
    results = compute(tmp_path / "results/one")
    (verdict,) = results.claims
    assert (verdict.claim, verdict.word) == (claim, "undecided")
    assert verdict.reason == "Too few runs for a verdict: 1 block, 6 are needed."
    assert "--study studies/made" in results.reproduce[0]
    other = msgspec.structs.replace(study, name="other")
    (where / "experiments.yml").write_bytes(msgspec.yaml.encode(other))
    code, _, error = run(*command, "--id", "two")
    assert code == 2
    assert "is the study other, and the logs are described as of made" in error
    assert not (tmp_path / "results/two").exists()
