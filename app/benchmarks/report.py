"""The figures as text that can be pasted into a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.stats import MIN_BLOCKS

from .targets import PUBLISHED_GAP, TIMING_WITHIN, WANTED_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ironbench.stats import Estimate

    from .records import Block, Environment, Plan
    from .results import ByHand, Comparison, Refusals, Results, Row, Serialization, TokenGain


NO_VERDICT = "no verdict"


def render(plan: Plan, environment: Environment, blocks: Sequence[Block], results: Results) -> str:
    sure = results.verdicts
    parts = [
        _head(plan, environment, blocks, results),
        _targets(results.targets, sure=sure),
        *(_ladder(endpoint, rows) for endpoint, rows in results.ladder.items()),
        *(_leave_one_out(endpoint, rows) for endpoint, rows in results.leave_one_out.items()),
        _tokens(results.tokens),
        _by_hand(results.by_hand, sure=sure),
        _serialization(results.serialization, environment, sure=sure),
        _refusals(results.refusals, sure=sure),
    ]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def _head(plan: Plan, environment: Environment, blocks: Sequence[Block], results: Results) -> Iterator[str]:
    facts, count = environment.facts, len(blocks)
    yield f"benchmark-app {plan.id}: {count} of {plan.blocks} blocks, seed {plan.seed}, sections {', '.join(plan.sections)}"
    yield f"{facts.name}: {facts.cpu_model}, {facts.cpu_count} CPUs, {facts.os}, {facts.virtualization}, {facts.kernel}"
    services = ", ".join(f"{name} {cpus}" for name, cpus in environment.service_cpus.items())
    driver = ", ".join(map(str, environment.driver_cpus))
    yield f"CPUs: all servers {environment.app_cpu}, one worker each; driver {driver}; {services}"
    for lock, versions in environment.versions.items():
        yield f"Lock {lock}: {', '.join(f'{name} {version}' for name, version in versions.items())}"
    followed = "follows" if environment.prepared_statements else "does not follow"
    yield f"PgBouncer {followed} prepared statements. Packages: {', '.join(f'{n} {v}' for n, v in facts.packages.items())}"
    yield (
        "CPU-ms per request by cgroup, less the idle rate (at most "
        f"{results.idle_ms_per_s:.2f} CPU-ms per second and server); medians over blocks."
    )
    yield "Ratios are medians of the blocks' own ratios, with the exact sign-flip interval for 95 %."
    for number, why in results.disturbed.items():
        yield f"Block {number} was disturbed: {why}."
    if results.disturbed:
        yield f"Figures are made of {results.counted} blocks; make the host quiet and measure again."
    if not results.verdicts:
        yield f"{NO_VERDICT}: fewer than {MIN_BLOCKS} undisturbed blocks, of which there is no 95 % interval."
    elif results.counted < WANTED_BLOCKS:
        yield f"{WANTED_BLOCKS} blocks are wanted."


def _targets(targets: list[Comparison], *, sure: bool) -> Iterator[str]:
    if not targets:
        return
    yield "TARGETS (CPU-ms per request)"
    for each in targets:
        yield (
            f"  {each.says:<48} {each.numerator_ms:9.3f} / {each.denominator_ms:9.3f} = {_ratio(each.ratio)}"
            f"{_against(each, sure=sure)}"
        )


def _against(each: Comparison, *, sure: bool) -> str:
    if each.at_most is None:
        return ""
    met = _met(each.ratio.value <= each.at_most, sure=sure)
    unsure = _reaches(each.ratio, each.at_most) if sure else ""
    return f"  wanted <= {each.at_most:.2f}: {met}{unsure}"


def _met(met: bool, *, sure: bool) -> str:
    if not sure:
        return NO_VERDICT
    return "met" if met else "MISSED"


def _reaches(made: Estimate, limit: float) -> str:
    if made.low is None or made.high is None or not made.low <= limit < made.high:
        return ""
    return ", but the interval reaches over the limit"


def _ladder(endpoint: str, rows: list[Row]) -> Iterator[str]:
    yield f"LADDER, {endpoint}: baseline to final, one lever at a time (app CPU)"
    yield (
        f"  {'change':<58} {'app ms':>9} {'db ms':>8}  {'against the rung before':<22} "
        f"{'against baseline':<22} share of the gain"
    )
    for row in rows:
        yield (
            f"  {row.change or row.variant:<58} {row.app_ms:9.3f} {row.database_ms:8.3f}  {_ratio(row.against):<22}  "
            f"{_ratio(row.against_baseline):<22} {_per_cent(row.share)}"
        ).rstrip()


def _leave_one_out(endpoint: str, rows: list[Row]) -> Iterator[str]:
    yield f"LEAVE ONE OUT, {endpoint}: final with one lever taken back (app CPU)"
    yield f"  {'taken back':<58} {'app ms':>9} {'db ms':>8}  against final"
    for row in rows:
        line = f"  {row.change or row.variant:<58} {row.app_ms:9.3f} {row.database_ms:8.3f}  {_ratio(row.against)}"
        yield line.rstrip()


def _tokens(made: TokenGain | None) -> Iterator[str]:
    if made is None:
        return
    gain = made.gain_ms
    between = "" if gain.low is None else f" [{gain.low:.1f}, {gain.high:.1f}]"
    yield "HOW MUCH OF SIGNIN'S GAIN IS ED25519, HOW MUCH IS NOT PARSING THE PEM?"
    yield (
        f"  baseline -> final saves {gain.value:.1f}{between} of {made.baseline_ms:.1f} app CPU-ms per signin. "
        f"Not parsing the PEM (PyJWT RS256, key loaded once) is {_per_cent(made.pem_share)} of that;"
    )
    yield (
        f"  Ed25519 (joserfc) instead of RS256 (PyJWT), both with the key loaded once, is "
        f"{_per_cent(made.ed25519_share)}."
    )
    yield (
        f"  Taken back from final: RS256 with the PEM on every call costs {_ratio(made.pem_back)} of final, "
        f"RS256 with the key loaded once {_ratio(made.key_back)}."
    )


def _by_hand(rows: list[ByHand], *, sure: bool) -> Iterator[str]:
    if not rows:
        return
    yield "THE WIRED FINAL AGAINST ONE WRITTEN BY HAND WITHOUT LEVERS (app CPU, against final)"
    for row in rows:
        verdict = NO_VERDICT
        if sure:
            inside = "lies inside" if row.inside else "does NOT lie inside"
            whole = "" if row.equivalent else "not "
            verdict = (
                f"the difference {inside} the A/A floor of {row.floor:.1%}; "
                f"its whole interval is {whole}inside the margin"
            )
        yield (
            f"  {row.endpoint:<7} by hand {_ratio(row.by_hand)}, "
            f"A/A (a second server of final) {_ratio(row.same)}: {verdict}"
        )
    yield "  (margin: the floor, but at least 2 %; the floor is the farthest end of the A/A interval)"


def _serialization(rows: list[Serialization], environment: Environment, *, sure: bool) -> Iterator[str]:
    if not rows:
        return
    yield "SERIALIZATION, 50 exercises (app CPU-ms per request)"
    for row in rows:
        fastapi = environment.versions[row.lock]["fastapi"]
        figures = ", ".join(
            f"{name.removeprefix('serialization-')} {ms:.3f}" for name, ms in row.cpu_ms.items()
        )
        yield f"  {row.lock} (FastAPI {fastapi}): {figures}"
        yield (
            f"    pydantic / msgspec {_ratio(row.pydantic)}, jsonable-encoder / msgspec {_ratio(row.jsonable)}; "
            f"by time to answer pydantic / msgspec {_ratio(row.pydantic_time)}"
        )
        yield f"    The published gap is {PUBLISHED_GAP} x; here: {_gap(row.pydantic) if sure else NO_VERDICT}."


def _gap(made: Estimate) -> str:
    low, high = made.low or made.value, made.high or made.value
    if low <= PUBLISHED_GAP <= high:
        return f"still there, {made.value:.2f} x"
    if made.value > PUBLISHED_GAP:
        return f"still there and larger, {made.value:.2f} x"
    return f"smaller, {made.value:.2f} x" if low > 1 else f"gone, {made.value:.2f} x"


def _refusals(rows: list[Refusals], *, sure: bool) -> Iterator[str]:
    if not rows:
        return
    yield "REFUSED SIGN-INS (wall time in ms, medians)"
    for row in rows:
        met = _met(row.within, sure=sure)
        yield (
            f"  {row.server:<10} wrong password {row.wrong_password_ms:8.2f}, unknown email {row.unknown_email_ms:8.2f} "
            f"({row.answers} answers each): ratio {row.ratio:.3f}, over blocks {_ratio(row.over_blocks)}"
            f"  wanted within {TIMING_WITHIN:.0%}: {met}"
        )


def _ratio(made: Estimate | None) -> str:
    if made is None:
        return ""
    interval = "" if made.low is None else f" [{made.low:.3f}, {made.high:.3f}]"
    return f"{made.value:.3f}{interval}"


def _per_cent(made: Estimate | None) -> str:
    if made is None:
        return ""
    interval = (
        "" if made.low is None or made.high is None else f" [{100 * made.low:.1f}, {100 * made.high:.1f}]"
    )
    return f"{100 * made.value:.1f} %{interval}"
