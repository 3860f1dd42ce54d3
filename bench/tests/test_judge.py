"""Each entry of the two ledgers, with a case that has it and one that just does not."""

import pytest
from ironbench.judge import (
    CLOCK_STEP_MS,
    FOREIGN_CPU,
    GENERATOR_CPU,
    STEAL,
    Evidence,
    Generator,
    HostEvidence,
    judge,
)
from ironbench.plan import make_session
from ironbench.records import SCHEMA, Affinity, ClockReading, Clocks, Gate

from .made import (
    LAYOUT,
    PACKED,
    START,
    UNITS,
    S,
    background,
    core,
    cpu_check,
    experiment,
    host,
    load_result,
    plan,
    replace,
    service_cpu,
    snapshot,
    study,
    unit,
)


def evidence(
    *,
    load=None,
    beside=None,
    layout=LAYOUT,
    rate=3.0,
    thirds=None,
    beside_thirds=None,
    expect_saturation=False,
    clocks=None,
    **changes,
):
    one = experiment(
        rate=rate, expect_saturation=expect_saturation, background=background() if beside else None
    )
    made = plan("short", of=study(experiments={"signin": one}))
    box = HostEvidence(
        host=host(layout),
        before=snapshot(-20),
        after=snapshot(10),
        cpu=[service_cpu()],
        cores=[core(cpu) for cpu in range(8)],
        cpu_check=[],
        mhz=3500.0,
        unusable=[],
    )
    return Evidence(
        session=make_session(made, made.runs[0]),
        generators=[Generator(host="box", load=load or load_result(), background=beside)],
        load=load or load_result(),
        background=beside,
        clocks=clocks or {},
        hosts=[replace(box, **changes)],
        third_means_ms=thirds,
        background_third_means_ms=beside_thirds,
    )


def faults(**changes):
    return [fault.kind for fault in judge(evidence(**changes))[0]]


def outcomes(**changes):
    return [outcome.kind for outcome in judge(evidence(**changes))[1]]


def with_unit(at_s, service, **changes):
    return snapshot(at_s, units=[unit(s, **(changes if s == service else {})) for s in UNITS])


def late(p99):
    result = load_result()
    return replace(result, own_send_lag=replace(result.own_send_lag, count=24, p99=p99))


def test_clean_run_has_no_entries():
    assert judge(evidence(thirds=(60.0, 61.0, 62.0))) == ([], [])


# --- instrument faults -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "layout", "fine", "bad"),
    [(3.0, LAYOUT, 33.0, 34.0), (600.0, LAYOUT, 1.0, 1.1), (600.0, PACKED, 50.0, 51.0)],
)
def test_generator_late(rate, layout, fine, bad):
    assert faults(rate=rate, layout=layout, load=late(fine)) == []
    assert faults(rate=rate, layout=layout, load=late(bad)) == ["generator-late"]


def test_a_generator_that_stands_still_between_due_times_is_late_too():
    result = load_result()

    def stalled(p99):
        return replace(result, timer_lag=replace(result.own_send_lag, count=800, p99=p99))

    assert faults(rate=3.0, load=stalled(33.0)) == []
    assert faults(rate=3.0, load=stalled(34.0)) == ["generator-stalled"]


def test_system_send_lag_is_no_fault():
    result = load_result()
    busy = replace(result, system_send_lag=replace(result.system_send_lag, count=24, p99=9_000.0))
    assert faults(load=busy) == []


def test_generator_saturated():
    assert faults(load=load_result(cpu_share=GENERATOR_CPU.limit)) == []
    assert faults(load=load_result(cpu_share=0.75)) == ["generator-saturated"]


def test_steal_counts_on_bench_cpus_only():
    assert faults(cores=[core(0, steal=STEAL.limit)]) == []
    assert faults(cores=[core(0), core(7, steal=2.1)]) == ["steal"]
    assert faults(cores=[core(5, steal=50.0)]) == []  # housekeeping


def test_throttling():
    assert faults(after=snapshot(10, throttled={"0": 3, "1": 3})) == []
    assert faults(after=snapshot(10, throttled={"0": 3, "1": 4})) == ["throttling"]


@pytest.mark.parametrize("sign", [1, -1])
def test_clock_step(sign):
    def stepped(ms):
        after = snapshot(10)
        return replace(after, ns=after.ns + int(sign * ms * 1e6))

    assert faults(after=stepped(CLOCK_STEP_MS.limit)) == []
    assert faults(after=stepped(11)) == ["clock-step"]


