"""PostgreSQL and Valkey of the tests' own, which they may stop, start again and fill."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from auth_app.settings import Settings
from away import free_ports
from harness import cli, wait_until, write_settings
from redis import Redis
from redis.exceptions import OutOfMemoryError

START_S = 60.0
STOP_S = 60.0


def program(name: str) -> str:
    """Path of a server's program; Debian keeps PostgreSQL's apart."""
    places = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    found = places[-1] if places else shutil.which(name)
    assert found, f"{name} is not installed, and these tests start services of their own"
    return found


class Service:
    """A server that is a child of the tests."""

    crash: signal.Signals
    """Ends it without giving it time to save anything."""

    def __init__(self, command: list[str], port: int, user: str | None = None) -> None:
        self.port = port
        self._command = command
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, user=self._user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.answers, f"{self._command[0]} answers", START_S)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STOP_S)
            self._process = None

    def restart(self) -> None:
        """Come back as after a power cut."""
        self.stop(self.crash)
        self.start()

    @contextmanager
    def away(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Valkey(Service):
    """As the role configures it: it saves nothing, and when it is full it evicts what has a lifetime."""

    crash = signal.SIGKILL

    def __init__(self, port: int) -> None:
        options = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "maxmemory-policy": "volatile-ttl"}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        super().__init__([program("valkey-server"), "--port", str(port), *words], port)

    def client(self) -> Redis:
        return Redis(host="127.0.0.1", port=self.port, socket_timeout=5)

    @staticmethod
    def _takes(client: Redis, key: str) -> bool:
        try:
            return client.set(key, b"x" * 2048) is True
        except OutOfMemoryError:
            return False

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room: everything that has a lifetime is evicted, and nothing more is taken."""
        with self.client() as client:
            memory = client.info("memory")
            assert isinstance(memory, dict)
            client.config_set("maxmemory", int(memory["used_memory"]) + 1_000_000)
            try:
                number = 0
                while self._takes(client, f"filling:{number}"):
                    number += 1
                yield
            finally:
                client.config_set("maxmemory", 0)
                client.flushall()


class PostgreSQL(Service):
    crash = signal.SIGQUIT

    def __init__(self, port: int, directory: Path) -> None:
        # initdb and postgres refuse to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        data, self.password_file = directory / "data", directory / "password"
        self.password_file.write_text("own")
        data.mkdir(mode=0o700)
        if user:
            shutil.chown(data, user)
        made = [program("initdb"), f"--pgdata={data}", f"--pwfile={self.password_file}", "--no-sync"]
        made += ["--username=own", "--auth=scram-sha-256", "--locale=C.UTF-8", "--encoding=UTF8"]
        subprocess.run(made, user=user, cwd="/", check=True, stdout=subprocess.DEVNULL)
        options = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        super().__init__([program("postgres"), "-D", str(data), *words], port, user)


class Own:
    """Both services, with the app's schema and roles."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        database, cache = free_ports(2)
        directory.chmod(0o755)
        self._directory, self._settings = directory, settings
        self.database, self.valkey = PostgreSQL(database, directory), Valkey(cache)
        self.path = self.settings_with("settings.toml")

    def settings_with(self, name: str, **sections: dict[str, object]) -> Path:
        """Write settings that name both services."""
        database: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.database.port,
            "name": "postgres",
            "user": "own",
            "password_file": str(self.database.password_file),
        }
        cache: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.valkey.port,
            "database": 0,
            "user": "",
            "password_file": "",
        }
        path = self._directory / name
        return write_settings(path, self._settings, database=database, cache=cache, **sections)


@contextmanager
def own_services(settings: Settings) -> Iterator[Own]:
    with ExitStack() as stack:
        # Not below pytest's own directories, which another user cannot enter.
        own = Own(Path(stack.enter_context(TemporaryDirectory())), settings)
        for service in (own.database, own.valkey):
            stack.callback(service.stop)
            service.start()
        wait_until(
            lambda: cli("migrate", settings=own.path, check=False).returncode == 0, "the schema", START_S
        )
        cli("seed-roles", settings=own.path)
        yield own
