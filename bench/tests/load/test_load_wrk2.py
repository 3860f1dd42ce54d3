"""The backend wrk2: its Lua script runs in LuaJIT, its run goes against a real server.

The program is a stand-in (standin_wrk2.py): it reads wrk2's options and script and prints wrk2's output.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench.errors import IronbenchError
from ironbench.files import read_record
from ironbench.load import cli, wrk2
from ironbench.load.histogram import Histograms
from ironbench.load.lua import script
from ironbench.records import QUIET_AFTER_S, SCHEMA, Expectation, LoadResult, RequestTemplate
from lupa import luajit20, luajit21

SIGNUP = RequestTemplate(
    method="POST",
    path="/echo",
    json={"email": "{unique}@example.org", "password": 'p"\\ä\n{user.password}'},
    expect=Expectation(status=200),
)
ME = RequestTemplate(
    method="GET",
    path="/echo/{user.id}",
    cookies={"access_token": "{user.token}"},
    expect=Expectation(status=200),
)
LOAD = {"rate": 40, "connections": 4, "threads": 2, "arrivals": "wrk2-phase", "backend": "wrk2"}
USERS = [{"id": str(n), "password": f"secret-{n}", "token": f"token-{n}"} for n in range(3)]


@pytest.fixture(params=[luajit20, luajit21], ids=["LuaJIT 2.0", "LuaJIT 2.1"])
def threads(request):
    """Start a script as wrk2 does: setup() in one state, init() and request() in that of each thread."""

    def start(text, count):
        first = request.param.LuaRuntime(encoding="latin-1")
        first.execute(text.decode("latin-1"))
        states = []
        for _ in range(count):
            state = request.param.LuaRuntime(encoding="latin-1")
            state.execute(text.decode("latin-1"))
            first.execute("told = {set = function(_, name, value) told[name] = value end}; setup(told)")
            state.execute(f"ironbench_thread = {first.eval('told.ironbench_thread')}; init({{}})")
            states.append(state)
        return [lambda state=state: state.eval("request()").encode("latin-1") for state in states]

    return start


def test_bodies_are_unique_across_threads_and_as_long_as_they_say(threads):
    senders = threads(script(SIGNUP, "h", USERS, "utoken", threads=3), 3)
    sent = [send() for _ in range(40) for send in senders]
    bodies = set()
    for request in sent:
        head, body = request.split(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
        bodies.add(json.loads(body)["email"])
    assert len(bodies) == len(sent) == 120
    assert json.loads(sent[0].split(b"\r\n\r\n")[1])["password"] == 'p"\\ä\nsecret-0'


def test_threads_share_the_users_among_them(threads):
    senders = threads(script(ME, "h:81", USERS, "utoken", threads=2), 2)
    sent = [send() for _ in range(3) for send in senders]
    assert sent[1] == b"GET /echo/1 HTTP/1.1\r\nHost: h:81\r\nCookie: access_token=token-1\r\n\r\n"
    assert [request.split(b" ")[1][-1:] for request in sent] == [b"0", b"1", b"2", b"0", b"1", b"2"]


def test_a_request_that_never_changes_is_one_text(threads):
    fixed = RequestTemplate(method="GET", path="/ok", expect=Expectation(status=200))
    text = script(fixed, "h", USERS * 1000, "utoken", threads=1)
    assert len(text) < 1000
    (send,) = threads(text, 1)
    assert send() == send() == b"GET /ok HTTP/1.1\r\nHost: h\r\n\r\n"


def test_any_byte_survives(threads):
    text = "".join(map(chr, [*range(0x20, 0x7F), *range(0x80, 0x100)])) + "\t1]]%d%%\\"
    request = RequestTemplate(method="GET", path="/", headers={"X": text}, expect=Expectation(status=200))
    (send,) = threads(script(request, "h", [], "u", threads=1), 1)
    assert send().split(b"\r\n")[2] == b"X: " + text.encode("latin-1")


# --- the run -----------------------------------------------------------------------------------


@pytest.fixture
def standin(tmp_path, monkeypatch):
    """Put the stand-in where wrk2 would be and return the file that it tells of itself in."""
    program = tmp_path / "wrk2"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("standin_wrk2.py")} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(wrk2, "PROGRAM", program)
    monkeypatch.setenv("STANDIN_TOLD", str(tmp_path / "told.json"))
    return tmp_path / "told.json"


@pytest.fixture
def run(tmp_path, standin):
    """Run ``ironbench load`` with the backend wrk2; return its exit status and the output's directory."""

    def run(base_url, users=None, path="/ok", status=200, request=None, load=None, **times):
        users_file = tmp_path / "users.jsonl"
        if users:
            users_file.write_text("".join(json.dumps(user) + "\n" for user in users))
        spec = {
            "schema": SCHEMA,
            "run": "me.01.baseline",
            "base_url": base_url,
            "request": request or RequestTemplate(method="GET", path=path, expect=Expectation(status=status)),
            "load": LOAD | (load or {}),
            "seed": 7,
            "users_file": str(users_file) if users else None,
        }
        times = {"warmup_s": 0, "window_s": 1, "idle_s": 0, "timeout_s": 1, "drain_s": 1} | times
        file = tmp_path / "spec.json"
        file.write_bytes(msgspec.json.encode(spec | times))
        parser = argparse.ArgumentParser()
        cli.add_parser(parser.add_subparsers())
        args = parser.parse_args(["load", "--spec", str(file), "--out", str(tmp_path / "run")])
        return args.func(args), args.out

    return run


