from __future__ import annotations

import msgspec
import pytest
from ironbench.collect import cgroup
from ironbench.collect.cgroup import Header, Sample
from ironbench.errors import IronbenchError

from .truth import CGROUPS, T0, make_host, make_load, write_record


def by_name(services):
    return {service.service: service for service in services}


def test_step_load_is_measured_exactly_although_no_sample_falls_on_its_ends(tmp_path):
    """The app burns 0.5 CPU from first send to drained and nothing before and after."""
    load = make_load(first=10.05, drained=13.47, completed=342)

    def app(t):
        return 500_000 * (min(max(t, 10.05), 13.47) - 10.05)

    record = write_record(tmp_path, {"app": app}, until=15)
    services = by_name(cgroup.service_cpu(cgroup.read(record), make_host(), load))
    assert services["app"].net_ms == pytest.approx(1710, abs=0.01)
    assert services["app"].total_ms == pytest.approx(1710, abs=0.01)
    assert services["app"].per_request_ms == pytest.approx(5.0, abs=1e-4)
    assert services["app"].cpus == "1"
    assert services["app"].cgroup == CGROUPS["app"]


def test_idle_rate_is_taken_off_over_the_same_time(tmp_path):
    load = make_load(first=10.05, drained=14.05, completed=100)

    def postgresql(t):
        return 20_000 * t + 100_000 * (min(max(t, 10.05), 14.05) - 10.05)

    record = write_record(tmp_path, {"postgresql": postgresql}, until=16)
    service = by_name(cgroup.service_cpu(cgroup.read(record), make_host(), load))["postgresql"]
    assert service.idle_ms_per_s == pytest.approx(20, abs=0.01)
    assert service.total_ms == pytest.approx(480, abs=0.01)
    assert service.net_ms == pytest.approx(400, abs=0.01)
    assert service.per_request_ms == pytest.approx(4, abs=1e-4)


def test_nothing_completed_costs_nothing_per_request(tmp_path):
    record = write_record(tmp_path, {"app": lambda t: 1000 * t}, until=16)
    load = make_load(first=10.05, drained=14.05, completed=0)
    assert by_name(cgroup.service_cpu(cgroup.read(record), make_host(), load))["app"].per_request_ms == 0


def test_work_of_two_loads_is_divided_by_the_requests_of_both(tmp_path):
    record = write_record(tmp_path, {"app": lambda t: 500_000 * (min(max(t, 10), 14) - 10)}, until=16)
    own, background = (make_load(first=10, drained=14, completed=n) for n in (90, 10))
    services = by_name(cgroup.service_cpu(cgroup.read(record), make_host(), own, background))
    assert services["app"].net_ms == pytest.approx(2000, abs=0.01)
    assert services["app"].per_request_ms == pytest.approx(20, abs=1e-4)


def test_writing_files_after_the_window_is_not_the_generators_load(tmp_path):
    load = make_load(first=10.05, drained=14.06, completed=100)

    def generator(t):
        return None if t < 8 else 100_000 * max(0, min(t, 14.06) - 10.05) + 900_000 * max(0, t - 14.06)

    record = write_record(tmp_path, {"load_generator": generator}, until=16)
    services = by_name(cgroup.service_cpu(cgroup.read(record), make_host(), load))
    assert services["load_generator"].net_ms == pytest.approx(401, abs=11)


def test_other_is_what_the_root_holds_beside_services_and_generator(tmp_path):
    load = make_load(first=10.0, drained=14.0, completed=100)

    def busy(rate):
        return lambda t: rate * (min(max(t, 10.0), 14.0) - 10.0)

    use = {
        "app": busy(500_000),
        "load_generator": busy(100_000),
        "/bench.slice": busy(600_000),
        "/system.slice": busy(70_000),
        "/init.scope": busy(5_000),
    }
    services = by_name(
        cgroup.service_cpu(cgroup.read(write_record(tmp_path, use, until=16)), make_host(), load)
    )
    assert services["other"].net_ms == pytest.approx(300, abs=11)
    assert services["other"].cpus == "0"


def test_a_restart_in_the_window_loses_no_work_that_was_seen(tmp_path):
    """The counter begins at 0 again with the new cgroup."""
    load = make_load(first=10.0, drained=14.0, completed=100)

    def app(t):
        if t < 12:
            return 400_000 + 100_000 * max(0, t - 10)
        return 100_000 * (min(t, 14.0) - 12)

    record = write_record(tmp_path, {"app": app}, until=16)
    services = by_name(cgroup.service_cpu(cgroup.read(record), make_host(), load))
    assert services["app"].net_ms == pytest.approx(400, abs=11)


def test_mean_mhz_is_of_the_bench_cpus_in_the_window(tmp_path):
    record = write_record(
        tmp_path, {}, until=16, mhz=lambda t: [800.0, 3000.0, 100.0] if 10 <= t <= 14 else [1.0, 1.0, 1.0]
    )
    load = make_load(first=10.0, drained=14.0, completed=100)
    assert cgroup.mean_mhz(cgroup.read(record), make_host(), load) == pytest.approx(1900)


def test_no_clock_told_gives_none(tmp_path):
    record = write_record(tmp_path, {}, until=16)
    load = make_load(first=10.0, drained=14.0, completed=100)
    assert cgroup.mean_mhz(cgroup.read(record), make_host(), load) is None


def test_a_line_cut_off_at_the_end_is_left_out(tmp_path):
    record = write_record(tmp_path, {}, until=2)
    whole = cgroup.read(record)
    record.write_bytes(record.read_bytes()[:-5])
    assert cgroup.read(record).ns == whole.ns[:-1]


def test_a_record_that_ends_in_the_window_is_refused(tmp_path):
    record = write_record(tmp_path, {}, until=12)
    load = make_load(first=10.0, drained=14.0, completed=100)
    with pytest.raises(IronbenchError, match=r"ends 2\.\d s before the window was drained"):
        cgroup.service_cpu(cgroup.read(record), make_host(), load)


def test_a_record_without_the_quiet_time_is_refused(tmp_path):
    record = write_record(tmp_path, {}, since=11, until=16)
    load = make_load(first=10.0, drained=14.0, completed=100)
    with pytest.raises(IronbenchError, match="0 samples of the quiet time"):
        cgroup.service_cpu(cgroup.read(record), make_host(), load)


def test_a_header_alone_is_refused(tmp_path):
    record = write_record(tmp_path, {}, since=5, until=5)
    with pytest.raises(IronbenchError, match="no sample"):
        cgroup.read(record)


def test_an_unknown_schema_is_refused(tmp_path):
    path = tmp_path / "cgroup.jsonl"
    header = Header(schema=99, cgroups={"app": "/a"}, cpus=[0])
    sample = Sample(T0, [1], [[0] * 8], [])
    path.write_bytes(msgspec.json.encode(header) + b"\n" + msgspec.json.encode(sample) + b"\n")
    with pytest.raises(IronbenchError, match="schema 99"):
        cgroup.read(path)


def test_something_else_is_refused(tmp_path):
    path = tmp_path / "cgroup.jsonl"
    path.write_text("hello\nyou\n")
    with pytest.raises(IronbenchError, match="is not a sampler's record"):
        cgroup.read(path)
    with pytest.raises(IronbenchError, match="cannot read"):
        cgroup.read(tmp_path / "nothing.jsonl")