@pytest.mark.parametrize("layout", [LAYOUT, PACKED])
def test_foreign_cpu_by_sar(layout):
    limit = FOREIGN_CPU.packed if layout.packed else FOREIGN_CPU.limit

    def check(share):
        foreign_ms = share * 2 * 8_200  # two CPUs, first send to drained
        return [cpu_check(cpus="0-1", foreign_ms=foreign_ms)]

    assert faults(layout=layout, cpu_check=check(limit - 0.01)) == []
    assert faults(layout=layout, cpu_check=check(limit + 0.01)) == ["foreign-cpu"]


def test_instruments_that_disagree():
    def found(cgroup_ms, nonidle_ms):
        check = cpu_check(cpus="0-1", cgroup_ms=cgroup_ms, nonidle_ms=nonidle_ms)
        return faults(cpu_check=[check])

    assert found(6_000, 6_500) == []
    assert found(6_000, 6_800) == ["instruments-disagree"]
    assert found(7_400, 6_700) == ["instruments-disagree"]
    assert found(100, 400) == [], "a quiet service and a timer"


def test_foreign_cpu_of_other_cgroups_where_housekeeping_shares_cpus():
    other = [service_cpu("other", cpus="0-1", total_ms=0.3 * 2 * 8_200)]
    assert faults(layout=PACKED, cpu=other) == ["foreign-cpu"]
    assert faults(layout=PACKED, cpu=[replace(other[0], total_ms=0.2 * 2 * 8_200)]) == []
    assert faults(layout=LAYOUT, cpu=other) == []


def test_affinity():
    wrong = [Affinity(service="app", pid=101, wanted="0-1", effective="0-7", ok=False)]
    assert faults(before=with_unit(-20, "app", affinity=wrong)) == ["affinity"]
    assert faults(after=with_unit(10, "app", affinity=wrong)) == ["affinity"]
    assert faults(before=with_unit(-20, "app", affinity=[replace(wrong[0], ok=True)])) == []


@pytest.mark.parametrize("state", ["failed", "inactive"])
def test_observer_died(state):
    died = snapshot(10).observers | {"ironbench-sar.service": state}
    assert faults(after=snapshot(10, observers=died)) == ["observer-died"]


def test_observer_that_vanished_or_left_nothing():
    assert faults(after=snapshot(10, observers={"ironbench-sar.service": "active"})) == ["observer-died"]
    assert faults(unusable=["cgroup.jsonl: cannot read it."]) == ["observer-died"]


def test_service_stopped_by_something_else():
    after = with_unit(10, "postgresql", active="inactive", main_pid=0, pids=[])
    load = load_result(errors={"closed": 3}, unexpected_status=5, statuses={"204": 16, "500": 5})
    found = judge(evidence(after=after, load=load))
    assert [fault.kind for fault in found[0]] == ["service-interrupted"]
    assert [outcome.kind for outcome in found[1]] == ["errors", "unexpected-status"]


def test_service_restarted_by_something_else():
    after = with_unit(10, "app", invocation="app-2", main_pid=200, pids=[200, 201, 202])
    assert faults(after=after) == ["service-interrupted"]
    assert outcomes(after=after) == []


def test_service_gone_or_not_there_before():
    assert faults(after=snapshot(10, units=[unit(s) for s in UNITS if s != "valkey"])) == [
        "service-interrupted"
    ]
    assert faults(before=with_unit(-20, "valkey", active="inactive")) == ["service-interrupted"]


def test_a_job_of_a_services_own_in_the_quiet_time_is_no_idle_rate():
    """As autovacuum: its rate would be taken off PostgreSQL's work under load."""
    job = service_cpu("postgresql", total_ms=48.0, idle_ms_per_s=30.0)
    assert faults(cpu=[service_cpu(), job]) == ["idle-work"]
    steady = replace(job, total_ms=480.0)  # as much under load: it polls
    assert faults(cpu=[service_cpu(), steady]) == []
    small = replace(job, idle_ms_per_s=3.0, total_ms=10.0)
    assert faults(cpu=[service_cpu(), small]) == []
    of_the_app = service_cpu(total_ms=48.0, idle_ms_per_s=30.0)
    assert faults(cpu=[of_the_app]) == []


# --- outcomes ----------------------------------------------------------------------------------


