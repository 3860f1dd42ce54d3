"""The placement service in a process of its own, asked as from another machine.

The app listens at 127.0.0.2 and everybody else is 127.0.0.1, which the kernel takes for two addresses. The
app's cgroup is a directory with the one file of it that the service reads.
"""

import contextlib
import re
import select
import socket
import subprocess
import sys
import time

import msgspec
import pytest
from ironbench.errors import IronbenchError
from ironbench.host import placement
from ironbench.load import placement as load_placement
from ironbench.load.client import resolve
from ironbench.load.placement import LONGEST_LINE, Question, ask, read_clock
from ironbench.records import SCHEMA, Background, Expectation, Load, PlacementService, RequestTemplate

APP = "127.0.0.2"
TOKEN = "token-of-the-session"


class Service:
    """The service for the processes ``pids``, which listen at ``app_port``."""

    def __init__(self, directory, app_port, pids, *, life_s=60.0, port=None):
        self.cgroup = directory / "app.service"
        self.cgroup.mkdir(exist_ok=True)
        (self.cgroup / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        self.port = free_port() if port is None else port
        duty = placement.Duty(
            schema=SCHEMA,
            address=APP,
            port=self.port,
            app_port=app_port,
            cgroup=str(self.cgroup),
            token=TOKEN,
            life_s=life_s,
        )
        file = directory / "placement.json"
        file.write_bytes(msgspec.json.encode(duty))
        command = [sys.executable, "-m", "ironbench.host.placement", str(file)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.said = ""
        self.address = resolve(APP, self.port)
        self.told = PlacementService(port=self.port, token=TOKEN)

    def ask(self, ports, token=TOKEN):
        return ask(self.address, Question(schema=SCHEMA, token=token, ports=list(ports)))

    def connect(self):
        return socket.create_connection((APP, self.port), timeout=20)

    def wait(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                with self.connect():
                    return self
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.01)  # between two attempts

    def stop(self):
        self.process.kill()
        if self.process.stderr and not self.process.stderr.closed:
            self.said = self.process.communicate()[1]
        return self.said


def free_port():
    with socket.create_server((APP, 0)) as listener:
        return listener.getsockname()[1]


def port_of(server):
    return int(server.url.rpartition(":")[2])


@pytest.fixture
def app(start_server):
    """Two workers and their parent, which listen at an address that is not the generator's."""
    return start_server(where=APP, workers=2)


@pytest.fixture
def start_service(tmp_path):
    started = []

    def start(server, pids=None, **changes):
        pids = [server.process.pid, *server.workers] if pids is None else pids
        started.append(Service(tmp_path, port_of(server), pids, **changes))
        return started[-1]

    yield start
    for service in started:
        service.stop()


# --- the generator asks it ---------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_balanced_gives_every_worker_its_share_from_afar(app, start_service, measure, processes):
    service = start_service(app).wait()
    for number in range(3):
        run = measure(
            app.url,
            out=str(number),
            placement="balanced",
            placement_service=service.told,
            processes=processes,
            window_s=0.1,
            connections=6,
        )
        landing = run.result.landing
        assert landing.workers == landing.workers_after == dict.fromkeys(app.workers, 3)
        assert landing.unknown == ""
        assert run.result.completed == 10


def test_connections_are_found_as_they_landed(app, start_service, measure):
    service = start_service(app).wait()
    landing = measure(app.url, placement_service=service.told, warmup_s=0.1).result.landing

    assert set(landing.workers) == set(app.workers)
    assert sum(landing.workers.values()) == 4
    assert (landing.workers_after, landing.unknown) == (landing.workers, "")


def test_each_of_two_loads_is_told_its_own(app, start_service, measure):
    service = start_service(app).wait()
    load = Load(rate=20, connections=2, threads=1, arrivals="even", placement="balanced")
    request = RequestTemplate(method="GET", path="/ok", expect=Expectation(status=200))
    run = measure(
        app.url,
        placement="balanced",
        placement_service=service.told,
        background=Background(request=request, load=load),
        window_s=0.1,
        connections=6,
    )
    assert run.result.landing.workers == dict.fromkeys(app.workers, 3)
    assert run.background.result.landing.workers_after == dict.fromkeys(app.workers, 1)


def test_connections_that_the_warm_up_moved_are_asked_for_again(app, start_service, measure):
    """Each answer of /close closes its connection, so no port of before the warm-up is one of the window."""
    service = start_service(app).wait()
    landing = measure(app.url, "/close", placement_service=service.told, warmup_s=0.1).result.landing

    assert sum(landing.workers.values()) > 0


AWAY = r"the placement service at 127\.0\.0\.2:\d+ cannot be reached \(Connection refused\)\."
FOREIGN = r"the placement service at 127\.0\.0\.2:\d+ refused the token: it is of another session\."


@pytest.mark.parametrize(("token", "reason"), [("", AWAY), ("token-of-another-one", FOREIGN)])
def test_what_cannot_be_told_is_said_and_balanced_is_refused_before_any_load(
    start_server, start_service, measure, token, reason
):
    server = start_server(where=APP)
    port = start_service(server, [server.process.pid]).wait().port if token else free_port()
    told = PlacementService(port=port, token=token)
    landing = measure(server.url, placement_service=told).result.landing

    assert (landing.workers, landing.workers_after) == ({}, {})
    assert re.fullmatch(f"Which worker a connection belongs to is not known: {reason}", landing.unknown)
    with pytest.raises(
        IronbenchError, match=rf"is balanced, and that is not possible here: .*{reason} Use as_l"
    ):
        measure(server.url, "/echo", out="balanced", placement="balanced", placement_service=told)
    assert server.get("/count").get("/echo", 0) == 0


def test_a_service_that_goes_away_in_the_window_leaves_what_it_told(start_server, start_service, generators):
    server = start_server(where=APP)
    service = start_service(server, [server.process.pid]).wait()
    generator = generators(server.url, "/echo", placement_service=service.told)
    deadline = time.monotonic() + 20
    while server.get("/count").get("/echo", 0) < 10:
        assert time.monotonic() < deadline
    service.stop()
    landing = generator.finish().result.landing

    assert landing.workers == {str(server.process.pid): 4}
    assert landing.workers_after == {}
    assert "cannot be reached" in landing.unknown


# --- what it tells, and to whom -----------------------------------------------------------------


def test_it_tells_of_the_askers_own_connections_alone(start_server, start_service):
    server = start_server(where=APP)
    service = start_service(server, [server.process.pid]).wait()
    ours = socket.create_connection((APP, port_of(server)))
    others = socket.create_connection((APP, port_of(server)), source_address=("127.0.0.3", 0))
    with ours, others:
        ports = [1, ours.getsockname()[1], others.getsockname()[1]]
        for connection in (ours, others):  # answered, so accepted
            connection.sendall(b"GET /ok HTTP/1.1\r\n\r\n")
            assert connection.recv(1)
        answer = service.ask(ports)
    assert answer.workers == [server.process.pid]
    assert answer.owners == [None, server.process.pid, None]


def test_it_tells_of_no_process_outside_of_the_apps_cgroup(app, start_service):
    service = start_service(app, app.workers[:1]).wait()
    assert [str(pid) for pid in service.ask([]).workers] == app.workers[:1]

    (service.cgroup / "cgroup.procs").write_text("")
    with pytest.raises(
        IronbenchError, match=rf"finds no process of the app that listens at port {port_of(app)}\."
    ):
        service.ask([])


def test_a_wrong_token_learns_nothing(app, start_service):
    service = start_service(app).wait()
    for token in ("", TOKEN[:-1], TOKEN + "x", "ü"):
        line = msgspec.json.encode({"schema": SCHEMA, "token": token, "ports": [1]}) + b"\n"
        with service.connect() as connection:
            connection.sendall(line)
            told = msgspec.json.decode(connection.makefile("rb").read())
        assert told.pop("refused").startswith("refused the token")
        assert told == {"schema": SCHEMA, "workers": [], "owners": [], "ns": 0}


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"{}\n",
        b'{"schema":1,"token":"%s","ports":[0]}\n' % TOKEN.encode(),
        b'{"schema":1,"token":"%s","ports":[1],"more":1}\n' % TOKEN.encode(),
        b"x" * (LONGEST_LINE + 1),
        b"no line",
    ],
)
def test_what_is_no_question_is_not_answered_and_does_no_harm(app, start_service, line):
    service = start_service(app).wait()
    with service.connect() as connection:
        connection.sendall(line)
        with contextlib.suppress(ConnectionResetError):  # closed before all of it was read
            assert connection.makefile("rb").read() == b""
    assert len(service.ask([]).workers) == 2


