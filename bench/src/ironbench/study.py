"""A study: read from its directory and checked before anything is planned."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.judge import WRK2
from ironbench.load.limits import background_refusals, wrk2_refusals
from ironbench.load.schedule import extent
from ironbench.records import (
    SCHEMA,
    Experiment,
    FlameGraph,
    FlameGraphs,
    Load,
    Protocol,
    QueryPlanTest,
    RequestTemplate,
    Study,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EXPERIMENTS_FILE = "experiments.yml"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""Names become directories and unit names; a dot separates them there."""
_PARAMETER = re.compile(r"[a-z][a-z0-9_.]*")
"""Of PostgreSQL."""


def load_study(directory: Path) -> Study:
    """Read ``experiments.yml`` of a study directory.

    Raises IronbenchError when it is missing, is not a study, or contradicts itself.
    """
    path = directory / EXPERIMENTS_FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise IronbenchError(
            f"{directory} is not a study directory: it has no readable {EXPERIMENTS_FILE}."
        ) from error
    try:
        study = msgspec.yaml.decode(raw, type=Study)
    except msgspec.DecodeError as error:
        raise IronbenchError(f"{path} is not a study: {error}.") from error
    if study.schema != SCHEMA:
        raise IronbenchError(
            f"{path} has schema {study.schema}, and this ironbench reads schema {SCHEMA} only."
        )
    check_study(study, str(path))
    return study


def check_study(study: Study, where: str) -> None:
    """Raise IronbenchError, which starts with ``where``, when a study contradicts itself."""
    complaint = next(iter(_complaints(study)), None)
    if complaint:
        raise IronbenchError(f"{where}: {complaint}.")


def study_digest(study: Study) -> str:
    """SHA-256 of what the study says, in hex."""
    return hashlib.sha256(msgspec.json.encode(study, order="deterministic")).hexdigest()


def select(
    study: Study, protocol: str, experiments: list[str], variants: list[str]
) -> tuple[Protocol, dict[str, Experiment]]:
    """Return the protocol and the chosen experiments, each with its chosen variants in study order.

    An empty list chooses all. Raises IronbenchError for a name that the study does not have and for
    an experiment that is left without a variant.
    """
    if protocol not in study.protocols:
        raise _unknown("protocol", protocol, study, study.protocols)
    for name in experiments:
        if name not in study.experiments:
            raise _unknown("experiment", name, study, study.experiments)
    known = dict.fromkeys(v for e in study.experiments.values() for v in e.variants)
    for name in variants:
        if name not in known:
            raise _unknown("variant", name, study, known)
    chosen = {}
    for name, experiment in study.experiments.items():
        if experiments and name not in experiments:
            continue
        kept = [v for v in experiment.variants if not variants or v in variants]
        if not kept:
            raise IronbenchError(
                f"experiment {name} has none of the chosen variants; it has {', '.join(experiment.variants)}."
            )
        chosen[name] = msgspec.structs.replace(experiment, variants=kept)
    return study.protocols[protocol], chosen


def first_variant(experiment: Experiment, baseline: str) -> str:
    """Return the variant that an experiment's others are compared with."""
    return baseline if baseline in experiment.variants else experiment.variants[0]


def _unknown(what: str, name: str, study: Study, known: Iterable[str]) -> IronbenchError:
    return IronbenchError(f"study {study.name} has no {what} {name!r}; it has {', '.join(known)}.")


def _complaints(study: Study) -> Iterable[str]:
    if not study.protocols or not study.experiments:
        yield "a study needs at least one protocol and one experiment"
    yield from _side_complaints(study)
    for name in _names(study):
        if not _NAME.fullmatch(name):
            yield f"the name {name!r} must be of a-z, 0-9, - and _, and not start with - or _"
    for name, protocol in study.protocols.items():
        if protocol.blocks < 1 or protocol.warmup_s < 0 or protocol.window_s <= 0:
            yield f"protocol {name} needs blocks >= 1, warmup_s >= 0 and window_s > 0"
    for name, experiment in study.experiments.items():
        for complaint in _experiment_complaints(experiment):
            yield f"experiment {name} {complaint}"
        for rules, protocol in study.protocols.items():
            for complaint in _phase_complaints(experiment, protocol):
                yield f"experiment {name} cannot run protocol {rules}: {complaint}"


def _names(study: Study) -> Iterable[str]:
    yield from (study.name, study.baseline, *study.protocols, *study.experiments, *study.query_plans)
    yield from (v for e in study.experiments.values() for v in e.variants)
    for test in study.query_plans.values():
        yield from (*test.settings, *test.configurations)
    if study.flame_graphs is not None:
        yield from (*study.flame_graphs.graphs, *study.flame_graphs.functions)
        yield from (v for graph in study.flame_graphs.graphs.values() for v in graph.variants)


