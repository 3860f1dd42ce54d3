"""A bundle on disk: created whole, sealed run by run, never changed after that.

A run is sealed by renaming a finished, synced directory into place, so that a killed session leaves
either a sealed run or a directory under a temporary name, which the next sealing removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from ironbench import seals
from ironbench.archive import unpack
from ironbench.collect.lines import quoted
from ironbench.errors import IronbenchError
from ironbench.files import (
    NOT_JSON,
    OtherSchemaError,
    check_name,
    decode_record,
    encode_record,
    read_record,
    sync_directory,
    sync_tree,
    write_atomic,
    write_synced,
)
from ironbench.ingest import (
    Distribution,
    latency_log,
    read_distribution,
    read_evidence,
    read_handed_in,
    read_measured,
    refusing_nonsense,
    unfinished,
)
from ironbench.judge import judge, loads
from ironbench.measured import agree, changes, facts_of, of_environment, sentence
from ironbench.plan import ended, make_session, next_run, same_question
from ironbench.published import Published
from ironbench.records import (
    SCHEMA,
    Attempt,
    Claim,
    Claims,
    Collected,
    Finding,
    Git,
    Imported,
    Lost,
    Manifest,
    Measured,
    Plan,
    PlannedRun,
    QueryPlanRecord,
    Record,
    Run,
    Session,
    Study,
)
from ironbench.study import study_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ironbench.judge import Evidence

T = TypeVar("T", bound=msgspec.Struct)

CLAIMS = "claims.json"
RESULTS = "results.json"
PUBLISHED = "published.json"
LOST = "lost"
"""Directory of the sessions that came to nothing: KEY/NUMBER/lost.json, with their raw outputs if there are any."""
ATTEMPTS = "attempts"
"""Directory of the sessions that were handed out to the hosts: KEY/NUMBER.json."""
QUERY_PLANS = "query_plans"
DECLARED = ("manifest.json", "plan.json", CLAIMS, PUBLISHED)
"""Files that say what is asked and claimed: written once, before the first run."""
_SHA256 = 64
_CREATING = ".creating"
"""End of a bundle's directory name until it is complete."""
_LAST_WORDS = 500
"""Bytes of what a generator printed that are looked at for its last line."""
_SEALING = ".sealing"
"""Name of a run's directory until it is complete."""


class GateFailedError(IronbenchError):
    """The endpoint does not answer as the experiment expects; there is nothing to measure."""

    status = 4


class PlanEndedError(IronbenchError):
    """A session was lost more often than it may be; that is noted, and nothing more of the plan is ever sealed."""

    status = 5


class SessionLostError(IronbenchError):
    """A generator left no result, so there is nothing to judge; that is noted, and the run stays pending."""

    def __init__(self, lost: Lost) -> None:
        super().__init__("; ".join(fault.detail for fault in lost.instrument_faults))
        self.lost = lost


DamageKind = Literal["unreadable", "other-schema", "foreign", "changed", "other-measured"]
"""``other-measured``: a run that did not measure what the first one did, or a file that says something else than when
runs were sealed under it."""


class _Reported(msgspec.Struct):
    sealed: int


class Damage(Record, frozen=True, kw_only=True):
    """A file of a bundle that is not as it was written."""

    kind: DamageKind
    detail: str
    """Half a sentence. It names the file relative to the bundle, so that the report of a moved bundle has the
    same bytes."""
    move: str
    """What has to leave the bundle, so that its plan can go on."""


class Contents(Record, frozen=True, kw_only=True):
    """Everything in a bundle that can be used, and what cannot."""

    manifest: Manifest
    plan: Plan
    runs: list[Run]
    """In the order of the plan."""
    environment: dict[str, dict]
    """What each host told of itself, by host."""
    damaged: list[Damage]
    lost: list[Lost]
    """Sessions that came to nothing, by run and number."""
    attempts: list[Attempt]
    """Sessions that were handed out to the hosts, by run and number."""


def version() -> str:
    """Version of the installed ironbench."""
    return importlib.metadata.version("ironbench")


