"""The selftest's own arithmetic, and its servers under the built-in generator."""

import statistics
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench.cli import main
from ironbench.errors import IronbenchError
from ironbench.load.wrk2 import PROGRAM
from ironbench.selftest import cli
from ironbench.selftest.cases import (
    ARRIVALS,
    CASES,
    TOLERANCE,
    Figure,
    clear_in_s,
    expected_answers,
    figures,
    mean,
    model,
    percentile,
)
from ironbench.selftest.server import BEHAVIOURS

STANDIN = Path(__file__).parents[1] / "load/standin_wrk2.py"
BY_NAME = {case.behaviour: case for case in CASES}


def stalled(at):
    """Answer at once, but for the first second of every ten."""
    return max(at, at // 10 * 10 + 1)


@pytest.mark.parametrize("phase_s", [1.05, 1.4, 5.0, 9.003])
def test_a_stall_of_1_s_in_10_s_gives_the_figures_of_the_formula(phase_s):
    """(1 s)^2 / (2 * 10 s) = 50 ms; a share of (1 - x) / 10 waits longer than x seconds."""
    spec = BY_NAME["stalling"].spec("http://x", "ironbench")
    answers = model(spec, lambda at: stalled(at + phase_s) - phase_s)

    corrected = [answer.corrected for answer in answers]
    assert len(answers) == 2000
    assert mean(corrected) == pytest.approx(50, rel=0.01)
    assert percentile(corrected, 95) == pytest.approx(500, abs=5.1)
    assert percentile(corrected, 99) == pytest.approx(900, abs=5.1)
    # From the send time only the 4 requests on the 4 connections have waited.
    slow = [answer.uncorrected for answer in answers if answer.uncorrected > 1]
    assert len(slow) == 4
    assert mean(slow) == pytest.approx(992.5, abs=5.1)
    assert percentile([answer.uncorrected for answer in answers], 99) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("clock_s", "rest_s"), [(1000.0, 1.0), (1000.9, 0.1), (1001.0, 0), (1007.0, 0), (1008.5, 2.5)]
)
def test_a_window_of_one_period_never_ends_in_a_stall(clock_s, rest_s):
    assert clear_in_s(clock_s) == pytest.approx(rest_s)


def test_a_queue_grows_as_computed():
    spec = msgspec.structs.replace(BY_NAME["slow"].spec("http://x", "ironbench"), window_s=1)
    busy = 0.0

    def answered(at):
        nonlocal busy
        busy = max(busy, at) + 0.02
        return busy

    answers = model(spec, answered)
    # Due every 10 ms, answered every 20 ms: number k waits 20 ms * (k + 1) - 10 ms * k.
    assert [round(answer.corrected) for answer in answers] == [20 + 10 * k for k in range(len(answers))]
    assert statistics.median(answer.uncorrected for answer in answers) == pytest.approx(80)
    assert len(answers) == 53  # the last four leave before the end and are answered after it


def test_wrk2_is_late_and_does_not_wait_for_the_last_answers():
    found = {}
    for backend in ARRIVALS:
        busy = 0.0

        def answered(at):
            nonlocal busy
            busy = max(busy, at) + 0.02
            return busy

        found[backend] = expected_answers(BY_NAME["slow"].spec("http://x", backend), answered)
    # One answer every 20 ms for 4 s, and the four under way at the end; wrk2's first one is half a ms late.
    assert len(found["ironbench"]) == 203
    assert [round(answer.done, 1) for answer in (found["wrk2"][0], found["wrk2"][-1])] == [20.5, 3980.5]


@pytest.mark.parametrize("backend", ARRIVALS)
def test_every_behaviour_has_a_case_and_the_whole_takes_less_than_a_minute(backend):
    assert set(BY_NAME) == set(BEHAVIOURS)
    assert sum(case.window_s for case in CASES) + 4 * len(CASES) < 60
    for case in CASES:
        assert case.spec("http://x", backend).load.backend == backend


