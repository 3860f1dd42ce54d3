"""From a directory of logs and its description to a sealed bundle."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ironbench import bundle as bundles
from ironbench.claims import load_claims
from ironbench.collect import wrk2
from ironbench.collect.sar import system_of
from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.files import check_name, sync_directory, write_synced
from ironbench.importing.describe import read_description
from ironbench.importing.files import parse_window, read_bytes, read_sar, read_wrk2
from ironbench.ingest import WRK2_LOG
from ironbench.judge import Evidence, judge
from ironbench.plan import make_session
from ironbench.published import load_published
from ironbench.records import SCHEMA, Imported, Plan, Run
from ironbench.scorecard import DESCRIPTION
from ironbench.study import load_study

if TYPE_CHECKING:
    from ironbench.collect.sar import SarReport
    from ironbench.collect.wrk2 import Wrk2Log
    from ironbench.importing.describe import DescribedRun, Description
    from ironbench.published import Published
    from ironbench.records import Claims, CoreUse, Experiment, LoadResult, PlannedRun, SystemUse

NOT_OBSERVED = "not observed by ironbench"

_RATE_TOLERANCE = 1.02
"""wrk2 may catch up on what was due before its clock started, never by as much as this."""
_LENGTH_TOLERANCE_S = 2.0
"""wrk2 ends a run within its timeout after the ordered time."""


@dataclass(frozen=True, slots=True)
class _Read:
    """One run's files, read and checked."""

    log: Wrk2Log
    load: LoadResult
    cores: list[CoreUse]
    system: SystemUse | None
    log_file: Path
    sar_files: list[Path]


def import_bundle(
    logs: Path, describe: Path, results: Path, bundle_id: str | None, study_dir: Path | None = None
) -> Path:
    """Make a sealed bundle out of a directory of logs; return its path.

    ``study_dir`` is the study whose claims the bundle carries; without one it carries none.
    All files are read and checked before anything is written. Raises IronbenchError when one of them
    is not what the description says.
    """
    if not logs.is_dir():
        raise IronbenchError(f"{logs} is not a directory; give the one that the description's files are in.")
    described = read_description(describe)
    name = bundle_id or bundles.new_id(described.protocol)
    check_name(name)
    if (results / name).exists():
        raise IronbenchError(f"{results / name} exists already; choose another --id.")
    carried = _claims(described, study_dir)
    plan = _plan(described, name)
    found = [_read(logs, described, run) for run in described.runs]
    runs = [_run(described, plan, planned, one) for planned, one in zip(plan.runs, found, strict=True)]
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=results) as staging:
        bundle = _write(Path(staging), describe, described, plan, carried)
        for run, one in zip(runs, found, strict=True):
            _put(Path(staging), bundle, run, one, described.host.name)
        bundle.rename(results / name)
    sync_directory(results)
    return results / name


def _plan(described: Description, name: str) -> Plan:
    return Plan(
        schema=SCHEMA,
        id=name,
        study=described.study,
        protocol=described.protocol,
        seed=0,
        baseline=described.baseline,
        experiments=described.experiments,
        warmup_s=described.warmup_s,
        window_s=described.window_s,
        retries=0,
        runs=described.planned(),
    )


def _claims(described: Description, study_dir: Path | None) -> tuple[Claims | None, Published | None]:
    if study_dir is None:
        return None, None
    study = load_study(study_dir)
    if study.name != described.study:
        raise IronbenchError(
            f"{study_dir} is the study {study.name}, and the logs are described as of {described.study}; give "
            "the study that they are of."
        )
    return load_claims(study_dir, study), load_published(study_dir)


# --- reading -----------------------------------------------------------------------------------


def _read(logs: Path, described: Description, run: DescribedRun) -> _Read:
    path = _inside(logs, run.log)
    log = read_wrk2(path)
    experiment = described.experiments[run.experiment]
    complaint = _contradiction(log, experiment, described.window_s)
    if complaint:
        raise IronbenchError(f"{path} is not what the description says: {complaint}.")
    started_ns = int(run.started.timestamp()) * 10**9 if run.started else 0
    sar_files = [_inside(logs, name) for name in run.sar]
    reports = [read_sar(path, parse_window(run.window)) for path in sar_files] if run.window else []
    return _Read(
        log=log,
        load=wrk2.load_result(log, str(path), experiment, started_ns),
        cores=_cores(reports, run, described) if reports else [],
        system=_system(reports, run, described),
        log_file=path,
        sar_files=sar_files,
    )


