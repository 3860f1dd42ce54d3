"""Which worker a connection belongs to, against real processes that share a listening socket."""

import json
import os
import socket
from ipaddress import ip_address

import pytest
from ironbench.errors import IronbenchError
from ironbench.load.client import resolve
from ironbench.load.landing import LocalFinder, surplus, tally
from ironbench.load.sockets import parse_sockets
from ironbench.records import Background, Expectation, Load, RequestTemplate

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1
   1: 0100007F:1F40 0200A8C0:D431 01 00000000:00000000 02:00000A5C 00000000     0        0 0 3
"""
TCP6 = """  sl  local_address                         remote_address st tx_queue rx_queue
   0: 0000000000000000FFFF00000100007F:1F40 B80D01200000000000000000010000AB:0001 01 0:0 0:0 0 0 0 77 1
"""


def test_sockets_are_parsed():
    listening, unaccepted = parse_sockets(TCP)
    (mapped,) = parse_sockets(TCP6)

    assert (listening.local, listening.state, listening.inode) == (
        (ip_address("127.0.0.1"), 8000),
        "0A",
        1234,
    )
    assert (unaccepted.remote, unaccepted.inode) == ((ip_address("192.168.0.2"), 54321), 0)
    assert mapped.local == (ip_address("127.0.0.1"), 8000)
    assert mapped.remote == (ip_address("2001:db8::ab00:1"), 1)


@pytest.mark.parametrize(
    ("owners", "over"),
    [
        ([1, 1, 2, 2], 0),
        ([1, 1, 1, 2], 1),
        ([1, 1, 1, 1], 2),
        ([1, 1, 2], 0),
        ([1, 2, 2, 2, 2], 1),
        ([1], 0),
        ([1, 1, 1], 1),
    ],
)
def test_what_a_worker_has_too_much_is_given_up(owners, over):
    assert len(surplus(dict(enumerate(owners)), [1, 2])) == over


def test_connections_are_found_with_their_workers(start_server, measure):
    server = start_server(workers=2)
    run = measure(server.url)

    landing = run.result.landing
    assert landing.unknown == ""
    assert set(landing.workers) == set(server.workers)  # and not their parent, which has the socket too
    assert sum(landing.workers.values()) == 4
    assert landing.workers_after == landing.workers


@pytest.mark.parametrize("processes", [1, 2])
def test_balanced_gives_every_worker_its_share(start_server, measure, processes):
    server = start_server(workers=2)
    for number in range(3):
        run = measure(
            server.url,
            out=str(number),
            placement="balanced",
            processes=processes,
            window_s=0.1,
            connections=6,
        )
        assert run.result.landing.workers == dict.fromkeys(server.workers, 3)
        assert run.result.completed == 10


def test_each_of_two_loads_is_balanced_for_itself(start_server, measure):
    server = start_server(workers=2)
    load = Load(rate=20, connections=2, threads=1, arrivals="even", placement="balanced")
    request = RequestTemplate(method="GET", path="/ok", expect=Expectation(status=200))
    background = Background(request=request, load=load)
    run = measure(server.url, placement="balanced", background=background, window_s=0.1, connections=6)

    assert run.result.landing.workers == dict.fromkeys(server.workers, 3)
    assert run.background.result.landing.workers == dict.fromkeys(server.workers, 1)


def test_balanced_is_refused_where_workers_cannot_be_told():
    """Nothing on this machine listens there, as when the app runs on another one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = resolve(*listener.getsockname())
    finder = LocalFinder(address)

    assert finder.look({1}) == ([], {})
    assert "can be seen on the app's host only" in finder.unknown


def test_a_lone_process_is_the_worker():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = resolve(*listener.getsockname())
        with socket.create_connection(listener.getsockname()) as ours, listener.accept()[0]:
            port = ours.getsockname()[1]
            seen = LocalFinder(address).look({port})
    assert seen == ([os.getpid()], {port: os.getpid()})
    assert tally(seen, [port]) == {str(os.getpid()): 1}


def test_balancing_ends_with_a_sentence_when_it_cannot_be_done(start_server, measure, monkeypatch):
    monkeypatch.setattr("ironbench.load.landing._BALANCE_S", 0.2)
    monkeypatch.setattr("ironbench.load.landing.surplus", lambda owners, _: list(owners))
    with pytest.raises(
        IronbenchError, match=r"could not be balanced .* \(PID \d+: 4\); use more connections"
    ):
        measure(start_server().url, placement="balanced")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "is empty"),
        ("[]", "Line 1 of .* is not a request with method, path, headers and body"),
        ({"method": "HEAD", "path": "/"}, "Line 1 of .* has the method 'HEAD'; use GET, POST"),
        ({"method": "GET", "path": "x"}, "has the path 'x'"),
        (
            {"method": "GET", "path": "/", "headers": {"Host": "x"}},
            "has the header Host, which the generator",
        ),
        ({"method": "GET", "path": "/", "headers": {"A": "\n"}}, "has the header 'A'"),
        ({"method": "GET", "path": "/", "surprise": 1}, "unknown field `surprise`"),
    ],
)
def test_a_bad_file_of_requests_is_refused(measure, tmp_path, line, message):
    file = tmp_path / "requests.jsonl"
    file.write_text(line if isinstance(line, str) else json.dumps(line))
    with pytest.raises(IronbenchError, match=message):
        measure("http://127.0.0.1:1", requests_file=file)
