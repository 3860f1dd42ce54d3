"""The directory flamegraphs/ of a bundle: its plan, and the recordings, each sealed once by a rename."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from ironbench import bundle as bundles
from ironbench import seals
from ironbench.archive import unpack
from ironbench.bundle import Damage, locked
from ironbench.collect.lines import quoted
from ironbench.errors import IronbenchError
from ironbench.files import (
    decode_record,
    encode_record,
    read_record,
    sync_directory,
    sync_tree,
    write_atomic,
    write_synced,
)
from ironbench.flame.plan import make_recording, next_recording
from ironbench.flame.stacks import merge, parse
from ironbench.host.record import RECORD
from ironbench.ingest import LOAD, REQUESTS, read_handed_in, read_measured, read_requests, refusing_nonsense
from ironbench.measured import agree, changes, facts_of, sentence
from ironbench.metrics import errors
from ironbench.records import FlamePlan, LoadResult, Recorded, Session
from ironbench.withheld import conduct

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from pathlib import Path

    from ironbench.flame.stacks import Stack
    from ironbench.records import Attempt, Collected, PlannedRun, SpyMode

DIRECTORY = "flamegraphs"
ATTEMPTS = f"{DIRECTORY}/{bundles.ATTEMPTS}"
"""Of the recordings, as a bundle has those of its runs."""
PLAN = "plan.json"
_SEALING = ".sealing"
"""Name of a recording's directory until it is complete."""


def write_plan(bundle: Path, plan: FlamePlan) -> None:
    """Write the plan; raises IronbenchError where the bundle has one."""
    path = bundle / DIRECTORY / PLAN
    with locked(bundle):
        if path.exists():
            raise IronbenchError(f"{path} is there already; go on with it, or start a bundle of its own.")
        path.parent.mkdir(exist_ok=True)
        encoded = encode_record(plan)
        seals.append(bundle, {f"{DIRECTORY}/{PLAN}": seals.digest(encoded)})
        write_atomic(path, encoded)
        sync_directory(bundle)


def read_plan(bundle: Path) -> FlamePlan | None:
    """Read the plan; None where the bundle has no flame graphs.

    Raises IronbenchError when it is not what was sealed.
    """
    path = bundle / DIRECTORY / PLAN
    if not path.is_file():
        return None
    plan = read_record(path, FlamePlan)
    complaint = seals.complaint(seals.read(bundle), f"{DIRECTORY}/{PLAN}", path.read_bytes())
    if complaint:
        raise IronbenchError(f"{bundle} is damaged: {complaint}; put back the one that was sealed.")
    return plan


def read_recordings(bundle: Path, plan: FlamePlan) -> tuple[list[Recorded], list[Damage]]:
    """Read what is sealed, in the order of the plan; name what cannot be used."""
    found, damaged = [], []
    sealed = seals.read(bundle)
    for run in plan.runs:
        path = _directory(bundle, run) / RECORD
        name = path.relative_to(bundle).as_posix()
        try:
            if path.is_file():
                recorded = read_record(path, Recorded)
                if (recorded.plan, recorded.run) != (plan.id, run):
                    raise IronbenchError(f"{name} is of {recorded.run.key} of plan {recorded.plan}.")  # noqa: TRY301 - told as damage, as the others
                for file in (path, *sorted(path.parent.glob("*.folded"))):
                    complaint = seals.complaint(
                        sealed, file.relative_to(bundle).as_posix(), file.read_bytes()
                    )
                    if complaint:
                        raise IronbenchError(f"{complaint}.")  # noqa: TRY301 - as above
                found.append(recorded)
        except (IronbenchError, OSError) as error:
            detail = str(error).removesuffix(".").replace(f"{bundle}/", "")
            damaged.append(Damage(kind="unreadable", detail=detail, move=name.removesuffix(f"/{RECORD}")))
    kept, others = agree(found)
    for recorded, differing in others:
        here = _directory(bundle, recorded.run).relative_to(bundle).as_posix()
        detail = f"{here} did not record what {differing[0].since.run.key} did: {sentence(differing)}"
        damaged.append(Damage(kind="other-measured", detail=detail, move=here))
    return kept, damaged


def read_attempts(bundle: Path, plan: FlamePlan) -> tuple[list[Attempt], list[Damage]]:
    """Read the attempts, by recording and number; name those that cannot be used."""
    return bundles.read_attempts(bundle, plan.id, ATTEMPTS)


def read_stacks(bundle: Path, recorded: Recorded, mode: SpyMode) -> Counter[Stack]:
    """Read the stacks of one mode, all workers together; none where py-spy failed or saw nobody busy."""
    files = [_directory(bundle, recorded.run) / f"{mode}.{pid}.folded" for pid in recorded.pids]
    return merge(
        parse(file.read_text(errors="replace"), file.relative_to(bundle).as_posix())
        for file in files
        if file.is_file()
    )


