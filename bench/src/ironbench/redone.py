"""Whether the sessions that were measured again, or came to nothing, can have been chosen by their figures.

A user can end a command before a session is sealed, a host can have an instrument fault when a figure displeases, and
a service can bring about either. So what became of the sessions decides beside the figures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ironbench.stats import binomial_p

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from ironbench.records import Comparison, Effect, Noise, Plan, SideCounts

UNSEEN_SHARE, UNSEEN_MOST = 0.2, 4
"""Of a comparison's blocks, and in all, that may have been begun without leaving a figure where there is an A/A, whose
floor holds back what a choice of so many can do. Simulated: with them false calls stay below 5 %; without an A/A one
is too many (``make benchmark-statistics``, "stopping and repeating")."""
UNLIKE = 0.05
"""Two-sided p below which one side has clearly more than the other of what should come to both alike."""


class Redone:
    """What a plan's sessions say of each comparison of it."""

    def __init__(
        self,
        plan: Plan,
        faulty: Collection[tuple[str, int]],
        counts: Iterable[SideCounts],
        noise: Iterable[Noise],
        first: Mapping[Comparison, Effect] | None,
    ) -> None:
        """``faulty`` has experiment and number of the blocks that had an instrument fault, at whichever attempt.

        ``first`` has the effects over the first attempt of every block, whatever was wrong with it.

        None where no block was repeated or left out: those are then the effects that count.
        """
        self._first = first
        self._counts = {(one.experiment, one.side): one for one in counts}
        self._faulty = faulty
        self._blocks = {
            name: len({r.block for r in plan.runs if r.experiment == name}) for name in plan.experiments
        }
        self._with_floor = {
            (one.effect.comparison.experiment, one.effect.comparison.metric)
            for one in noise
            if one.floor is not None
        }

    def reasons(self, effect: Effect) -> Iterator[str]:
        """Say why an effect may have been chosen, each half a sentence."""
        one = effect.comparison
        first = self._first.get(one) if self._first is not None else None
        if first is not None and not agrees(effect, first):
            yield (
                f"the blocks as they were measured first, whatever was wrong with them, say that {one.variant} has "
                f"{factor(first)} of {one.against}, and those that count say {factor(effect)}"
            )
        yield from self._unseen(one, first.per_block if first is not None else {})
        yield from self._unlike(one)

    def _unseen(self, one: Comparison, measured: Collection[int]) -> Iterator[str]:
        """Count what was begun and left no figure that anybody could look at now."""
        sides = [self._counts.get((one.experiment, side)) for side in (one.variant, one.against)]
        gone = sum(side.lost + side.interrupted for side in sides if side is not None)
        gone += sum(name == one.experiment and block not in measured for name, block in self._faulty)
        with_floor = (one.experiment, one.metric) in self._with_floor
        most = min(UNSEEN_MOST, math.floor(UNSEEN_SHARE * self._blocks[one.experiment])) if with_floor else 0
        if gone > most:
            allowed = f"at most {most} may" if with_floor else "without an A/A none may"
            sessions = "1 session" if gone == 1 else f"{gone} sessions"
            yield (
                f"{sessions} of {one.variant} and {one.against} began and left no figure, being lost, interrupted or "
                f"without an instrument ({allowed})"
            )

    def _unlike(self, one: Comparison) -> Iterator[str]:
        sides = [self._counts.get((one.experiment, side)) for side in (one.variant, one.against)]
        here, there = (side.lost + side.interrupted + side.faulty if side else 0 for side in sides)
        if here != there and binomial_p(max(here, there), here + there) < UNLIKE:
            more, less = (one.variant, one.against) if here > there else (one.against, one.variant)
            yield (
                f"{max(here, there)} sessions of {more} were lost, interrupted or had an instrument fault, and "
                f"{min(here, there)} of {less}: clearly more of one side"
            )


def agrees(effect: Effect, other: Effect) -> bool:
    """Whether another view of the same comparison bears its call out: a difference is there too, or none is."""
    if effect.call in ("lower", "higher"):
        return other.call == effect.call
    return effect.call != "equivalent" or other.call not in ("lower", "higher")


def factor(effect: Effect) -> str:
    """Write an effect as a factor with its interval."""
    if effect.value is None:
        return "no factor"
    if effect.low is None or effect.high is None:
        return f"{effect.value:.3f}"
    return f"{effect.value:.3f} [{effect.low:.3f}, {effect.high:.3f}]"
