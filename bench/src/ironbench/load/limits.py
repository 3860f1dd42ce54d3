"""What the generators cannot do: asked when a study is read, and again before each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.judge import WRK2
from ironbench.load.schedule import extent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.records import Load


MAX_REQUESTS = 5_000_000
"""In one window: generator and controller keep each of them in memory, in about 0.2 kB."""


def wrk2_refusals(
    load: Load, *, warmup_s: float, window_s: float, requests_file: str | None
) -> Iterator[str]:
    """Give the rules of the backend wrk2 that a run of ``load`` breaks."""
    rules = (
        (load.arrivals == "wrk2-phase", "load.arrivals must be wrk2-phase, which is how it sends"),
        (load.rate >= 1 and load.rate == int(load.rate), "load.rate must be a whole number above 0"),
        (load.placement == "as_landed", "load.placement must be as_landed, since it connects by itself"),
        (requests_file is None, "requests_file must be left out"),
        (window_s >= 1 and window_s == int(window_s), "window_s must be whole seconds"),
        (warmup_s == int(warmup_s), "warmup_s must be whole seconds"),
    )
    yield from (rule for kept, rule in rules if not kept)


def share_refusals(load: Load, generators: int) -> Iterator[str]:
    """Give the reasons why so many generators at once cannot make ``load``."""
    if generators > 1 and load.backend == WRK2:
        yield f"backend must be ironbench for {generators} load generators, since wrk2 makes a load from one machine"
    if load.threads < generators:
        yield (
            f"{generators} load generators share the threads of a load, and load.threads is {load.threads}; "
            f"make it {generators} or more, or use fewer load generators"
        )


def background_refusals(load: Load, background: Load, window_s: float) -> Iterator[str]:
    """Give the reasons why ``background`` cannot run beside ``load``.

    Raises IronbenchError when ``window_s`` is too short for a single request of either.
    """
    if WRK2 in (load.backend, background.backend):
        yield "backend must be ironbench in both loads, since wrk2 sends only one"
    lengths = [extent(one, window_s).length_ns for one in (load, background)]
    if lengths[0] != lengths[1]:
        own, other = (f"{length / 1e9:.3f}" for length in lengths)
        yield (
            f"both windows must be equally long, and with whole bursts of wrk2-phase they last {own} and "
            f"{other} s; choose connections / rate so that whole bursts fill window_s"
        )
