"""A user who does not like a run kills the playbook before it seals it, and has the run measured again."""

from __future__ import annotations

import io
import json
import sys

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.cli import main
from ironbench.plan import make_session

from tests.made import due, handed_in, load_result, new_bundle, plan, replace, seal_next, write_raw


@pytest.fixture
def bundle(tmp_path):
    made = new_bundle(tmp_path)
    bundles.write_environment(made, "box", b'{"schema": 1, "name": "box"}')
    return made


@pytest.fixture
def seal_left(bundle, monkeypatch, capsys):
    """What the playbook that goes on does with what it finds on the hosts, before anything else."""

    def call(found: bytes, hosts: tuple[str, ...] = ("box",)) -> dict:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(found)))
        named = [word for host in hosts for word in ("--host", host)]
        assert main(["seal", str(bundle), "--left", *named, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def raw_of(bundle, directory, run=None, **changes):
    session = make_session(bundles.read_plan(bundle), run or due(bundle))
    return write_raw(directory, session, **changes)


def test_what_its_host_had_packed_is_sealed(bundle, tmp_path, seal_left):
    run = due(bundle)
    slow = load_result([900_000_000] * 24)
    answer = seal_left(handed_in(raw_of(bundle, tmp_path / "slow", load=slow)))
    assert answer["sealed"], answer
    (sealed,) = bundles.read_runs(bundle)
    assert sealed.run == run
    assert sealed.load.latency.mean == pytest.approx(900, rel=0.01)
    assert due(bundle).key != run.key, "it is not measured again"


def test_a_second_time_nothing_is_sealed(bundle, tmp_path, seal_left):
    found = handed_in(raw_of(bundle, tmp_path / "raw"))
    assert seal_left(found)["sealed"]
    assert seal_left(found) == {
        "line": "What an interrupted playbook left was not sealed: it is sealed already.",
        "sealed": False,
    }
    assert len(bundles.read_runs(bundle)) == 1


def test_what_is_of_another_run_another_plan_or_another_host_is_not_sealed(bundle, tmp_path, seal_left):
    later = bundles.read_plan(bundle).runs[1]
    assert not seal_left(handed_in(raw_of(bundle, tmp_path / "later", later)))["sealed"]
    other = new_bundle(tmp_path / "other", replace(plan(), id="other"))
    assert "belong to plan other" in seal_left(handed_in(raw_of(other, tmp_path / "foreign")))["line"]
    bundles.write_environment(bundle, "second", b'{"schema": 1, "name": "second"}')
    assert "second left nothing of it" in seal_left(handed_in(raw_of(bundle, tmp_path / "one")))["line"]
    assert bundles.read_runs(bundle) == []


def test_what_cannot_be_judged_does_not_keep_the_plan_from_going_on(bundle, tmp_path, seal_left):
    raw = raw_of(bundle, tmp_path / "raw")
    (raw / "box/before.json").unlink()
    assert "before.json" in seal_left(handed_in(raw))["line"]
    broken = msgspec.json.decode(handed_in(raw_of(bundle, tmp_path / "broken")), type=bundles.Collected)
    assert not seal_left(msgspec.json.encode(replace(broken, archive=b"no archive")))["sealed"]
    seal_next(bundle, tmp_path / "again")
    assert len(bundles.read_runs(bundle)) == 1
