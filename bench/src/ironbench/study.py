"""A study: read from its directory and checked before anything is planned."""

from __future__ import annotations

import hashlib
import json
import re
from itertools import combinations
from typing import TYPE_CHECKING

import msgspec

from ironbench.cells import REPETITION, as_side, factors, settings
from ironbench.collect.lines import quoted
from ironbench.errors import IronbenchError
from ironbench.judge import WRK2
from ironbench.load.limits import MAX_REQUESTS, background_refusals, wrk2_refusals
from ironbench.load.schedule import extent
from ironbench.metrics import MIN_ABOVE, percentile_shown
from ironbench.patterns import compiled
from ironbench.records import (
    SCHEMA,
    Experiment,
    FlameGraph,
    FlameGraphs,
    Load,
    LoadChange,
    Protocol,
    QueryPlanTest,
    Record,
    RequestTemplate,
    Search,
    Study,
)
from ironbench.yaml_files import decode, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

EXPERIMENTS_FILE = "experiments.yml"
ALL = "all"
"""Stands for all experiments of a study where it is asked for as one of them."""

MIN_STEPS = 3

MAX_COMMAND_LINE = 48 * 1024
"""Bytes of one experiment. The role bench and the flame graphs send sessions to the hosts on a command line, which
Linux limits to 128 KiB an argument: two sessions, what they have beside their experiment, and the command."""
_DAY_S = 86_400
_PROTOCOL_LIMITS = {"blocks": 10_000, "warmup_s": _DAY_S, "window_s": _DAY_S}
_EXPERIMENT_LIMITS = {"users": 1_000_000}
_LOAD_LIMITS = {"rate": 1_000_000, "connections": 65_536, "threads": 1_024}
_SEARCH_LIMITS = {
    "p99_ms": 1000 * _DAY_S,
    "to_rate": 1_000_000,
    "steps": 1_000,
    "step_s": _DAY_S,
    "warmup_s": _DAY_S,
}
_QUERY_PLAN_LIMITS = {"rows": 100_000_000, "executions": 100_000}
_FLAME_LIMITS = {"recordings": 1_000, "seconds": _DAY_S}

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
        raw = read_bytes(path)
    except OSError as error:
        raise IronbenchError(
            f"{directory} is not a study directory: it has no readable {EXPERIMENTS_FILE}."
        ) from error
    study = decode(raw, Study, path, "is not a study")
    if study.schema != SCHEMA:
        raise IronbenchError(
            f"{path} has schema {study.schema}, and this ironbench reads schema {SCHEMA} only."
        )
    for name, experiment in study.experiments.items():
        if experiment.cells and experiment.variants:
            raise IronbenchError(
                f"{path}: experiment {name} gives both variants and cells; of cells the names are the sides."
            )
    study = _with_sides(study)
    check_study(study, str(path))
    return study