def new_id(protocol: str) -> str:
    """Name a bundle after this moment."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{protocol}"


# --- create and find ---------------------------------------------------------------------------


def create(  # noqa: PLR0913 - a bundle has this many parts
    results: Path,
    plan: Plan,
    study: Study,
    study_dir: Path,
    imported: Imported | None = None,
    *,
    claims: Claims | None = None,
    published: Published | None = None,
) -> Path:
    """Create ``results/ID`` with manifest, plan, claims and empty directories, and return its path."""
    check_name(plan.id)
    bundle = results / plan.id
    if bundle.exists():
        raise IronbenchError(f"{bundle} exists already; choose another --id.")
    manifest = Manifest(
        schema=SCHEMA,
        id=plan.id,
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        ironbench_version=version(),
        git=_git(study_dir),
        study=study.name,
        study_digest=study_digest(study),
        protocol=plan.protocol,
        imported=imported,
    )
    results.mkdir(parents=True, exist_ok=True)
    with locked(results):
        for left in results.glob(f".*{_CREATING}"):  # of a killed command; the lock says nobody writes it
            shutil.rmtree(left)
        temporary = results / f".{plan.id}{_CREATING}"
        for name in ("environment", "runs"):
            (temporary / name).mkdir(parents=True)
        records = {"manifest.json": manifest, "plan.json": plan}
        if claims is not None and claims.claims:
            records[CLAIMS] = claims
        if published is not None:
            records[PUBLISHED] = published
        encoded = {name: encode_record(record) for name, record in records.items()}
        for name, raw in encoded.items():
            write_synced(temporary / name, raw)
        seals.append(temporary, {name: seals.digest(raw) for name, raw in encoded.items()})
        sync_tree(temporary)
        temporary.rename(bundle)
        sync_directory(results)
    return bundle


def find_unfinished(  # noqa: PLR0913 - what is asked has this many parts
    results: Path,
    plan: Plan,
    *,
    claims: Claims | None = None,
    published: Published | None = None,
    seed: int | None,
    retries: int | None,
) -> Path | None:
    """Return the newest bundle that asks what ``plan`` asks, if it has unsealed runs or lacks its last report.

    It must make the same claims, and hold them against the same published figures. A bundle whose plan has ended for
    good is not gone on with. ``seed`` and ``retries`` count only when they are given.
    """
    alike = []
    for path in results.glob("*/plan.json"):
        bundle = path.parent
        if bundle.name.startswith("."):
            continue
        try:
            other, manifest = read_plan(bundle), read_manifest(bundle)
        except IronbenchError:
            continue  # of another ironbench: not one to go on with
        same = same_question(plan, other) and _carries(bundle, claims, published)
        if same and seed in (None, other.seed) and retries in (None, other.retries):
            alike.append((manifest.created, bundle.name, bundle))
    if not alike:
        return None
    newest = max(alike)[2]
    contents = read_whole(newest)
    if ended(contents.plan, contents.lost):
        return None
    open_ = next_run(contents.plan, contents.runs) or not _reported(newest, len(contents.runs))
    return newest if open_ else None


def _carries(bundle: Path, claims: Claims | None, published: Published | None) -> bool:
    """Whether a bundle holds these claims and published figures; one that is damaged is told when it goes on."""
    carried, figures, damaged = read_claims(bundle)
    return bool(damaged) or (carried, figures) == (claims.claims if claims else [], published)


def _reported(bundle: Path, sealed: int) -> bool:
    """Whether the report of so many sealed runs is complete: its results.json comes last."""
    try:
        return msgspec.json.decode((bundle / RESULTS).read_bytes(), type=_Reported).sealed == sealed
    except (OSError, *NOT_JSON):
        return False


def _git(directory: Path) -> Git | None:
    def run(*arguments: str) -> str | None:
        command = ["git", "--no-optional-locks", "-C", str(directory), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    commit, status = run("rev-parse", "HEAD"), run("status", "--porcelain")
    return None if commit is None or status is None else Git(commit=commit, dirty=bool(status))


# --- read --------------------------------------------------------------------------------------


def read_manifest(bundle: Path) -> Manifest:
    """Read manifest.json."""
    return read_record(bundle / "manifest.json", Manifest)


def read_plan(bundle: Path) -> Plan:
    """Read plan.json; raises IronbenchError when the directory is no bundle."""
    if not (bundle / "plan.json").is_file():
        raise IronbenchError(f"{bundle} is not a bundle: it has no plan.json; `ironbench plan` makes one.")
    return read_record(bundle / "plan.json", Plan)


def read_runs(bundle: Path) -> list[Run]:
    """Read the sealed runs in the order of the plan; raises as ``read_whole`` does."""
    return read_whole(bundle).runs


def read_whole(bundle: Path) -> Contents:
    """Read a bundle that is to be measured on.

    Raises IronbenchError when a run, an environment, a lost session or an attempt is damaged: to measure on as if it had
    never been there would hide that.
    """
    contents = read_contents(bundle, whole=False)
    if contents.damaged:
        raise _refusal(bundle, contents.damaged)
    return contents


def read_contents(bundle: Path, *, whole: bool = True) -> Contents:
    """Read a bundle; runs and environments that cannot be used are named and left out.

    All records are held against the digests of the ledger. The raw outputs of the runs are held against theirs, or
    if not ``whole`` against their sizes alone, which is what a session can wait for: a plan's commands read the bundle
    once a run. Raises IronbenchError when manifest or plan cannot be used, since nothing else makes sense without them.
    """
    plan, manifest = read_plan(bundle), read_manifest(bundle)
    if manifest.id != plan.id:
        raise IronbenchError(
            f"{bundle} is damaged: its plan.json is of bundle {plan.id} and its manifest.json of {manifest.id}; "
            "put back the one that is not its own."
        )
    sealed = seals.read(bundle)
    for name in ("manifest.json", "plan.json"):
        if complaint := seals.complaint(sealed, name, (bundle / name).read_bytes()):
            raise IronbenchError(f"{bundle} is damaged: {complaint}; put back the one that was sealed.")
    told = _environments(bundle, sealed)
    found = [_run_in(bundle, plan, directory, sealed, whole=whole) for directory in _run_directories(bundle)]
    runs = sorted((run for run in found if isinstance(run, Run)), key=lambda run: run.run.position)
    runs, mixed = _of_one_kind(bundle, runs)
    told |= {
        host: damage
        for host, facts in told.items()
        if isinstance(facts, dict) and (damage := _other_host(host, facts, runs))
    }
    losses = [
        _decoded(
            path,
            Lost,
            name := path.relative_to(bundle).as_posix(),
            move=name.removesuffix("/lost.json"),
            sealed=sealed,
        )
        for path in sorted((bundle / LOST).glob("*/*/lost.json"))
    ]
    attempts, mislaid = read_attempts(bundle, plan.id)
    return Contents(
        manifest=manifest,
        plan=plan,
        runs=runs,
        environment={host: facts for host, facts in told.items() if not isinstance(facts, Damage)},
        damaged=[
            one for one in (*told.values(), *found, *mixed, *losses, *mislaid) if isinstance(one, Damage)
        ],
        lost=[one for one in losses if isinstance(one, Lost)],
        attempts=attempts,
    )


def _of_one_kind(bundle: Path, runs: list[Run]) -> tuple[list[Run], list[Damage]]:
    """Split runs into those that measured one thing under the files that are there, and what is wrong with the rest."""
    declared = declared_digests(bundle)
    otherwise = {run.run.key: _otherwise(run, declared) for run in runs}
    # A file that no run was sealed under was changed; one that only some were not is right, and they came from elsewhere.
    changed = [name for name in DECLARED if runs and all(name in otherwise[run.run.key] for run in runs)]
    damaged = [
        Damage(
            kind="other-measured",
            detail=f"{name} is not what it was when the {len(runs)} runs were sealed",
            move=name,
        )
        for name in changed
    ]
    known = []
    for run in runs:
        foreign = [name for name in otherwise[run.run.key] if name not in changed]
        if foreign:
            here = run_directory(bundle, run.run).relative_to(bundle).as_posix()
            detail = f"{here} was sealed under another {foreign[0]}"
            damaged.append(Damage(kind="other-measured", detail=detail, move=here))
        # By what the runs are to be judged is not known where the plan was changed; without the claims' files it is.
        elif not {"manifest.json", "plan.json"} & set(changed):
            known.append(run)
    kept, others = agree(known)
    for run, found in others:
        here = run_directory(bundle, run.run).relative_to(bundle).as_posix()
        measured, before = (read_measured_of(bundle, one) for one in (run, found[0].since))
        damaged.append(
            Damage(
                kind="other-measured",
                detail=f"{here} did not measure what {found[0].since.run.key} did: {sentence(found, measured, before)}",
                move=here,
            )
        )
    return kept, damaged


def declared_digests(bundle: Path) -> dict[str, str]:
    """SHA-256 of the bundle's files that say what is asked and claimed, by name; of those that are there."""
    found = {}
    for name in DECLARED:
        with contextlib.suppress(FileNotFoundError):
            found[name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    return found


def _otherwise(run: Run, declared: dict[str, str]) -> list[str]:
    """Return the files that are not as they were when the run was sealed; none where it does not tell."""
    if not run.declared:
        return []
    return [name for name in DECLARED if run.declared.get(name) != declared.get(name)]


def read_measured_of(bundle: Path, run: Run) -> dict[str, Measured]:
    """Read what the hosts told of a sealed run; what cannot be read is left out, for only digests decide."""
    found = {}
    for directory in sorted((run_directory(bundle, run.run) / "raw").glob("*/")):
        with contextlib.suppress(IronbenchError):
            if (told := read_measured(directory)) is not None:
                found[directory.name] = told
    return found


def _other_host(host: str, told: dict, runs: Sequence[Run]) -> Damage | None:
    """Say how a host's environment contradicts what the runs know of it."""
    known = runs[0].measured.get(host, {}) if runs else {}
    for fact, value in of_environment(told).items():
        if fact in known and known[fact] != value:
            name = f"environment/{host}.json"
            short = fact if len(value) == _SHA256 else f"{fact} {value}"
            detail = f"{name} tells of another {short} than the sealed runs were measured on"
            return Damage(kind="other-measured", detail=detail, move=name)
    return None


def read_distributions(bundle: Path, runs: Sequence[Run]) -> tuple[dict[str, Distribution], list[Damage]]:
    """Read the latency distribution of each run, by the run's key; name those that cannot be used."""
    distributions, damaged = {}, []
    for run in runs:
        directory = run_directory(bundle, run.run)
        try:
            distributions[run.run.key] = read_distribution(directory / "raw")
        except IronbenchError as error:
            detail = str(error).removesuffix(".").replace(f"{bundle}/", "")
            move = directory.relative_to(bundle).as_posix()
            damaged.append(Damage(kind="unreadable", detail=detail, move=move))
    return distributions, damaged


def read_claims(bundle: Path) -> tuple[list[Claim], Published | None, list[Damage]]:
    """Read the claims that a bundle carries and the published figures; name those that cannot be used."""
    sealed = seals.read(bundle)
    claims, damage = _carried(bundle, CLAIMS, Claims, sealed)
    published, other = _carried(bundle, PUBLISHED, Published, sealed)
    return claims.claims if claims else [], published, [one for one in (damage, other) if one]


def read_unchanged_claims(
    bundle: Path, contents: Contents
) -> tuple[list[Claim], Published | None, list[Damage]]:
    """Read the same without what was changed after runs were sealed: nothing is claimed after the fact."""
    claims, published, damaged = read_claims(bundle)
    changed = {damage.move for damage in contents.damaged if damage.kind == "other-measured"}
    return [] if CLAIMS in changed else claims, None if PUBLISHED in changed else published, damaged


def read_query_plans(bundle: Path) -> tuple[list[QueryPlanRecord], list[Damage]]:
    """Read the query plans of each host, in the order of their names; name those that cannot be used."""
    sealed = seals.read(bundle)
    found = [
        _decoded(path, QueryPlanRecord, name := f"{QUERY_PLANS}/{path.name}", move=name, sealed=sealed)
        for path in sorted((bundle / QUERY_PLANS).glob("[!.]*.json"))
    ]
    return [one for one in found if not isinstance(one, Damage)], [
        one for one in found if isinstance(one, Damage)
    ]


def seal_query_plans(bundle: Path, host: str, raw: bytes) -> QueryPlanRecord:
    """Keep what a host of the inventory measured of query plans.

    Raises IronbenchError where it is another's, and where the bundle has that of this host.
    """
    read_plan(bundle)
    check_name(host)
    record = decode_record(raw, QueryPlanRecord, f"what {host} handed in")
    if record.host != host:
        raise IronbenchError(
            f"what {host} handed in says that it is of {quoted(record.host)}; it was not sealed, give each host's own."
        )
    path = bundle / QUERY_PLANS / f"{host}.json"
    with locked(bundle):
        if path.exists():
            raise IronbenchError(
                f"{path} is sealed already, and what is sealed is never changed; leave query_plan_bundle out to get a "
                "bundle of its own."
            )
        path.parent.mkdir(exist_ok=True)
        encoded = encode_record(record)
        seals.append(bundle, {f"{QUERY_PLANS}/{path.name}": seals.digest(encoded)})
        write_atomic(path, encoded)
        sync_directory(bundle)
    return record


def _carried(
    bundle: Path, name: str, kind: type[T], sealed: Mapping[str, str]
) -> tuple[T | None, Damage | None]:
    """Read a record that a bundle has from its beginning or never."""
    there = (bundle / name).is_file()
    if sealed and there != (name in sealed):
        how = "is there, and none was sealed" if there else "was sealed, and is gone"
        return None, Damage(kind="changed", detail=f"{name} {how}", move=name)
    if not there:
        return None, None
    found = _decoded(bundle / name, kind, name, move=name, sealed=sealed)
    return (None, found) if isinstance(found, Damage) else (found, None)


def _decoded(path: Path, kind: type[T], name: str, *, move: str, sealed: Mapping[str, str]) -> T | Damage:
    """Read a record of a bundle, and hold it against the ledger; ``name`` is relative to the bundle."""
    try:
        raw = path.read_bytes()
        found = decode_record(raw, kind, name)
    except OSError as error:
        return Damage(kind="unreadable", detail=f"{name} cannot be read: {error.strerror}", move=move)
    except OtherSchemaError as error:
        return Damage(kind="other-schema", detail=str(error).removesuffix("."), move=move)
    except IronbenchError as error:
        return Damage(kind="unreadable", detail=str(error).removesuffix("."), move=move)
    complaint = seals.complaint(sealed, name, raw)
    return found if complaint is None else Damage(kind="changed", detail=complaint, move=move)


def read_environment(bundle: Path) -> dict[str, dict]:
    """Read what each host told of itself, by host; raises IronbenchError when one cannot be used."""
    told = _environments(bundle, seals.read(bundle))
    damaged = [facts for facts in told.values() if isinstance(facts, Damage)]
    if damaged:
        raise _refusal(bundle, damaged)
    return {host: facts for host, facts in told.items() if not isinstance(facts, Damage)}


def _refusal(bundle: Path, damaged: list[Damage]) -> IronbenchError:
    first = damaged[0]
    if first.move in DECLARED:
        return IronbenchError(
            f"{bundle} is damaged: {first.detail}; put {first.move} back as it was, or begin a new plan: what is asked and "
            "claimed is said before the first run."
        )
    again = {"environment": "its host tells it again", ATTEMPTS: "its plan goes on"}.get(
        first.move.partition("/")[0], "the run is measured again"
    )
    more = f" ({len(damaged)} are damaged; `ironbench report` names all)" if len(damaged) > 1 else ""
    return IronbenchError(
        f"{bundle} is damaged: {first.detail}; move {first.move} out of the bundle, and {again}{more}."
    )


def _environments(bundle: Path, sealed: Mapping[str, str]) -> dict[str, dict | Damage]:
    return {path.stem: _told(path, sealed) for path in sorted((bundle / "environment").glob("[!.]*.json"))}


def _told(path: Path, sealed: Mapping[str, str]) -> dict | Damage:
    """Read what a host told of itself."""
    name = f"environment/{path.name}"
    try:
        raw = path.read_bytes()
        told = msgspec.json.decode(raw, type=dict)
    except (OSError, *NOT_JSON) as error:
        return Damage(kind="unreadable", detail=f"{name} is not a JSON object: {error}", move=name)
    if "schema" in told:  # what an imported bundle says of its host has none
        if told["schema"] != SCHEMA:
            detail = f"{name} has schema {told['schema']}, and this ironbench reads schema {SCHEMA} only"
            return Damage(kind="other-schema", detail=detail, move=name)
        if told.get("name", path.stem) != path.stem:
            return Damage(kind="foreign", detail=f"{name} is what {told['name']} told of itself", move=name)
    complaint = seals.complaint(sealed, name, raw)
    return told if complaint is None else Damage(kind="changed", detail=complaint, move=name)


def _run_directories(bundle: Path) -> list[Path]:
    found = (bundle / "runs").glob("*/*/*")
    return sorted(path for path in found if not path.name.startswith(".") and path.is_dir())


def _run_in(
    bundle: Path, plan: Plan, directory: Path, sealed: Mapping[str, str], *, whole: bool
) -> Run | Damage:
    """Read a run, and hold its directory against what was sealed."""
    here = directory.relative_to(bundle).as_posix()
    name = f"{here}/run.json"
    run = _decoded(directory / "run.json", Run, name, move=here, sealed={})
    if isinstance(run, Damage):
        return run
    if run.plan != plan.id:
        return Damage(kind="foreign", detail=f"{name} is of plan {run.plan}, not of {plan.id}", move=here)
    if not _is_planned(plan, run.run) or run_directory(bundle, run.run) != directory:
        detail = f"{name} is of {run.run.key}, and the plan has no such run there"
        return Damage(kind="foreign", detail=detail, move=here)
    complaint = seals.complaint(sealed, name, (directory / "run.json").read_bytes())
    if run.digests and name not in sealed:
        complaint = f"{name} has no seal in {seals.LEDGER}"
    if complaint is None and run.files:
        complaint = _wrong_file(directory, run, here, whole=whole)
    return run if complaint is None else Damage(kind="changed", detail=complaint, move=here)


def _wrong_file(directory: Path, run: Run, here: str, *, whole: bool) -> str | None:
    """Say in half a sentence which file of a run's directory is not as it was sealed; None where all are."""
    sizes = _sizes(directory)
    for file, size in run.files.items():
        found = f"has {sizes[file]} bytes" if file in sizes else "cannot be read"
        if found != f"has {size} bytes":
            return f"{here}/{file} {found} and was sealed with {size}"
    if added := sorted(sizes.keys() - run.files.keys() - {"run.json"}):
        return f"{here}/{added[0]} was put there after the run was sealed"
    for file, sha256 in run.digests.items() if whole else ():
        try:
            same = seals.file_digest(directory / file) == sha256
        except OSError as error:
            return f"{here}/{file} cannot be read: {error.strerror}"
        if not same:
            return f"{here}/{file} is not what was sealed: its SHA-256 differs"
    return None


def _sizes(directory: Path) -> dict[str, int]:
    """Return the bytes of everything in a run's directory that is no directory, by path; of a link, -1."""
    found, open_ = {}, [(str(directory), "")]
    while open_:
        path, start = open_.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                name = f"{start}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    open_.append((entry.path, f"{name}/"))
                elif entry.is_file(follow_symlinks=False):
                    found[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    found[name] = -1
    return found


def read_attempts(bundle: Path, plan: str, folder: str = ATTEMPTS) -> tuple[list[Attempt], list[Damage]]:
    """Read the attempts of a plan, by run and number; name those that cannot be used."""
    sealed = seals.read(bundle)
    found = [
        _attempt_in(bundle, plan, path, sealed) for path in sorted((bundle / folder).glob("[!.]*/[!.]*.json"))
    ]
    return [one for one in found if isinstance(one, Attempt)], [
        one for one in found if isinstance(one, Damage)
    ]


def _attempt_in(bundle: Path, plan: str, path: Path, sealed: Mapping[str, str]) -> Attempt | Damage:
    """Read an attempt, and hold its place against what it says."""
    name = path.relative_to(bundle).as_posix()
    one = _decoded(path, Attempt, name, move=name, sealed=sealed)
    if isinstance(one, Damage):
        return one
    if (one.plan, one.run.key, f"{one.number}.json") != (plan, path.parent.name, path.name):
        detail = f"{name} is attempt {one.number} of {one.run.key} of plan {one.plan}"
        return Damage(kind="foreign", detail=detail, move=name)
    return one


def _is_planned(plan: Plan, run: PlannedRun) -> bool:
    if run.attempt == 1:
        return 1 <= run.position <= len(plan.runs) and plan.runs[run.position - 1] == run
    # Where a repetition comes depends on the faults of other runs, so its position says nothing.
    return run.attempt <= plan.retries + 1 and any(
        msgspec.structs.replace(run, position=one.position, attempt=1) == one for one in plan.runs
    )


def run_directory(bundle: Path, run: PlannedRun) -> Path:
    """Where a sealed run lies."""
    return bundle / "runs" / run.experiment / f"{run.block:02d}" / run.label


# --- write -------------------------------------------------------------------------------------


def write_environment(bundle: Path, host: str, raw: bytes) -> bool:
    """Keep what a host tells of itself; return whether anything was written.

    The same content again is fine. Other content is refused once a run is sealed, because the sealed
    runs were measured under the first.
    """
    check_name(host)
    read_plan(bundle)
    try:
        told = msgspec.json.decode(raw, type=dict)
    except NOT_JSON as error:
        raise IronbenchError(f"the environment of {host} is not a JSON object: {error}.") from error
    if "schema" in told and told.get("name", host) != host:
        raise IronbenchError(f"this is what {told['name']} told of itself, not {host}; give each host's own.")
    path = bundle / "environment" / f"{host}.json"
    with locked(bundle):
        if path.exists():
            if _told(path, seals.read(bundle)) == told:
                return False
            if _run_directories(bundle) and read_runs(bundle):  # raises if what was told before is damaged
                raise _other_environment(bundle, host)
        elif _run_directories(bundle) and _other_host(host, told, read_runs(bundle)):
            raise _other_environment(bundle, host)
        encoded = msgspec.json.format(msgspec.json.encode(told, order="sorted"), indent=2) + b"\n"
        seals.append(bundle, {f"environment/{path.name}": seals.digest(encoded)})
        write_atomic(path, encoded)
    return True


def note_attempt(bundle: Path, session: Session, folder: str = ATTEMPTS) -> Attempt:
    """Note that a session is handed out to the hosts; when this returns, the note is on the disk.

    Raises IronbenchError where the bundle cannot be written: then the load must not begin.
    """
    directory = bundle / folder / session.run.key
    with locked(bundle):
        directory.mkdir(parents=True, exist_ok=True)
        attempt = Attempt(
            schema=SCHEMA,
            plan=session.plan,
            run=session.run,
            number=1 + max((int(path.stem) for path in directory.glob("[0-9]*.json")), default=0),
            begun_ns=time.time_ns(),
        )
        path, encoded = directory / f"{attempt.number}.json", encode_record(attempt)
        seals.append(bundle, {path.relative_to(bundle).as_posix(): seals.digest(encoded)})
        write_atomic(path, encoded)
        for parent in (directory.parent, directory.parent.parent):
            sync_directory(parent)
    return attempt


def _other_environment(bundle: Path, host: str) -> IronbenchError:
    return IronbenchError(
        f"the environment of {host} is not what the sealed runs of {bundle} were measured in; "
        "put it back as it was or start a new plan."
    )


def seal_collected(bundle: Path, collected: list[Collected]) -> Run:
    """Judge the pending run from what the hosts handed in and seal it.

    Raises as ``seal`` does, and SessionLostError where a generator left no result.
    """
    plan = read_plan(bundle)
    with locked(bundle):
        sealed = _read_open(bundle)
        room = _make_room(bundle)
        try:
            unpack(collected, room / "raw")
            if nothing := unfinished(room / "raw"):
                exits = {one.host: one.generator_exit for one in collected}
                session = read_handed_in(room / "raw" / nothing[0] / "session.json", Session)
                _check_pending(plan, sealed, session)
                faults = [
                    Finding(
                        kind="generator-died", detail=_last_words(room / "raw" / host, exits[host]), host=host
                    )
                    for host in nothing
                ]
                raise SessionLostError(_lose(bundle, plan, session.run, faults, room))
            with refusing_nonsense():
                evidence = read_evidence(room / "raw")
                run = _judged(
                    bundle, plan, sealed, evidence, started_ns=min(one.started_ns for one in collected)
                )
                latency = latency_log(room / "raw")
            return _place(bundle, run, room, latency)
        except (IronbenchError, OSError):
            shutil.rmtree(room, ignore_errors=True)
            raise


def seal_left(bundle: Path, collected: list[Collected]) -> Run | str:
    """Seal what an interrupted playbook left packed on the hosts, or say in half a sentence why it is left out.

    It is sealed when it is the pending run's and of all hosts, so that no run that was measured is measured again.
    Raises IronbenchError when the bundle is damaged.
    """
    sealed = read_runs(bundle)
    due = next_run(read_plan(bundle), sealed)
    keys = {one.key for one in collected}
    if keys <= {run.run.key for run in sealed}:
        return "it is sealed already"
    if due is None or keys != {due.key}:
        return "it is not of the pending run"
    if missing := read_environment(bundle).keys() - {one.host for one in collected}:
        return f"{', '.join(sorted(missing))} left nothing of it"
    try:
        return seal_collected(bundle, collected)
    except IronbenchError as error:  # what cannot be judged would keep the plan from going on
        return str(error).removesuffix(".")


def lose_pending(bundle: Path, faults: list[Finding]) -> Lost:
    """Note that the pending run's session came to nothing, and why; raises as ``_lose`` does."""
    plan = read_plan(bundle)
    with locked(bundle):
        due = next_run(plan, _read_open(bundle))
        if due is None:
            raise IronbenchError(f"all runs of {bundle} are sealed, so none can be lost.")
        return _lose(bundle, plan, due, faults, _make_room(bundle))


def _read_open(bundle: Path) -> list[Run]:
    """Read the sealed runs of a plan that may go on; raises PlanEndedError when it has ended for good."""
    contents = read_whole(bundle)
    if why := ended(contents.plan, contents.lost):
        raise PlanEndedError(f"{why}.")
    return contents.runs


def _last_words(raw: Path, status: int | None) -> str:
    """Say how a generator ended that left no result."""
    how = "ended without a result"
    if status is not None and -status in {one.value for one in signal.Signals}:
        how = f"was killed by {signal.Signals(-status).name}"
    elif status:
        how = f"ended with status {status}"
    try:
        with (raw / "generator.txt").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS))
            said = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        said = []
    return f"the generator {how}" + (f": {said[-1].removeprefix('ironbench: ')}" if said else "")


