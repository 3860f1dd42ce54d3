"""The load generator is no root: what it may read and write, which limits hold, and that it still finds the workers."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import msgspec
import pytest
from ironbench.files import read_record
from ironbench.records import LoadResult

from .conftest import Bench, describe_host, describe_session, show, unpack, until

replace = msgspec.structs.replace
USER = "nobody"
"""Of every Debian; the role bench makes one of its own."""
PLACEMENT_PORT = 18472
STATE = Path("/run/ironbench-test-state")
"""The tests' own temporary directories let nobody but root pass."""


@pytest.fixture
def bench(machine, tmp_path):
    host = replace(describe_host(STATE), load_user=USER, placement_port=PLACEMENT_PORT)
    session = describe_session()
    asked = replace(session.experiment, load=replace(session.experiment.load, placement="balanced"))
    made = Bench(tmp_path, host, replace(session, experiment=asked))
    made.free()
    made.hold()
    yield made
    made.call("stop")
    made.free()
    shutil.rmtree(STATE)


def status(pid: str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def limit(pid: str, name: str) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith(name)).removeprefix(name).split()[:2]


def test_a_session_whose_generator_is_not_root(bench, tmp_path):
    uid = str(pwd.getpwnam(USER).pw_uid)
    bench("prepare")
    assert bench.unit("placement") in bench("observe")["units"]
    bench("load")
    pid = until(lambda: int(show(bench.unit("load"), "MainPID")), "the generator's process")
    told = status(str(pid))
    assert told["Uid"].split() == [uid] * 4
    assert {int(told[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    assert told["NoNewPrivs"] == "1"
    # In a container the hard limit may be lower; what the unit asks for is what systemd was told.
    assert show(bench.unit("load"), "LimitNOFILE") == "65535"
    assert len(set(limit(str(pid), "Max open files"))) == 1
    assert (Path(f"/proc/{pid}/status").stat().st_uid, told["Cpus_allowed_list"]) == (int(uid), "0")

    directory = bench.directory
    for path in (directory / "spec.json", directory / "users.jsonl"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (int(uid), 0o600)
    for path in (STATE, STATE / "sessions", directory):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (0, 0o710)
    assert (directory / "placement.json").stat().st_mode & 0o777 == 0o600
    assert (directory / "placement.json").stat().st_uid == 0
    for path in (directory / "users.jsonl", directory / "placement.json", Path("/etc/shadow")):
        readable = os.path.exists(path) and _readable_by(uid, path)  # noqa: PTH110 - as the shell's test does
        assert readable == (path.name == "users.jsonl"), path

    collected = bench("collect")
    assert collected["generator_exit"] == 0
    names = unpack(collected, tmp_path / "raw")
    assert not set(names) & {"users.jsonl", "spec.json", "placement.json"}
    for part in ("load/load.json", "load/background/load.json"):
        result = read_record(tmp_path / "raw" / part, LoadResult)
        assert result.completed > 0
        assert result.landing is not None
        assert result.landing.unknown == ""
        assert sum(result.landing.workers.values()) == 2
        assert result.gate_after is not None
        assert result.gate_after.ok
        assert (result.bodies_sampled, result.bodies_wrong) == (result.completed, 0)


def _readable_by(uid: str, path: Path) -> bool:
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setgid(pwd.getpwuid(int(uid)).pw_gid)
        os.setuid(int(uid))
        os._exit(0 if os.access(path, os.R_OK) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_user_that_is_missing_is_told(bench):
    host = replace(bench.host, load_user="no-such-user")
    bench.description.write_bytes(msgspec.json.encode(host))
    bench("prepare")
    assert "The user no-such-user that" in bench.fails("load")
