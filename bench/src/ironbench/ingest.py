"""From a directory of raw outputs, one directory a host, to the evidence that is judged.

The only module that knows the names of raw files and of the collectors that read them.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import re
import statistics
import sys
import zlib
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from ironbench.archive import MIB
from ironbench.collect import cgroup, cpu_check, sar, slow_callbacks, wrk2
from ironbench.collect.lines import quoted
from ironbench.errors import IronbenchError
from ironbench.files import decode_record
from ironbench.judge import Evidence, Generator, HostEvidence
from ironbench.load.histogram import Histograms, check, encode, hgrm, merge, quantiles, total
from ironbench.load.limits import MAX_REQUESTS
from ironbench.load.merged import Part, merge_results
from ironbench.measured import FILE as MEASURED
from ironbench.records import (
    Clocks,
    Collected,
    Host,
    LoadResult,
    Measured,
    SearchResult,
    Session,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Buffer  # for type checkers; that of collections.abc is of Python 3.12

    from ironbench.collect.sar import CpuSample
    from ironbench.records import CoreUse, CpuCheck, Latency, LoopBlocks, ServiceCpu, SystemUse

T = TypeVar("T", bound=msgspec.Struct)

LATENCY_LOG = "load/latency.hgrm"
LOAD = "load/load.json"
HISTOGRAMS = "load/histograms.json"
BACKGROUND = "load/background"
CLOCKS = "clocks.json"
WRK2_LOG = "load/wrk2.log"
SEARCH = "load/search.json"
REQUESTS = "requests.csv.gz"
"""In the directory of a load."""
SAR = "sar.json"
SLOW_CALLBACKS = "slow_callbacks.jsonl"

MAX_NS = 2**63 - 1
"""Greatest integer that a host may hand in, whatever it counts: as nanoseconds, the year 2262."""
_MAX_SPAN_NS = 2 * 86_400 * 10**9
"""From the quiet time before a window to the last answer after it: a window is a day at most."""
_MAX_RECORD = 64 * MIB
"""Bytes of one JSON record of a host. A load result of an hour by the second has some MB."""
_MAX_ROW = 200
"""Characters of a request in requests.csv.gz."""
_DIGITS = len(str(MAX_NS))
_LONG_NUMBER = re.compile(rb"[:\[,]\s*-?[0-9]{20}")


def read_collected(text: bytes) -> list[Collected]:
    """Read what the hosts hand in of one session: a line of ``ironbench host collect`` from each.

    Raises IronbenchError when there is none, or one is something else.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise IronbenchError(
            "stdin is empty; give what `ironbench host collect` prints, a line of each host."
        )
    collected = [decode_record(line, Collected, f"line {number}") for number, line in enumerate(lines, 1)]
    for number, one in enumerate(collected, 1):
        if not 0 <= one.started_ns <= MAX_NS:
            raise IronbenchError(
                f"line {number} has started_ns {quoted(str(one.started_ns))}, which is no time."
            )
    return collected


def of_hosts(collected: Sequence[Collected], hosts: Sequence[str]) -> list[Collected]:
    """Return what was handed in, if each host of the inventory handed in its own, in the order of ``hosts``.

    The order of the lines is the controller's, so that no host decides whose record its own is. Raises
    IronbenchError when a record is of another host, or when there are more or fewer of them.
    """
    repeated = next((host for number, host in enumerate(hosts) if host in hosts[:number]), None)
    if repeated is not None:
        raise IronbenchError(
            f"--host {quoted(repeated)} is given twice; give each host of the inventory once."
        )
    for number, (one, host) in enumerate(zip(collected, hosts, strict=False), 1):
        if one.host != host:
            raise IronbenchError(
                f"line {number} is what {host} handed in, and it says that it is of {quoted(one.host)}; it was not "
                "sealed, give each host's own in the order of --host."
            )
    if len(collected) != len(hosts):
        raise IronbenchError(
            f"stdin has {len(collected)} lines, and --host names {len(hosts)} hosts; give one line of each host, in "
            "the same order."
        )
    return list(collected)