def _lose(bundle: Path, plan: Plan, run: PlannedRun, faults: list[Finding], room: Path) -> Lost:
    """Put a session that came to nothing into place with whatever it left in ``room``.

    Raises PlanEndedError, when that is done, if this happened more often than the run's block may be repeated.
    """
    before = bundle / LOST / run.key
    number = 1 + max((int(path.name) for path in before.glob("[0-9]*")), default=0)
    lost = Lost(
        schema=SCHEMA,
        plan=plan.id,
        run=run,
        number=number,
        lost_ns=time.time_ns(),
        instrument_faults=faults,
        ironbench_version=version(),
    )
    encoded = encode_record(lost)
    write_synced(room / "lost.json", encoded)
    sync_tree(room)
    seals.append(bundle, {f"{LOST}/{run.key}/{number}/lost.json": seals.digest(encoded)})
    before.mkdir(parents=True, exist_ok=True)
    room.rename(before / str(number))
    for directory in (before, before.parent, bundle):
        sync_directory(directory)
    if why := ended(plan, [lost]):
        raise PlanEndedError(f"{why}.")
    return lost


def seal(bundle: Path, raw: Path, *, started_ns: int | None) -> Run:
    """Judge the pending run from its raw outputs and seal it.

    ``raw`` holds one directory a host. Without ``started_ns`` the run starts at the first snapshot.
    Raises IronbenchError when the raw outputs are not of the pending run, PlanEndedError when the plan has ended
    for good, and GateFailedError when the gate failed although no instrument was at fault; nothing is sealed then.
    """
    plan = read_plan(bundle)
    with locked(bundle):
        sealed = _read_open(bundle)
        evidence = read_evidence(raw)
        run = _judged(bundle, plan, sealed, evidence, started_ns=started_ns)
        hosts = [host.host.name for host in evidence.hosts]
        return put(bundle, run, raw, hosts, latency_log(raw))


