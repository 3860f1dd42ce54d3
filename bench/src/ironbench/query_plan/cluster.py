"""A PostgreSQL cluster that lives for one measurement: its own data directory, no port, and an end of its own.

The bench's cluster keeps its configuration, its caches and its data. What is made here is taken away again; what a
killed measurement left is taken away by the next one.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError
from ironbench.host import system

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ironbench.records import Host

UNIT = "ironbench-query-plan.service"
USER = "postgres"
HOME = Path("/var/lib/postgresql")
"""Of Debian's packages: the data lies on the disk that the bench's cluster lies on."""
BINARIES = Path("/usr/lib/postgresql")
LIFE_S = 3600
"""After this systemd ends a cluster that nobody ended."""
START_DEADLINE_S = 60.0
POLL_S = 0.05

KEPT = {"listen_addresses": "", "autovacuum": "off"}
"""No network, and no worker that starts by itself while a query is measured."""


@dataclass(slots=True)
class Cluster:
    """A cluster's files, and how to talk to it."""

    binaries: Path
    directory: Path
    slice: str
    cpus: str

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self, parameters: dict[str, str]) -> None:
        """Start the server with these parameters, and wait until it takes connections."""
        given = [f"--{name}={value}" for name, value in (KEPT | parameters).items()]
        properties = {
            "User": USER,
            "Slice": self.slice,
            "RuntimeMaxSec": str(LIFE_S),
            "KillSignal": "SIGINT",  # PostgreSQL's fast shutdown
            "StandardOutput": f"append:{self.directory / 'server.log'}",
            "StandardError": f"append:{self.directory / 'server.log'}",
        }
        if self.cpus:
            properties["CPUAffinity"] = self.cpus
        argv = [str(self.binaries / "postgres"), "-D", str(self.data), "-k", str(self.directory), *given]
        system.start_transient(UNIT, argv, properties)
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            if time.monotonic() > deadline or system.show(UNIT)["ActiveState"] != "active":
                log = (self.directory / "server.log").read_text(errors="replace").splitlines()[-5:]
                raise IronbenchError(f"the throwaway cluster did not start: {' '.join(log)}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Stop the server; everything is on the disk then."""
        system.stop(UNIT)

    def psql(self, script: str) -> str:
        """Run a script in one new session and return what it prints: rows alone, one a line."""
        done = subprocess.run(self._psql(), input=script, capture_output=True, text=True, check=False)
        if done.returncode:
            raise IronbenchError(f"psql failed in the throwaway cluster: {done.stderr.strip()}")
        return done.stdout

    def copy(self, before: str, table: str, pieces: Iterable[bytes]) -> None:
        """Run SQL, then COPY the pieces into a table, in one session."""
        with subprocess.Popen(
            self._psql(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            try:
                process.stdin.write(f"{before}\nCOPY {table} FROM STDIN;\n".encode())
                for piece in pieces:
                    process.stdin.write(piece)
                process.stdin.write(b"\\.\n")
                process.stdin.close()
            except BrokenPipeError:
                pass  # psql has said why on stderr
            complaint = process.stderr.read().decode(errors="replace").strip()
            process.wait()
        if process.returncode:
            raise IronbenchError(f"the table could not be filled: {complaint}")

    def files(self, path: str) -> list[Path]:
        """Return the segments and forks of a relation, from ``pg_relation_filepath``."""
        found = (self.data / path).parent.glob(f"{Path(path).name}*")
        pattern = re.compile(rf"{Path(path).name}(_[a-z]+)?(\.\d+)?")
        return sorted(file for file in found if pattern.fullmatch(file.name))

    def _psql(self) -> Sequence[str]:
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
        psql = [str(self.binaries / "psql"), *options, f"--host={self.directory}", "--dbname=postgres"]
        return ["runuser", f"--user={USER}", "--", *psql]

    def _answers(self) -> bool:
        ready = [str(self.binaries / "pg_isready"), "--quiet", f"--host={self.directory}"]
        return not subprocess.run(ready, check=False).returncode


def make_cluster(host: Host) -> Cluster:
    """Make a cluster that does not run yet.

    Raises IronbenchError where the host has no PostgreSQL of Debian's packages.
    """
    versions = [path for path in BINARIES.glob("*") if (path / "bin" / "initdb").exists()]
    if not versions or not HOME.is_dir():
        raise IronbenchError(
            f"{host.name} has no {BINARIES}/VERSION/bin/initdb; query plans need PostgreSQL of Debian's packages there, "
            "which site.yml installs on hosts of the group database (backend native)."
        )
    binaries = max(versions, key=lambda path: int(path.name)) / "bin"
    remove()
    directory = HOME / "ironbench-query-plan"
    directory.mkdir(mode=0o700)
    user = pwd.getpwnam(USER)
    os.chown(directory, user.pw_uid, user.pw_gid)
    cluster = Cluster(binaries=binaries, directory=directory, slice=host.slice, cpus=host.layout.database)
    options = ["--auth=peer", f"--username={USER}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    system.run(
        ["runuser", f"--user={USER}", "--", str(binaries / "initdb"), f"--pgdata={cluster.data}", *options]
    )
    return cluster


def remove() -> None:
    """Stop the throwaway cluster and delete it, if there is one."""
    system.stop(UNIT)
    shutil.rmtree(HOME / "ironbench-query-plan", ignore_errors=True)
