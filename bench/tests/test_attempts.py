"""Counts of what became of sessions, held against histories whose truth is known."""

import random
from collections import Counter

import pytest
from ironbench.attempts import count_sides
from ironbench.plan import ended, next_run
from ironbench.records import SCHEMA, Attempt, Lost, Protocol, side_name
from ironbench.scorecard import why_excluded

from .made import WINDOW_S, plan, replace, study
from .test_plan import FAULT, sealed_run

TWINS = study(protocols={"aa": Protocol(blocks=3, warmup_s=2, window_s=WINDOW_S, a_a=True)})


class History:
    """A plan that is run by somebody who kills, loses and spoils sessions as often as may be."""

    def __init__(self, seed, *, retries=1):
        self.draw = random.Random(seed)
        self.plan = plan("aa", of=TWINS, seed=seed, retries=retries)
        self.runs, self.lost, self.attempts = [], [], []
        self.numbers, self.losses = Counter(), Counter()
        self.truth = Counter()
        """By (what, experiment, side)."""

    def tell(self, what, run):
        self.truth[what, run.experiment, run.side] += 1

    def begin(self, run):
        self.numbers[run.key] += 1
        self.attempts.append(
            Attempt(
                schema=SCHEMA, plan="made", run=run, number=self.numbers[run.key], begun_ns=len(self.attempts)
            )
        )

    def lose(self, run):
        self.losses[run.key] += 1
        self.lost.append(
            Lost(
                schema=SCHEMA, plan="made", run=run, number=self.losses[run.key], lost_ns=len(self.lost),
                instrument_faults=[replace(FAULT, host="box")], ironbench_version="0",
            )
        )  # fmt: skip

    def step(self):
        """Run the session that is due; return whether there is another."""
        run = next_run(self.plan, self.runs)
        if run is None or ended(self.plan, self.lost):
            return False
        self.begin(run)
        what = self.draw.choices(("sealed", "faulty", "lost", "interrupted"), weights=(12, 2, 1, 2))[0]
        if what == "lost":
            self.lose(run)
        if what in {"sealed", "faulty"}:
            self.runs.append(sealed_run(run, faults=[FAULT] if what == "faulty" else []))
            if run.attempt > 1:
                self.tell("repeated", run)
            if what == "faulty" and run.attempt <= self.plan.retries:
                self.tell("caused", run)
        if what != "sealed":
            self.tell(what, run)
        return True

    def counts(self):
        counted = {run.run.key for run in self.runs} - why_excluded(self.plan, self.runs).keys()
        return count_sides(self.plan, self.runs, counted, self.lost, self.attempts)

    def check(self, *, open_attempt):
        sides = self.counts()
        assert len(sides) == 2 * 4, "two experiments of three variants and a twin"
        assert {side.planned for side in sides} == {3}
        for side in sides:
            for what in ("faulty", "repeated", "caused", "lost"):
                assert getattr(side, what) == self.truth[what, side.experiment, side.side], (what, side)
        assert sum(side.counted + side.left_out for side in sides) == len(self.runs)
        told = Counter({(side.experiment, side.side): side.interrupted for side in sides})
        for name, side in told:
            assert self.truth["interrupted", name, side] - told[name, side] in {0, open_attempt}
        missing = sum(self.truth[key] for key in self.truth if key[0] == "interrupted") - told.total()
        assert missing == open_attempt


@pytest.mark.parametrize("seed", range(40))
def test_counts_are_those_of_the_history_after_every_step(seed):
    history = History(seed, retries=seed % 3)
    while history.step():
        last = history.attempts[-1].run
        due = next_run(history.plan, history.runs)
        lost = any(one.run.key == last.key for one in history.lost)
        under_way = due == last and not ended(history.plan, history.lost)
        killed = under_way and history.numbers[last.key] > history.losses[last.key]
        assert killed or lost or due != last
        history.check(open_attempt=int(killed))


def test_a_side_that_has_nothing_counts_too():
    made = plan("aa", of=TWINS)
    sides = count_sides(made, [], (), [], [])
    assert [side.side for side in sides if side.experiment == "me"] == [
        "baseline", side_name("baseline", again=True), "optimization-1", "final",
    ]  # fmt: skip
    assert {(side.planned, side.counted, side.lost, side.interrupted) for side in sides} == {(3, 0, 0, 0)}


def test_an_attempt_that_was_taken_away_is_missed_only_if_it_was_the_last():
    made = plan()
    run = made.runs[0]
    third = Attempt(schema=SCHEMA, plan="made", run=run, number=3, begun_ns=3)
    (side,) = (one for one in count_sides(made, [sealed_run(run)], {run.key}, [], [third]) if one.counted)
    assert side.interrupted == 2