def _judged(
    bundle: Path, plan: Plan, sealed: list[Run], evidence: Evidence, *, started_ns: int | None
) -> Run:
    """Make the pending run of what was seen of it."""
    _check_pending(plan, sealed, evidence.session)
    measured = {host.host.name: host.measured for host in evidence.hosts if host.measured is not None}
    if found := changes(sealed, facts_of(measured)):
        raise IronbenchError(
            f"{evidence.session.run.key} was not sealed, for it did not measure what the sealed runs of {bundle} did: "
            f"{sentence(found, measured, read_measured_of(bundle, found[0].since))}. Put that back as it was, and the plan goes "
            "on where it stopped; or begin a new plan. The sealed runs are safe."
        )
    faults, outcomes = judge(evidence)
    failed = [one for one in loads(evidence) if not one.result.gate.ok]
    if failed and not faults:
        request, gate = failed[0].request, failed[0].result.gate
        raise GateFailedError(
            f"{evidence.session.run.key} was not sealed: {request.path} does not answer as expected "
            f"({gate.detail.rstrip('.')})."
        )
    first_ns = min(host.before.ns for host in evidence.hosts)
    return Run(
        schema=SCHEMA,
        plan=plan.id,
        run=evidence.session.run,
        started_ns=first_ns if started_ns is None else started_ns,
        sealed_ns=time.time_ns(),
        load=evidence.load,
        background=evidence.background,
        cpu=[cpu for host in evidence.hosts for cpu in host.cpu],
        cores=[core for host in evidence.hosts for core in host.cores],
        system=[host.system for host in evidence.hosts if host.system is not None],
        loop_blocks=evidence.loop_blocks,
        search=evidence.search,
        cpu_check=[check for host in evidence.hosts for check in host.cpu_check],
        affinity=[
            affinity for host in evidence.hosts for unit in host.before.units for affinity in unit.affinity
        ],
        layout={host.host.name: host.host.layout for host in evidence.hosts},
        mhz={host.host.name: host.mhz for host in evidence.hosts if host.mhz is not None},
        instrument_faults=faults,
        outcomes=outcomes,
        ironbench_version=version(),
        quiet={host.host.name: host.before.quiet for host in evidence.hosts if host.before.quiet is not None},
        measured=facts_of(measured),
        declared=declared_digests(bundle),
    )


