"""A bundle's life on disk: created whole, sealed once, safe against kills, resumed where it was."""

import fcntl
import os
import resource
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.errors import IronbenchError
from ironbench.files import read_record
from ironbench.ingest import merge_distributions, read_collected, read_distribution
from ironbench.load.histogram import Histograms, merge
from ironbench.plan import make_session, pending
from ironbench.records import Finding, Gate, LoadResult, Run
from ironbench.report import write_report

from .made import (
    VARIANTS,
    WINDOW_S,
    background,
    due,
    experiment,
    handed_in,
    host,
    load_result,
    new_bundle,
    plan,
    replace,
    seal_next,
    snapshot,
    study,
    write_raw,
)

LOADS = ("load", "load/background")


@pytest.fixture
def bundle(tmp_path):
    return new_bundle(tmp_path)


def raw_of(bundle, raw, run, **changes):
    return write_raw(raw, make_session(bundles.read_plan(bundle), run), **changes)


def test_create(bundle, tmp_path):
    assert bundle == tmp_path / "results" / "made"
    assert sorted(path.name for path in bundle.iterdir()) == [
        "environment",
        "manifest.json",
        "plan.json",
        "runs",
        "seals.jsonl",
    ]
    manifest = bundles.read_manifest(bundle)
    assert (manifest.id, manifest.study, manifest.protocol, manifest.git) == ("made", "made", "quick", None)
    assert bundles.read_plan(bundle) == plan()
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["made"]


def test_create_twice_is_refused(bundle, tmp_path):
    with pytest.raises(IronbenchError, match="exists already; choose another --id"):
        new_bundle(tmp_path)


@pytest.mark.parametrize("name", ["../x", ".hidden", "a b", ""])
def test_create_with_a_bad_id(tmp_path, name):
    with pytest.raises(IronbenchError, match="cannot be a name"):
        new_bundle(tmp_path, replace(plan(), id=name))


