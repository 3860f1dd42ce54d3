"""One whole session: what it leaves in the archive and on the host."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest
from ironbench.collect import cgroup, sar
from ironbench.collect.cgroup import LATE_S
from ironbench.ingest import read_evidence
from ironbench.records import LoadResult, Snapshot

from .conftest import show, unpack


@pytest.fixture(scope="module")
def evidence(finished):
    return read_evidence(finished.raw)


def test_every_verb_answers_what_the_playbook_reads(finished):
    answers = finished.answers
    assert answers["prepare"]["users"] == 3
    assert answers["prepare"]["took_s"] > 0
    assert answers["observe"]["units"] == [finished.bench.unit("sar"), finished.bench.unit("sampler")]
    assert answers["load"] == {"unit": finished.bench.unit("load"), "expected_s": 12}
    assert answers["collect"]["generator_exit"] == 0
    assert (answers["collect"]["host"], answers["collect"]["key"]) == ("one", finished.bench.session.run.key)


def test_the_session_starts_when_its_preparing_does(finished, evidence):
    (host,) = evidence.hosts
    took_ns = finished.answers["prepare"]["took_s"] * 1e9
    assert host.before.ns - took_ns > finished.answers["collect"]["started_ns"] > host.before.ns - 60e9


def test_the_controller_can_read_and_judge_the_archive(evidence):
    (host,) = evidence.hosts
    assert host.unusable == []
    assert evidence.load.completed == 60
    assert evidence.background.completed == 30
    assert evidence.background.drained_ns == evidence.load.drained_ns
    assert {cpu.service for cpu in host.cpu} == {"app", "postgresql", "load_generator", "other"}
    assert [core.cpu for core in host.cores] == [0, 1]


def test_the_generators_cgroup_agrees_with_its_own_clock(evidence):
    """Two instruments: the cgroup's counter and the process's own CPU clock."""
    found = {cpu.service: cpu for cpu in evidence.hosts[0].cpu}
    cpu_ms = evidence.load.cpu_ms + evidence.background.cpu_ms
    assert found["load_generator"].total_ms == pytest.approx(cpu_ms, rel=0.25, abs=5)
    assert found["app"].per_request_ms > 0.05


def test_users_and_spec_never_leave_the_host(finished, tmp_path):
    names = set(unpack(finished.answers["collect"], tmp_path))
    assert {"before.json", "after.json", "sar.json", "sar.txt", "cgroup.jsonl", "load/load.json"} <= names
    assert not names & {"users.jsonl", "spec.json"}
    contents = [path.read_bytes() for path in (finished.raw / "one").rglob("*") if path.is_file()]
    assert not any(b"final-0" in content for content in contents)


def test_nothing_is_wrong_so_there_is_no_journal(finished):
    assert not (finished.raw / "one" / "journal.txt").exists()


def test_collect_again_gives_the_same(finished):
    assert finished.answers["again"] == finished.answers["collect"]


def test_nothing_is_left_running(finished):
    for unit in (
        *(finished.bench.unit(k) for k in ("sar", "sampler", "load")),
        "bench-test-app@final.service",
    ):
        assert show(unit, "ActiveState") == "inactive"


def test_snapshots_are_of_running_services_and_observers(evidence):
    host = evidence.hosts[0]
    for snapshot in (host.before, host.after):
        assert set(snapshot.observers.values()) == {"active"}
        assert len(snapshot.observers) == 2
        app, postgresql = snapshot.units
        assert (app.active, app.result, app.restarts) == ("active", "success", 0)
        assert (app.nofile_soft, app.nofile_hard) == (4096, 4096)
        assert len(postgresql.pids) > 3
        assert {a.pid for a in postgresql.affinity} == set(postgresql.pids)
        assert all(a.ok for a in (*app.affinity, *postgresql.affinity))
    assert host.before.units[0].invocation == host.after.units[0].invocation
    assert abs((host.after.ns - host.after.monotonic_ns) - (host.before.ns - host.before.monotonic_ns)) < 10e6


def test_sars_samples_fall_on_the_seconds_of_quiet_time_and_window(finished):
    load = msgspec.json.decode((finished.raw / "one/load/load.json").read_bytes(), type=LoadResult)
    samples = sar.cpu_samples((finished.raw / "one/sar.json").read_bytes())
    seconds = sorted({s.until_ns for s in samples})
    assert all(b - a == 10**9 for a, b in itertools.pairwise(seconds))
    # What the comparison with the cgroups needs: a whole sample of the quiet time, and all of the window's.
    assert any(load.idle_from_ns <= s.from_ns and s.until_ns <= load.idle_until_ns for s in samples)
    assert seconds[-1] >= load.drained_ns // 10**9 * 10**9


def test_the_sampler_took_ten_samples_a_second_at_whole_tenths(finished):
    record = cgroup.read(finished.raw / "one/cgroup.jsonl")
    gaps = [b - a for a, b in itertools.pairwise(record.ns)]
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(1e8, rel=0.02)
    late = sorted(ns % 100_000_000 for ns in record.ns)
    assert late[len(late) // 2] < 5_000_000
    assert record.usage["load_generator"][0] is None
    assert (record.usage["load_generator"][-1] or 0) > 0


def test_work_that_was_put_off_beyond_the_window_is_sampled(finished):
    record = cgroup.read(finished.raw / "one/cgroup.jsonl")
    load = msgspec.json.decode((finished.raw / "one/load/load.json").read_bytes(), type=LoadResult)
    assert record.ns[-1] >= load.drained_ns + LATE_S * 1e9


def test_sar_text_has_both_reports(finished):
    text = (finished.raw / "one/sar.txt").read_text()
    assert "%usr" in text
    assert "runq-sz" in text
    assert "cswch/s" in text


def test_session_and_host_are_kept_beside_the_outputs(finished):
    kept = json.loads((finished.raw / "one/session.json").read_text())
    assert kept["run"]["variant"] == "final"
    assert json.loads((finished.raw / "one/host.json").read_text())["name"] == "one"
    assert msgspec.json.decode((finished.raw / "one/before.json").read_bytes(), type=Snapshot).schema == 1