def read_evidence(raw: Path) -> Evidence:
    """Read what the hosts left behind of one run.

    What an observer failed to leave is noted in the evidence, for the judge. Raises IronbenchError
    when the directory does not hold one run: no or different sessions, a missing description or
    snapshot, no load result of a generator, or not one of its background if the experiment has one.
    """
    directories = sorted(path for path in raw.iterdir() if path.is_dir()) if raw.is_dir() else []
    if not directories:
        raise IronbenchError(f"{raw} holds no raw outputs; it needs one directory a host.")
    sessions = {path.name: read_handed_in(path / "session.json", Session) for path in directories}
    session = sessions[directories[0].name]
    for name, other in sessions.items():
        if other != session:
            raise IronbenchError(
                f"{raw} mixes sessions: {directories[0].name} has {session.run.key} of plan {session.plan}, "
                f"{name} has another session; collect again into an empty directory."
            )
    missing = unfinished(raw)
    generators = [path for path in directories if (path / LOAD).is_file()]
    if missing or not generators:
        found = ", ".join(missing) or "any host"
        raise IronbenchError(
            f"{raw} has no {LOAD} of {found}; the generator did not finish and its journal.txt says why."
        )
    results = [read_handed_in(path / LOAD, LoadResult) for path in generators]
    load, background = _merged(generators, results, "load"), None
    beside: list[LoadResult] = []
    search = None
    if session.experiment.search is not None and load.gate.ok:
        search = read_handed_in(generators[0] / SEARCH, SearchResult)
    if session.experiment.background is not None:
        beside = [read_handed_in(path / BACKGROUND / "load.json", LoadResult) for path in generators]
        background = _merged(generators, beside, BACKGROUND)
    if all(one.gate.ok for one in (*results, *beside)):  # else there was no window
        _refuse_no_window(raw, [*results, *beside])
    return Evidence(
        session=session,
        generators=[
            Generator(host=path.name, load=results[number], background=beside[number] if beside else None)
            for number, path in enumerate(generators)
        ],
        load=load,
        background=background,
        search=search,
        loop_blocks=_loop_blocks(session, directories, load) if load.gate.ok else None,
        hosts=[_host_evidence(path, load, background) for path in directories],
        third_means_ms=_third_means(generators, "load"),
        background_third_means_ms=_third_means(generators, BACKGROUND),
        clocks={
            path.name: read_handed_in(path / CLOCKS, Clocks)
            for path in generators
            if (path / CLOCKS).is_file()
        },
    )


def _refuse_no_window(raw: Path, results: Sequence[LoadResult]) -> None:
    """Raise IronbenchError where the times of a load are so far apart that no window is between them."""
    for one in results:
        times = (one.idle_from_ns, one.idle_until_ns, one.first_send_ns, one.window_end_ns, one.drained_ns)
        span_ns = max(times) - min(times)
        if span_ns > _MAX_SPAN_NS:
            raise IronbenchError(f"{raw} has a load of {span_ns / 1e9:.0f} s, and no session takes as long.")


def read_handed_in(path: Path, kind: type[T]) -> T:
    """Read a record that a host handed in.

    Raises IronbenchError when it is missing, is not such a record, or is larger or holds larger numbers than one has.
    """
    raw = _read_bytes(path, _MAX_RECORD)
    if _LONG_NUMBER.search(raw):
        raise IronbenchError(f"{path} holds a number of more than 19 digits, and no figure has as many.")
    return decode_record(raw, kind, str(path))


@contextlib.contextmanager
def refusing_nonsense() -> Iterator[None]:
    """Raise IronbenchError for whatever a computation on the files of hosts trips over.

    Each reader names what it expects and does not find. What fits a record and still makes no sense in it, as a CPU of
    the number -1, shows only in what is computed of it, anywhere between the files and the sealed run.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise IronbenchError(
            f"what the hosts handed in is nothing that a session leaves ({type(error).__name__}: "
            f"{quoted(str(error))}); collect it again, and report it as a bug of ironbench if that does not help."
        ) from error


def unfinished(raw: Path) -> list[str]:
    """Return the hosts among the raw outputs of a run that should have left a load result, and have not."""
    return [
        path.name
        for path in sorted(raw.iterdir())
        if path.is_dir()
        and "load_generators" in read_handed_in(path / "host.json", Host).groups
        and not (path / LOAD).is_file()
    ]


def latency_log(raw: Path) -> bytes:
    """Return the latency distribution of a run, whoever generated its load, as .hgrm text."""
    logs = sorted(raw.glob(f"*/{LATENCY_LOG}"))
    if len(logs) == 1:
        return _read_bytes(logs[0])
    parts = [read_handed_in(path, Histograms) for path in sorted(raw.glob(f"*/{HISTOGRAMS}"))]
    return hgrm(total([part.latency_counted()[0] for part in parts])).encode()


class Distribution(NamedTuple):
    """The latency of one run, whoever generated its load."""

    samples: str | wrk2.Distribution
    """An encoded histogram of the built-in generator's, or what wrk2 printed."""
    censored: int = 0
    """Requests of it that were given up."""


