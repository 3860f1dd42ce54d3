from __future__ import annotations

import pytest
from ironbench.collect import cgroup, cpu_check
from ironbench.errors import IronbenchError

from .truth import make_host, make_load, sar_json, write_record

LOAD = make_load(first=10.05, drained=20.2, completed=100)
"""Whose whole seconds are sar's ten samples 11 to 20."""


def busy(rate: float):
    """Microseconds of a cgroup that uses ``rate`` CPUs from 10.05 s to 19.8 s, and nothing after."""
    return lambda t: 1e6 * rate * (min(max(t, 10.05), 19.8) - 10.05)


def check(tmp_path, use, cpus, host, **record):
    samples = cgroup.read(write_record(tmp_path, use, until=22, **record))
    return cpu_check(samples, sar_json(cpus, until=22), host, LOAD)


def in_window(percent: float, before: float = 0):
    return lambda second: {"usr": percent if 11 <= second <= 20 else before}


def test_both_instruments_that_saw_the_same_agree(tmp_path):
    app, *_ = [
        c for c in check(tmp_path, {"app": busy(0.6)}, {1: in_window(58.5)}, make_host()) if c.cpus == "1"
    ]
    assert app.cgroup_ms == pytest.approx(5850, abs=1)
    assert app.sar_ms == pytest.approx(5850, abs=1)
    assert app.difference == pytest.approx(0, abs=0.001)


def test_the_begun_second_at_the_end_is_left_out_of_both(tmp_path):
    samples = cgroup.read(write_record(tmp_path, {"app": lambda t: 0.5e6 * max(0, t - 10.05)}, until=21))
    ended = sar_json({1: lambda second: {"usr": 49.75 if second > 10 else 0}}, until=20)
    app = next(c for c in cpu_check(samples, ended, make_host(), LOAD) if c.cpus == "1")
    assert app.sar_ms == pytest.approx(4975)
    assert app.cgroup_ms == pytest.approx(4975, abs=1), "of the 5075 ms until the last answer"


def test_foreign_work_on_the_cpus_shows_as_a_difference(tmp_path):
    found = check(tmp_path, {"app": busy(0.3)}, {1: in_window(58.5)}, make_host())
    app = next(c for c in found if c.cpus == "1")
    assert app.difference == pytest.approx(-0.5, abs=0.001)


def test_the_idle_rate_before_is_taken_off_both(tmp_path):
    use = {"app": lambda t: busy(0.5)(t) + 20_000 * t}
    found = check(tmp_path, use, {1: in_window(55.75, before=7)}, make_host())
    app = next(c for c in found if c.cpus == "1")
    assert app.cgroup_ms == pytest.approx(4875, abs=1)
    assert app.sar_ms == pytest.approx(4875, abs=1)


def test_sets_of_cpus_that_overlap_are_one(tmp_path):
    use = {"app": busy(0.5), "postgresql": busy(0.25)}
    found = check(
        tmp_path,
        use,
        {1: in_window(48.75), 2: in_window(24.375)},
        make_host(app="1-2", database="2"),
    )
    assert [c.cpus for c in found] == ["0", "1,2"]
    assert found[1].cgroup_ms == pytest.approx(7312.5, abs=1)
    assert found[1].difference == pytest.approx(0, abs=0.001)


def test_on_housekeeping_cpus_everything_that_does_not_live_elsewhere_counts(tmp_path):
    use = {
        "app": busy(0.5),
        "load_generator": busy(0.1),
        "/bench.slice": busy(0.6),
        "/system.slice": busy(0.05),
    }
    found = check(tmp_path, use, {0: in_window(14.625), 1: in_window(48.75)}, make_host())
    assert [(c.cpus, round(c.cgroup_ms, 1)) for c in found if c.cpus in "01"] == [
        ("0", 1462.5),
        ("1", 4875.0),
    ]
    assert all(abs(c.difference) < 0.001 for c in found if c.cpus in "01")


def test_sampling_error_is_that_of_counting_ticks(tmp_path):
    """5 % of a CPU for 10 s are 50 ticks of 10 ms: 1/sqrt(50)."""
    found = check(tmp_path, {"app": busy(0.05)}, {1: in_window(5)}, make_host())
    assert next(c for c in found if c.cpus == "1").sampling_error == pytest.approx(50**-0.5)


def test_sar_that_died_is_refused(tmp_path):
    samples = cgroup.read(write_record(tmp_path, {}, until=22))
    with pytest.raises(IronbenchError, match="do not cover"):
        cpu_check(samples, sar_json({1: in_window(50)}, until=15), make_host(), LOAD)


def test_sar_that_saw_nothing_does_not_pass_for_agreement(tmp_path):
    found = check(tmp_path, {"app": busy(0.3)}, {1: in_window(0, before=5)}, make_host())
    assert next(c for c in found if c.cpus == "1").difference > 10


def test_work_that_the_ticks_never_met_shows_in_the_idle_time(tmp_path):
    """A CPU that works 30 % of the window, of which sar saw a tenth; 5 % of the time before."""

    def off_ms(t):
        return 1000 * (0.95 * min(t, 10) + 0.7 * (min(max(t, 10), 20) - 10) + max(0, t - 20))

    found = check(tmp_path, {"app": busy(0.3)}, {1: in_window(3)}, make_host(), off_ms=off_ms)
    app = next(c for c in found if c.cpus == "1")
    assert app.nonidle_ms == pytest.approx(2500, abs=60)
    assert app.sar_ms == pytest.approx(300)