def test_git_commit_and_dirt(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(
            ["git", "-C", tmp_path / "tree", *identity, *arguments], check=True, capture_output=True
        )

    (tmp_path / "tree").mkdir()
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    clean = bundles.create(tmp_path / "results", plan(), study(), tmp_path / "tree")
    (tmp_path / "tree" / "new").write_text("x")
    dirty = bundles.create(tmp_path / "results", replace(plan(), id="b"), study(), tmp_path / "tree")
    first, second = (bundles.read_manifest(path).git for path in (clean, dirty))
    assert first
    assert second
    assert len(first.commit) == 40
    assert (first.dirty, second.dirty) == (False, True)


def test_seal_writes_the_run_with_its_raw_outputs(bundle, tmp_path):
    first = due(bundle)
    run = seal_next(bundle, tmp_path, started_ns=5)
    assert run.instrument_faults == []
    assert run.outcomes == []
    directory = bundle / "runs" / first.experiment / "01" / first.variant
    assert sorted(path.name for path in directory.iterdir()) == ["latency.hgrm", "raw", "run.json"]
    assert (directory / "raw/box/sar.txt").read_text() == "sar\n"
    assert msgspec.json.decode((directory / "run.json").read_bytes(), type=Run) == run
    assert (run.run, run.started_ns) == (first, 5)
    assert {cpu.service for cpu in run.cpu} >= {"app", "postgresql", "pgbouncer", "valkey"}
    assert {item.host for item in (*run.cpu, *run.cores, *run.cpu_check)} == {"box"}
    app = next(cpu for cpu in run.cpu if cpu.service == "app")
    assert app.net_ms == pytest.approx(2 * 0.3 * 8_200, rel=0.02)
    assert all(abs(check.difference) < 0.05 for check in run.cpu_check)
    (system,) = run.system
    assert (system.host, system.samples) == ("box", WINDOW_S)
    assert system.runq_sz
    assert (system.runq_sz.max, system.runq_sz.mean) == (5, 5)
    assert system.cswch_per_s
    assert system.cswch_per_s.mean == 2000 > system.cswch_per_s.mean_whole_record


def test_start_is_the_first_snapshot_unless_given(bundle, tmp_path):
    assert seal_next(bundle, tmp_path).started_ns == snapshot(-20).ns


def test_sealing_all_ends_the_plan(tmp_path):
    bundle = new_bundle(tmp_path, plan("short"))
    keys = []
    while due(bundle):
        keys.append(seal_next(bundle, tmp_path).run.key)
    assert keys == [run.key for run in plan("short").runs]
    assert pending(bundles.read_plan(bundle), bundles.read_runs(bundle), []).done


def test_sealing_twice_is_refused(bundle, tmp_path):
    first = due(bundle)
    seal_next(bundle, tmp_path)
    before = (bundles.run_directory(bundle, first) / "run.json").read_bytes()
    with pytest.raises(IronbenchError, match="is sealed already"):
        bundles.seal(bundle, tmp_path / "raw" / first.key, started_ns=None)
    assert (bundles.run_directory(bundle, first) / "run.json").read_bytes() == before


def test_session_that_is_not_pending_is_refused(bundle, tmp_path):
    raw = raw_of(bundle, tmp_path / "raw", plan().runs[3])
    with pytest.raises(IronbenchError, match="the pending run is"):
        bundles.seal(bundle, raw, started_ns=None)
    assert bundles.read_runs(bundle) == []


def test_pending_run_with_other_settings_is_refused(bundle, tmp_path):
    session = replace(make_session(bundles.read_plan(bundle), due(bundle)), window_s=99)
    with pytest.raises(IronbenchError, match="were not sealed"):
        bundles.seal(bundle, write_raw(tmp_path / "raw", session), started_ns=None)


def test_session_of_another_plan_is_refused(bundle, tmp_path):
    other = replace(plan(), id="other")
    raw = write_raw(tmp_path / "raw", make_session(other, other.runs[0]))
    with pytest.raises(IronbenchError, match="belong to plan other"):
        bundles.seal(bundle, raw, started_ns=None)


def test_kill_before_the_rename_leaves_no_run(bundle, tmp_path):
    first = due(bundle)
    left = bundle / ".sealing"
    raw_of(bundle, left / "raw", first)
    (left / "run.json").write_text('{"schema": 1}')  # half of its fields, as a kill might leave it
    assert bundles.read_runs(bundle) == []
    assert due(bundle) == first
    assert seal_next(bundle, tmp_path).run == first
    assert not list(bundle.rglob(".*"))


def test_what_hosts_hand_in_is_sealed_as_from_a_directory(tmp_path):
    bundle, other = (new_bundle(tmp_path / name) for name in ("one", "other"))
    raw = raw_of(bundle, tmp_path / "raw", due(bundle))
    handed = bundles.seal_collected(bundle, read_collected(handed_in(raw, started_ns=7)))
    copied = bundles.seal(other, raw, started_ns=7)
    assert replace(handed, sealed_ns=0) == replace(copied, sealed_ns=0)
    assert handed.files == copied.files
    assert len(handed.files) > 5
    assert bundles.read_runs(bundle) == [handed]


def test_a_disk_that_takes_no_more_leaves_nothing(bundle, tmp_path):
    """Here the limit is of this process's files; the kernel refuses to write as on a full disk."""
    collected = read_collected(handed_in(raw_of(bundle, tmp_path / "raw", due(bundle))))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(IronbenchError) as refused:
            bundles.seal_collected(bundle, collected)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(refused.value).startswith(f"{bundle} cannot be written (File too large); make it possible")
    assert not list(bundle.rglob(".*"))
    assert bundles.read_runs(bundle) == []
    bundles.seal_collected(bundle, collected)


def test_two_generators_are_one_run(bundle, tmp_path):
    raw = raw_of(bundle, tmp_path / "raw", due(bundle))
    shutil.copytree(raw / "box", raw / "box2")
    (raw / "box2/host.json").write_bytes(msgspec.json.encode(host(name="box2")))
    run = bundles.seal(bundle, raw, started_ns=1)
    (kept,) = bundles.read_runs(bundle)
    directory = bundles.run_directory(bundle, run.run)
    one = read_record(raw / "box/load/load.json", LoadResult)
    assert kept.load.completed == 2 * one.completed == kept.load.latency.count
    assert kept.load.offered_rps == 2 * one.offered_rps
    assert merge_distributions([read_distribution(directory / "raw")]) == kept.load.latency
    assert f"{kept.load.completed}]" in (directory / "latency.hgrm").read_text()
    assert {cpu.host for cpu in kept.cpu} == {"box", "box2"}


def without_result(bundle, directory):
    """What a host hands in whose generator was killed."""
    raw = raw_of(bundle, directory, due(bundle))
    shutil.rmtree(raw / "box/load")
    (raw / "box/generator.txt").write_text("ironbench: the last words\n")
    return [replace(one, generator_exit=-9) for one in read_collected(handed_in(raw))]


def test_a_session_without_a_result_is_lost_and_comes_again(bundle, tmp_path):
    run = due(bundle)
    with pytest.raises(bundles.SessionLostError) as told:
        bundles.seal_collected(bundle, without_result(bundle, tmp_path / "raw"))
    (fault,) = told.value.lost.instrument_faults
    assert (fault.kind, fault.host) == ("generator-died", "box")
    assert fault.detail == "the generator was killed by SIGKILL: the last words"
    assert due(bundle) == run, "it is pending as before"
    assert bundles.read_contents(bundle).lost == [told.value.lost]
    kept = bundle / "lost" / run.key / "1"
    assert (kept / "raw/box/generator.txt").is_file()

    results, text = write_report(bundle)
    assert [fault.kind for faults in results.lost.values() for fault in faults] == ["generator-died"]
    assert "was killed by SIGKILL" in text
    bundles.seal(bundle, raw_of(bundle, tmp_path / "again", run), started_ns=1)
    assert [one.run for one in bundles.read_runs(bundle)] == [run]


def test_a_session_that_is_lost_again_and_again_ends_the_plan_for_good(bundle, tmp_path):
    run = due(bundle)
    faults = [Finding(kind="session-lost", host="box", detail="the cable is out.")]
    assert bundles.lose_pending(bundle, faults).number == 1
    with pytest.raises(
        IronbenchError, match=r"was lost 2 times, the last time because of box: the cable is out\.$"
    ):
        bundles.lose_pending(bundle, faults)
    for more in (
        lambda: bundles.lose_pending(bundle, faults),
        lambda: bundles.seal(bundle, raw_of(bundle, tmp_path / "raw", run), started_ns=1),
    ):
        with pytest.raises(bundles.PlanEndedError, match=r"^the plan ended for good in block 1 of "):
            more()
    contents = bundles.read_contents(bundle)
    assert ([lost.number for lost in contents.lost], contents.runs) == ([1, 2], [])


def test_a_lost_session_that_cannot_be_read_is_named(bundle):
    bundles.lose_pending(bundle, [])
    (file,) = bundle.glob("lost/*/1/lost.json")
    file.write_bytes(file.read_bytes()[:40])
    (damage,) = bundles.read_contents(bundle).damaged
    assert damage.move == file.parent.relative_to(bundle).as_posix()


def test_what_cannot_be_sealed_leaves_nothing(bundle, tmp_path):
    wrong = read_collected(handed_in(raw_of(bundle, tmp_path / "raw", plan().runs[3])))
    cut = [replace(one, archive=one.archive[:900]) for one in wrong]
    for collected, reason in ((wrong, "the pending run is"), (cut, "what box handed in cannot be unpacked")):
        with pytest.raises(IronbenchError, match=reason):
            bundles.seal_collected(bundle, collected)
        assert not list(bundle.rglob(".*"))
        assert bundles.read_runs(bundle) == []
    with pytest.raises(IronbenchError, match="cannot be a name"):
        bundles.seal_collected(bundle, [replace(one, host="../box") for one in wrong])
    for text, reason in ((b"\n", "stdin is empty"), (b"{}", "line 1 is not a Collected record")):
        with pytest.raises(IronbenchError, match=reason):
            read_collected(text)


def waits_for_lock(bundle):
    """Whether somebody waits for the bundle's lock, as /proc/locks shows it."""
    inode = str(bundle.stat().st_ino)
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and line.split()[-3].endswith(f":{inode}") for line in lines)