def test_more_connections_than_it_attends_are_closed_at_once(app, start_service):
    service = start_service(app).wait()
    idle = [service.connect() for _ in range(placement.CONNECTIONS)]
    with service.connect() as one_more:
        # The newest go first: one of these two, for the connection that found it ready may still count.
        assert select.select([*idle, one_more], [], [])[0][-1] in (idle[-1], one_more)
        assert one_more.recv(1) == b""
    for connection in idle:  # and those that ask nothing, after a while
        assert connection.recv(1) == b""
        connection.close()
    assert len(service.ask([]).workers) == 2


def test_it_ends_by_itself(app, start_service):
    assert start_service(app, life_s=0.1).process.wait(timeout=20) == 0


def test_a_port_that_is_taken_is_one_sentence(app, start_service):
    service = start_service(app, port=port_of(app))
    assert service.process.wait(timeout=20) == 1
    said = service.stop()
    assert said.startswith(f"ironbench: The placement service cannot listen at {APP}, port {port_of(app)} (")
    assert said.endswith("set bench_placement_port to a free one.\n")
    assert len(said.splitlines()) == 1


# --- clocks ------------------------------------------------------------------------------------


def test_the_clock_of_this_machine_is_its_own(app, start_service):
    service = start_service(app).wait()
    offset_ns, bound_ns = read_clock(service.address, TOKEN, 5)
    assert abs(offset_ns) <= bound_ns < 50_000_000
    with pytest.raises(IronbenchError, match="refused the token"):
        read_clock(service.address, "another", 1)


def test_a_clock_that_is_ahead_is_seen_as_far_ahead(app, start_service, monkeypatch):
    """The other end of the wire: ours runs 40 ms behind, so the service's is ahead."""
    service = start_service(app).wait()
    monkeypatch.setattr(load_placement, "time_ns", lambda: time.time_ns() - 40_000_000)
    offset_ns, bound_ns = read_clock(service.address, TOKEN, 5)
    assert abs(offset_ns - 40_000_000) <= bound_ns
