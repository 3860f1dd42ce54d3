"""From a directory of raw outputs, one directory a host, to the evidence that is judged.

The only module that knows the names of raw files and of the collectors that read them.
"""

from __future__ import annotations

import csv
import gzip
import io
import statistics
import tarfile
from typing import TYPE_CHECKING

import msgspec

from ironbench.collect import cgroup, cpu_check, sar, slow_callbacks, wrk2
from ironbench.errors import IronbenchError
from ironbench.files import decode_record, read_record
from ironbench.judge import Evidence, HostEvidence
from ironbench.load.histogram import Histograms, check, merge, quantiles, total
from ironbench.records import Collected, Host, LoadResult, SearchResult, Session, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ironbench.collect.sar import CpuSample
    from ironbench.records import CoreUse, CpuCheck, Latency, LoopBlocks, ServiceCpu, SystemUse

LATENCY_LOG = "load/latency.hgrm"
LOAD = "load/load.json"
HISTOGRAMS = "load/histograms.json"
REQUESTS = "load/requests.csv.gz"
BACKGROUND_LOAD = "load/background/load.json"
BACKGROUND_REQUESTS = "load/background/requests.csv.gz"
WRK2_LOG = "load/wrk2.log"
SEARCH = "load/search.json"
SAR = "sar.json"
SLOW_CALLBACKS = "slow_callbacks.jsonl"


