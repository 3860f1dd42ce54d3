"""What a host hands in of one session: packed there, unpacked on the controller, and trusted in nothing.

The archive is a gzip of a plain ustar archive. The reader is this module's own and not tarfile: that of Debian 12
(Python 3.11.2) has no filters and can be made to hang by a header, and only one form has to be read, regular files
with names of ``PACKED``.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

from ironbench.collect.lines import quoted
from ironbench.errors import IronbenchError
from ironbench.files import check_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ironbench.records import Collected

_LOAD = (
    r"load\.json",
    r"search\.json",
    r"histograms\.json",
    r"requests\.csv\.gz",
    r"(latency|service_time|(own_send|system_send|timer)_lag|timeouts)\.(hlog|hgrm)",
    r"wrk2(-warmup)?\.log",
)
PACKED = {
    "": (
        r"(session|host|before|after|clocks|measured|recording|sar)\.json",
        r"(began|sar|generator|journal)\.txt",
        r"(cgroup|slow_callbacks)\.jsonl",
        r"sar\.bin",
        r"[a-z]+\.[0-9]+\.folded",
    ),
    "load/": _LOAD,
    "load/background/": _LOAD,
}
"""The files of a session that leave its host, as regular expressions by directory: no other file is packed, and one
that is found in an archive makes it refused."""
_NAMES = {place: re.compile("|".join(patterns)) for place, patterns in PACKED.items()}

MIB = 1024 * 1024
MAX_PACKED = 256 * MIB
"""Bytes of one host's archive. An hour at 1,000 rps with 64 CPUs sampled is about 100 MiB."""
MAX_FILE = 256 * MIB
MAX_UNPACKED = 512 * MIB
"""Bytes of all files of one host."""
MAX_MEMBERS = 1000
"""Most are stacks: one file for each of the app's processes and each mode of py-spy."""

_BLOCK = 512
_CHUNK = 256 * 1024
_REGULAR, _DIRECTORY, _EXTENDED = (b"0", b"\0"), b"5", b"x"
_TIMES = re.compile(rb"(?:[0-9]{1,3} [amc]time=-?[0-9.]{1,40}\n)*\0*")
"""What tarfile adds for the fraction of a second of a file's time; an extended header may hold nothing else."""


class _RefusedError(Exception):
    """Why an archive is not unpacked: half a sentence without the host."""


class _Member(NamedTuple):
    name: str
    size: int
    kind: bytes


def may_be_packed(name: str) -> bool:
    """Whether a path relative to a session's directory is one of ``PACKED``."""
    start = name.rfind("/") + 1
    names = _NAMES.get(name[:start])
    return names is not None and names.fullmatch(name[start:]) is not None