def seal_recording(bundle: Path, collected: Sequence[Collected]) -> Recorded:
    """Keep the pending recording's stacks, with the requests that were answered in each mode.

    Raises IronbenchError, and seals nothing, when the hosts handed in something else, when the gate failed, or when
    the load had ended before py-spy.
    """
    plan = read_plan(bundle)
    if plan is None:
        raise IronbenchError(f"{bundle} has no flame graphs; `ironbench flamegraph plan` begins them.")
    with locked(bundle):
        sealed, damaged = read_recordings(bundle, plan)
        if damaged:
            raise IronbenchError(
                f"{bundle} is damaged: {damaged[0].detail}; move {damaged[0].move} out of it."
            )
        due = next_recording(plan, {one.run.key for one in sealed})
        room = bundle / DIRECTORY / _SEALING
        shutil.rmtree(room, ignore_errors=True)  # of a killed command
        room.mkdir()
        try:
            unpack(collected, room / "raw")
            with refusing_nonsense():
                host, recorded = _counted(plan, due, room / "raw", sealed)
            for file in sorted(host.glob("*.folded")):
                shutil.copyfile(file, room / file.name)
            encoded = encode_record(recorded)
            decode_record(encoded, Recorded, f"what {host.name} handed in")  # infinity and nan are no JSON
        except IronbenchError:
            shutil.rmtree(room)
            raise
        shutil.rmtree(room / "raw")
        write_synced(room / RECORD, encoded)
        sync_tree(room)
        target = _directory(bundle, recorded.run)
        here = target.relative_to(bundle).as_posix()
        seals.append(
            bundle, {f"{here}/{file.name}": seals.file_digest(file) for file in sorted(room.iterdir())}
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        room.rename(target)
        for directory in (target.parent, target.parent.parent, bundle / DIRECTORY):
            sync_directory(directory)
    return recorded


def _counted(
    plan: FlamePlan, due: PlannedRun | None, raw: Path, sealed: Sequence[Recorded]
) -> tuple[Path, Recorded]:
    """Return the directory of the host that recorded, and its record with the requests of each mode."""
    records, loads = sorted(raw.glob(f"*/{RECORD}")), sorted(raw.glob(f"*/{LOAD}"))
    if len(records) != 1 or len(loads) != 1:
        raise IronbenchError(
            f"the hosts handed in {len(records)} of {RECORD} and {len(loads)} of {LOAD}, and one of each is needed; "
            "where the generator left none, its journal says why."
        )
    host = records[0].parent
    recorded, load = read_handed_in(records[0], Recorded), read_handed_in(loads[0], LoadResult)
    session = read_handed_in(host / "session.json", Session)
    if recorded.host != host.name:
        raise IronbenchError(
            f"the recording that {host.name} handed in says that it is of {quoted(recorded.host)}; it was not sealed."
        )
    if due is None or session != make_recording(plan, due) or recorded.run != due:
        what = "nothing, all are sealed" if due is None else due.key
        raise IronbenchError(
            f"this is the recording {recorded.run.key}, and the pending one is {what}; it was not sealed."
        )
    if not load.gate.ok:
        raise IronbenchError(
            f"{due.key} was not sealed: {session.experiment.request.path} does not answer as expected "
            f"({load.gate.detail.rstrip('.')})."
        )
    early = load.first_send_ns - min(segment.from_ns for segment in recorded.segments)
    late = max(segment.until_ns for segment in recorded.segments) - load.window_end_ns
    if max(early, late) > 0:
        when = f"{early / 1e9:.1f} s before its start" if early > 0 else f"{late / 1e9:.1f} s after its end"
        raise IronbenchError(
            f"{due.key} was not sealed: py-spy looked outside of the load's window, {when}; record it again on a host "
            "that is less busy."
        )
    expected = str(session.experiment.request.expect.status)
    requests = read_requests(loads[0].with_name(REQUESTS))
    done = [one.done_ns for one in requests if one.outcome == expected and one.done_ns is not None]
    segments = [
        msgspec.structs.replace(one, requests=sum(one.from_ns <= at < one.until_ns for at in done))
        for one in recorded.segments
    ]
    told = {path.name: read_measured(path) for path in sorted(raw.glob("*/"))}
    measured = facts_of({host: one for host, one in told.items() if one is not None})
    if found := changes(sealed, measured):
        raise IronbenchError(
            f"{due.key} was not sealed, for it did not record what the sealed recordings did: {sentence(found)}. Put that "
            "back as it was, and the recordings go on; or begin a bundle of their own."
        )
    return host, msgspec.structs.replace(
        recorded,
        measured=measured,
        segments=segments,
        offered_rps=load.offered_rps,
        achieved_rps=load.expected_rps,
        errors=errors(load) + load.bodies_wrong,
        conduct=conduct(
            due.experiment, due.side, [load], expect_saturation=session.experiment.expect_saturation
        ),
    )


def _directory(bundle: Path, run: PlannedRun) -> Path:
    return bundle / DIRECTORY / run.experiment / f"{run.block:02d}" / run.variant
