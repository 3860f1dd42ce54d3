"""The generator against real servers."""

import itertools
import json
import multiprocessing
import os
import re
import signal
import socket
import time
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest
from ironbench.load.histogram import merge
from ironbench.records import (
    QUIET_AFTER_S,
    Background,
    Expectation,
    Load,
    RequestTemplate,
    Search,
    SearchResult,
)

NS = 1_000_000_000
DURATIONS = ("latency", "service_time", "own_send_lag", "system_send_lag", "timer_lag", "timeouts")


def outcomes(run):
    return [row["outcome"] for row in run.rows]


def intended(run):
    return [int(row["intended_ns"]) for row in run.rows]


def assert_consistent(run, *others):
    """Assert what holds for every load, whatever the server does; ``others`` are of the same run."""
    result = run.result
    of_requests = sum(number for kind, number in result.errors.items() if kind != "connect")
    assert result.scheduled == result.sent + result.unsent == len(run.rows)
    assert result.sent == result.completed + of_requests
    assert result.completed == sum(result.statuses.values())
    assert result.achieved_rps == pytest.approx(result.completed / result.window_s)
    assert result.offered_rps == pytest.approx(result.scheduled / result.window_s)
    assert result.service_time.count == result.completed
    assert result.latency.count == result.completed + result.latency.censored
    assert result.own_send_lag.count == result.system_send_lag.count == result.scheduled
    assert result.timeouts.count == result.latency.censored == result.errors.get("timeout", 0)
    assert (result.bodies_wrong, result.body_detail) == (0, "")
    assert result.timer_lag.count >= max(result.scheduled, result.window_s / 0.01 - 1)
    assert (
        Counter(outcomes(run))
        == Counter(
            {"unsent": result.unsent}
            | result.statuses
            | {kind: number for kind, number in result.errors.items() if kind != "connect"}
        )
        + Counter()
    )
    for name in DURATIONS:
        censored = run.histograms["censored"] if name == "latency" else 0
        assert merge([run.histograms[name]], censored) == getattr(result, name)
    assert_seconds(run)
    sent = [row for row in run.rows if row["outcome"] != "unsent"]
    for row in sent:
        assert int(row["intended_ns"]) <= int(row["sent_ns"]) <= int(row["done_ns"]) <= result.drained_ns
        assert int(row["sent_ns"]) < result.window_end_ns
    everything = [row for one in (run, *others) for row in one.rows if row["outcome"] != "unsent"]
    assert result.first_send_ns == min(int(row["sent_ns"]) for row in everything)
    in_flight = sorted((int(row["connection"]), int(row["sent_ns"]), int(row["done_ns"])) for row in sent)
    for before, after in itertools.pairwise(in_flight):
        assert before[0] != after[0] or before[2] <= after[1], "two requests at once on a connection"