def pack(directory: Path) -> bytes:
    """Pack the files of a session that leave its host, in the order of their names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6, format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory).as_posix()
            if not may_be_packed(name) or path.is_symlink() or not path.is_file():
                continue
            member = tarfile.TarInfo(name)
            # The generator's directory belongs to its own account, and root packs it: no link is followed.
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - as below
                status = os.fstat(file.fileno())
                member.size, member.mtime, member.mode = status.st_size, int(status.st_mtime), 0o644
                archive.addfile(member, file)
    return packed.getvalue()


def unpack(collected: Sequence[Collected], raw: Path) -> None:
    """Unpack what the hosts handed in, each into a new directory below ``raw`` that has the host's name.

    Every file is written with mode 0644. Raises IronbenchError, which names the host and the member, for an archive
    that holds anything but the regular files of ``PACKED``, each once, within the limits above, and OSError when the
    files cannot be written here.
    """
    raw.mkdir(exist_ok=True)
    for one in collected:
        check_name(one.host)
        directory = raw / one.host
        try:
            directory.mkdir()
        except FileExistsError as error:
            raise IronbenchError(
                f"the host {one.host} handed in twice; give what each host has once."
            ) from error
        try:
            _unpack(one.archive, directory)
        except _RefusedError as error:
            raise IronbenchError(
                f"what {one.host} handed in cannot be unpacked: {error}; collect it again, and if that happens again, "
                "look for who changes files on that host."
            ) from error


def _unpack(archive: bytes, directory: Path) -> None:
    if len(archive) > MAX_PACKED:
        raise _RefusedError(f"it has {len(archive)} bytes, and {MAX_PACKED} are allowed")
    stream = _Stream(archive)
    seen: set[str] = set()
    left = MAX_UNPACKED
    for member in _members(stream):
        where = f"its member {quoted(member.name)}"
        if member.name in seen:
            raise _RefusedError(f"{where} is there twice")
        seen.add(member.name)
        if member.kind == _DIRECTORY and f"{member.name.rstrip('/')}/" in PACKED and member.size == 0:
            continue  # made below when a file needs it
        if member.kind not in _REGULAR:
            raise _RefusedError(f"{where} is no regular file")
        if not may_be_packed(member.name):
            raise _RefusedError(f"{where} is none of the files that a session leaves")
        if member.size > min(MAX_FILE, left):
            raise _RefusedError(f"{where} has {member.size} bytes, and {min(MAX_FILE, left)} are allowed")
        left -= member.size
        target = directory / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, stream, member.size, where)


def _write(target: Path, stream: _Stream, size: int, where: str) -> None:
    """Write a file that is not there yet; nothing in ``target`` can be a link, since all of it was made here."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(target, flags, 0o644), "wb") as file:  # noqa: PTH123 - of a descriptor, for its flags
        os.fchmod(file.fileno(), 0o644)  # whatever the umask is
        while size:
            part = stream.read(min(size, _CHUNK))
            if not part:
                raise _RefusedError(f"{where} is cut off")
            file.write(part)
            size -= len(part)


def _members(stream: _Stream) -> Iterator[_Member]:
    """Read one header after the other; the caller reads the content of each file before the next."""
    for _ in range(MAX_MEMBERS):
        header = stream.read(_BLOCK)
        if header == b"\0" * _BLOCK:
            return
        if len(header) < _BLOCK:
            raise _RefusedError("it is cut off or no archive")
        member = _header(header)
        if member.kind == _EXTENDED:
            _skip_times(stream, member)
            continue
        before = stream.taken
        yield member
        if stream.taken - before not in (0, member.size):
            raise AssertionError("the caller reads a file whole or not at all")
        if member.size:
            stream.read(-member.size % _BLOCK)
    raise _RefusedError(f"it has more than {MAX_MEMBERS} members")


def _skip_times(stream: _Stream, member: _Member) -> None:
    if member.size > _BLOCK or not _TIMES.fullmatch(stream.read(_BLOCK)):
        raise _RefusedError(
            f"its member {quoted(member.name)} is an extended header that says more than times"
        )


def _header(header: bytes) -> _Member:
    """Read a ustar header of 512 bytes: name, size, checksum, type and prefix of the name."""
    fields = header[:100], header[345:500]
    name, prefix = (field.partition(b"\0")[0].decode("utf-8", "surrogateescape") for field in fields)
    size, checksum = _octal(header[124:136]), _octal(header[148:156])
    if checksum != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]) or size is None:
        raise _RefusedError("it holds a header that is not whole")
    if prefix and header[257:262] == b"ustar":
        name = f"{prefix}/{name}"
    return _Member(name=name, size=size, kind=header[156:157])


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]{1,12}", digits) else None


class _Stream:
    """What a gzip of one member unpacks to, never more of it in memory than is asked for."""

    def __init__(self, packed: bytes) -> None:
        self._rest = memoryview(packed)
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.taken = 0
        """Bytes handed out so far."""

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end; raises _RefusedError for what is no gzip."""
        found = bytearray()
        while len(found) < size and not self._unpack.eof:
            tail = self._unpack.unconsumed_tail
            if not tail:
                tail, self._rest = self._rest[:_CHUNK], self._rest[_CHUNK:]
            try:
                part = self._unpack.decompress(tail, size - len(found))
            except zlib.error as error:
                raise _RefusedError(f"it is no whole gzip ({error})") from error
            found += part
            if not part and not tail:
                break
        self.taken += len(found)
        return bytes(found)