def read_collected(text: bytes) -> list[Collected]:
    """Read what the hosts hand in of one session: a line of ``ironbench host collect`` from each.

    Raises IronbenchError when there is none, or one is something else.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise IronbenchError(
            "stdin is empty; give what `ironbench host collect` prints, a line of each host."
        )
    return [decode_record(line, Collected, f"line {number}") for number, line in enumerate(lines, 1)]


def unpack(collected: Sequence[Collected], raw: Path) -> None:
    """Unpack what the hosts handed in, each into its own directory below ``raw``.

    Raises IronbenchError when one cannot be read.
    """
    for one in collected:
        try:
            with tarfile.open(fileobj=io.BytesIO(one.archive)) as archive:
                # Python 3.11.2 of Debian 12 may not have the filter; the archives are our own hosts'.
                archive.extraction_filter = getattr(tarfile, "data_filter", None)
                archive.extractall(raw / one.host)  # noqa: S202
        except (tarfile.TarError, OSError, EOFError) as error:
            raise IronbenchError(
                f"what {one.host} handed in cannot be unpacked ({error}); collect it again."
            ) from error


def read_evidence(raw: Path) -> Evidence:
    """Read what the hosts left behind of one run.

    What an observer failed to leave is noted in the evidence, for the judge. Raises IronbenchError
    when the directory does not hold one run: no or different sessions, a missing description or
    snapshot, not exactly one load result, or not one of its background if the experiment has one.
    """
    directories = sorted(path for path in raw.iterdir() if path.is_dir()) if raw.is_dir() else []
    if not directories:
        raise IronbenchError(f"{raw} holds no raw outputs; it needs one directory a host.")
    sessions = {path.name: read_record(path / "session.json", Session) for path in directories}
    session = sessions[directories[0].name]
    for name, other in sessions.items():
        if other != session:
            raise IronbenchError(
                f"{raw} mixes sessions: {directories[0].name} has {session.run.key} of plan {session.plan}, "
                f"{name} has another session; collect again into an empty directory."
            )
    generators = [path for path in directories if (path / LOAD).is_file()]
    if len(generators) != 1:
        found = ", ".join(path.name for path in generators) or "none"
        raise IronbenchError(
            f"{raw} needs {LOAD} from exactly one host and has it from {found}; where there is none, the "
            "generator did not finish and its journal.txt says why."
        )
    load, background = read_record(generators[0] / LOAD, LoadResult), None
    search = None
    if session.experiment.search is not None and load.gate.ok:
        search = read_record(generators[0] / SEARCH, SearchResult)
    if session.experiment.background is not None:
        background = read_record(generators[0] / BACKGROUND_LOAD, LoadResult)
    return Evidence(
        session=session,
        generator=generators[0].name,
        load=load,
        background=background,
        search=search,
        loop_blocks=_loop_blocks(session, directories, load) if load.gate.ok else None,
        hosts=[_host_evidence(path, load, background) for path in directories],
        third_means_ms=_third_means(generators[0] / REQUESTS),
        background_third_means_ms=_third_means(generators[0] / BACKGROUND_REQUESTS),
    )


def read_distribution(raw: Path) -> str | wrk2.Distribution:
    """Return the latency distribution among the raw outputs of a sealed run.

    An encoded histogram of the built-in generator's, or what wrk2 printed.
    """
    logs = sorted(raw.glob(f"*/{WRK2_LOG}"))
    if len(logs) == 1:
        return wrk2.parse(_read_bytes(logs[0]), str(logs[0])).corrected
    paths = sorted(raw.glob(f"*/{HISTOGRAMS}"))
    if len(paths) != 1:
        raise IronbenchError(f"{raw} needs {HISTOGRAMS} from exactly one host and has {len(paths)}.")
    encoded = read_record(paths[0], Histograms).latency
    check(encoded, str(paths[0]))
    return encoded


def merge_distributions(distributions: list[str | wrk2.Distribution]) -> Latency:
    """Summarise the distributions of several runs as one, by count.

    Raises IronbenchError when they are of different generators.
    """
    encoded = [one for one in distributions if isinstance(one, str)]
    printed = [one for one in distributions if isinstance(one, wrk2.Distribution)]
    _refuse_mixed(encoded, printed)
    return wrk2.merge(printed) if printed else merge(encoded)


def merge_quantiles(distributions: Sequence[str | wrk2.Distribution], shares: Sequence[float]) -> list[float]:
    """Return the milliseconds that each part of the merged samples does not exceed; raises as above."""
    encoded = [one for one in distributions if isinstance(one, str)]
    printed = [one for one in distributions if isinstance(one, wrk2.Distribution)]
    _refuse_mixed(encoded, printed)
    return wrk2.quantiles(printed, shares) if printed else quantiles(total(encoded), shares)


def _refuse_mixed(encoded: list[str], printed: list[wrk2.Distribution]) -> None:
    if encoded and printed:
        raise IronbenchError(
            "runs of wrk2 and of the built-in generator do not merge; compare them side by side."
        )


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
    host = read_record(directory / "host.json", Host)
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
        before=read_record(directory / "before.json", Snapshot),
        after=read_record(directory / "after.json", Snapshot),
        cpu=[msgspec.structs.replace(item, host=host.name) for item in cpu],
        cores=[msgspec.structs.replace(item, host=host.name) for item in cores],
        system=system and msgspec.structs.replace(system, host=host.name),
        cpu_check=[msgspec.structs.replace(item, host=host.name) for item in checks],
        mhz=mhz,
        unusable=unusable,
    )


def _loop_blocks(session: Session, directories: Sequence[Path], load: LoadResult) -> LoopBlocks | None:
    """Read what blocked the event loop on the app's host; None where the session does not ask for it."""
    logs = [path / SLOW_CALLBACKS for path in directories if (path / SLOW_CALLBACKS).is_file()]
    if not session.experiment.slow_callbacks or not logs:
        return None
    found = slow_callbacks.loop_blocks(_read_bytes(logs[0]), load, load.completed)
    return msgspec.structs.replace(found, host=logs[0].parent.name)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error


def _third_means(path: Path) -> tuple[float, float, float] | None:
    """Mean latency in ms of the answered requests due in each third of the window."""
    if not path.is_file():
        return None
    try:
        with gzip.open(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        due = [int(row["intended_ns"]) for row in rows]
        start, span = min(due, default=0), max(due, default=0) - min(due, default=0)
        thirds: tuple[list[float], ...] = ([], [], [])
        for row, intended in zip(rows, due, strict=True):
            if row["outcome"].isdigit():
                third = min(2, 3 * (intended - start) // max(1, span))
                thirds[third].append((int(row["done_ns"]) - intended) / 1e6)
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise IronbenchError(f"{path} is not the generator's list of requests: {error}.") from error
    if not all(thirds):
        return None
    first, second, last = map(statistics.fmean, thirds)
    return first, second, last