def _check_pending(plan: Plan, sealed: list[Run], got: Session) -> None:
    if got.plan != plan.id:
        raise IronbenchError(
            f"these raw outputs belong to plan {got.plan}, not to {plan.id}; they were not sealed."
        )
    if got.run.key in {run.run.key for run in sealed}:
        raise IronbenchError(f"{got.run.key} is sealed already, and a sealed run is never changed.")
    due = next_run(plan, sealed)
    if due is None or got != make_session(plan, due):
        what = "nothing, the plan is done" if due is None else due.key
        raise IronbenchError(
            f"these raw outputs are of {got.run.key} and the pending run is {what}; they were not sealed."
        )


def put(bundle: Path, run: Run, raw: Path, hosts: list[str], latency: bytes) -> Run:
    """Put a run with copies of the raw outputs of its hosts into place, and return it as it was sealed.

    Nobody else may write to the bundle meanwhile.
    """
    room = _make_room(bundle)
    for host in hosts:
        shutil.copytree(raw / host, room / "raw" / host)
    return _place(bundle, run, room, latency)


def _make_room(bundle: Path) -> Path:
    """Make the directory that becomes a run; one that is there is of a killed command."""
    room = bundle / _SEALING
    if room.exists():
        shutil.rmtree(room)
    room.mkdir()
    return room


