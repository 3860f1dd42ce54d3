"""What a comparison of bundles says, in sections: for the terminal and for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.report.model import Document, Section, Table
from ironbench.report.words import call_text, change, effect_text, number, sides_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.compare.compute import Beside, Between, Bundle, Compared
    from ironbench.compare.shift import Shift
    from ironbench.records import Effect

NOTHING = "-"
NO_CALL = (
    "No call between bundles: each is one visit to its hosts, and sessions of one visit do not tell a change between two "
    "versions from one between two days. To know whether one is cheaper, make both sides of one plan."
)


def make_document(compared: Compared) -> Document:
    """Put a comparison into words and tables: what differs first, figures after it."""
    return Document(
        title=f"{' against '.join(bundle.id for bundle in compared.bundles)}",
        tallies={},
        facts={bundle.letter: _told(bundle) for bundle in compared.bundles},
        flags=list(_flags(compared)),
        sections=[
            _differences(compared),
            _effects(compared),
            *_claims(compared),
            *_priced(compared),
            _between(compared),
        ],
    )


def _told(bundle: Bundle) -> str:
    hosts = "; ".join(f"{host}: {model}" for host, model in bundle.hosts.items()) or "no host told of itself"
    return f"{bundle.path}, created {bundle.created}, {bundle.counted} runs count; {hosts}"


def _flags(compared: Compared) -> Iterator[str]:
    for bundle in compared.bundles:
        if bundle.damaged:
            yield (
                f"{bundle.letter} is damaged: {bundle.damaged} of its files are left out; "
                f"`ironbench report {bundle.path}` names them."
            )
        if bundle.sealed < bundle.total:
            yield f"{bundle.letter} is unfinished: {bundle.sealed} of {bundle.total} runs are sealed."


def _letters(compared: Compared) -> list[str]:
    return [bundle.letter for bundle in compared.bundles]


# --- what differs ------------------------------------------------------------------------------


def _differences(compared: Compared) -> Section:
    title = "What differs in the environments"
    if not compared.differences:
        return Section(title=title, paragraphs=["Nothing that the bundles tell of themselves."])
    return Section(
        title=title,
        table=Table(
            header=["Of", "Fact", *_letters(compared)],
            rows=[[one.where, one.fact, *one.values] for one in compared.differences],
            words=2 + len(compared.bundles),
            rest="the answer with --json",
        ),
    )


# --- within ------------------------------------------------------------------------------------


def _effects(compared: Compared) -> Section:
    title = "Effects within each bundle"
    if not compared.effects:
        return Section(
            title=title, paragraphs=["No two variants of one experiment were measured in any of them."]
        )
    first, *others = _letters(compared)
    return Section(
        title=title,
        table=Table(
            header=[
                *("Experiment", "Metric", "Compared", "Everywhere?"),
                *_letters(compared),
                *(f"{other} over {first}" for other in others),
            ],
            rows=[_effect_row(one) for one in compared.effects],
            words=4,
            rest="the answer with --json",
        ),
        notes=[
            (
                "Change of the first side's figure against the second's, over paired blocks, with its interval of 95 "
                "%. Within 2 %, or within the noise floor of an A/A if that is wider, there is no difference."
            ),
            (
                f"Over {first}: the effect there over the effect in {first}, from the blocks of both. Its interval "
                "holds the noise of the blocks alone, and not what differs from visit to visit."
            ),
        ],
    )


def _effect_row(one: Beside) -> list[str]:
    return [
        one.comparison.experiment,
        one.comparison.metric,
        sides_text(one.comparison),
        one.says,
        *map(_effect, one.effects),
        *(_shift(found) for found in one.against_first[1:]),
    ]


def _effect(effect: Effect | None) -> str:
    return NOTHING if effect is None else f"{effect_text(effect)}: {call_text(effect)}"


def _shift(found: Shift | None) -> str:
    if found is None:
        return NOTHING
    text = change(found.value)
    if found.low is None or found.high is None:
        return f"{text}: too few runs"
    return f"{text} ({100 * (found.low - 1):+.1f}..{100 * (found.high - 1):+.1f})"


def _other_claims(compared: Compared) -> Iterator[str]:
    for one in {one.id: one for one in compared.claims if one.differs}.values():
        yield (
            f"{one.id} is not the same claim in all bundles ({', '.join(one.differs)} differ): each stands by itself, and a "
            "verdict on one says nothing of the other."
        )


def _claims(compared: Compared) -> Iterator[Section]:
    if compared.claims:
        yield Section(
            title="Claims",
            paragraphs=list(_other_claims(compared)),
            table=Table(
                header=["Claim", "It says", "Everywhere?", *_letters(compared)],
                rows=[
                    [one.id, one.says, one.everywhere, *(word or NOTHING for word in one.words)]
                    for one in compared.claims
                ],
                words=3 + len(compared.bundles),
                prose=[1],
                rest="the answer with --json",
            ),
        )


# --- price -------------------------------------------------------------------------------------


def _priced(compared: Compared) -> Iterator[Section]:
    if compared.priced:
        yield Section(
            title="CPU time of a request, and what a million of them cost",
            table=Table(
                header=["Experiment", "Variant", *_letters(compared)],
                rows=[
                    [one.experiment, one.variant, *map(_price, one.cpu_ms, one.per_million)]
                    for one in compared.priced
                ],
                words=2,
                rest="the answer with --json",
            ),
            notes=[
                "CPU-ms per request of all services, median over the sessions: price of a million requests.",
                (
                    "The price is that of the CPU time alone, at each machine's price by the hour over its CPUs, as given "
                    "when it was rented. A machine that is not full costs more a request, and the load generator's is left "
                    "out. Absolute times of different machines have no verdict: the ratios above have."
                ),
            ],
        )


def _price(cpu_ms: float | None, per_million: float | None) -> str:
    if cpu_ms is None:
        return NOTHING
    return f"{number(cpu_ms)}: {'price not told' if per_million is None else f'{per_million:.4g}'}"


# --- between -----------------------------------------------------------------------------------


def _between(compared: Compared) -> Section:
    title = "The same variant between bundles, absolute"
    if not compared.between:
        return Section(
            title=title, paragraphs=compared.refused or ["No variant was measured in two of them."]
        )
    first, *others = _letters(compared)
    return Section(
        title=title,
        paragraphs=compared.refused,
        table=Table(
            header=[
                *("Experiment", "Metric", "Variant"),
                *_letters(compared),
                *(f"{other} over {first}" for other in others),
            ],
            rows=[_between_row(one) for one in compared.between],
            words=3,
            rest="the answer with --json",
        ),
        notes=[
            "Median over the sessions, and their number.",
            f"Over {first}: Hodges-Lehmann shift of the logarithms; the sessions of two bundles are not paired.",
            NO_CALL,
        ],
    )


def _between_row(one: Between) -> list[str]:
    figures = [
        NOTHING if median is None else f"{number(median)} ({count})"
        for median, count in zip(one.medians, one.sessions, strict=True)
    ]
    found = [NOTHING if ratio is None else change(ratio) for ratio in one.ratios[1:]]
    return [one.experiment, one.metric, one.variant, *figures, *found]
