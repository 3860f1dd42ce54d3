"""The command line, run as its users run it."""

import json
import re
import subprocess
import sys
import time

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.cli import main
from ironbench.plan import make_session, window_share
from ironbench.records import Gate

from .made import S, background, due, experiment, handed_in, load_result, new_bundle, plan, study, write_raw


@pytest.fixture
def study_dir(tmp_path):
    directory = tmp_path / "study"
    directory.mkdir()
    (directory / "experiments.yml").write_bytes(msgspec.yaml.encode(study()))
    return directory


@pytest.fixture
def make(run, study_dir, tmp_path):
    """Run `ironbench plan` with --json and return its answer."""

    def make(*arguments):
        code, out, _ = run(
            "plan", "--study", study_dir, "--protocol", "short", "--results", tmp_path / "results", "--json",
            *arguments,
        )  # fmt: skip
        assert code == 0
        return json.loads(out)

    return make


def raw_of_pending(bundle, raw, **changes):
    return write_raw(raw, make_session(bundles.read_plan(bundle), due(bundle)), **changes)


def test_plan_pending_seal_report(make, run, tmp_path):
    made = make("--experiment", "signin", "--seed", "3", "--id", "one")
    bundle = tmp_path / "results" / "one"
    assert (made["bundle"], made["id"], made["runs"], made["sealed"]) == (str(bundle), "one", 3, 0)
    assert made["resumed"] is False
    assert made["expected_s"] > 3 * 8
    for number in (1, 2, 3):
        code, out, _ = run("pending", bundle, "--json")
        state = json.loads(out)
        assert (code, state["done"], state["sealed"], state["total"]) == (0, False, number - 1, 3)
        assert state["progress"].startswith(f"run {number} of 3: signin, block 1, ")
        assert state["session"]["run"]["position"] == number
        raw = raw_of_pending(bundle, tmp_path / f"raw{number}")
        began_ns = time.time_ns() - 30 * S
        code, out, _ = run(
            "seal", bundle, "--host", "box", "--json", stdin=handed_in(raw, started_ns=began_ns)
        )
        sealed = json.loads(out)
        assert (code, sealed["sealed"], sealed["faults"], sealed["outcomes"]) == (0, number, [], [])
        assert sealed["line"].startswith(f"Sealed run {number} of 3: signin, block 1, ")
        assert "| 3.0 rps, mean 60.0 ms, p90 n<10, app 205.0" in sealed["line"]
        if number < 3:
            assert sealed["line"].endswith(" left")
            assert sealed["session"]["run"]["position"] == number + 1
            assert bool(sealed["after"]) == (number == 1)
    share = window_share(bundles.read_plan(bundle), bundles.read_runs(bundle))
    assert share is not None
    assert share == pytest.approx(3 * 8 / 30, rel=0.5)  # of a machine that is busy less
    told = f"{100 * share:.0f} % of the wall time was inside load windows"
    assert sealed["line"].endswith(f" | all runs are sealed, {told}")
    assert sealed["done"] is True
    assert json.loads(run("pending", bundle, "--json")[1])["done"] is True
    code, out, _ = run("report", bundle)
    assert code == 0
    assert "Mean latency, ms" in out
    assert json.loads(run("report", bundle, "--json")[1])["sealed"] == 3


def test_reading_what_is_pending_is_no_attempt(make, run, tmp_path):
    make("--id", "one")
    bundle = tmp_path / "results/one"
    read = json.loads(run("pending", bundle, "--json")[1])["session"]
    assert (read["run"]["position"], read["placement_token"]) == (1, "")
    assert bundles.read_contents(bundle).attempts == []
    handed_out = json.loads(run("pending", bundle, "--begin", "--json")[1])["session"]
    assert (handed_out["run"], len(handed_out["placement_token"])) == (read["run"], 32)
    (attempt,) = bundles.read_contents(bundle).attempts
    assert (attempt.run, attempt.number) == (due(bundle), 1)
    run("lost", bundle, stdin=b'{"failures": [{"host": "box", "detail": "down"}]}')
    assert [one.number for one in bundles.read_contents(bundle).attempts] == [1, 2]


def test_the_last_seal_hands_out_nothing(make, run, tmp_path):
    make("--id", "one", "--experiment", "signin", "--variant", "final")
    bundle = tmp_path / "results/one"
    run("seal", bundle, "--host", "box", stdin=handed_in(raw_of_pending(bundle, tmp_path / "raw")))
    code, out, _ = run("pending", bundle, "--begin", "--json")
    assert (code, json.loads(out)["done"], json.loads(out)["session"]) == (0, True, None)
    assert not (bundle / "attempts").exists()