def assert_seconds(run):
    """Assert that the summary by second says what the list of requests says."""
    result = run.result
    assert len(result.seconds) == -(-(result.window_end_ns - result.idle_until_ns) // NS)
    latencies_ms = [[] for _ in result.seconds]
    for row in run.rows:
        if row["outcome"].isdigit() or row["outcome"] == "timeout":
            due = int(row["intended_ns"])
            latencies_ms[(due - result.idle_until_ns) // NS].append((int(row["done_ns"]) - due) / 1e6)
    assert [second.count for second in result.seconds] == list(map(len, latencies_ms))
    for second, expected in zip(result.seconds, latencies_ms, strict=True):
        if expected:
            assert second.mean == pytest.approx(sum(expected) / len(expected), abs=0.001)
            assert second.max == pytest.approx(max(expected), abs=0.001)
            assert second.p50 <= second.p99 <= second.max


def between(records, from_ns, until_ns):
    """Return what the server was asked in a time."""
    return [record for record in records if from_ns < record[4] < until_ns]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("arrivals", ["even", "poisson", "wrk2-phase"])
def test_everything_is_sent_answered_and_counted(server, measure, arrivals, processes):
    changes = {"arrivals": arrivals, "rate": 200.0, "warmup_s": 0.2, "idle_s": 0.1, "processes": processes}
    run = measure(server.url, "/echo", **changes)
    result = run.result
    assert (result.threads, result.processes) == (2, processes)
    assert run.code == 0
    assert_consistent(run)
    assert result.scheduled == result.completed + result.unsent == 100
    assert result.offered_rps == 200
    assert result.achieved_rps == 2 * result.completed
    # On a machine that stood still, what was due last may not have left in time.
    assert result.unsent == 0 or result.alarms
    assert 0 < result.warmup_requests <= 40
    assert result.gate.ok
    assert result.gate.body_bytes == 22
    assert (result.statuses, result.errors, result.reconnects) == ({"200": result.completed}, {}, 0)
    start = result.idle_until_ns
    assert start % NS == pytest.approx(50_000_000, abs=5)
    assert start - result.idle_from_ns >= 0.1 * NS
    assert result.window_end_ns == start + NS // 2
    assert result.first_send_ns >= start
    assert 0 < result.cpu_share < 1
    elapsed_ms = (result.drained_ns - result.first_send_ns) / 1e6
    share = result.cpu_ms / elapsed_ms
    assert share / processes <= result.cpu_share * 1.0001  # of the busiest, not of the mean one
    assert processes > 1 or result.cpu_share == pytest.approx(share)

    records = server.get("/records")
    assert len(records) == 1 + result.warmup_requests + result.completed + 1
    assert not between(records, result.idle_from_ns, start)
    assert result.gate_after == result.gate
    assert not between(records, result.drained_ns, result.drained_ns + round(QUIET_AFTER_S * NS))
    assert {record[5] for record in records} == set(result.local_ports)
    assert all(["Host", server.url.removeprefix("http://")] in record[2] for record in records)


def test_arrivals_are_where_they_should_be(server, measure):
    even = measure(server.url, out="even")
    assert {b - a for a, b in itertools.pairwise(intended(even))} == {10_000_000}

    bursts = measure(server.url, out="wrk2", arrivals="wrk2-phase")
    due = {c: [int(r["intended_ns"]) for r in bursts.rows if r["connection"] == c] for c in "0123"}
    for times in due.values():
        assert {b - a for a, b in itertools.pairwise(times)} == {40_000_000}
    each = 4 // bursts.result.threads
    assert [(due[c][0] - due["0"][0]) / 1e6 for c in "0123"] == [5 * (n % each) for n in range(4)]
    assert bursts.result.window_s == 0.48  # 12.5 bursts are not whole: 12


def test_the_connection_that_has_been_free_longest_is_taken(server, measure):
    run = measure(server.url)

    used = [row["connection"] for row in run.rows if row["outcome"] != "unsent"]
    assert len(used) == 50 or run.result.alarms
    assert all(len(set(used[i : i + 4])) == 4 for i in range(0, len(used) - 3, 4))


def test_unique_users_cookies_and_body(server, measure, tmp_path):
    users = tmp_path / "users.jsonl"
    users.write_text(
        "".join(json.dumps({"name": f"u {n}", "id": n, "token": f"t{n}"}) + "\n" for n in range(3))
    )
    request = RequestTemplate(
        method="POST",
        path="/echo/{user.id}",
        headers={"X-User": "{user.name}"},
        cookies={"access_token": "{user.token}"},
        json={"email": "{unique}@test.example", "name": "{user.name}"},
        expect=Expectation(status=200, json_keys=["ok"]),
    )
    changes = {"request": request, "users_file": users, "warmup_s": 0.1}
    for name, arrivals in (("one", "even"), ("two", "wrk2-phase")):  # the same run twice
        assert_consistent(measure(server.url, out=name, arrivals=arrivals, processes=2, **changes))

    emails = []
    turns = Counter()
    records = server.get("/records")
    for method, url, header_list, body, *_ in records:
        headers = dict(header_list)
        document = json.loads(body)
        emails.append(document["email"])
        user = url.removeprefix("/echo/")
        turns[user] += 1
        assert method == "POST"
        assert headers["Content-Type"] == "application/json"
        assert headers["Cookie"] == f"access_token=t{user}"
        assert headers["X-User"] == document["name"] == f"u {user}"
    assert len(set(emails)) == len(emails) == len(records) >= 2 * (1 + 8 + 48 + 1)
    assert all(re.fullmatch(r"[a-z0-9]{25}@test\.example", email) for email in emails)
    assert max(turns.values()) - min(turns.values()) <= 4  # two runs start their turns anew


def test_a_form_is_urlencoded(server, measure):
    request = RequestTemplate(
        method="POST",
        path="/echo",
        form={"username": "a b&c", "u": "{unique}"},
        expect=Expectation(status=200),
    )
    measure(server.url, request=request)

    bodies = [parse_qs(record[3], strict_parsing=True) for record in server.get("/records")]
    assert {body["username"][0] for body in bodies} == {"a b&c"}
    assert len({body["u"][0] for body in bodies}) == len(bodies) == 52


SHAPES = {"/empty": 204} | dict.fromkeys(
    ("/chunked", "/interim", "/drip", "/large", "/close", "/idle-close"), 200
)
FAILURES = {"/rst": "reset", "/eof": "closed", "/garbage": "protocol", "/twice": "protocol"}


@pytest.fixture(scope="module")
def side_by_side(shared_server, generators):
    """One run a path of SHAPES and FAILURES, all at the same time to save some."""
    started = {
        path: generators(shared_server.url, path, status=SHAPES.get(path, 200))
        for path in (*SHAPES, *FAILURES)
    }
    return {path: generator.finish() for path, generator in started.items()}


@pytest.mark.parametrize("path", SHAPES)
def test_answers_of_every_shape_are_completed(side_by_side, path):
    run = side_by_side[path]

    assert_consistent(run)
    assert run.result.completed + sum(run.result.errors.values()) + run.result.unsent == 50
    assert run.result.unsent == 0 or run.result.alarms
    if path == "/idle-close":  # a request may meet the closing
        assert run.result.errors.keys() <= {"closed", "reset"}
    else:
        assert (run.result.errors, run.result.statuses) == ({}, {str(SHAPES[path]): run.result.completed})
    assert run.result.unexpected_status == 0
    sent = 50 - run.result.unsent
    assert run.result.reconnects == (0 if "close" not in path else pytest.approx(sent, abs=5))


@pytest.mark.parametrize("path", FAILURES)
def test_failures_are_counted_by_kind_and_mended(side_by_side, path):
    """The server fails every fifth time; the gate has been its first."""
    run = side_by_side[path]

    assert_consistent(run)
    assert run.result.unsent == 0 or run.result.alarms
    sent = 50 - run.result.unsent
    failures = (1 + sent) // 5
    assert run.result.errors == {FAILURES[path]: failures}
    assert run.result.completed == sent - failures
    assert run.result.reconnects == failures
    assert run.result.achieved_rps == run.result.completed / 0.5


def test_unexpected_statuses_are_answers(server, measure):
    run = measure(server.url, "/error")

    assert_consistent(run)
    assert run.result.statuses == {"200": 25, "500": 25}
    assert run.result.unexpected_status == 25
    assert (run.result.completed, run.result.errors) == (50, {})


def test_a_server_that_never_answers_times_out(server, measure):
    run = measure(server.url, "/never", timeout_s=0.2, rate=40.0)

    assert_consistent(run)
    assert run.result.completed == 0
    assert run.result.errors == {"timeout": run.result.sent}
    assert 8 <= run.result.sent <= 12  # 4 connections, one request each in 0.2 s of 0.5 s
    assert run.result.unsent == 20 - run.result.sent
    assert run.result.reconnects == run.result.sent
    assert run.result.timeouts is not None
    assert run.result.timeouts.p50 >= 200  # from the due time, so at least the timeout
    assert run.result.latency == msgspec.structs.replace(run.result.timeouts, censored=run.result.sent)
    assert run.result.gate_after.detail == "The server did not answer in time."
    for row in run.rows[: run.result.sent]:
        assert 0.2 <= (int(row["done_ns"]) - int(row["sent_ns"])) / NS < 0.4


def test_the_drain_is_bounded(server, measure):
    run = measure(server.url, "/never", timeout_s=20.0, drain_s=0.2)

    assert_consistent(run)
    assert run.result.errors == {"timeout": 4}
    assert 0.2 <= (run.result.drained_ns - run.result.window_end_ns) / NS < 0.6


def test_a_saturated_server_leaves_a_backlog_and_no_lies(server, measure):
    """20 ms a request, one at a time: 50 requests per second at most, 200 offered."""
    run = measure(server.url, "/slow", rate=200.0, window_s=1.0)
    result = run.result

    assert_consistent(run)
    assert result.scheduled == 200
    assert 30 <= result.completed <= 54
    assert result.unsent == 200 - result.completed > 100
    assert result.achieved_rps < 60 < result.offered_rps == 200
    # Request k of this queue is answered 20 ms * (k + 1) after the start, was due after 5 ms * k.
    theory = [20 * (k + 1) - 5 * k for k in range(result.completed)]
    assert result.latency.mean == pytest.approx(sum(theory) / len(theory), rel=0.25)
    assert result.latency.max == pytest.approx(theory[-1], rel=0.25)
    # Four at once share the server: 80 ms each, save the first three.
    assert result.service_time.p50 == pytest.approx(80, rel=0.25)
    assert result.system_send_lag.max > 300
    assert result.own_send_lag.p50 < 5


def test_latency_counts_from_the_intended_time_against_known_stalls(start_server, measure):
    """The server sleeps 0.2 s of every 2 s; the window holds 2 such periods.

    A request due u s into a stall waits 0.2 - u: the mean is 0.2^2 / (2 * 2) = 10 ms, the share that
    waits longer than x is (0.2 - x) / 2, so p99 = 180 ms and p999 = 198 ms. From the send time only
    one request a connection has waited: 4 connections * 0.2 s / (2 s * 300 rps) = 1.3 ms at most.
    """
    run = measure(start_server(0.2, 2).url, rate=300.0, window_s=4.0)
    result = run.result

    assert_consistent(run)
    assert (result.completed, result.achieved_rps) == (1200, 300)
    assert result.latency.mean == pytest.approx(10, rel=0.15)
    assert result.latency.p50 < 5
    assert result.latency.p99 == pytest.approx(180, rel=0.06)
    assert result.latency.p999 == pytest.approx(198, rel=0.06)
    assert result.service_time.mean < 3
    assert result.service_time.p99 < 100
    assert result.service_time.max == pytest.approx(198, rel=0.08)
    # The wait for a connection is the server's, not ours.
    assert result.system_send_lag.max == pytest.approx(190, rel=0.1)
    assert result.system_send_lag.mean == pytest.approx(9, rel=0.25)
    assert result.own_send_lag.mean < 2


def test_a_late_connection_catches_up_its_own_backlog(start_server, measure):
    run = measure(start_server(0.2, 1).url, rate=200.0, window_s=1.0, arrivals="wrk2-phase")

    assert_consistent(run)
    assert run.result.completed == 200
    for connection in "0123":
        due = [int(row["intended_ns"]) for row in run.rows if row["connection"] == connection]
        assert {b - a for a, b in itertools.pairwise(due)} == {20_000_000}
    assert run.result.system_send_lag.max > 120


def stop(generator, seconds):
    generator.signal(signal.SIGSTOP)
    time.sleep(seconds)  # not a wait: the stall itself
    generator.signal(signal.SIGCONT)
    return generator.finish()


@pytest.mark.parametrize("connections", [1, 4])
def test_a_stopped_generator_blames_itself(server, generators, connections):
    generator = generators(server.url, "/echo", window_s=1.5, connections=connections, threads=1)
    wait_for(lambda: server.get("/count").get("/echo", 0) > 20)
    run = stop(generator, 0.4)
    result = run.result

    assert run.code == 0
    assert_consistent(run)
    assert result.completed == 150
    assert result.own_send_lag.max == pytest.approx(400, rel=0.15)
    # Of 1.5 s, 0.4 s stood still: 27 % of the requests waited 0.2 s in the mean.
    assert result.own_send_lag.mean == pytest.approx(0.4**2 / 2 / 1.5 * 1000, rel=0.3)
    assert result.system_send_lag.max < 50
    assert result.latency.max == pytest.approx(400, rel=0.15)


def test_a_generator_stopped_at_the_windows_end_blames_itself_too(server, generators):
    generator = generators(server.url, "/echo", window_s=0.6)
    wait_for(lambda: server.get("/count").get("/echo", 0) > 30)
    result = stop(generator, 0.8).result

    assert result.unsent > 5
    assert result.own_send_lag.p90 > 300
    assert result.system_send_lag.max < 50


def test_a_stall_between_due_times_shows_though_no_send_is_late(server, generators):
    generator = generators(server.url, "/echo", rate=1.0, window_s=3.0, threads=1)
    wait_for(lambda: server.get("/count").get("/echo", 0) == 2)  # the gate's and the first, so 1 s is left
    result = stop(generator, 0.4).result

    assert result.completed == 3
    assert result.timer_lag.max == pytest.approx(400, rel=0.2)
    # 300 ticks: each of the 40 in the stall was late.
    assert 100 < result.timer_lag.p99 <= 480
    assert result.own_send_lag.max < 200


def test_a_process_of_the_generator_that_dies_ends_the_run(server, generators):
    generator = generators(server.url, "/echo", window_s=30.0, processes=2)
    wait_for(lambda: server.get("/count").get("/echo", 0) > 10)
    os.kill(children(generator.process.pid)[1], signal.SIGKILL)

    assert generator.process.wait(timeout=10) == 1
    assert "a process of the generator ended" in generator.stderr()
    assert list(generator.out.iterdir()) == []


def test_no_process_outlives_the_generator(server, generators):
    generator = generators(server.url, "/echo", window_s=30.0, processes=2)
    wait_for(lambda: server.get("/count").get("/echo", 0) > 10)
    pids = children(generator.process.pid)
    generator.process.kill()

    assert len(pids) == 2
    wait_for(lambda: not any(alive(pid) for pid in pids))


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_saturation_raises_an_alarm(server, measure, capsys):
    run = measure(server.url, "/slow", rate=200.0, window_s=0.5)

    alarm = {alarm.kind: alarm for alarm in run.result.alarms}["achieved-rate"]
    assert alarm.value == run.result.achieved_rps / 200 < alarm.threshold
    assert "of 200.0 requests per second were answered" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["ipv6", "unix"])
def test_other_addresses(start_server, measure, tmp_path, kind):
    if kind == "ipv6" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    run = measure(start_server(where="::1" if kind == "ipv6" else str(tmp_path / "Socket")).url)

    assert_consistent(run)
    assert (run.result.completed, run.result.errors) == (50, {})
    assert len(set(run.result.local_ports)) == (4 if kind == "ipv6" else 0)
    assert (run.result.landing.unknown == "") == (kind == "ipv6")


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_requests_from_a_file_are_sent_in_turn(server, measure, tmp_path):
    lines = [
        {"method": "GET", "path": "/echo/0"},
        {"method": "PUT", "path": "/echo/1", "headers": {"Cookie": "a=b", "X-Y": "{z}"}, "body": "é{unique}"},
        {"method": "DELETE", "path": "/echo/2"},
    ]
    file = tmp_path / "requests.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    assert_consistent(measure(server.url, requests_file=file, processes=2, warmup_s=0.1))

    records = server.get("/records")
    assert Counter(record[1] for record in records) == {"/echo/0": 20, "/echo/1": 20, "/echo/2": 20}
    for method, url, header_list, body, *_ in records:
        line = lines[int(url[-1])]
        assert (method, body) == (line["method"], line.get("body", ""))
        assert dict(header_list).items() >= line.get("headers", {}).items()


def test_a_server_that_dies_is_retried_without_haste(start_server, measure):
    server = start_server()
    run = measure(server.url, "/die", timeout_s=0.3, window_s=0.8)

    assert_consistent(run)
    result = run.result
    assert result.completed == 28  # the gate was the first; number 30 dies
    assert result.unsent == 80 - result.sent
    # 4 connections, 0.5 s left and the drain, 50 ms between attempts.
    assert 20 <= result.errors["connect"] <= 4 * (0.5 + 0.3) / 0.05
    # A connection may still be accepted by the dying server's kernel.
    assert 4 <= result.reconnects <= 12


@pytest.mark.parametrize(
    ("path", "expect", "detail"),
    [
        ("/error/x", Expectation(status=201), "The answer's status is 200, not 201."),
        ("/text", Expectation(status=200, json_keys=["ok"]), "The answer's body is not JSON."),
        ("/array", Expectation(status=200, json_keys=["ok"]), "The answer's body is not a JSON object."),
        ("/ok", Expectation(status=200, json_keys=["ok", "id"]), "The answer's JSON has no id."),
        ("/cookies", Expectation(status=200, cookies=["csrf", "sid"]), "The answer sets no cookie sid."),
        ("/ssh", Expectation(status=200), "The answer is not HTTP/1.1."),
    ],
)
def test_a_wrong_answer_stops_the_run_before_any_load(server, measure, capsys, path, expect, detail):
    run = measure(server.url, request=RequestTemplate(method="GET", path=path, expect=expect))

    assert run.code == 3
    assert (run.result.gate.ok, run.result.gate.detail) == (False, detail)
    assert run.result.scheduled == run.result.sent == run.result.latency.count == len(run.rows) == 0
    assert run.result.first_send_ns == run.result.window_end_ns == 0
    assert capsys.readouterr().err == f"ironbench: {detail}\n"
    assert server.get("/count")[path] == 1


def test_a_right_answer_with_cookies_passes(server, measure):
    expect = Expectation(status=200, json_keys=["name"], cookies=["access_token", "csrf"])
    request = RequestTemplate(method="GET", path="/cookies", expect=expect)

    assert measure(server.url, request=request, window_s=0.1).result.gate.ok


def test_no_server_is_a_gate_that_failed(measure, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    run = measure(f"http://127.0.0.1:{port}")

    assert (run.code, run.result.gate.status) == (3, 0)
    assert f"No connection to 127.0.0.1:{port}" in capsys.readouterr().err


def test_names_are_resolved(server, measure):
    run = measure(server.url.replace("127.0.0.1", "localhost"), "/echo", window_s=0.1)

    assert run.result.completed == 10
    assert all(dict(record[2])["Host"].startswith("localhost:") for record in server.get("/records"))


def test_sigterm_leaves_nothing(server, generators):
    generator = generators(server.url, "/echo", window_s=30.0)
    wait_for(lambda: server.get("/count").get("/echo", 0) > 10)
    generator.process.terminate()

    assert generator.process.wait(timeout=10) == 143
    assert generator.stderr() == ""
    assert list(generator.out.iterdir()) == []


def test_sigterm_while_its_processes_start_ends_all_of_them(server, generators):
    generator = generators(server.url, connections=16, threads=16, window_s=30.0)
    wait_for(lambda: any(ignores_sigterm(pid) for pid in children(generator.process.pid)))
    pids = children(generator.process.pid)
    generator.process.terminate()

    assert generator.process.wait(timeout=10) == 143
    wait_for(lambda: not any(alive(pid) for pid in pids))


STOPPED_IN_FORK = """
import os, signal
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
"""


def test_sigterm_is_not_lost_while_python_forks(server, generators):
    """Python swallows what a signal's handler raises within its own hooks of a fork."""
    generator = generators(server.url, prelude=STOPPED_IN_FORK, window_s=30.0)

    assert generator.process.wait(timeout=20) == 143
    assert generator.stderr() == ""
    assert list(generator.out.iterdir()) == []


def ignores_sigterm(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (ignored,) = (line.split()[1] for line in lines if line.startswith("SigIgn:"))
    return bool(int(ignored, 16) >> (signal.SIGTERM - 1) & 1)


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)  # between two looks at the condition


# --- two loads ---------------------------------------------------------------------------------


def background(path="/ok", *, request=None, status=200, **load):
    """Describe 20 requests per second over 2 connections."""
    load = {"rate": 20.0, "connections": 2, "threads": 2, "arrivals": "even"} | load
    template = request or RequestTemplate(method="GET", path=path, expect=Expectation(status=status))
    return Background(request=template, load=Load(**load))


@pytest.mark.parametrize("arrivals", ["even", "poisson", "wrk2-phase"])
def test_two_loads_have_the_window_in_common_and_nothing_else(server, measure, tmp_path, arrivals):
    users = tmp_path / "users.jsonl"
    users.write_text('{"name":"a"}\n{"name":"b"}\n')
    body = {"email": "{unique}", "name": "{user.name}"}
    expect = Expectation(status=200)
    own_request, other_request = (
        RequestTemplate(method="POST", path=path, json=body, expect=expect) for path in ("/echo/1", "/echo/2")
    )
    run = measure(
        server.url,
        request=own_request,
        users_file=users,
        rate=200.0,
        warmup_s=0.2,
        idle_s=0.1,
        background=background(request=other_request, arrivals=arrivals),
    )
    other = run.background
    assert run.code == 0
    assert not multiprocessing.active_children()
    assert_consistent(run, other)
    assert_consistent(other, run)
    result, beside = run.result, other.result
    for name in ("window_s", "idle_from_ns", "idle_until_ns", "first_send_ns", "window_end_ns", "drained_ns"):
        assert getattr(result, name) == getattr(beside, name)
    assert (result.scheduled, result.completed, result.warmup_requests) == (100, 100, 40)
    assert (beside.scheduled, beside.completed, beside.warmup_requests) == (10, 10, 4)
    assert (result.achieved_rps, beside.achieved_rps) == (200, 20)
    assert (len(result.local_ports), len(beside.local_ports)) == (4, 2)
    elapsed_ms = (result.drained_ns - result.first_send_ns) / 1e6
    together = (result.cpu_ms + beside.cpu_ms) / elapsed_ms / len(os.sched_getaffinity(0))
    assert 0 < together <= min(result.cpu_share, beside.cpu_share) * 1.0001, "they share the CPUs"

    records = server.get("/records")
    sent = Counter(url for _, url, *_ in records)
    assert sent == {"/echo/1": 1 + 40 + 100 + 1, "/echo/2": 1 + 4 + 10 + 1}
    assert {url for _, url, *_ in records[:2]} == set(sent), "both gates come before the warm-up"
    assert {url for _, url, *_ in records[-2:]} == set(sent), "both gates are asked again"
    assert not between(records, result.idle_from_ns, result.idle_until_ns)
    assert not between(records, result.drained_ns, result.drained_ns + round(QUIET_AFTER_S * NS))
    for url, ports in (("/echo/1", result.local_ports), ("/echo/2", beside.local_ports)):
        assert {record[5] for record in records if record[1] == url} == set(ports)
    bodies = [json.loads(record[3]) for record in records]
    assert len({body["email"] for body in bodies}) == len(records)
    assert Counter(body["name"] for body in bodies) == pytest.approx({"a": 78, "b": 78}, abs=4)


def waited(run, ms):
    """Number of requests that were answered so many ms after they were due, or later."""
    return sum(int(row["done_ns"]) - int(row["intended_ns"]) >= ms * 1e6 for row in run.rows)


def test_a_slow_background_is_in_its_own_latency_alone_if_the_server_goes_on(server, measure):
    run = measure(server.url, window_s=2.0, threads=4, background=background("/nap", rate=4.0))

    assert_consistent(run, run.background)
    assert (run.result.completed, run.background.result.completed) == (200, 8)
    assert run.background.result.latency.p50 == pytest.approx(150, rel=0.2)
    assert waited(run.background, 140) == 8
    assert waited(run, 50) <= 5  # a busy machine's, at most
    assert run.result.latency.p50 < 20


def test_a_background_that_blocks_the_server_is_in_the_foregrounds_latency(server, measure):
    """Of 100 requests per second those that are due in the first 100 ms of 150 wait 50 ms or longer.

    Each connection has a schedule of its own, so none of them can go around the block.
    """
    run = measure(server.url, window_s=2.0, threads=4, background=background("/block", rate=2.0))

    assert_consistent(run, run.background)
    assert (run.result.completed, run.background.result.completed) == (200, 4)
    assert run.background.result.latency.p50 == pytest.approx(150, rel=0.2)
    assert 4 * 8 <= waited(run, 50) <= 4 * 14
    assert run.result.latency.max == pytest.approx(150, rel=0.2)
    assert run.result.latency.p50 < 20


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        (201, 200, "ironbench: The answer's status is 200, not 201.\n"),
        (200, 201, "ironbench: background: The answer's status is 200, not 201.\n"),
    ],
)
def test_either_gate_stops_both_loads(server, measure, capsys, own, other, said):
    run = measure(server.url, "/echo/1", status=own, background=background("/echo/2", status=other))

    assert run.code == 3
    assert capsys.readouterr().err == said
    assert (run.result.gate.ok, run.background.result.gate.ok) == (own == 200, other == 200)
    for result in (run.result, run.background.result):
        assert result.scheduled == result.sent == result.latency.count == result.drained_ns == 0
    assert Counter(url for _, url, *_ in server.get("/records")) == {"/echo/1": 1, "/echo/2": 1}