@pytest.mark.parametrize(
    ("measured", "ok"), [(100, True), (101.9, True), (98.1, True), (102.1, False), (0, False)]
)
def test_two_per_cent_is_the_limit(measured, ok):
    assert TOLERANCE == 0.02
    assert Figure(case="x", name="y", expected=100, measured=measured).ok is ok


@pytest.mark.parametrize("behaviour", ["resetting", "erring", "silent"])
def test_counts_of_the_built_in_generator_are_exact(behaviour):
    case = BY_NAME[behaviour]
    found = figures(case, cli.measure(case, "ironbench"))

    counted = [figure for figure in found if not figure.name.endswith("ms")]
    assert len(counted) >= 2
    assert all(figure.expected == figure.measured > 0 for figure in counted)
    for figure in found:
        assert figure.measured == pytest.approx(figure.expected, rel=0.2)


# --- wrk2: a stand-in that follows its pace -------------------------------------------------------


@pytest.fixture
def standin(tmp_path, monkeypatch):
    """Have ``ironbench load`` take the stand-in for wrk2."""
    program = tmp_path / "wrk2"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} "$@"\n')
    command = tmp_path / "ironbench"
    command.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "from ironbench.cli import main\n"
        "from ironbench.load import wrk2\n"
        f"wrk2.PROGRAM = pathlib.Path({str(program)!r})\n"
        "sys.exit(main())\n"
    )
    for path in (program, command):
        path.chmod(0o755)
    monkeypatch.setattr(cli, "_ironbench", lambda: str(command))


@pytest.mark.parametrize(
    "case", [case for case in CASES if "wrk2" not in case.not_asked], ids=lambda c: c.behaviour
)
def test_wrk2_finds_what_it_must(standin, case):
    found = figures(case, cli.measure(case, "wrk2"))

    assert len(found) >= 2
    for figure in found:
        # Milliseconds are the machine's too, counts are not.
        within = 0.2 if figure.name.endswith("ms") else 0.03
        assert figure.measured == pytest.approx(figure.expected, rel=within), figure.name


def test_a_wrk2_that_counts_from_the_send_is_found_out(standin, monkeypatch, capsys):
    monkeypatch.setenv("STANDIN_OMITS", "1")
    monkeypatch.setattr(cli, "CASES", (BY_NAME["slow"], BY_NAME["silent"]))

    assert main(["selftest", "--backend", "wrk2"]) == 1
    table = capsys.readouterr().out
    beyond = [line[11:47].strip() for line in table.splitlines() if "<--" in line]
    assert {"corrected mean, ms", "corrected p99, ms"} <= set(beyond)
    assert "silent     not asked: wrk2 waits for ever" in table
    assert "do not trust wrk2 on this host" in table


def test_a_host_without_wrk2_is_told_so(tmp_path):
    if PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is here")
    with pytest.raises(
        IronbenchError, match=r"the load generator failed \(2\): .*/wrk2 is missing, run playbooks"
    ):
        cli.measure(BY_NAME["erring"], "wrk2")


def test_the_exit_status_tells(monkeypatch, capsys):
    def lied(_, measured):
        yield "completed", 1.03 * measured.result.scheduled, measured.result.completed

    short = msgspec.structs.replace(BY_NAME["erring"], window_s=0.2)
    monkeypatch.setattr(cli, "CASES", (msgspec.structs.replace(short, figures=lied),))
    assert main(["selftest"]) == 1
    assert "do not trust ironbench on this host" in capsys.readouterr().out

    monkeypatch.setattr(cli, "CASES", (short,))
    assert main(["selftest", "--backend", "ironbench"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["server", "figure", "expected", "measured", "off"]
    assert table[1].split() == ["erring", "completed", "20.00", "20.00", "+0.00%"]
    assert table[-1] == "ironbench: all figures are within 2%."