def read_distribution(raw: Path) -> Distribution:
    """Return the latency distribution among the raw outputs of a sealed run, those of several generators merged."""
    logs = sorted(raw.glob(f"*/{WRK2_LOG}"))
    if len(logs) == 1:
        log = wrk2.parse(_read_bytes(logs[0]), str(logs[0]))
        return Distribution(log.corrected, log.censored)
    paths = sorted(raw.glob(f"*/{HISTOGRAMS}"))
    if not paths:
        raise IronbenchError(f"{raw} needs {HISTOGRAMS} of the host that generated the load, and has none.")
    found = [read_handed_in(path, Histograms) for path in paths]
    for path, one in zip(paths, found, strict=True):
        check(one.latency, str(path))
    parts = [one.latency_counted() for one in found]
    encoded = [latency for latency, _ in parts]
    return Distribution(
        encoded[0] if len(parts) == 1 else encode(total(encoded)), sum(given_up for _, given_up in parts)
    )


def _merged(generators: Sequence[Path], results: Sequence[LoadResult], where: str) -> LoadResult:
    """Return the results of all generators as one; only of several is more than the results read."""
    if len(results) == 1:
        return results[0]
    return merge_results(
        [
            Part(
                host=path.name,
                result=result,
                histograms=read_handed_in(path / where / "histograms.json", Histograms),
                waits=[
                    (due - result.idle_until_ns, done - due)
                    for due, done in _requests(path / where)
                    if done is not None
                ],
            )
            for path, result in zip(generators, results, strict=True)
        ]
    )


def merge_distributions(distributions: list[Distribution]) -> Latency:
    """Summarise the distributions of several runs as one, by count.

    Raises IronbenchError when they are of different generators.
    """
    encoded, printed = _by_generator(distributions)
    censored = sum(one.censored for one in distributions)
    if printed:
        return msgspec.structs.replace(wrk2.merge(printed), censored=censored)
    return merge(encoded, censored)


def merge_quantiles(distributions: Sequence[Distribution], shares: Sequence[float]) -> list[float]:
    """Return the milliseconds that each part of the merged samples does not exceed; raises as above."""
    encoded, printed = _by_generator(distributions)
    return wrk2.quantiles(printed, shares) if printed else quantiles(total(encoded), shares)


def _by_generator(distributions: Sequence[Distribution]) -> tuple[list[str], list[wrk2.Distribution]]:
    """Return what the built-in generator recorded and what wrk2 printed, one of them empty."""
    encoded = [one.samples for one in distributions if isinstance(one.samples, str)]
    printed = [one.samples for one in distributions if isinstance(one.samples, wrk2.Distribution)]
    if encoded and printed:
        raise IronbenchError(
            "runs of wrk2 and of the built-in generator do not merge; compare them side by side."
        )
    return encoded, printed


def read_cores(raw: Path) -> dict[str, list[CpuSample]]:
    """Return sar's samples of single CPUs among the raw outputs of a sealed run, by host.

    A host without a readable record is left out: what the judge had to say of it is in the ledger.
    """
    found = {}
    for path in sorted(raw.glob(f"*/{SAR}")):
        try:
            found[path.parent.name] = sar.cpu_samples(path.read_bytes())
        except (OSError, IronbenchError):
            continue
    return found


def _host_evidence(directory: Path, load: LoadResult, background: LoadResult | None) -> HostEvidence:
    host = read_handed_in(directory / "host.json", Host)
    if host.name != directory.name:
        raise IronbenchError(f"{directory} holds the outputs of host {host.name}; name it so.")
    cpu: list[ServiceCpu] = []
    cores: list[CoreUse] = []
    checks: list[CpuCheck] = []
    system: SystemUse | None = None
    mhz: float | None = None
    unusable: list[str] = []
    if load.gate.ok and (background is None or background.gate.ok):  # else there was no window to look at
        samples, sar_json = None, b""
        try:
            samples = cgroup.read(directory / "cgroup.jsonl")
            cpu = cgroup.service_cpu(samples, host, load, background)
            mhz = cgroup.mean_mhz(samples, host, load)
        except IronbenchError as error:
            unusable.append(f"cgroup.jsonl: {error}")
        try:
            sar_json = _read_bytes(directory / SAR)
            cores = sar.core_use(sar_json, load.first_send_ns, load.drained_ns)
            system = sar.system_use(sar_json, load.first_send_ns, load.drained_ns)
            if samples is not None:
                checks = cpu_check(samples, sar_json, host, load)
        except IronbenchError as error:
            unusable.append(f"{SAR}: {error}")
    return HostEvidence(
        host=host,
        before=read_handed_in(directory / "before.json", Snapshot),
        after=read_handed_in(directory / "after.json", Snapshot),
        cpu=[msgspec.structs.replace(item, host=host.name) for item in cpu],
        cores=[msgspec.structs.replace(item, host=host.name) for item in cores],
        system=system and msgspec.structs.replace(system, host=host.name),
        cpu_check=[msgspec.structs.replace(item, host=host.name) for item in checks],
        mhz=mhz,
        unusable=unusable,
        measured=read_measured(directory),
    )


