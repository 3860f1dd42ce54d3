"""A bench in miniature on the host that the tests run on: real units, a real PostgreSQL, real load."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from ironbench.host.turn import Turn
from ironbench.records import (
    SCHEMA,
    Background,
    CoreLayout,
    Expectation,
    Experiment,
    Hold,
    Host,
    HostCommands,
    Load,
    PlannedRun,
    RequestTemplate,
    Service,
    Session,
)

CLUSTERS = sorted(Path("/etc/postgresql").glob("*/*"))
POSTGRESQL = f"postgresql@{CLUSTERS[0].parent.name}-{CLUSTERS[0].name}.service" if CLUSTERS else ""
PORT = 18471
UNITS = Path("/run/systemd/system")
APP = f"""
[Service]
Slice=bench.slice
CPUAffinity=1
LimitNOFILE=4096
WorkingDirectory=/run/ironbench-test/%i
ExecStart={sys.executable} -m http.server --bind 127.0.0.1 --protocol HTTP/1.1 {PORT}
"""


def missing() -> str | None:
    """Why these tests cannot run here."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/run/systemd/system").is_dir():  # as sd_booted(3) tells
        return "needs systemd as PID 1"
    if not shutil.which("sar"):
        return "needs sysstat"
    if not POSTGRESQL:
        return "needs a PostgreSQL cluster of Debian's packages"
    if len(os.sched_getaffinity(0)) < 2:
        return "needs two CPUs"
    return None


def systemctl(*arguments: str) -> str:
    return subprocess.run(
        ["systemctl", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def show(unit: str, name: str) -> str:
    return systemctl("show", "-P", name, "--", unit)


def until(condition, what: str, seconds: float = 10):
    """Wait for a condition and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never saw {what}"
        time.sleep(0.02)
    return value


class Bench:
    """The command, on one host description and one session."""

    def __init__(self, directory: Path, host: Host, session: Session) -> None:
        self.host = host
        self.session = session
        self.held = Hold(
            schema=SCHEMA, plan=session.plan, bundle="/results/test", controller="desk", user="ada"
        )
        directory.mkdir(exist_ok=True)
        self.description = directory / "host.json"
        self.description.write_bytes(msgspec.json.encode(host))

    def call(self, *verbs: str, after: Session | None = None) -> subprocess.CompletedProcess[str]:
        ironbench = Path(sys.executable).with_name("ironbench")
        command = [str(ironbench), "host", *verbs, "--host", str(self.description)]
        asked = self.session
        if verbs == ("turn",):
            asked = Turn(schema=SCHEMA, session=self.session, after=after)
        if verbs in (("hold",), ("release",)):
            asked = self.held
        text = msgspec.json.encode(asked).decode()
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    def turn(self, after: Session | None) -> dict:
        done = self.call("turn", after=after)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def __call__(self, verb: str) -> dict:
        done = self.call(verb)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def fails(self, verb: str) -> str:
        done = self.call(verb)
        assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
        assert not done.stdout
        return done.stderr

    def hold(self, **fields) -> None:
        """Hold the host for the plan of the session, with whatever else is wanted."""
        self.held = msgspec.structs.replace(self.held, **fields)
        self("hold")

    def free(self) -> None:
        """Let nobody hold the host, whoever did."""
        done = self.call("release", "--force")
        assert done.returncode == 0, done.stderr

    @property
    def directory(self) -> Path:
        return Path(self.host.state_dir, "sessions", self.session.run.key)

    def unit(self, kind: str) -> str:
        return f"ironbench-{kind}-{self.session.run.key}.service"


def unpack(collected: dict, directory: Path) -> list[str]:
    """Unpack what ``collect`` handed in, and return the names of what was in it."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(collected["archive"]))) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # as ironbench.ingest
        archive.extractall(directory)
        return archive.getnames()


class Finished(NamedTuple):
    bench: Bench
    answers: dict[str, dict]
    raw: Path


@pytest.fixture(scope="session")
def machine():
    """Real units for the tests, removed afterwards."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    unit = UNITS / "bench-test-app@.service"
    unit.write_text(APP)
    broken = UNITS / "bench-test-broken@.service"
    broken.write_text("[Service]\nExecStart=/bin/sh -c 'echo no such lever; exit 3'\n")
    for variant in ("baseline", "final"):
        Path("/run/ironbench-test", variant).mkdir(parents=True, exist_ok=True)
    systemctl("daemon-reload")
    systemctl("start", POSTGRESQL)
    yield
    systemctl("stop", "bench-test-app@*.service")
    systemctl("reset-failed")
    unit.unlink()
    broken.unlink()
    shutil.rmtree("/run/ironbench-test")
    systemctl("daemon-reload")


def describe_host(state: Path) -> Host:
    seed = 'import sys; [print(\'{"name": "%s-%d", "secret": "hunter2"}\' % (sys.argv[1], i))'
    seed += " for i in range(int(sys.argv[2]))]"
    return Host(
        schema=SCHEMA,
        name="one",
        groups=["app", "database", "load_generators"],
        layout=CoreLayout(
            name="two-packed",
            app="1",
            database="0-1",
            cache="0",
            load_generator="0",
            housekeeping="0",
            packed=True,
        ),
        services=[
            Service(name="app", unit="bench-test-app@{variant}.service", cpus="1"),
            # Where its unit has it, which is the host's matter; no CPUAffinity= means all.
            Service(
                name="postgresql",
                unit=POSTGRESQL,
                cpus=show(POSTGRESQL, "CPUAffinity").replace(" ", ",") or "0-1",
            ),
        ],
        commands=HostCommands(prepare=[sys.executable, "-c", seed, "{variant}", "{users}"]),
        base_url=f"http://127.0.0.1:{PORT}",
        health_path="/",
        state_dir=str(state),
        slice="bench.slice",
    )


def describe_session() -> Session:
    request = RequestTemplate(
        method="GET", path="/", headers={"X-User": "{user.name}"}, expect=Expectation(status=200)
    )
    return Session(
        schema=SCHEMA,
        plan="test",
        run=PlannedRun(position=1, experiment="listing", block=1, variant="final"),
        experiment=Experiment(
            title="Directory listing",
            request=request,
            load=Load(rate=20, connections=2, threads=1, arrivals="even"),
            background=Background(
                request=request, load=Load(rate=10, connections=2, threads=2, arrivals="even")
            ),
            variants=["baseline", "final"],
            users=3,
        ),
        seed=7,
        warmup_s=0.5,
        idle_s=2.2,
        window_s=3,
        timeout_s=2,
        drain_s=2,
        expected_s=12,
    )


@pytest.fixture
def bench(machine, tmp_path):
    made = Bench(tmp_path, describe_host(tmp_path / "state"), describe_session())
    made.free()
    made.hold()
    yield made
    made.call("stop")
    made.free()


@pytest.fixture(scope="session")
def finished(machine, tmp_path_factory):
    """One whole session; ``answers`` by verb, and the archive unpacked as the controller does it."""
    directory = tmp_path_factory.mktemp("finished")
    made = Bench(directory, describe_host(directory / "state"), describe_session())
    try:
        made.free()
        made.hold()
        answers = {verb: made(verb) for verb in ("prepare", "observe", "load", "collect")}
        answers["again"] = made("collect")
    finally:
        made.call("stop")
        made.free()
    raw = directory / "raw"
    unpack(answers["collect"], raw / "one")
    return Finished(made, answers, raw)
