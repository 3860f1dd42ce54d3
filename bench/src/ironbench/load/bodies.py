"""Bodies of the window: whose answers are read, and whether they are what the experiment expects.

A status is cheap to pretend. To read and judge one body costs the generator about half as much as a request does, so
a sample is read, and nobody who answers can tell which: it is drawn from the run's seed, which no service is told.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from ironbench.load.gate import Answer, judge, judge_type

if TYPE_CHECKING:
    from ironbench.load.client import Connection
    from ironbench.records import Expectation

MOST = 1000
"""Answers of a window that are read at most. Of a service that lies in one answer of 1,000, which is the share of
failures that forbids a verdict, this sees one with 63 %; of one that lies in one of 200, with 99 %."""


class Bodies(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    sampled: int = 0
    wrong: int = 0
    detail: str = ""
    """What was wrong with the first, as one sentence."""


def choose(count: int, seed: str) -> frozenset[int]:
    """Return the requests of a window whose answers are read, by number in the whole load."""
    if count <= MOST:
        return frozenset(range(count))
    return frozenset(random.Random(seed).sample(range(count), MOST))  # noqa: S311 - reproducible, from the plan's seed


class Reader:
    """Reads the answers to one process's share of the ``chosen`` requests, and holds them against ``expect``."""

    def __init__(self, expect: Expectation, chosen: frozenset[int]) -> None:
        self.chosen = chosen
        """By number in the whole phase."""
        self._expect = expect
        self._reading: dict[int, Answer] = {}
        self.json_type = ""
        """Of the gate's answer; empty: any will do."""
        self.sampled = 0
        self.wrong = 0
        self.detail = ""

    def read(self, request: int, connection: Connection) -> None:
        """Read the answer to a request that is about to be sent."""
        self._reading[request] = Answer(connection)

    def answered(self, request: int, status: int) -> None:
        """Judge the answer, if it was read; of another status nobody expects anything."""
        answer = self._reading.pop(request, None)
        if answer is None:
            return
        answer.release()
        if status != self._expect.status:
            return
        body = bytes(answer.body)
        self.sampled += 1
        if wrong := judge(self._expect, status, body, answer.cookies) or judge_type(self.json_type, body):
            self.wrong += 1
            self.detail = self.detail or wrong

    def failed(self, request: int) -> None:
        """Forget an answer that did not come, or not whole."""
        self._reading.pop(request, None)

    def found(self) -> Bodies:
        """Return what was found so far."""
        return Bodies(sampled=self.sampled, wrong=self.wrong, detail=self.detail)


def added(parts: list[Bodies]) -> Bodies:
    """Return what several processes found together."""
    return Bodies(
        sampled=sum(one.sampled for one in parts),
        wrong=sum(one.wrong for one in parts),
        detail=next((one.detail for one in parts if one.detail), ""),
    )