def test_the_arrivals_of_two_loads_are_independent(server, measure):
    load = {"rate": 100.0, "connections": 4, "threads": 2, "arrivals": "poisson"}
    run = measure(server.url, background=background(**load), **load)

    assert len(intended(run)) == len(intended(run.background)) == 50
    assert not set(intended(run)) & set(intended(run.background))


def test_a_run_of_two_loads_that_is_stopped_leaves_nothing(server, generators):
    generator = generators(server.url, "/echo/1", window_s=30.0, background=background("/echo/2"))
    wait_for(lambda: server.get("/count").get("/echo/2", 0) > 3)
    pids = children(generator.process.pid)
    generator.process.terminate()

    assert generator.process.wait(timeout=10) == 143
    assert list(generator.out.iterdir()) == []
    wait_for(lambda: not any(alive(pid) for pid in pids))


# --- a search for the highest rate -------------------------------------------------------------


def test_search_finds_what_a_server_carries(measure, shared_server):
    """A server that serves one request at a time, each for 20 ms: 50 a second and no more."""
    search = Search(p99_ms=500, from_rate=4, to_rate=400, steps=4, step_s=1, warmup_s=0)
    run = measure(shared_server.url, "/slow", window_s=1.0, rate=4.0, search=search)
    found = msgspec.json.decode((run.out / "search.json").read_bytes(), type=SearchResult)
    assert [(step.rate, step.kept) for step in found.steps[:2]] == [(4, True), (400, False)]
    assert "requests per second were answered" in found.steps[1].why_not
    assert found.highest_rps is not None
    assert found.lowest_rps is not None
    assert found.highest_rps < 100
    assert found.highest_rps < found.lowest_rps <= 400
    assert run.result.offered_rps == pytest.approx(found.highest_rps, rel=0.05)


def test_search_whose_gate_fails_makes_no_load(measure, shared_server):
    search = Search(p99_ms=100, from_rate=20, to_rate=500, steps=5, step_s=1)
    run = measure(shared_server.url, "/ok", status=201, search=search)
    assert (run.code, run.result.scheduled) == (3, 0)
    assert not (run.out / "search.json").exists()
