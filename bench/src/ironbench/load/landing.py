"""Which process of the app each connection belongs to, and reconnecting until every one has its share.

The kernel of the app's host knows: /proc/net/tcp and tcp6 tell the inode of the app's end of each
connection, /proc/PID/fd who holds it (proc_pid_net(5), proc_pid_fd(5)). So it can be told on the app's
own host only, and of other users' processes only by root.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ironbench.load.client import Address

_PROC = Path("/proc")
_LISTEN = "0A"
_WORD = 4
_ACCEPT_S = 2.0
"""A connection that no worker has accepted in this time is of no worker."""
_BALANCE_S = 20.0
_POLL_S = 0.01

Endpoint = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


class Row(NamedTuple):
    """One socket of /proc/net/tcp or tcp6."""

    local: Endpoint
    remote: Endpoint
    state: str
    inode: int
    """0: no process has it, for one since nobody has accepted it yet."""


def parse_sockets(text: str) -> list[Row]:
    """Parse /proc/net/tcp or tcp6; IPv4 in IPv6 becomes IPv4."""
    rows = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        rows.append(Row(_endpoint(fields[1]), _endpoint(fields[2]), fields[3], int(fields[9])))
    return rows


def surplus(owners: dict[int, int], workers: Iterable[int]) -> list[int]:
    """Return the connections to give up so that none of ``workers`` has more than its share.

    ``owners`` is worker by connection. Shares differ by at most one, and go with what there is:
    the workers with the most connections have the larger ones.
    """
    have = Counter(dict.fromkeys(workers, 0))
    have.update(owners.values())
    each, larger = divmod(len(owners), len(have))
    room = {worker: each + (rank < larger) for rank, (worker, _) in enumerate(have.most_common())}
    over = []
    for connection, worker in owners.items():
        room[worker] -= 1
        if room[worker] < 0:
            over.append(connection)
    return over


class Finder:
    """Looks for the app's workers; ``unknown`` says why it finds none, or is empty."""

    def __init__(self, address: Address) -> None:
        self.unknown = ""
        self._server: Endpoint | None = None
        if address.family == socket.AF_UNIX:
            self.unknown = "A Unix socket does not tell which worker a connection belongs to."
        else:
            host, port = address.sockaddr[:2]
            self._server = (_plain(ipaddress.ip_address(str(host).partition("%")[0])), int(port))

    def workers(self, ports: Iterable[int]) -> dict[str, int]:
        """Return how many connections from our ``ports`` each worker has, by PID; workers without any too."""
        found = self.listening()
        owners = self.owners(ports)
        counts = Counter(dict.fromkeys(found, 0))
        counts.update(owners.values())
        return {str(pid): counts[pid] for pid in sorted(counts)}

    def listening(self) -> list[int]:
        """Return the workers: who holds a socket that listens at the address, but no master.

        A master has the socket for its workers only: it is the parent of another holder.
        """
        if self._server is None:
            return []
        listeners = {
            row.inode for row in _sockets() if row.state == _LISTEN and self._serves(row.local) and row.inode
        }
        if not listeners:
            self.unknown = (
                "Which worker a connection belongs to can be seen on the app's host only, and nothing listens "
                f"at port {self._server[1]} on this one."
            )
            return []
        holders = {pid for pid, _ in _holders(listeners, _pids())}
        if not holders:
            self.unknown = f"Who listens at port {self._server[1]} can be seen by root only."
        return sorted(holders - {_parent(pid) for pid in holders})

    def owners(self, ports: Iterable[int]) -> dict[int, int]:
        """Return the PID of the worker that has accepted the connection from each of our ``ports``."""
        if self._server is None:
            return {}
        rows = _sockets()
        # Both ends must be here: a port of ours may also be that of a client on another machine.
        ours = {row.local for row in rows if row.remote == self._server}
        wanted = set(ports)
        inodes = {
            row.inode: row.remote[1]
            for row in rows
            if row.local == self._server and row.remote in ours and row.remote[1] in wanted and row.inode
        }
        return {inodes[inode]: pid for pid, inode in _holders(set(inodes), _pids())}

    def _serves(self, endpoint: Endpoint) -> bool:
        assert self._server is not None
        return endpoint[1] == self._server[1] and (
            endpoint[0] == self._server[0] or endpoint[0].is_unspecified
        )


def balance(
    finder: Finder, local_ports: Callable[[], dict[int, int]], reopen: Callable[[list[int]], object]
) -> int:
    """Reopen connections until every worker has its share; return how many were opened anew.

    Raises IronbenchError when the workers cannot be told, or the kernel goes on giving one of them
    more than its share.
    """
    deadline = time.monotonic() + _BALANCE_S
    moved = 0
    while True:
        workers = finder.listening()
        if not workers:
            raise IronbenchError(
                f"load.placement is balanced, and that is not possible here: {finder.unknown} Use as_landed."
            )
        owners = _accepted(finder, local_ports())
        over = surplus({number: pid for number, pid in owners.items() if pid in workers}, workers)
        over += [number for number, pid in owners.items() if pid not in workers]
        if not over:
            return moved
        if time.monotonic() > deadline:
            counts = ", ".join(f"PID {pid}: {n}" for pid, n in sorted(Counter(owners.values()).items()))
            raise IronbenchError(
                f"The connections could not be balanced in {_BALANCE_S:g} s ({counts}); use more connections or "
                "the placement as_landed."
            )
        reopen(over)
        moved += len(over)


def _accepted(finder: Finder, ports: dict[int, int]) -> dict[int, int]:
    """Return the worker of each connection, 0 where nobody accepts it."""
    deadline = time.monotonic() + _ACCEPT_S
    while True:
        by_port = finder.owners(ports.values())
        if len(by_port) == len(ports) or time.monotonic() > deadline:
            return {number: by_port.get(port, 0) for number, port in ports.items()}
        time.sleep(_POLL_S)


def _sockets() -> list[Row]:
    rows = []
    for name in ("tcp", "tcp6"):
        try:
            rows += parse_sockets((_PROC / "net" / name).read_text())
        except FileNotFoundError:  # a kernel without IPv6
            continue
    return rows


def _pids() -> list[int]:
    return [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]


def _holders(inodes: set[int], pids: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Give (PID, inode) for each of the sockets that a process has open."""
    names = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in pids:
        try:
            for descriptor in (_PROC / str(pid) / "fd").iterdir():
                try:
                    inode = names.get(str(descriptor.readlink()))
                except FileNotFoundError:  # closed since
                    continue
                if inode is not None:
                    yield pid, inode
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue


def _parent(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text.rpartition(")")[2].split()[1])


def _endpoint(text: str) -> Endpoint:
    """Parse ``0100007F:1F90``: words of four bytes in the machine's order, and the port."""
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    if sys.byteorder == "little":
        raw = b"".join(raw[i : i + _WORD][::-1] for i in range(0, len(raw), _WORD))
    return _plain(ipaddress.ip_address(raw)), int(port, 16)


def _plain(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped
