"""A bundle on disk: created whole, sealed run by run, never changed after that.

A run is sealed by renaming a finished, synced directory into place, so that a killed session leaves
either a sealed run or a directory under a temporary name, which the next sealing removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record, sync_directory, sync_tree, write_atomic, write_synced
from ironbench.ingest import LATENCY_LOG, read_evidence
from ironbench.judge import judge
from ironbench.plan import make_session, next_run, same_question
from ironbench.records import SCHEMA, Git, Imported, Manifest, Plan, PlannedRun, Run, Study
from ironbench.study import study_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ironbench.judge import Evidence

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SEALING = ".sealing-"
"""Start of a run's directory name until it is complete."""


class GateFailedError(IronbenchError):
    """The endpoint does not answer as the experiment expects; there is nothing to measure."""


def version() -> str:
    """Version of the installed ironbench."""
    return importlib.metadata.version("ironbench")


def new_id(protocol: str) -> str:
    """Name a bundle after this moment."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{protocol}"


def check_id(text: str) -> None:
    """Raise IronbenchError when the text cannot name a directory."""
    if not _ID.fullmatch(text):
        raise IronbenchError(
            f"{text!r} cannot be a name here; use letters, digits, '.', '_' and '-' and start with a letter "
            "or digit."
        )


# --- create and find ---------------------------------------------------------------------------


def create(
    results: Path, plan: Plan, study: Study, study_dir: Path, imported: Imported | None = None
) -> Path:
    """Create ``results/ID`` with manifest, plan and empty directories, and return its path."""
    check_id(plan.id)
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
    temporary = results / f".{plan.id}.creating-{os.getpid()}"
    for name in ("environment", "runs"):
        (temporary / name).mkdir(parents=True)
    write_synced(temporary / "manifest.json", encode_record(manifest))
    write_synced(temporary / "plan.json", encode_record(plan))
    sync_tree(temporary)
    temporary.rename(bundle)
    sync_directory(results)
    return bundle


def find_unfinished(results: Path, plan: Plan, *, seed: int | None, retries: int | None) -> Path | None:
    """Return the newest bundle that asks what ``plan`` asks, if it has unsealed runs.

    ``seed`` and ``retries`` count only when they are given.
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
        if same_question(plan, other) and seed in (None, other.seed) and retries in (None, other.retries):
            alike.append((manifest.created, bundle.name, bundle))
    if not alike:
        return None
    newest = max(alike)[2]
    return newest if next_run(read_plan(newest), read_runs(newest)) else None


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
    """Read the sealed runs in the order of the plan."""
    paths = (bundle / "runs").glob("*/*/*/run.json")
    runs = [read_record(path, Run) for path in paths if not path.parent.name.startswith(".")]
    return sorted(runs, key=lambda run: run.run.position)


def read_environment(bundle: Path) -> dict[str, dict]:
    """Read what each host told of itself, by host."""
    return {
        path.stem: msgspec.json.decode(path.read_bytes(), type=dict)
        for path in sorted((bundle / "environment").glob("[!.]*.json"))
    }


def run_directory(bundle: Path, run: PlannedRun) -> Path:
    """Where a sealed run lies."""
    return bundle / "runs" / run.experiment / f"{run.block:02d}" / run.label


# --- write -------------------------------------------------------------------------------------


def write_environment(bundle: Path, host: str, raw: bytes) -> bool:
    """Keep what a host tells of itself; return whether anything was written.

    The same content again is fine. Other content is refused once a run is sealed, because the sealed
    runs were measured under the first.
    """
    check_id(host)
    read_plan(bundle)
    try:
        told = msgspec.json.decode(raw, type=dict)
    except msgspec.DecodeError as error:
        raise IronbenchError(f"the environment of {host} is not a JSON object: {error}.") from error
    path = bundle / "environment" / f"{host}.json"
    with _locked(bundle):
        if path.exists():
            if msgspec.json.decode(path.read_bytes()) == told:
                return False
            if read_runs(bundle):
                raise IronbenchError(
                    f"the environment of {host} is not what the sealed runs of {bundle} were measured in; "
                    "put it back as it was or start a new plan."
                )
        write_atomic(path, msgspec.json.format(msgspec.json.encode(told, order="sorted"), indent=2) + b"\n")
    return True


def seal(bundle: Path, raw: Path, *, started_ns: int | None) -> Run:
    """Judge the pending run from its raw outputs and seal it.

    ``raw`` holds one directory a host. Without ``started_ns`` the run starts at the first snapshot.
    Raises IronbenchError when the raw outputs are not of the pending run, and GateFailedError when
    the gate failed although no instrument was at fault; nothing is sealed then.
    """
    plan = read_plan(bundle)
    with _locked(bundle):
        sealed = read_runs(bundle)
        evidence = read_evidence(raw)
        _check_pending(plan, sealed, evidence)
        faults, outcomes = judge(evidence)
        gate = evidence.load.gate
        if not gate.ok and not faults:
            raise GateFailedError(
                f"{evidence.session.run.key} was not sealed: {evidence.session.experiment.request.path} does "
                f"not answer as expected ({gate.detail.rstrip('.')})."
            )
        first_ns = min(host.before.ns for host in evidence.hosts)
        run = Run(
            schema=SCHEMA,
            plan=plan.id,
            run=evidence.session.run,
            started_ns=first_ns if started_ns is None else started_ns,
            sealed_ns=time.time_ns(),
            load=evidence.load,
            cpu=[cpu for host in evidence.hosts for cpu in host.cpu],
            cores=[core for host in evidence.hosts for core in host.cores],
            cpu_check=[check for host in evidence.hosts for check in host.cpu_check],
            affinity=[
                affinity
                for host in evidence.hosts
                for unit in host.before.units
                for affinity in unit.affinity
            ],
            layout={host.host.name: host.host.layout for host in evidence.hosts},
            mhz={host.host.name: host.mhz for host in evidence.hosts if host.mhz is not None},
            instrument_faults=faults,
            outcomes=outcomes,
            ironbench_version=version(),
        )
        hosts = [host.host.name for host in evidence.hosts]
        put(bundle, run, raw, hosts, raw / evidence.generator / LATENCY_LOG)
    return run


def _check_pending(plan: Plan, sealed: list[Run], evidence: Evidence) -> None:
    got = evidence.session
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


def put(bundle: Path, run: Run, raw: Path, hosts: list[str], latency_log: Path) -> None:
    """Put a run with the raw outputs of its hosts into place; nobody else may write to the bundle."""
    target = run_directory(bundle, run.run)
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in bundle.glob(f"runs/*/*/{_SEALING}*"):  # of a killed session; the lock says nobody writes it
        shutil.rmtree(left)
    temporary = target.parent / f"{_SEALING}{target.name}"
    temporary.mkdir()
    for host in hosts:
        shutil.copytree(raw / host, temporary / "raw" / host)
    shutil.copyfile(latency_log, temporary / "latency.hgrm")
    write_synced(temporary / "run.json", encode_record(run))
    sync_tree(temporary)
    temporary.rename(target)
    for directory in (target.parent, target.parent.parent, target.parent.parent.parent):
        sync_directory(directory)


@contextlib.contextmanager
def _locked(bundle: Path) -> Iterator[None]:
    """Wait until no other process writes to the bundle; several hosts hand in at the same moment."""
    descriptor = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