def read_measured(directory: Path) -> Measured | None:
    """Read what a host tells of what it measured with, in a session's raw outputs; None where it does not."""
    path = directory / MEASURED
    # Digests have many digits, and are no numbers.
    return decode_record(_read_bytes(path, _MAX_RECORD), Measured, str(path)) if path.is_file() else None


def _loop_blocks(session: Session, directories: Sequence[Path], load: LoadResult) -> LoopBlocks | None:
    """Read what blocked the event loop on the app's host; None where the session does not ask for it."""
    logs = [path / SLOW_CALLBACKS for path in directories if (path / SLOW_CALLBACKS).is_file()]
    if not session.experiment.slow_callbacks or not logs:
        return None
    found = slow_callbacks.loop_blocks(_read_bytes(logs[0]), load)
    return msgspec.structs.replace(found, host=logs[0].parent.name)


def _read_bytes(path: Path, most: int | None = None) -> bytes:
    try:
        if most is not None and path.stat().st_size > most:
            raise IronbenchError(f"{path} has more than {most} bytes, and no record has as many.")
        return path.read_bytes()
    except OSError as error:
        raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error


def _third_means(generators: Sequence[Path], where: str) -> tuple[float, float, float] | None:
    """Mean latency in ms of the requests due in each third of the window, as far as they have one."""
    rows = [row for path in generators for row in _requests(path / where)]
    start, last = min((due for due, _ in rows), default=0), max((due for due, _ in rows), default=0)
    thirds: tuple[list[float], ...] = ([], [], [])
    for due, done in rows:
        if done is not None:
            thirds[min(2, 3 * (due - start) // max(1, last - start))].append((done - due) / 1e6)
    if not all(thirds):
        return None
    first, second, third = map(statistics.fmean, thirds)
    return first, second, third


def _has_latency(outcome: str) -> bool:
    return outcome.isdigit() or outcome == "timeout"


def _requests(load: Path) -> list[tuple[int, int | None]]:
    """Return when each request of a load was due, and when it was answered or given up; wrk2 leaves no list.

    None: it ended in another error, or was never sent.
    """
    path = load / REQUESTS
    return [(one.due_ns, one.done_ns) for one in read_requests(path)] if path.is_file() else []


class Request(NamedTuple):
    """A line of the generator's list."""

    due_ns: int
    done_ns: int | None
    """None: it has no latency."""
    outcome: str


def read_requests(path: Path) -> list[Request]:
    """Read the generator's list of requests.

    Raises IronbenchError when it is none, or unpacks to more than a window may have.
    """
    found = []
    try:
        with (
            gzip.open(path) as packed,
            io.TextIOWrapper(io.BufferedReader(_Limited(packed)), newline="") as file,
        ):
            for row in csv.DictReader(file):
                due, outcome = row["intended_ns"], sys.intern(row["outcome"][:_DIGITS])
                done = row["done_ns"] if _has_latency(outcome) else None
                if not all(_is_count(one) for one in (due, done) if one is not None):
                    raise IronbenchError(f"{path} has a request whose times are no nanoseconds.")
                found.append(Request(int(due), None if done is None else int(done), outcome))
                if len(found) > MAX_REQUESTS:
                    raise IronbenchError(
                        f"{path} has more than {MAX_REQUESTS} requests, and no window has as many."
                    )
    except (OSError, EOFError, KeyError, ValueError, TypeError, csv.Error, zlib.error) as error:
        raise IronbenchError(f"{path} is not the generator's list of requests: {error}.") from error
    return found


def _is_count(text: str) -> bool:
    return len(text) <= _DIGITS and text.isascii() and text.isdigit()


class _Limited(io.RawIOBase):
    """Reads a file that unpacks, and refuses to unpack more than the requests of a window."""

    def __init__(self, packed: gzip.GzipFile) -> None:
        self._packed = packed
        self._left = MAX_REQUESTS * _MAX_ROW

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        part = self._packed.read(memoryview(buffer).nbytes)
        self._left -= len(part)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {MAX_REQUESTS} requests")
        memoryview(buffer)[: len(part)] = part
        return len(part)
