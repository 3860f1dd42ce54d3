"""From measured blocks to the figures of the report."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from ironbench.judge import FOREIGN_CPU, STEAL
from ironbench.records import SCHEMA, Record
from ironbench.stats import MIN_BLOCKS, MIN_MARGIN, Estimate, call, estimate, farthest, ratio
from msgspec.structs import replace

from .endpoints import AUTH, SERIALIZERS
from .targets import TARGETS, TIMING_WITHIN, Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import Block, Plan, Sample

DATABASE = ("postgresql", "pgbouncer")
PEM, KEY, ED25519 = "pyjwt-rs256-pem", "pyjwt-rs256-key", "joserfc-ed25519"


class Comparison(Record, frozen=True, kw_only=True):
    says: str
    numerator_ms: float
    denominator_ms: float
    """Medians over blocks, per request."""
    ratio: Estimate
    at_most: float | None


class Row(Record, frozen=True, kw_only=True):
    """A variant of the ladder or of leave-one-out, at one endpoint."""

    variant: str
    change: str
    """From the variant that it is compared with first."""
    app_ms: float
    database_ms: float
    against: Estimate | None
    """App CPU against the rung before or, in leave-one-out, against final."""
    against_baseline: Estimate | None
    share: Estimate | None
    """Of what final saves against baseline at this endpoint, the part that this rung brought."""


class TokenGain(Record, frozen=True, kw_only=True):
    """Where signin's gain from baseline to final comes from, in app CPU-ms per request."""

    baseline_ms: float
    final_ms: float
    gain_ms: Estimate
    pem_share: Estimate
    """Of the key that is loaded once."""
    ed25519_share: Estimate
    """Of Ed25519 by joserfc instead of RS256 by PyJWT, both with the key loaded once."""
    pem_back: Estimate | None
    key_back: Estimate | None
    """Final with RS256 against final: with the PEM on every call, and with the key loaded once."""


class ByHand(Record, frozen=True, kw_only=True):
    endpoint: str
    same: Estimate
    """A second server of final against the first."""
    by_hand: Estimate
    """The hand-written app against final."""
    floor: float
    """The farthest end of the A/A interval from 1, as a fraction; on the log scale, so both ways alike."""
    inside: bool
    """The difference is not larger than the floor."""
    equivalent: bool
    """Its whole interval lies inside the margin, which is the floor but at least MIN_MARGIN."""


class Serialization(Record, frozen=True, kw_only=True):
    lock: str
    cpu_ms: dict[str, float]
    pydantic: Estimate
    jsonable: Estimate
    """CPU against /serialization-msgspec."""
    pydantic_time: Estimate
    """The same of the time until the answer is there, one request after another."""


class Refusals(Record, frozen=True, kw_only=True):
    server: str
    answers: int
    wrong_password_ms: float
    unknown_email_ms: float
    """Medians of all answers, wall time."""
    ratio: float
    over_blocks: Estimate
    within: bool


class Results(Record, frozen=True, kw_only=True):
    schema: int
    targets: list[Comparison]
    ladder: dict[str, list[Row]]
    leave_one_out: dict[str, list[Row]]
    """By endpoint."""
    tokens: TokenGain | None
    by_hand: list[ByHand]
    serialization: list[Serialization]
    refusals: list[Refusals]
    idle_ms_per_s: float
    """Largest idle rate of a server, of medians over blocks."""
    disturbed: dict[int, str]
    """What was wrong with a block, by its number. Such a block does not count."""
    counted: int
    """Blocks that the figures are made of: all, where all were disturbed."""
    verdicts: bool
    """Whether enough undisturbed blocks are there to say that a target is met."""


def make_results(plan: Plan, blocks: Sequence[Block], *, packed: bool) -> Results:
    """Compute all that the plan's sections ask for; ratios pair the figures of one block.

    ``packed``: the host's CPUs belong to several at once, and its limits are those of such a host.
    """
    disturbed = {block.number: why for block in blocks if (why := _disturbance(block, packed=packed))}
    undisturbed = [block for block in blocks if block.number not in disturbed]
    blocks = undisturbed or blocks
    figures = _Figures(blocks)
    ladder = "ladder" in plan.sections
    return Results(
        schema=SCHEMA,
        targets=[
            Comparison(
                says=target.says,
                numerator_ms=figures.median(target.numerator),
                denominator_ms=figures.median(target.denominator),
                ratio=figures.ratio(target.numerator, target.denominator),
                at_most=target.at_most,
            )
            for target in TARGETS
            if target.section in plan.sections
        ],
        ladder={endpoint: _ladder(plan, figures, endpoint) for endpoint in AUTH} if ladder else {},
        leave_one_out={endpoint: _leave_one_out(plan, figures, endpoint) for endpoint in AUTH}
        if ladder
        else {},
        tokens=_token_gain(plan, figures) if ladder else None,
        by_hand=[_by_hand(figures, endpoint) for endpoint in AUTH] if "handwritten" in plan.sections else [],
        serialization=[
            _serialization(figures, name)
            for name in sorted(plan.servers, reverse=True)
            if name.startswith("serialization-")
        ],
        refusals=[_refusals(blocks, name) for name in plan.timed],
        idle_ms_per_s=max(figures.idle_us_per_s[name] for name in plan.servers) / 1e3,
        disturbed=disturbed,
        counted=len(blocks),
        verdicts=len(undisturbed) >= MIN_BLOCKS,
    )


class _Figures:
    """Figures by block, in the order of the blocks."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._totals = [_totals(block) for block in blocks]
        # Over blocks, since PostgreSQL's own background work falls into some of the quiet times.
        self.idle_us_per_s = {
            name: statistics.median(block.idle_us_per_s[name] for block in blocks)
            for name in blocks[0].idle_us_per_s
        }

    def cpu_ms(self, quantity: Quantity) -> list[float]:
        """CPU-ms per request, less what would have been used in the same time without requests."""
        return [
            _cpu_ms(totals[quantity.server, quantity.endpoint], quantity.of, self.idle_us_per_s)
            for totals in self._totals
        ]

    def busy_ms(self, server: str, endpoint: str) -> list[float]:
        """Time from request to answer, the mean of a block."""
        found = [totals[server, endpoint] for totals in self._totals]
        return [1e3 * sample.busy_s / sample.requests for sample in found]

    def median(self, quantity: Quantity) -> float:
        return statistics.median(self.cpu_ms(quantity))

    def ratio(self, numerator: Quantity, denominator: Quantity) -> Estimate:
        return ratio(self.cpu_ms(numerator), self.cpu_ms(denominator))

    def share(self, endpoint: str, before: str, after: str) -> Estimate | None:
        """Part of the way from baseline to final that lies between two variants; None if final costs more."""
        first, last, high, low = (
            self.cpu_ms(Quantity(server, endpoint)) for server in ("baseline", "final", before, after)
        )
        gains = [a - b for a, b in zip(first, last, strict=True)]
        if min(gains) <= 0:
            return None
        return estimate([(a - b) / gain for a, b, gain in zip(high, low, gains, strict=True)])


def _totals(block: Block) -> dict[tuple[str, str], Sample]:
    """Add up the rounds of each burst."""
    totals: dict[tuple[str, str], Sample] = {}
    for sample in block.samples:
        key = sample.server, sample.endpoint
        if (known := totals.get(key)) is None:
            totals[key] = sample
            continue
        totals[key] = replace(
            sample,
            requests=known.requests + sample.requests,
            busy_s=known.busy_s + sample.busy_s,
            wall_s=known.wall_s + sample.wall_s,
            cpu_us={name: us + known.cpu_us[name] for name, us in sample.cpu_us.items()},
        )
    return totals


def _disturbance(block: Block, *, packed: bool) -> str:
    """Say what took the servers' CPU from them, by the limits of a run's instrument faults."""
    foreign = FOREIGN_CPU.packed if packed else FOREIGN_CPU.limit
    steal = STEAL.packed if packed else STEAL.limit
    if block.foreign > foreign:
        return f"{block.foreign:.0%} of the servers' CPU went to others (limit {foreign:.0%})"
    if block.steal > steal:
        return f"the hypervisor took {block.steal:.1f} % of the servers' CPU (limit {steal:.1f} %)"
    return ""


def _cpu_ms(sample: Sample, of: str, idle_us_per_s: dict[str, float]) -> float:
    # The server's own counter is named app in each sample, its idle rate after the server.
    names = {"app": sample.server} if of == "app" else {name: name for name in DATABASE}
    used = sum(sample.cpu_us[name] - idle_us_per_s[idle] * sample.wall_s for name, idle in names.items())
    return used / 1e3 / sample.requests


def _ladder(plan: Plan, figures: _Figures, endpoint: str) -> list[Row]:
    rows = []
    for before, variant in zip([None, *plan.ladder], plan.ladder, strict=False):
        own = Quantity(variant, endpoint)
        rows.append(
            Row(
                variant=variant,
                change=_change(plan, before, variant) if before else "",
                app_ms=figures.median(own),
                database_ms=figures.median(Quantity(variant, endpoint, "database")),
                against=figures.ratio(own, Quantity(before, endpoint)) if before else None,
                against_baseline=figures.ratio(own, Quantity("baseline", endpoint)) if before else None,
                share=figures.share(endpoint, before, variant) if before else None,
            )
        )
    return rows


def _leave_one_out(plan: Plan, figures: _Figures, endpoint: str) -> list[Row]:
    return [
        Row(
            variant=variant,
            change=_change(plan, "final", variant) if variant != "final" else "",
            app_ms=figures.median(Quantity(variant, endpoint)),
            database_ms=figures.median(Quantity(variant, endpoint, "database")),
            against=figures.ratio(Quantity(variant, endpoint), Quantity("final", endpoint))
            if variant != "final"
            else None,
            against_baseline=None,
            share=None,
        )
        for variant in ["final", *plan.leave_one_out]
    ]


def _change(plan: Plan, before: str, after: str) -> str:
    old, new = plan.levers[before], plan.levers[after]
    return ", ".join(
        f"{lever}: {_word(old[lever])} -> {_word(new[lever])}" for lever in new if old[lever] != new[lever]
    )


def _word(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _token_gain(plan: Plan, figures: _Figures) -> TokenGain | None:
    def rung(tokens: str) -> str:
        return next(variant for variant in plan.ladder if plan.levers[variant]["tokens"] == tokens)

    def back(tokens: str) -> Estimate:
        variant = next(v for v in plan.leave_one_out if plan.levers[v]["tokens"] == tokens)
        return figures.ratio(Quantity(variant, "signin"), Quantity("final", "signin"))

    pem_share = figures.share("signin", "baseline", rung(KEY))
    ed25519_share = figures.share("signin", rung(KEY), rung(ED25519))
    if pem_share is None or ed25519_share is None:
        return None
    first, last = (figures.cpu_ms(Quantity(variant, "signin")) for variant in ("baseline", "final"))
    return TokenGain(
        baseline_ms=statistics.median(first),
        final_ms=statistics.median(last),
        gain_ms=estimate([a - b for a, b in zip(first, last, strict=True)]),
        pem_share=pem_share,
        ed25519_share=ed25519_share,
        pem_back=back(PEM),
        key_back=back(KEY),
    )


def _by_hand(figures: _Figures, endpoint: str) -> ByHand:
    final = Quantity("final", endpoint)
    same = figures.ratio(Quantity("final-again", endpoint), final)
    by_hand = figures.ratio(Quantity("handwritten-final", endpoint), final)
    floor = farthest(same.value, same.low, same.high)
    return ByHand(
        endpoint=endpoint,
        same=same,
        by_hand=by_hand,
        floor=floor,
        inside=farthest(by_hand.value) <= floor,
        equivalent=call(by_hand, max(floor, MIN_MARGIN)) == "equivalent",
    )


def _serialization(figures: _Figures, server: str) -> Serialization:
    pydantic, msgspec, jsonable = (Quantity(server, endpoint) for endpoint in SERIALIZERS)
    return Serialization(
        lock=server.removeprefix("serialization-"),
        cpu_ms={endpoint: figures.median(Quantity(server, endpoint)) for endpoint in SERIALIZERS},
        pydantic=figures.ratio(pydantic, msgspec),
        jsonable=figures.ratio(jsonable, msgspec),
        pydantic_time=ratio(
            figures.busy_ms(server, pydantic.endpoint), figures.busy_ms(server, msgspec.endpoint)
        ),
    )


def _refusals(blocks: Sequence[Block], server: str) -> Refusals:
    timings = [block.timings[server] for block in blocks]
    wrong = [ms for each in timings for ms in each.wrong_password]
    unknown = [ms for each in timings for ms in each.unknown_email]
    whole = statistics.median(unknown) / statistics.median(wrong)
    return Refusals(
        server=server,
        answers=len(wrong),
        wrong_password_ms=statistics.median(wrong),
        unknown_email_ms=statistics.median(unknown),
        ratio=whole,
        over_blocks=ratio(
            [statistics.median(each.unknown_email) for each in timings],
            [statistics.median(each.wrong_password) for each in timings],
        ),
        within=abs(whole - 1) <= TIMING_WITHIN,
    )
