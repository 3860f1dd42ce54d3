"""A recorded session: python's http.server on CPU 1 as the app, 46 requests per second for 3 s.

From a container that has one of the machine's two CPUs each for the app and the generator, while other
work ran on the machine.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest
from ironbench.collect import cgroup, cpu_check, sar
from ironbench.records import Host, LoadResult

FIXTURES = Path(__file__).with_name("fixtures")


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "cgroup.jsonl"
    path.write_bytes(gzip.decompress((FIXTURES / "cgroup.jsonl.gz").read_bytes()))
    return (
        cgroup.read(path),
        gzip.decompress((FIXTURES / "sar.json.gz").read_bytes()),
        msgspec.json.decode((FIXTURES / "host.json").read_bytes(), type=Host),
        msgspec.json.decode((FIXTURES / "load.json").read_bytes(), type=LoadResult),
    )


def test_the_generators_cgroup_agrees_with_its_own_clock(recorded):
    samples, _, host, load = recorded
    found = {service.service: service for service in cgroup.service_cpu(samples, host, load)}
    assert found["load_generator"].total_ms == pytest.approx(load.cpu_ms, rel=0.1)
    assert found["app"].per_request_ms == pytest.approx(0.49, abs=0.01)
    assert found["postgresql"].net_ms < 1


def test_sar_and_cgroups_see_the_same_window(recorded):
    samples, sar_json, host, load = recorded
    assert [core.cpu for core in sar.core_use(sar_json, load.first_send_ns, load.drained_ns)] == [0, 1]
    (check,) = cpu_check(samples, sar_json, host, load)
    assert check.cpus == "0,1"
    assert 0 < check.cgroup_ms < 1000