def test_writers_wait_for_each_other(bundle, tmp_path):
    raw = raw_of(bundle, tmp_path / "raw", due(bundle))
    descriptor = os.open(bundle, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    with ThreadPoolExecutor() as pool:
        try:
            sealing = pool.submit(bundles.seal, bundle, raw, started_ns=None)
            deadline = time.monotonic() + 20
            while not waits_for_lock(bundle) and not sealing.done():
                assert time.monotonic() < deadline, "nobody came to wait"
                time.sleep(0.01)  # between two looks at the condition
            assert bundles.read_runs(bundle) == []
        finally:
            os.close(descriptor)
        assert sealing.result(timeout=20).run == plan().runs[0]


def test_faulty_block_is_repeated_under_another_name(tmp_path):
    bundle = new_bundle(tmp_path, plan("short", experiments=["signin"]))
    assert [fault.kind for fault in seal_next(bundle, tmp_path, steal=9.0).instrument_faults] == ["steal"]
    runs = []
    while due(bundle):
        runs.append(seal_next(bundle, tmp_path).run)
    assert [run.attempt for run in runs] == [1, 1, 2, 2, 2]
    names = sorted(path.name for path in (bundle / "runs/signin/01").iterdir())
    assert names == sorted([*VARIANTS, *(f"{variant}.retry1" for variant in VARIANTS)])


def test_foreign_work_is_found_in_the_raw_outputs(bundle, tmp_path):
    assert [fault.kind for fault in seal_next(bundle, tmp_path, foreign=0.3).instrument_faults] == [
        "foreign-cpu",
        "instruments-disagree",
    ]


def test_drift_is_found_in_the_raw_outputs(bundle, tmp_path):
    while due(bundle).experiment != "signin":
        seal_next(bundle, tmp_path)
    growing = [int(1e6 * 20 * (i + 1)) for i in range(24)]
    assert [o.kind for o in seal_next(bundle, tmp_path, durations_ns=growing).outcomes] == ["drift"]


@pytest.mark.parametrize("name", ["cgroup.jsonl", "sar.json"])
def test_observer_that_left_nothing_is_a_fault(bundle, tmp_path, name):
    raw = raw_of(bundle, tmp_path / "raw", due(bundle))
    (raw / "box" / name).unlink()
    faults = bundles.seal(bundle, raw, started_ns=None).instrument_faults
    assert [fault.kind for fault in faults] == ["observer-died"]
    assert name in faults[0].detail


def failed_gate():
    gate = Gate(ok=False, status=500, detail="The answer's status is 500, not 204.", body_bytes=3)
    return load_result([], gate=gate, first_send_ns=0, window_end_ns=0, drained_ns=0)


def test_failed_gate_is_not_sealed(bundle, tmp_path):
    raw = raw_of(bundle, tmp_path / "raw", due(bundle), load=failed_gate(), durations_ns=[])
    with pytest.raises(bundles.GateFailedError, match=r"status is 500, not 204\)\.$"):
        bundles.seal(bundle, raw, started_ns=None)
    assert bundles.read_runs(bundle) == []


def test_failed_gate_with_an_instrument_fault_is_sealed_as_invalid(bundle, tmp_path):
    after = snapshot(10, throttled={"0": 9, "1": 3})
    run = seal_next(bundle, tmp_path, load=failed_gate(), durations_ns=[], after=after)
    assert [fault.kind for fault in run.instrument_faults] == ["throttling"]
    assert [outcome.kind for outcome in run.outcomes] == ["gate"]


# --- with a background -------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path):
    """Make a bundle of one experiment with a background."""
    one = experiment(rate=60.0, background=background())
    return new_bundle(tmp_path, plan("short", of=study(experiments={"mixed": one})))


def test_a_background_is_sealed_with_its_run(mixed, tmp_path):
    planned = due(mixed)
    run = seal_next(mixed, tmp_path)
    assert run.background
    assert (run.load.completed, run.background.completed) == (480, 16)
    assert run.load.latency.mean == pytest.approx(60, rel=0.01)
    assert run.background.latency.mean == pytest.approx(200, rel=0.01)
    assert (run.instrument_faults, run.outcomes) == ([], [])
    assert bundles.read_runs(mixed) == [run]
    assert bundles.read_plan(mixed).experiments["mixed"].background == background()
    app = next(cpu for cpu in run.cpu if cpu.service == "app")
    assert app.per_request_ms == pytest.approx(app.net_ms / (480 + 16))
    raw = bundles.run_directory(mixed, planned) / "raw"
    own, beside = (read_record(raw / "box" / name / "histograms.json", Histograms) for name in LOADS)
    assert merge_distributions([read_distribution(raw)]) == merge([own.latency]) == run.load.latency
    assert merge([beside.latency]) == run.background.latency


def test_a_background_that_is_missing_is_refused(mixed, tmp_path):
    raw = raw_of(mixed, tmp_path / "raw", due(mixed))
    (raw / "box/load/background/load.json").unlink()
    with pytest.raises(IronbenchError, match=r"cannot read .*load/background/load\.json"):
        bundles.seal(mixed, raw, started_ns=None)
    assert bundles.read_runs(mixed) == []


def test_a_background_whose_gate_failed_is_not_sealed(mixed, tmp_path):
    empty = replace(failed_gate(), gate=load_result().gate)
    raw = raw_of(
        mixed,
        tmp_path / "raw",
        due(mixed),
        load=empty,
        durations_ns=[],
        background_load=failed_gate(),
        background_durations_ns=[],
    )
    with pytest.raises(
        bundles.GateFailedError, match=r"/signup does not answer .* \(.* is 500, not 204\)\.$"
    ):
        bundles.seal(mixed, raw, started_ns=None)


def test_drift_of_a_background_is_found_in_the_raw_outputs(mixed, tmp_path):
    growing = [int(1e6 * 20 * (i + 1)) for i in range(16)]
    (drift,) = seal_next(mixed, tmp_path, background_durations_ns=growing).outcomes
    assert (drift.kind, drift.detail[:17]) == ("drift", "in the background")


def test_raw_outputs_that_are_not_one_run(bundle, tmp_path):
    with pytest.raises(IronbenchError, match="needs one directory a host"):
        bundles.seal(bundle, tmp_path / "nothing", started_ns=None)
    raw = raw_of(bundle, tmp_path / "raw", due(bundle))
    (raw / "box/load/load.json").unlink()
    with pytest.raises(IronbenchError, match="the generator did not finish"):
        bundles.seal(bundle, raw, started_ns=None)
    (raw / "box").rename(raw / "bax")
    (raw / "bax/load/load.json").write_bytes(msgspec.json.encode(load_result()))
    with pytest.raises(IronbenchError, match="holds the outputs of host box"):
        bundles.seal(bundle, raw, started_ns=None)


def test_environment_is_written_once(bundle, tmp_path):
    assert bundles.write_environment(bundle, "box", b'{"b": 1, "a": [1, 2]}')
    assert not bundles.write_environment(bundle, "box", b'{"a": [1, 2], "b": 1}')
    assert bundles.write_environment(bundle, "box", b'{"b": 2}')  # nothing is sealed yet
    seal_next(bundle, tmp_path)
    assert not bundles.write_environment(bundle, "box", b'{"b": 2}')
    with pytest.raises(IronbenchError, match="not what the sealed runs"):
        bundles.write_environment(bundle, "box", b'{"b": 3}')
    assert bundles.read_environment(bundle) == {"box": {"b": 2}}


@pytest.mark.parametrize(("host", "raw"), [("box", b"[1]"), ("box", b"{"), ("../box", b"{}")])
def test_bad_environment_is_refused(bundle, host, raw):
    with pytest.raises(IronbenchError):
        bundles.write_environment(bundle, host, raw)
    assert bundles.read_environment(bundle) == {}


def test_resume_finds_the_newest_of_the_same_question(bundle, tmp_path):
    results = tmp_path / "results"

    def find(the_plan, seed=None, retries=None):
        return bundles.find_unfinished(results, the_plan, seed=seed, retries=retries)

    other = plan("short")
    assert find(plan(seed=99)) == bundle
    assert find(other) is None
    assert find(plan(), seed=8) is None
    assert find(plan(), seed=7, retries=1) == bundle
    assert find(plan(), retries=2) is None
    assert find(plan(experiments=["me"])) is None
    newer = new_bundle(tmp_path, replace(plan(), id="made-2"))
    assert find(plan()) == newer


def test_resume_goes_past_a_finished_bundle(tmp_path):
    made = plan("short", experiments=["signin"])
    bundle = new_bundle(tmp_path, made)
    while due(bundle):
        assert bundles.find_unfinished(tmp_path / "results", made, seed=None, retries=None) == bundle
        write_report(bundle)
        seal_next(bundle, tmp_path)
    assert bundles.find_unfinished(tmp_path / "results", made, seed=None, retries=None) == bundle, "no report"
    write_report(bundle)
    assert bundles.find_unfinished(tmp_path / "results", made, seed=None, retries=None) is None


def test_unknown_schema_is_refused(bundle):
    path = bundle / "plan.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2', 1))
    with pytest.raises(IronbenchError, match="has schema 2, and this ironbench reads schema 1 only"):
        bundles.read_plan(bundle)


def test_directory_that_is_no_bundle(tmp_path):
    with pytest.raises(IronbenchError, match="is not a bundle"):
        bundles.read_plan(tmp_path)