def _side_complaints(study: Study) -> Iterable[str]:
    """Complain about what is measured beside the experiments."""
    for name, test in study.query_plans.items():
        for complaint in _query_plan_complaints(test):
            yield f"query plan {name} {complaint}"
    if (spec := study.flame_graphs) is None:
        return
    yield from _flame_complaints(spec)
    for name, graph in spec.graphs.items():
        for complaint in _graph_complaints(graph, study):
            yield f"flame graph {name} {complaint}"


def _query_plan_complaints(test: QueryPlanTest) -> Iterable[str]:
    if not 1 <= test.selected <= test.rows:
        yield "needs 1 <= selected <= rows"
    if test.executions < 1 or len(test.settings) < 2 or not test.configurations:
        yield "needs executions >= 1, two settings to compare and a configuration to run them in"
    for parameters in (*test.settings.values(), *test.configurations.values()):
        for name, value in parameters.items():
            if not _PARAMETER.fullmatch(name) or "'" in value or "\\" in value:
                yield f"sets {name} to {value!r}, which is no parameter with a plain value"


def _flame_complaints(spec: FlameGraphs) -> Iterable[str]:
    if spec.recordings < 1 or spec.seconds < 1:
        yield "flame_graphs need recordings >= 1 and seconds >= 1"
    patterns = [spec.waiting, *(part for f in spec.functions.values() for part in (f.frames, f.without))]
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"flame_graphs have {pattern!r}, which is no regular expression: {error}"
    for name, function in spec.functions.items():
        if function.times < 1 or not function.frames:
            yield f"function {name} needs frames and times >= 1"
    for one in spec.differences:
        graph = spec.graphs.get(one.graph)
        if graph is None or not {one.before, one.after} <= set(graph.variants):
            yield f"a difference of {one.graph} from {one.before} to {one.after} needs that graph and both variants"


def _graph_complaints(graph: FlameGraph, study: Study) -> Iterable[str]:
    if not 1 <= graph.hz <= 1000 or not graph.variants:
        yield f"has {graph.hz} Hz and {len(graph.variants)} variants; it needs 1 to 1000, and one or more"
    own, shared = graph.request, study.experiments.get(graph.experiment)
    if own is not None:
        yield from _load_complaints(own, graph.load, graph.users)
    elif shared is not None:
        yield from _load_complaints(shared.request, graph.load, shared.users)
    else:
        yield f"needs a request, or an experiment of {', '.join(study.experiments)}"


def _experiment_complaints(experiment: Experiment) -> Iterable[str]:
    if not experiment.variants or len(set(experiment.variants)) != len(experiment.variants):
        yield "needs at least one variant, each named once"
    if experiment.users < 0:
        yield "needs users >= 0"
    yield from _load_complaints(experiment.request, experiment.load, experiment.users)
    if background := experiment.background:
        for complaint in _load_complaints(background.request, background.load, experiment.users):
            yield f"has a background that {complaint}"


def _load_complaints(request: RequestTemplate, load: Load, users: int) -> Iterable[str]:
    if load.rate <= 0 or not 1 <= load.threads <= load.connections:
        yield "needs rate > 0 and 1 <= threads <= connections"
    if load.connections % max(load.threads, 1):
        yield "needs connections that divide evenly over its threads"
    if request.json is not None and request.form is not None:
        yield "gives both json and form; a request has one body"
    if not request.path.startswith("/"):
        yield f"has path {request.path!r}; it must start with /"
    if users == 0 and "{user." in msgspec.json.encode(request).decode():
        yield "uses {user.FIELD} but seeds no users; set users to 1 or more"


def _phase_complaints(experiment: Experiment, protocol: Protocol) -> Iterable[str]:
    """Give what the generator would refuse, so that it does not come out on the host."""
    load, background = experiment.load, experiment.background
    try:
        for one in (load, *([background.load] if background else [])):
            for seconds in (protocol.warmup_s, protocol.window_s):
                extent(one, seconds)
        if background:
            yield from background_refusals(load, background.load, protocol.window_s)
    except IronbenchError as error:
        yield str(error).rstrip(".")
    if load.backend == WRK2:
        for rule in wrk2_refusals(
            load,
            warmup_s=protocol.warmup_s,
            window_s=protocol.window_s,
            requests_file=experiment.requests_file,
        ):
            yield f"with the backend wrk2 {rule}"