def _inside(logs: Path, name: str) -> Path:
    path = logs / name
    if not path.resolve().is_relative_to(logs.resolve()):
        raise IronbenchError(f"{name} lies outside of {logs}; name files below it.")
    return path


def _contradiction(log: Wrk2Log, experiment: Experiment, window_s: float) -> str:
    load, url = experiment.load, urlsplit(log.url)
    path = url.path + (f"?{url.query}" if url.query else "")
    if path != experiment.request.path:
        return f"its requests went to {path}, not to {experiment.request.path}"
    if (log.threads, log.connections) != (load.threads, load.connections):
        return (
            f"it has {log.threads} threads and {log.connections} connections, not {load.threads} and "
            f"{load.connections}"
        )
    if abs(log.duration_s - window_s) > _LENGTH_TOLERANCE_S:
        return f"it took {log.duration_s:g} s, not {window_s:g}"
    if log.requests_per_s > _RATE_TOLERANCE * load.rate:
        return f"{log.requests_per_s:g} requests per second were answered and only {load.rate:g} offered"
    return ""


def _system(reports: list[SarReport], run: DescribedRun, described: Description) -> SystemUse | None:
    try:
        found = system_of(reports)
    except IronbenchError as error:
        raise IronbenchError(f"{run.log}: {error}") from error
    return found and msgspec.structs.replace(found, host=described.host.name)


def _cores(reports: list[SarReport], run: DescribedRun, described: Description) -> list[CoreUse]:
    """Return the CPUs' use in the run's window, from the one file that has it."""
    having = [report for report in reports if report.cores]
    if len(having) != 1:
        raise IronbenchError(
            f"exactly one sar file of {run.log} must have the CPUs (`-u ALL -P ALL`), and {len(having)} have."
        )
    cores = [msgspec.structs.replace(core, host=described.host.name) for core in having[0].cores]
    missing = set(parse_cpu_list(described.host.layout.app)) - {core.cpu for core in cores}
    if missing:
        raise IronbenchError(
            f"the layout puts the app on CPU {', '.join(map(str, sorted(missing)))}, and the sar files of "
            f"{run.log} have {', '.join(str(core.cpu) for core in cores)}."
        )
    return cores


def _run(described: Description, plan: Plan, planned: PlannedRun, one: _Read) -> Run:
    session = msgspec.structs.replace(make_session(plan, planned), timeout_s=described.timeout_s)
    evidence = Evidence(
        session=session, generators=[], load=one.load, clocks={}, hosts=[], third_means_ms=None
    )
    _, outcomes = judge(evidence)
    return Run(
        schema=SCHEMA,
        plan=plan.id,
        run=planned,
        started_ns=one.load.first_send_ns,
        sealed_ns=time.time_ns(),
        load=one.load,
        cpu=[],
        cores=one.cores,
        system=[one.system] if one.system else [],
        cpu_check=[],
        affinity=[],
        layout={described.host.name: described.host.layout},
        mhz={},
        instrument_faults=[],
        outcomes=outcomes,
        ironbench_version=bundles.version(),
    )


# --- writing -----------------------------------------------------------------------------------


def _write(
    staging: Path,
    describe: Path,
    described: Description,
    plan: Plan,
    carried: tuple[Claims | None, Published | None],
) -> Path:
    imported = Imported(source=described.source, revision=described.revision, licence=described.licence)
    claims, published = carried
    bundle = bundles.create(
        staging,
        plan,
        described.as_study(),
        describe.parent,
        imported,
        claims=claims,
        published=published,
    )
    write_synced(bundle / DESCRIPTION, read_bytes(describe))
    environment = {
        "imported": NOT_OBSERVED,
        "layout": msgspec.to_builtins(described.host.layout),
        **described.host.facts,
    }
    bundles.write_environment(bundle, described.host.name, msgspec.json.encode(environment))
    return bundle


def _put(staging: Path, bundle: Path, run: Run, one: _Read, host: str) -> None:
    """Give the run's files the names that a live run's have."""
    raw = staging / "raw"
    (raw / host / WRK2_LOG).parent.mkdir(parents=True)
    shutil.copyfile(one.log_file, raw / host / WRK2_LOG)
    if one.sar_files:
        (raw / host / "sar").mkdir()
    for number, path in enumerate(one.sar_files, 1):
        shutil.copyfile(path, raw / host / "sar" / f"{number}-{path.name}")
    spectrum = wrk2.hgrm(read_bytes(one.log_file), str(one.log_file))
    bundles.put(bundle, run, raw, [host], spectrum.encode())
    shutil.rmtree(raw)
