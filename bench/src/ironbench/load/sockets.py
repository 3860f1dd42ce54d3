"""Which process holds which TCP socket, by the kernel of the machine that this runs on.

/proc/net/tcp and tcp6 tell the inode of each connection's end, /proc/PID/fd who holds it
(proc_pid_net(5), proc_pid_fd(5)); of other users' processes only root may see the latter.
"""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_PROC = Path("/proc")
_LISTEN = "0A"
_WORD = 4

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Endpoint = tuple[IpAddress, int]
"""Address and port; IPv4 in IPv6 is IPv4."""


class Row(NamedTuple):
    """One socket of /proc/net/tcp or tcp6."""

    local: Endpoint
    remote: Endpoint
    state: str
    inode: int
    """0: no process has it, for one since nobody has accepted it yet."""


class Seen(NamedTuple):
    """The app's workers by PID, and what they have accepted."""

    workers: list[int]
    owners: dict[int, int]
    """PID by the client's port; a connection that nobody has accepted is missing."""


def endpoint(host: str, port: int) -> Endpoint:
    """Return an address as text, perhaps with its zone, as an endpoint."""
    return _plain(ipaddress.ip_address(host.partition("%")[0])), port


def parse_sockets(text: str) -> list[Row]:
    """Parse /proc/net/tcp or tcp6."""
    rows = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        rows.append(Row(_endpoint(fields[1]), _endpoint(fields[2]), fields[3], int(fields[9])))
    return rows


def sockets() -> list[Row]:
    """Read all TCP sockets."""
    rows = []
    for name in ("tcp", "tcp6"):
        try:
            rows += parse_sockets((_PROC / "net" / name).read_text())
        except FileNotFoundError:  # a kernel without IPv6
            continue
    return rows


def listeners(rows: Iterable[Row], server: Endpoint) -> set[int]:
    """Return the inodes of the sockets that listen at ``server``, for its address or for all."""
    return {
        row.inode
        for row in rows
        if row.state == _LISTEN
        and row.inode
        and row.local[1] == server[1]
        and (row.local[0] == server[0] or row.local[0].is_unspecified)
    }


def look(rows: Iterable[Row], server: Endpoint, clients: Collection[Endpoint], pids: Iterable[int]) -> Seen:
    """Return the workers among ``pids``, and who of them has accepted the connection from each of ``clients``.

    A worker holds a socket that listens at ``server`` and is no master: that one has the socket for its
    workers only, and is the parent of another holder.
    """
    rows = list(rows)
    listening = listeners(rows, server)
    accepted = {
        row.inode: row.remote[1]
        for row in rows
        if row.local == server and row.remote in clients and row.inode
    }
    held = list(_holders(listening | accepted.keys(), pids))
    listeners_held = {pid for pid, inode in held if inode in listening}
    return Seen(
        workers=sorted(listeners_held - {_parent(pid) for pid in listeners_held}),
        owners={accepted[inode]: pid for pid, inode in held if inode in accepted},
    )


def all_pids() -> list[int]:
    """Return all processes."""
    return [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]


def _holders(inodes: set[int], pids: Iterable[int]) -> Iterator[tuple[int, int]]:
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


def _plain(address: IpAddress) -> IpAddress:
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped
