"""The claims of a study: read from its directory and checked against its experiments."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.metrics import METRICS, PLAN_METRICS
from ironbench.published import RULES
from ironbench.query_plan.summary import case_names
from ironbench.records import SCHEMA, Claims
from ironbench.verdict import MEASURED
from ironbench.yaml_files import decode, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ironbench.records import Claim, Comparison, Study

CLAIMS_FILE = "claims.yml"

_ID = re.compile(r"[a-z0-9][a-z0-9.-]*")

_NEEDS = {
    "direction": ("comparison", "expects"),
    "mechanism": ("comparison", "expects"),
    "ratio": ("comparison", "ratio", "tolerance"),
    "share": ("published", "share"),
    "record": ("rule",),
}
_BELONGS = {
    "expects": ("direction", "mechanism"),
    "ratio": ("ratio",),
    "tolerance": ("ratio", "share"),
    "share": ("share",),
    "points": ("share",),
    "rule": ("record",),
    "arguments": ("record",),
}
"""Fields that only some kinds have."""


def load_claims(directory: Path, study: Study) -> Claims:
    """Read ``claims.yml`` of a study directory; without the file the study makes no claims.

    Raises IronbenchError when it is not readable, contradicts itself, or names what the study does not have.
    """
    path = directory / CLAIMS_FILE
    try:
        raw = read_bytes(path)
    except FileNotFoundError:
        return Claims(schema=SCHEMA, claims=[])
    except OSError as error:
        raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error
    claims = decode(raw, Claims, path, "does not hold claims")
    if claims.schema != SCHEMA:
        raise IronbenchError(
            f"{path} has schema {claims.schema}, and this ironbench reads schema {SCHEMA} only."
        )
    check_claims(claims, study, str(path))
    return claims


def check_claims(claims: Claims, study: Study, where: str) -> None:
    """Raise IronbenchError, which starts with ``where``, for the first claim that cannot be judged."""
    counts = Counter(claim.id for claim in claims.claims)
    twice = [name for name, times in counts.items() if times > 1]
    if twice:
        raise IronbenchError(
            f"{where}: the id {twice[0]} is given to {counts[twice[0]]} claims; give each its own."
        )
    compared: dict[tuple, str] = {}
    for claim in claims.claims:
        complaint = next(_complaints(claim, study), None) or _repeated(claim, compared)
        if complaint:
            raise IronbenchError(f"{where}: claim {claim.id!r} {complaint}.")


def _repeated(claim: Claim, compared: dict[tuple, str]) -> str:
    """Complain about a comparison that a claim of the same kind rests on already: of opposite ones, one always holds."""
    one = claim.comparison
    if one is None or claim.not_testable or claim.kind not in MEASURED:
        return ""
    kind = "ratio" if claim.kind == "ratio" else "test"
    key = (kind, one.experiment, one.metric, frozenset((one.variant, one.against)))
    first = compared.setdefault(key, claim.id)
    if first == claim.id:
        return ""
    return f"rests on the same comparison as {first!r}; keep the one that was meant, for of several one may always hold"


def _complaints(claim: Claim, study: Study) -> Iterator[str]:
    if not _ID.fullmatch(claim.id):
        yield "has a bad id: it must be of a-z, 0-9, - and '.', and start with a letter or digit"
    for field in ("says", "source"):
        if not getattr(claim, field).strip():
            yield f"has an empty `{field}`; write it down, for the report shows it"
    yield from _kind_complaints(claim)
    if claim.ratio is not None and claim.ratio <= 0:
        yield f"has ratio {claim.ratio:g}; a ratio is above 0"
    if claim.tolerance is not None and claim.tolerance <= 0:
        yield f"has tolerance {claim.tolerance:g}; give a part above 0, such as 0.25"
    if claim.kind == "share" and not claim.not_testable:
        yield from _share_complaints(claim, study)
    if claim.comparison is not None:
        yield from _comparison_complaints(claim.comparison, study, to_come=bool(claim.not_testable))


def _kind_complaints(claim: Claim) -> Iterator[str]:
    given = {field for field in msgspec.structs.asdict(claim) if getattr(claim, field) not in (None, "", {})}
    for field, kinds in _BELONGS.items():
        if field in given and claim.kind not in kinds:
            yield f"is of kind {claim.kind} and gives `{field}`, which belongs to {' and '.join(kinds)}"
    if claim.rule and claim.rule not in RULES:
        yield f"is judged by the rule {claim.rule!r}, and there are {', '.join(RULES)}"
    for field in () if claim.not_testable else _NEEDS[claim.kind]:
        if field not in given:
            yield f"is of kind {claim.kind} and gives no `{field}`; add it, or say why it is `not_testable`"


def _comparison_complaints(asked: Comparison, study: Study, *, to_come: bool) -> Iterator[str]:
    """Complain about a comparison; one ``to_come`` may name what the study does not have yet."""
    if asked.metric not in (*METRICS, *PLAN_METRICS):
        yield f"rests on the metric {asked.metric!r}, and there are {', '.join((*METRICS, *PLAN_METRICS))}"
    if asked.variant == asked.against:
        yield f"compares {asked.variant} with itself"
    if to_come:
        return
    if asked.metric in PLAN_METRICS:
        yield from _query_plan_complaints(asked, study)
        return
    experiment = study.experiments.get(asked.experiment)
    if experiment is None:
        yield (
            f"rests on the experiment {asked.experiment!r}, and study {study.name} has "
            f"{', '.join(study.experiments)}"
        )
        return
    for variant in (asked.variant, asked.against):
        if variant not in experiment.variants:
            yield (
                f"compares the variant {variant!r}, and experiment {asked.experiment} has "
                f"{', '.join(experiment.variants)}"
            )
    metric = METRICS.get(asked.metric)
    if metric is not None and metric.source == "background" and experiment.background is None:
        yield f"rests on {asked.metric}, and experiment {asked.experiment} has no background"


def _query_plan_complaints(asked: Comparison, study: Study) -> Iterator[str]:
    cases = case_names(study.query_plans)
    settings = cases.get(asked.experiment)
    if settings is None:
        yield (
            f"rests on {asked.metric} of {asked.experiment!r}, and the query plans of study {study.name} are "
            f"{', '.join(cases) or 'none'}"
        )
        return
    for setting in (asked.variant, asked.against):
        if setting not in settings:
            yield f"compares the setting {setting!r}, and {asked.experiment} has {', '.join(settings)}"


def _share_complaints(claim: Claim, study: Study) -> Iterator[str]:
    if not {"low", "high"} <= claim.published.keys():
        yield "is of kind share and its `published` gives no low and high, in per cent"
    if (claim.tolerance is None) == (claim.points is None):
        yield "is of kind share and needs either `tolerance`, a part, or `points`"
    if claim.points is not None and claim.points < 0:
        yield f"has points {claim.points:g}; give 0 or more"
    if claim.share is None:
        return
    spec = study.flame_graphs
    graph = spec.graphs.get(claim.share.graph) if spec else None
    if spec is None or graph is None:
        known = ", ".join(spec.graphs) if spec else "none"
        yield f"rests on the flame graph {claim.share.graph!r}, and study {study.name} has {known}"
        return
    if claim.share.variant not in graph.variants:
        yield (
            f"rests on the variant {claim.share.variant!r}, and the flame graph {claim.share.graph} has "
            f"{', '.join(graph.variants)}"
        )
    if claim.share.function not in spec.functions:
        yield f"rests on the function {claim.share.function!r}, and there are {', '.join(spec.functions)}"