def result(out):
    return msgspec.json.decode((out / "load.json").read_bytes(), type=LoadResult)


def test_what_wrk2_did_becomes_the_record_of_a_run(server, run):
    code, out = run(server.url, USERS, request=SIGNUP, warmup_s=1)
    found = result(out)
    records = server.get("/records")
    assert (code, found.backend, found.offered_rps, found.gate.ok) == (0, "wrk2", 40, True)
    # The first answer of each of the two threads after the end counts and has no latency.
    assert 30 < found.latency.count == found.service_time.count <= 40
    assert found.latency.count <= found.completed <= found.latency.count + 2
    assert 30 < found.warmup_requests <= 42
    assert len({json.loads(body)["email"] for *_, body, _, _ in records}) == len(records)
    assert len(records) >= 1 + found.warmup_requests + found.completed
    assert found.idle_from_ns <= found.idle_until_ns <= found.first_send_ns < found.drained_ns
    assert found.first_send_ns % 10**9 < 10**9 / 2  # the window starts 50 ms after a whole second
    assert found.cpu_ms > 0
    assert found.gate_after == found.gate, "the built-in generator's, after wrk2 too"
    assert found.bodies_sampled == 0
    quiet = [record for record in records if 0 < record[4] - found.drained_ns < QUIET_AFTER_S * 1e9]
    assert not quiet
    assert records[-1][4] > found.drained_ns
    assert (out / "latency.hgrm").read_text().splitlines()[-1].startswith("#[Buckets")


def test_the_log_is_kept_as_it_came_and_the_secrets_are_nowhere(server, run, standin, tmp_path):
    _, out = run(server.url, USERS, request=ME)
    told = json.loads(standin.read_text())
    assert told["mode"] == 0o600
    assert (out / wrk2.LOG).read_text().startswith("Running 1s test @ " + server.url)
    assert {url for _, url, *_ in server.get("/records")} == {"/echo/0", "/echo/1", "/echo/2"}
    kept = [json.dumps(told["argv"]).encode(), *(path.read_bytes() for path in out.iterdir())]
    assert not any(b"token-" in text for text in kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "run",
        "spec.json",
        "told.json",
        "users.jsonl",
        "wrk2",
    ]


def test_errors_are_counted(server, run):
    code, out = run(server.url, path="/error", status=200)
    assert (code, result(out).unexpected_status) == (0, pytest.approx(result(out).completed / 2, abs=1))


def test_a_wrong_answer_is_not_measured(server, run, standin):
    code, out = run(server.url, path="/ok", status=201)
    assert (code, result(out).gate.ok, result(out).backend) == (3, False, "wrk2")
    assert not standin.exists()
    # What sealing and the report take, of no request.
    assert read_record(out / "histograms.json", Histograms)
    assert (out / "latency.hgrm").is_file()


def test_wrk2_that_fails_is_one_sentence(server, run, monkeypatch):
    monkeypatch.setenv("STANDIN_FAILS", "1")
    with pytest.raises(IronbenchError, match=r"^wrk2 failed \(1\): unable to connect to nowhere; see "):
        run(server.url)


def test_a_script_that_does_not_load_is_noticed(server, run, monkeypatch):
    monkeypatch.setattr(wrk2, "script", lambda *_: b"function request( return end")
    with pytest.raises(IronbenchError, match=r"^wrk2 failed \(0\): /proc/self/fd/"):
        run(server.url)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"load": {"arrivals": "even"}}, "load.arrivals must be wrk2-phase"),
        ({"load": {"rate": 2.5}}, "load.rate must be a whole number"),
        ({"load": {"placement": "balanced"}}, "load.placement must be as_landed"),
        ({"window_s": 1.5}, "window_s must be whole seconds"),
        ({"warmup_s": 0.5}, "warmup_s must be whole seconds"),
    ],
)
def test_what_wrk2_cannot_do_is_refused_before_anything_is_written(
    server, run, standin, tmp_path, changes, rule
):
    with pytest.raises(IronbenchError, match=f"^The backend wrk2 cannot run me.01.baseline: {rule}"):
        run(server.url, **changes)
    assert not (tmp_path / "run").exists()
    assert not standin.exists()


def test_a_host_without_wrk2_is_told_how_to_get_it(server, run, monkeypatch):
    monkeypatch.setattr(wrk2, "PROGRAM", Path("/nonexistent/wrk2"))
    with pytest.raises(
        IronbenchError, match=r"/nonexistent/wrk2 is missing, run playbooks/tools\.yml with wrk2_enabled"
    ):
        run(server.url)


def test_the_script_is_gone_when_wrk2_is(tmp_path):
    with wrk2.script_file(b"secret") as descriptor:
        assert str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("/memfd:")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
