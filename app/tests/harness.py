"""A real server in two worker processes, and what the tests need to look behind it."""

import asyncio
import functools
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

import argon2
import asyncpg
import httpx
from auth_app.settings import Settings, load_settings
from auth_app.variants import levers_of
from msgspec.structs import asdict
from signing import Signer, claims_of
from uuid_utils.compat import uuid7

PASSWORD = "Secret_12"
LIVES_S = {"access": 30 * 60, "refresh": 30 * 86_400}
DEADLINE_S = 20.0
START_DEADLINE_S = 60.0

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Each client would load the machine's certificates, 20 ms of CPU time, and meet no TLS."""


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s in vain: {what}"
        time.sleep(0.005)


def new_email() -> str:
    return f"{secrets.token_hex(8)}@example.com"


class Session:
    """A user with one token of each kind."""

    def __init__(self, email: str, *, access: str, refresh: str) -> None:
        self.email = email
        self.access = access
        self.refresh = refresh

    @classmethod
    def of(cls, email: str, response: httpx.Response) -> "Session":
        cookies = response.cookies
        return cls(email, access=cookies["access_token"], refresh=cookies["refresh_token"])

    @property
    def cookies(self) -> dict[str, str]:
        return {"access_token": self.access, "refresh_token": self.refresh}


class App:
    """A running server of one variant."""

    def __init__(
        self, variant: str, settings: Settings, port: int, process: subprocess.Popen, output: IO[bytes]
    ) -> None:
        self.variant = variant
        self.settings = settings
        self.port = port
        self.process = process
        self.levers = levers_of(variant)
        self.signer = Signer(settings, self.levers)
        self.url = f"http://127.0.0.1:{port}"
        self._output = output

    def output(self) -> bytes:
        """Everything that the server and its workers wrote to stdout and stderr."""
        return os.pread(self._output.fileno(), 1 << 26, 0)

    def client(self, **cookies: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v1/access", cookies=cookies, timeout=3 * DEADLINE_S, verify=NO_TLS
        )

    def signup(self, **fields: object) -> httpx.Response:
        body = {"email": new_email(), "password": PASSWORD, "confirmPassword": PASSWORD} | fields
        with self.client() as client:
            return client.post("/signup", json=body)

    def signin(self, email: str, password: str = PASSWORD) -> httpx.Response:
        with self.client() as client:
            return client.post("/signin", data={"username": email, "password": password})

    def new_session(self) -> Session:
        """Put a user into the database and sign the tokens here: no password is hashed for it."""
        email, user_id = new_email(), uuid7()
        sql(
            self.settings,
            "INSERT INTO user_account (id, name, email, password, role_id, created_at, updated_at)"
            f" SELECT '{user_id}', 'Tester', '{email}', '{_hash(self.levers.argon2_lanes)}', id, now(), now()"
            " FROM role WHERE slug = 'application-access' RETURNING id",
        )
        return self.session_of(email, str(user_id))

    def renewed(self, session: Session) -> Session:
        """Sign other tokens of the same user."""
        return self.session_of(session.email, claims_of(session.access)["sub"])

    def session_of(self, email: str, user_id: str) -> Session:
        now = time.time()
        tokens = {}
        for kind, life_s in LIVES_S.items():
            claims = {"sub": user_id, "iat": now, "exp": now + life_s, "jti": str(uuid4()), "type": kind}
            tokens[kind] = self.sign(claims | ({"email": email} if kind == "access" else {}))
        return Session(email, **tokens)

    def get_me(self, token: str) -> httpx.Response:
        with self.client(access_token=token) as client:
            return client.get("/me")

    def cpu_s(self) -> float:
        """CPU seconds that the server and its workers have used."""
        total, pids = 0, [self.process.pid]
        while pids:
            process = Path("/proc", str(pids.pop()))
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])  # utime, stime: proc_pid_stat(5)
            for task in (process / "task").iterdir():
                pids += map(int, (task / "children").read_text().split())
        return total / os.sysconf("SC_CLK_TCK")

    def sign(self, claims: dict) -> str:
        """Sign any claims with the variant's own key."""
        return self.signer.sign(claims)

    @contextmanager
    def both_workers(self, **cookies: str) -> Iterator[list[httpx.Client]]:
        """One client for each worker process, on a connection that stays open."""
        clients: dict[int, httpx.Client] = {}
        spare: list[httpx.Client] = []

        def complete() -> bool:
            client = self.client(**cookies)
            pid = self._worker_of(client)
            if pid in clients:
                spare.append(client)
            else:
                clients[pid] = client
            return len(clients) == 2

        try:
            wait_until(complete, "a connection to each of two workers")
            yield list(clients.values())
        finally:
            for client in [*clients.values(), *spare]:
                client.close()

    def _worker_of(self, client: httpx.Client) -> int:
        response = client.get(f"{self.url}/ping")
        local = response.extensions["network_stream"].get_extra_info("client_addr")[1]
        socket = f"socket:[{self._inode(local)}]"
        for process in Path("/proc").glob("[0-9]*"):
            descriptors: list[Path] = []
            with suppress(OSError):  # the process has ended
                descriptors += (process / "fd").iterdir()
            for descriptor in descriptors:
                with suppress(OSError):  # it closed another one meanwhile
                    if str(descriptor.readlink()) == socket:
                        return int(process.name)
        raise AssertionError(f"no process holds the connection from port {local}")

    def _inode(self, client_port: int) -> str:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            local, remote = (int(fields[i].rpartition(":")[2], 16) for i in (1, 2))
            if (local, remote) == (self.port, client_port):
                return fields[9]
        raise AssertionError(f"no connection from port {client_port}")


