"""A real server in two worker processes, and what the tests need to look behind it."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
from auth_app.settings import Settings, load_settings
from auth_app.variants import levers_of
from auth_app.wiring import build_tokens

PASSWORD = "Secret_12"
DEADLINE_S = 20.0


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"waited {deadline_s} s in vain: {what}"
        time.sleep(0.005)


def new_email() -> str:
    return f"{secrets.token_hex(8)}@example.com"


class App:
    """A running server of one variant."""

    def __init__(self, variant: str, settings: Settings, port: int, process: subprocess.Popen) -> None:
        self.variant = variant
        self.settings = settings
        self.port = port
        self.process = process
        self.levers = levers_of(variant)
        self.tokens = build_tokens(settings, self.levers)
        self.url = f"http://127.0.0.1:{port}"

    def client(self, **cookies: str) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api/v1/access", cookies=cookies, timeout=DEADLINE_S)

    def signup(self, **fields: object) -> httpx.Response:
        body = {"email": new_email(), "password": PASSWORD, "confirmPassword": PASSWORD} | fields
        with self.client() as client:
            return client.post("/signup", json=body)

    def signin(self, email: str, password: str = PASSWORD) -> httpx.Response:
        with self.client() as client:
            return client.post("/signin", data={"username": email, "password": password})

    def new_session(self) -> "Session":
        email = self.signup(name="Tester__").json()["email"]
        return Session(email, self.signin(email).cookies)

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
        return self.tokens._codec.sign(claims)

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
        inode = self._inode(local)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if any(str(fd.readlink()) == f"socket:[{inode}]" for fd in (process / "fd").iterdir()):
                    return int(process.name)
            except OSError:
                continue
        raise AssertionError(f"no process holds the connection from port {local}")

    def _inode(self, client_port: int) -> str:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            local, remote = (int(fields[i].rpartition(":")[2], 16) for i in (1, 2))
            if (local, remote) == (self.port, client_port):
                return fields[9]
        raise AssertionError(f"no connection from port {client_port}")


class Session:
    def __init__(self, email: str, cookies: httpx.Cookies) -> None:
        self.email = email
        self.access = cookies["access_token"]
        self.refresh = cookies["refresh_token"]

    @property
    def cookies(self) -> dict[str, str]:
        return {"access_token": self.access, "refresh_token": self.refresh}


@contextmanager
def running(variant: str, settings_path: Path) -> Iterator[App]:
    """Serve a variant as the unit does, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "auth_app.asgi:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "2", "--loop", "uvloop"]
    command += ["--http", "httptools", "--backlog", "2048", "--no-access-log", "--log-level", "warning"]
    environment = os.environ | {"AUTH_APP_SETTINGS": str(settings_path), "AUTH_APP_VARIANT": variant}
    process = subprocess.Popen(command, env=environment)
    try:
        app = App(variant, load_settings(settings_path), port, process)
        wait_until(lambda: process.poll() is not None or _answers(app.url), f"{variant} answers")
        assert process.poll() is None, f"the server of {variant} ended at once"
        yield app
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=DEADLINE_S)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping").status_code == 200
    except httpx.TransportError:
        return False


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