def test_saturation():
    assert outcomes(load=load_result(achieved_rps=2.98, offered_rps=3.0)) == []
    assert outcomes(load=load_result(achieved_rps=2.9, offered_rps=3.0)) == ["saturation"]
    found = judge(evidence(load=load_result(achieved_rps=1.0, offered_rps=3.0), expect_saturation=True))[1]
    assert found[0].detail.endswith("as this experiment expects")


def test_errors_timeouts_and_statuses():
    load = load_result(errors={"timeout": 2, "reset": 1, "closed": 0}, unexpected_status=4)
    found = judge(evidence(load=load))
    assert found[0] == []
    assert [(o.kind, o.value) for o in found[1]] == [
        ("errors", 1),
        ("timeouts", 2),
        ("unexpected-status", 4),
    ]


@pytest.mark.parametrize("result", ["exit-code", "signal", "core-dump", "oom-kill"])
def test_crash(result):
    after = with_unit(10, "app", active="failed", result=result, main_pid=0, pids=[])
    assert (faults(after=after), outcomes(after=after)) == ([], ["crash"])


def test_crash_that_systemd_mended():
    after = with_unit(10, "app", restarts=1, invocation="app-2", pids=[200, 201, 202])
    assert (faults(after=after), outcomes(after=after)) == ([], ["crash"])


def test_worker_that_died():
    after = with_unit(10, "app", pids=[100, 101, 103])
    assert (faults(after=after), outcomes(after=after)) == ([], ["crash"])
    assert outcomes(after=with_unit(10, "app", pids=[102, 101, 100])) == []


def test_backends_of_the_database_come_and_go():
    assert outcomes(after=with_unit(10, "postgresql", pids=[100, 300])) == []


def test_drift():
    assert outcomes(thirds=(50.0, 80.0, 100.0)) == []
    assert outcomes(thirds=(50.0, 80.0, 101.0)) == ["drift"]


def test_failed_gate_is_an_outcome_and_no_saturation():
    gate = Gate(ok=False, status=500, detail="The answer's status is 500, not 204.", body_bytes=3)
    empty = load_result([], gate=gate, first_send_ns=0, drained_ns=0)
    assert outcomes(load=empty) == ["gate"]
    assert faults(load=empty) == []


def test_findings_name_their_host_and_limit():
    fault = judge(evidence(cores=[core(0, steal=9.0)]))[0][0]
    assert (fault.host, fault.value, fault.threshold) == ("box", 9.0, STEAL.limit)


def clock(offset_ms=0.0, bound_ms=0.1, **changes):
    return ClockReading(peer="data", offset_ms=offset_ms, bound_ms=bound_ms, **changes)


def clocks(before, after=None):
    return {"load": Clocks(schema=SCHEMA, before=[before], after=[after or clock()])}


@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_that_differ_by_more_than_a_tenth_of_the_margin_of_the_window(sign):
    """The window is of 8 s, so 2 per mille are 16 ms; the reading itself may be off by its bound."""
    assert faults(clocks=clocks(clock(sign * 16.0))) == []
    assert faults(clocks=clocks(clock(sign * 17.0, 1.5))) == []
    assert faults(clocks=clocks(clock(sign * 17.0))) == ["clock-offset"]
    assert faults(clocks=clocks(clock(), clock(sign * 17.0))) == ["clock-offset"], "stepped in the window"
    (fault,) = judge(evidence(clocks=clocks(clock(sign * 500.0))))[0]
    assert (fault.host, fault.value, fault.threshold) == ("data", sign * 500.0, 16.0)
    assert f"{sign * 500.0:+.1f} ms from that of load" in fault.detail


def test_a_short_window_asks_no_more_of_clocks_than_a_network_can_tell():
    short = load_result(window_s=1.0)
    assert faults(load=short, clocks=clocks(clock(10.0))) == []
    assert faults(load=short, clocks=clocks(clock(11.0))) == ["clock-offset"]


def test_a_clock_that_nobody_could_read_is_none_to_trust():
    assert faults(clocks=clocks(clock(bound_ms=16.0))) == []
    assert faults(clocks=clocks(clock(bound_ms=17.0))) == ["clock-unknown"]
    (fault,) = judge(evidence(clocks=clocks(clock(), clock(unknown="the service cannot be reached"))))[0]
    assert (fault.kind, fault.host) == ("clock-unknown", "data")
    assert fault.detail == "its clock could not be read after the load: the service cannot be reached"
    (fault,) = judge(evidence(clocks={"load": Clocks(schema=SCHEMA, before=[clock()])}))[0]
    assert (fault.kind, fault.host) == ("clock-unknown", "load")