def _place(bundle: Path, run: Run, room: Path, latency: bytes) -> Run:
    (room / "latency.hgrm").write_bytes(latency)
    files = sorted(path for path in room.rglob("*") if path.is_file())
    names = {path.relative_to(room).as_posix(): path for path in files}
    sealed = msgspec.structs.replace(
        run,
        files={name: path.stat().st_size for name, path in names.items()},
        digests={name: seals.file_digest(path) for name, path in names.items()},
    )
    encoded = encode_record(sealed)
    decode_record(encoded, Run, "what the hosts handed in")  # infinity and nan of absurd figures are no JSON
    write_synced(room / "run.json", encoded)
    sync_tree(room)
    target = run_directory(bundle, run.run)
    seals.append(bundle, {f"{target.relative_to(bundle).as_posix()}/run.json": seals.digest(encoded)})
    target.parent.mkdir(parents=True, exist_ok=True)
    room.rename(target)
    for directory in (target.parent, target.parent.parent, target.parent.parent.parent):
        sync_directory(directory)
    return sealed


@contextlib.contextmanager
def locked(bundle: Path) -> Iterator[None]:
    """Wait until no other process writes to the bundle; several hosts hand in at the same moment."""
    descriptor = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise IronbenchError(
            f"{bundle} cannot be written ({error.strerror}); make it possible, and the plan goes on at the first run "
            "that is not sealed."
        ) from error
    finally:
        os.close(descriptor)