def test_resume_goes_on_where_it_was(make, run, tmp_path):
    first = make("--seed", "3", "--id", "one")
    run(
        "seal",
        first["bundle"],
        "--host",
        "box",
        stdin=handed_in(raw_of_pending(tmp_path / "results/one", tmp_path / "raw")),
    )
    again = make("--resume", "--id", "two")
    assert (again["id"], again["resumed"], again["sealed"], again["runs"]) == ("one", True, 1, 6)
    assert not (tmp_path / "results/two").exists()
    other = make("--resume", "--id", "two", "--variant", "final", "--variant", "baseline")
    assert (other["id"], other["resumed"], other["runs"]) == ("two", False, 4)
    assert make("--id", "three")["resumed"] is False


def test_default_id_and_drawn_seed(make, tmp_path):
    made = make()
    assert made["id"].endswith("Z-short")
    first = bundles.read_plan(tmp_path / "results" / made["id"])
    second = bundles.read_plan(tmp_path / "results" / make("--id", "two")["id"])
    assert first.retries == 1
    assert first.seed != second.seed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--protocol", "slow"), "ironbench: study made has no protocol 'slow'; it has quick, short.\n"),
        (
            ("--experiment", "ping"),
            "ironbench: study made has no experiment 'ping'; it has signin, me, all.\n",
        ),
        (("--retries", "-1"), "ironbench: --retries -1 is too low; give 0 or more.\n"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(run, study_dir, tmp_path, arguments, sentence):
    results = tmp_path / "results"
    base = ("plan", "--study", study_dir, "--protocol", "short", "--results", results)
    assert run(*base, *arguments) == (2, "", sentence)
    assert not results.exists()


def test_failed_gate_exits_with_4(make, run, tmp_path):
    bundle = make("--id", "one")["bundle"]
    gate = Gate(ok=False, status=0, detail="No connection to 127.0.0.1:8000: refused.", body_bytes=0)
    raw = raw_of_pending(
        tmp_path / "results/one", tmp_path / "raw", load=load_result([], gate=gate), durations_ns=[]
    )
    code, out, err = run("seal", bundle, "--host", "box", stdin=handed_in(raw))
    assert (code, out) == (4, "")
    assert err.count("\n") == 1
    assert "was not sealed" in err
    assert json.loads(run("pending", bundle, "--json")[1])["sealed"] == 0


def test_seal_line_names_the_ledgers(make, run, tmp_path):
    bundle = make("--id", "one", "--experiment", "signin")["bundle"]
    load = load_result(errors={"reset": 2})
    raw = raw_of_pending(tmp_path / "results/one", tmp_path / "raw", load=load, steal=5.0)
    _, out, _ = run("seal", bundle, "--host", "box", stdin=handed_in(raw))
    assert "2 errors | INSTRUMENT FAULT: steal | outcomes: errors | " in out


def test_seal_line_has_the_background(run, tmp_path):
    one = experiment(background=background())
    bundle = new_bundle(tmp_path, plan("short", of=study(experiments={"mixed": one})))
    _, out, _ = run(
        "seal", bundle, "--host", "box", stdin=handed_in(raw_of_pending(bundle, tmp_path / "raw"))
    )
    assert "0 errors, background 2.0 rps, mean 200.0 ms, 0 errors | " in out


def test_environment_reads_stdin(make, tmp_path):
    bundle = make("--id", "one")["bundle"]
    script = [sys.executable, "-c", "import sys; from ironbench.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*script, "environment", bundle, "box", "--json"],
        input='{"a": 1}',
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"written": True}
    assert json.loads((tmp_path / "results/one/environment/box.json").read_text()) == {"a": 1}


def test_only_the_chosen_command_is_imported():
    """A part that is missing or slow to import must not get in the way of the others."""
    code = (
        "import sys\nfrom ironbench.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(sorted(name for name in sys.modules if name.startswith(('ironbench.', 'jinja2', 'uvloop'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True
    )
    version, modules = done.stdout.splitlines()
    assert version.startswith("ironbench ")
    assert modules == "['ironbench.cli', 'ironbench.errors']"
    done = subprocess.run(
        [sys.executable, "-c", code, "pending", "--help"], capture_output=True, text=True, check=True
    )
    assert "jinja2" not in done.stdout
    assert "uvloop" not in done.stdout


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for name in ("plan", "pending", "environment", "seal", "report", "compare", "lint", "load", "host"):
        assert re.search(rf"^    {name}\s", out, re.MULTILINE)