@contextmanager
def running(variant: str, settings_path: Path, **variables: str) -> Iterator[App]:
    """Serve a variant as the unit does, on a free port, with environment variables of a test's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "auth_app.cli", "serve", "--variant", variant]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "2", "--backlog", "2048"]
    environment = os.environ | {"AUTH_APP_SETTINGS": str(settings_path)} | variables
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            app = App(variant, load_settings(settings_path), port, process, output)
            wait_until(
                lambda: process.poll() is not None or _answers(app.url),
                f"{variant} answers",
                START_DEADLINE_S,
            )
            assert process.poll() is None, f"the server of {variant} ended at once"
            yield app
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=DEADLINE_S)
            finally:
                # Shown by pytest if the test failed.
                sys.stderr.write(os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace"))


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping").status_code == 200
    except httpx.TransportError:
        return False


@functools.cache
def _hash(lanes: int) -> str:
    """Hash of ``PASSWORD`` as the README states the cost."""
    return argon2.PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=lanes).hash(PASSWORD)


def write_settings(path: Path, settings: Settings, **changes: Mapping[str, object]) -> Path:
    """Write the settings anew, with other values."""
    lines = []
    for section, values in asdict(settings).items():
        lines.append(f"[{section}]")
        merged = asdict(values) | dict(changes.get(section, {}))
        lines += [f"{name} = {json.dumps(value)}" for name, value in merged.items()]
    path.write_text("\n".join(lines))
    return path


def cli(
    *arguments: str, settings: Path | None = None, stdin: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if settings is not None:
        environment["AUTH_APP_SETTINGS"] = str(settings)
    command = [sys.executable, "-m", "auth_app.cli", *arguments]
    done = subprocess.run(
        command, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def cli_json(*arguments: str, settings: Path | None = None, stdin: str = "") -> dict:
    return json.loads(cli(*arguments, settings=settings, stdin=stdin).stdout)


def sql(settings: Settings, *statements: str) -> list[asyncpg.Record]:
    """Run statements through PgBouncer; the rows of the last one."""

    async def run() -> list[asyncpg.Record]:
        database = settings.database
        connection = await asyncpg.connect(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password(),
            database=database.name,
            statement_cache_size=0,
        )
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetch(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())