def _with_sides(study: Study) -> Study:
    """Return the study with the sides' names filled in where they are cells."""
    experiments = {
        name: msgspec.structs.replace(experiment, variants=experiment.variants or list(experiment.cells))
        for name, experiment in study.experiments.items()
    }
    return msgspec.structs.replace(study, experiments=experiments)


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

    No experiment chooses the study's default ones, ``all`` every one; no variant chooses all. Raises
    IronbenchError for a name that the study does not have and for an experiment that is left without a
    variant.
    """
    if protocol not in study.protocols:
        raise _unknown("protocol", protocol, study, study.protocols)
    for name in experiments:
        if name not in study.experiments and name != ALL:
            raise _unknown("experiment", name, study, [*study.experiments, ALL])
    experiments = experiments or study.default
    if not experiments or ALL in experiments:
        experiments = list(study.experiments)
    known = dict.fromkeys(v for e in study.experiments.values() for v in e.variants)
    for name in variants:
        if name not in known:
            raise _unknown("variant", name, study, known)
    chosen = {}
    for name, experiment in study.experiments.items():
        if name not in experiments:
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
    yield from _bound_complaints(study)
    if not study.protocols or not study.experiments:
        yield "a study needs at least one protocol and one experiment"
    yield from _name_complaints(study)
    yield from _side_complaints(study)
    for name, protocol in study.protocols.items():
        if protocol.blocks < 1 or protocol.warmup_s < 0 or protocol.window_s <= 0:
            yield f"protocol {name} needs blocks >= 1, warmup_s >= 0 and window_s > 0"
    for name, experiment in study.experiments.items():
        for complaint in _experiment_complaints(experiment):
            yield f"experiment {name} {complaint}"
        for rules, protocol in study.protocols.items():
            for complaint in _phase_complaints(experiment, protocol):
                yield f"experiment {name} cannot run protocol {rules}: {complaint}"


def _bound_complaints(study: Study) -> Iterable[str]:
    """Complain about numbers and sizes that nobody means, before anything is computed of them."""
    for name, protocol in study.protocols.items():
        yield from _too_large(f"protocol {name}", protocol, _PROTOCOL_LIMITS)
    for name, experiment in study.experiments.items():
        yield from _too_large(f"experiment {name}", experiment, _EXPERIMENT_LIMITS)
        for load in _loads(experiment):
            yield from _too_large(f"experiment {name}", load, _LOAD_LIMITS)
        if experiment.search:
            yield from _too_large(f"the search of experiment {name}", experiment.search, _SEARCH_LIMITS)
        yield from _size_complaints(f"experiment {name}", experiment)
    for name, test in study.query_plans.items():
        yield from _too_large(f"query plan {name}", test, _QUERY_PLAN_LIMITS)
    if study.flame_graphs is not None:
        yield from _too_large("flame_graphs", study.flame_graphs, _FLAME_LIMITS)
        for name, graph in study.flame_graphs.graphs.items():
            yield from _too_large(f"flame graph {name}", graph, _EXPERIMENT_LIMITS)
            yield from _too_large(f"flame graph {name}", graph.load, _LOAD_LIMITS)
            yield from _size_complaints(f"flame graph {name}", graph)


def _loads(experiment: Experiment) -> Iterable[Load | LoadChange]:
    yield experiment.load
    yield from (cell.load for cell in experiment.cells.values())
    if experiment.background:
        yield experiment.background.load


def _too_large(what: str, record: Record, limits: Mapping[str, float]) -> Iterable[str]:
    for field, most in limits.items():
        value = getattr(record, field)
        if value is not None and not value <= most:
            yield f"{what} has {field} {value:.6g}; at most {most:,.0f} is allowed"


def _size_complaints(what: str, record: Record) -> Iterable[str]:
    size = command_line_bytes(record)
    if size > MAX_COMMAND_LINE:
        yield (
            f"{what} has {size} bytes as it is sent to the hosts, and a command line holds {MAX_COMMAND_LINE} of them; "
            "shorten its requests or give it fewer cells"
        )


def command_line_bytes(record: Record) -> int:
    """Return how long a record is as JSON on a command line, through three shells at most.

    It is escaped to ASCII, and each shell writes an apostrophe in five characters, of which three are apostrophes.
    """
    text = json.dumps(msgspec.to_builtins(record))
    return len(text) + 52 * text.count("'")


def _name_complaints(study: Study) -> Iterable[str]:
    for name in _names(study):
        if not _NAME.fullmatch(name):
            yield f"the name {name!r} must be of a-z, 0-9, - and _, and not start with - or _"
    if ALL in study.experiments:
        yield f"an experiment is named {ALL}, which stands for every one; give it another name"
    for name in study.default:
        if name not in study.experiments:
            yield f"default names the experiment {name}, and there are {', '.join(study.experiments)}"


def _names(study: Study) -> Iterable[str]:
    yield from (study.name, study.baseline, *study.protocols, *study.experiments, *study.query_plans)
    yield from (v for e in study.experiments.values() for v in e.variants)
    yield from (cell.variant for e in study.experiments.values() for cell in e.cells.values())
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
            compiled(pattern)
        except ValueError as error:
            yield f"flame_graphs have {quoted(pattern)}, which is no regular expression of RE2: {error}"
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
    if experiment.users and not experiment.fresh_state:
        yield "seeds users, which fresh_state: false leaves out; give one of the two"
    yield from _cells_complaints(experiment)
    for name in experiment.variants if experiment.cells else [""]:
        side = as_side(experiment, name)
        for complaint in _load_complaints(side.request, side.load, side.users):
            yield f"{f'has a cell {name} that ' if name else ''}{complaint}"
    if experiment.search:
        yield from _search_complaints(experiment, experiment.search)
    if background := experiment.background:
        for complaint in _load_complaints(background.request, background.load, experiment.users):
            yield f"has a background that {complaint}"


def _cells_complaints(experiment: Experiment) -> Iterable[str]:
    """Complain about sides that differ in what is not declared, or in nothing."""
    declared = factors(experiment)
    if not experiment.cells:
        if declared != ["variant"]:
            yield f"declares the factor {' and '.join(declared)}, and without cells only the variant differs"
        return
    if len(set(declared)) != len(declared) or not declared:
        yield "needs at least one factor, each named once"
    unknown = [name for name in experiment.variants if name not in experiment.cells]
    if unknown:
        yield f"has no cell {unknown[0]}; it has {', '.join(experiment.cells)}"
        return
    sides = {name: settings(experiment, name) for name in experiment.variants}
    for (one, here), (other, there) in combinations(sides.items(), 2):
        differing = [factor for factor in here if here[factor] != there[factor]]
        undeclared = [factor for factor in differing if factor not in declared]
        if undeclared:
            yield (
                f"has cells {one} and {other} that differ in {' and '.join(undeclared)}; its factor is "
                f"{' and '.join(declared)}"
            )
        if not differing and REPETITION not in declared:
            yield f"has cells {one} and {other} that do not differ; let them, or declare the factor {REPETITION}"


def _search_complaints(experiment: Experiment, search: Search) -> Iterable[str]:
    if not 0 < search.from_rate < search.to_rate or search.p99_ms <= 0 or search.warmup_s < 0:
        yield "has a search that needs p99_ms > 0, warmup_s >= 0 and 0 < from_rate < to_rate"
    if search.steps < MIN_STEPS:
        yield f"has a search of {search.steps} steps; both ends and one between them take {MIN_STEPS}"
    if not percentile_shown(int(search.from_rate * search.step_s), 99):
        yield (
            f"has a search whose first step has {search.from_rate * search.step_s:.0f} requests, too few for a P99; "
            f"make step_s or from_rate so that it has {100 * MIN_ABOVE}"
        )
    if experiment.load.backend == WRK2 or experiment.background or experiment.requests_file:
        yield "has a search, which only the built-in generator makes, without a background or a file of requests"
    if experiment.load.arrivals == "wrk2-phase":
        yield "has a search, whose rates do not hold whole bursts of wrk2-phase; let arrivals be even or poisson"


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
    for name in experiment.variants if experiment.cells else [""]:
        yield from _refusals(as_side(experiment, name), protocol)


def _refusals(experiment: Experiment, protocol: Protocol) -> Iterable[str]:
    load, background = experiment.load, experiment.background
    for one in (load, *([background.load] if background else [])):
        if one.rate * protocol.window_s > MAX_REQUESTS:
            yield f"a window has {one.rate * protocol.window_s:.0f} requests, and at most {MAX_REQUESTS} are kept"
            return
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