def test_generators_that_did_not_start_together():
    def started(apart_ms):
        both = [
            Generator(host=name, load=load_result(idle_until_ns=START + round(late * 1e6)))
            for name, late in (("load1", 0), ("load2", apart_ms))
        ]
        return [fault.kind for fault in judge(replace(evidence(), generators=both))[0]]

    assert started(16.0) == []
    assert started(17.0) == ["generators-apart"]


def test_each_generator_is_judged_by_itself():
    both = [Generator(host="load1", load=load_result()), Generator(host="load2", load=late(34.0))]
    (fault,) = judge(replace(evidence(), generators=both))[0]
    assert (fault.kind, fault.host) == ("generator-late", "load2")


def test_who_is_killed_from_outside_has_not_crashed():
    for how in ({"active": "failed", "result": "signal"}, {"restarts": 1, "invocation": "valkey-2"}):
        killed = evidence(after=with_unit(10, "valkey", killed=True, **how))
        found, results = judge(killed)
        assert ([fault.kind for fault in found], results) == (["service-killed"], [])
        crashed = evidence(after=with_unit(10, "valkey", **how))
        assert ([fault.kind for fault in judge(crashed)[0]], outcomes(after=crashed.hosts[0].after)) == (
            [],
            ["crash"],
        )


def test_snapshot_times_alone_are_no_clock_step():
    assert faults(after=snapshot(3_600)) == []
    assert snapshot(10).ns == START + 10 * S


# --- a background is held to the same rules ----------------------------------------------------


def signups(**changes):
    return replace(load_result(rate=2.0, statuses={"201": 16}), **changes)


def test_a_clean_run_with_a_background_has_no_entries():
    assert judge(evidence(beside=signups(), beside_thirds=(200.0, 201.0, 202.0))) == ([], [])


@pytest.mark.parametrize(
    ("beside", "kind", "detail"),
    [
        (
            signups(own_send_lag=late(51.0).own_send_lag),
            "generator-late",
            "1 % of the sends left 51.0 ms late",
        ),
        (signups(timer_lag=late(51.0).own_send_lag), "generator-stalled", "at 1 % of its ticks"),
        (signups(cpu_share=0.75), "generator-saturated", "the generator used 0.75 of one CPU"),
    ],
)
def test_instrument_faults_of_the_background(beside, kind, detail):
    (fault,) = judge(evidence(beside=beside))[0]
    assert fault.kind == kind
    assert fault.detail.startswith(f"in the background, {detail}")


def test_lag_is_held_against_each_loads_own_distance():
    """50 ms are a tenth of the distance of signups at 2 a second and many times that of /me at 60."""
    assert faults(rate=60.0, beside=signups(own_send_lag=late(49.0).own_send_lag)) == []
    assert faults(rate=60.0, beside=signups(), load=late(49.0)) == ["generator-late"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"achieved_rps": 1.9}, "saturation"),
        ({"errors": {"reset": 1}}, "errors"),
        ({"errors": {"timeout": 1}}, "timeouts"),
    ],
)
def test_outcomes_of_the_background(changes, kind):
    (outcome,) = judge(evidence(beside=signups(**changes)))[1]
    assert (outcome.kind, outcome.detail[:19]) == (kind, "in the background, ")


def test_each_load_has_its_own_expected_status():
    beside = signups(statuses={"201": 14, "204": 2}, unexpected_status=2)
    (outcome,) = judge(evidence(beside=beside))[1]
    assert outcome.detail == "in the background, 2 answers were not 201 (2 x 204)"


def test_drift_of_the_background():
    (outcome,) = judge(evidence(beside=signups(), beside_thirds=(50.0, 80.0, 101.0)))[1]
    assert outcome.kind == "drift"
    assert "in the background" in outcome.detail


@pytest.mark.parametrize("whose", ["load", "beside"])
def test_either_gate_that_failed_is_the_only_outcome(whose):
    bad = Gate(ok=False, status=500, detail="The answer's status is 500.", body_bytes=3)
    empty = load_result([], first_send_ns=0, drained_ns=0)
    failed = replace(empty, gate=bad)
    own, beside = (failed, empty) if whose == "load" else (empty, failed)
    found = judge(evidence(load=own, beside=beside))
    assert found[0] == []
    (outcome,) = found[1]
    assert outcome.kind == "gate"
    assert outcome.detail.startswith("in the background") == (whose == "beside")
