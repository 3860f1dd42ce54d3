"""The plan's order, and everything that is derived from the plan and the sealed runs."""

import itertools

import pytest
from ironbench.plan import (
    describe,
    in_words,
    make_session,
    next_run,
    order_bias,
    pending,
    same_question,
    schedule,
    window_share,
)
from ironbench.records import SCHEMA, Finding, PlannedRun, Protocol, Run

from .made import START, VARIANTS, WINDOW_S, S, load_result, plan, replace, study

TWINS = study(protocols={"aa": Protocol(blocks=3, warmup_s=2, window_s=WINDOW_S, a_a=True)})

LOAD = load_result()
FAULT = Finding(kind="steal", detail="stolen")


def sealed_run(run, *, faults=(), started_ns=START, sealed_ns=START + 30 * S):
    return Run(
        schema=SCHEMA, plan="made", run=run, started_ns=started_ns, sealed_ns=sealed_ns, load=LOAD,
        cpu=[], cores=[], cpu_check=[], affinity=[], layout={}, mhz={}, instrument_faults=list(faults),
        outcomes=[], ironbench_version="0",
    )  # fmt: skip


def seal_all(made, fault_keys=()):
    """Seal whatever is pending until nothing is; return the runs in order."""
    sealed = []
    while run := next_run(made, sealed):
        assert len(sealed) < 100, "the plan never ends"
        sealed.append(sealed_run(run, faults=[FAULT] if run.key in fault_keys else []))
    return sealed


@pytest.mark.parametrize("seed", range(20))
def test_blocks_are_whole_and_hold_each_variant_once(seed):
    made = plan(seed=seed)
    assert [run.position for run in made.runs] == list(range(1, 19))
    assert len({run.key for run in made.runs}) == 18
    blocks = [list(group) for _, group in itertools.groupby(made.runs, lambda r: (r.experiment, r.block))]
    assert len(blocks) == 6
    for block in blocks:
        assert sorted(run.variant for run in block) == sorted(VARIANTS)
    rounds = [{block[0].experiment for block in blocks[i : i + 2]} for i in (0, 2, 4)]
    assert rounds == [{"signin", "me"}] * 3


def test_same_seed_same_plan():
    assert plan(seed=11) == plan(seed=11)


def test_order_depends_on_seed():
    orders = {tuple(run.key for run in plan(seed=seed).runs) for seed in range(20)}
    assert len(orders) == 20


def test_every_variant_comes_first_sometimes():
    firsts = {plan(seed=seed).runs[0].variant for seed in range(40)}
    assert firsts == set(VARIANTS)


def test_order_is_pinned():
    """A plan of an older ironbench can be made again: the order must not change silently."""
    made = plan("short", seed=2, experiments=["signin"])
    assert [run.variant for run in made.runs] == ["final", "baseline", "optimization-1"]


def test_session_of_one_block_share_their_arrivals():
    made = plan()
    seeds = {}
    for run in made.runs:
        seeds.setdefault((run.experiment, run.block), set()).add(make_session(made, run).seed)
    assert all(len(block) == 1 for block in seeds.values())
    assert len(set.union(*seeds.values())) == 6


def test_session_expects_at_least_what_it_asks_for():
    made = plan()
    session = make_session(made, made.runs[0])
    assert session.expected_s > session.warmup_s + session.idle_s + session.window_s
    assert session.longest_s > session.expected_s + 2 * session.drain_s + session.timeout_s
    assert session.timeout_s <= session.drain_s


def test_pending_walks_the_plan_and_ends():
    made = plan()
    assert [run.run for run in seal_all(made)] == made.runs
    state = pending(made, seal_all(made), [])
    assert (state.done, state.session, state.sealed, state.total) == (True, None, 18, 18)


def test_faulty_block_is_repeated_whole_at_the_end():
    made = plan()
    bad = made.runs[1]
    sealed = seal_all(made, {bad.key})
    repeated = [run.run for run in sealed[18:]]
    assert [run.position for run in repeated] == [19, 20, 21]
    assert {(run.experiment, run.block, run.attempt) for run in repeated} == {(bad.experiment, bad.block, 2)}
    assert sorted(run.variant for run in repeated) == sorted(VARIANTS)


def test_block_is_repeated_at_most_as_often_as_the_plan_says():
    for retries in (0, 1, 2):
        made = plan("short", experiments=["me"], retries=retries)
        keys = {f"me.01.{variant}{suffix}" for variant in VARIANTS for suffix in ("", ".retry1", ".retry2")}
        assert len(seal_all(made, keys)) == 3 * (retries + 1)


def test_repetitions_are_only_ever_appended():
    made = plan(retries=2)
    sealed = []
    before = schedule(made, sealed)
    faulty = {made.runs[0].key, made.runs[7].key, f"{made.runs[0].key}.retry1"}
    while run := next_run(made, sealed):
        sealed.append(sealed_run(run, faults=[FAULT] if run.key in faulty else []))
        after = schedule(made, sealed)
        assert after[: len(before)] == before
        before = after
    assert len(before) == 18 + 3 * 3


def test_progress_names_the_run_and_the_time_left():
    made = plan(experiments=["signin"])
    run = made.runs[0]
    assert pending(made, [], []).progress == f"run 1 of 9: signin, block 1, {run.variant}; about 3 min left"
    sealed = [
        sealed_run(r, started_ns=START + 120 * i * S, sealed_ns=START + (120 * i + 100) * S)
        for i, r in enumerate(made.runs[:4])
    ]
    assert pending(made, sealed, []).progress.endswith("about 10 min left")  # 5 x 120 s, gaps included
    overnight = [*sealed, sealed_run(made.runs[4], sealed_ns=START + 90_000 * S)]
    assert pending(made, overnight, []).progress.endswith("about 8 min left")


def test_each_block_of_an_a_a_plan_has_the_baseline_twice():
    made = plan("aa", of=TWINS)
    assert len({run.key for run in made.runs}) == len(made.runs) == 24
    blocks = [list(group) for _, group in itertools.groupby(made.runs, lambda r: (r.experiment, r.block))]
    assert len(blocks) == 6
    for block in blocks:
        assert sorted(run.side for run in block) == sorted([*VARIANTS, "baseline.again"])
        (twin,) = [run for run in block if run.again]
        assert (twin.variant, twin.label) == ("baseline", "baseline.again")


def test_the_twin_is_of_the_first_variant_where_there_is_no_baseline():
    made = plan("aa", of=TWINS, variants=["optimization-1", "final"])
    assert {run.variant for run in made.runs if run.again} == {"optimization-1"}


def test_the_twin_has_every_place_in_its_block():
    places = {
        (number, run.again)
        for seed in range(40)
        for number, run in enumerate(plan("aa", of=TWINS, seed=seed).runs[:4])
    }
    assert places == set(itertools.product(range(4), (False, True)))


def test_the_other_variants_keep_their_order_beside_a_twin():
    alone = study(protocols={"aa": replace(TWINS.protocols["aa"], a_a=False)})
    twins = [run.key for run in plan("aa", of=TWINS).runs if not run.again]
    assert twins == [run.key for run in plan("aa", of=alone).runs]


def test_the_twins_session_is_of_the_same_variant_with_the_same_arrivals():
    made = plan("aa", of=TWINS)
    twin = next(run for run in made.runs if run.again)
    first = next(run for run in made.runs if run.key == twin.key.removesuffix(".again"))
    one, other = make_session(made, first), make_session(made, twin)
    assert (one.run.variant, one.seed) == (other.run.variant, other.seed)
    assert one.run.key != other.run.key
    assert describe(twin) == f"{twin.experiment}, block {twin.block}, baseline again"


def test_a_repeated_block_has_its_twin_again():
    made = plan("aa", of=TWINS)
    twin = next(run for run in made.runs if run.again)
    repeated = [run.run for run in seal_all(made, {twin.key})[24:]]
    assert [run.position for run in repeated] == [25, 26, 27, 28]
    assert sorted(run.side for run in repeated) == sorted([*VARIANTS, "baseline.again"])
    assert {(run.experiment, run.block, run.attempt) for run in repeated} == {
        (twin.experiment, twin.block, 2)
    }
    assert f"{twin.key}.retry1" in {run.key for run in repeated}


def test_the_share_of_the_time_inside_windows():
    made = plan(experiments=["signin"])
    assert window_share(made, []) is None
    sealed = [
        sealed_run(run, started_ns=START + 10 * i * S, sealed_ns=START + 10 * (i + 1) * S)
        for i, run in enumerate(made.runs)
    ]
    assert window_share(made, sealed) == pytest.approx(WINDOW_S / 10)
    assert window_share(made, [*sealed[1:], sealed[0]]) == pytest.approx(WINDOW_S / 10), "in any order"
    rested = [*sealed[:-1], replace(sealed[-1], sealed_ns=START + 180 * S)]
    assert window_share(made, rested) == pytest.approx(WINDOW_S / 20)
    assert window_share(made, [replace(run, started_ns=0) for run in sealed]) is None, "imported"


def test_durations_in_words():
    assert [in_words(seconds) for seconds in (3, 89, 91, 89 * 60, 125 * 60)] == [
        "10 s",
        "90 s",
        "2 min",
        "89 min",
        "2 h 05 min",
    ]


def test_same_question():
    with_twins, without = plan("aa", of=TWINS), replace(TWINS.protocols["aa"], a_a=False)
    assert not same_question(with_twins, plan("aa", of=study(protocols={"aa": without})))
    assert same_question(with_twins, plan("aa", of=TWINS, seed=5))
    assert same_question(plan(seed=1), replace(plan(seed=2, retries=3), id="other", seed_given=True))
    for other in (plan("short"), plan(variants=["final"]), plan(experiments=["me"])):
        assert not same_question(plan(), other)


def ordered(*firsts):
    """Make a plan of two variants with a block for each name, in which that one comes first."""
    of = study(protocols={"long": Protocol(blocks=len(firsts), warmup_s=2, window_s=8)})
    made = plan("long", experiments=["signin"], variants=["baseline", "final"], of=of)
    runs = []
    for block, first in enumerate(firsts, 1):
        for variant in sorted(("baseline", "final"), key=lambda name, first=first: name != first):
            runs.append(PlannedRun(position=len(runs) + 1, experiment="signin", block=block, variant=variant))
    return replace(made, runs=runs, seed_given=True)


@pytest.mark.parametrize(
    ("baseline_first", "blocks", "biased"),
    [
        (10, 10, True),
        (9, 10, True),
        (8, 10, False),
        (0, 10, True),
        (6, 6, True),
        (5, 5, False),
        (3, 6, False),
    ],
)
def test_a_given_order_is_held_against_chance(baseline_first, blocks, biased):
    made = ordered(*["baseline"] * baseline_first, *["final"] * (blocks - baseline_first))
    found = order_bias(made)
    keys = {("signin", "baseline", "final"), ("signin", "final", "baseline")}
    assert set(found) == (keys if biased else set())
    assert len(set(found.values())) == int(biased)
    if biased:
        ahead = "baseline before final" if 2 * baseline_first > blocks else "final before baseline"
        times = max(baseline_first, blocks - baseline_first)
        assert found["signin", "final", "baseline"] == (
            f"the seed 7 was given, and it puts {ahead} in {times} of {blocks} blocks of signin"
        )
    assert order_bias(replace(made, seed_given=False)) == {}
