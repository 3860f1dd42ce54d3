"""The plan's order, and everything that is derived from the plan and the sealed runs."""

import itertools

import pytest
from ironbench.plan import make_session, next_run, pending, same_question, schedule
from ironbench.records import SCHEMA, Finding, Run

from .made import START, VARIANTS, S, load_result, plan, replace

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
    assert session.longest_s == session.expected_s + 2 * session.drain_s
    assert session.timeout_s <= session.drain_s


def test_pending_walks_the_plan_and_ends():
    made = plan()
    assert [run.run for run in seal_all(made)] == made.runs
    state = pending(made, seal_all(made))
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
    assert pending(made, []).progress == f"run 1 of 9: signin, block 1, {run.variant}; about 4 min left"
    sealed = [
        sealed_run(r, started_ns=START + 120 * i * S, sealed_ns=START + (120 * i + 100) * S)
        for i, r in enumerate(made.runs[:4])
    ]
    assert pending(made, sealed).progress.endswith("about 10 min left")  # 5 x 120 s, gaps included
    overnight = [*sealed, sealed_run(made.runs[4], sealed_ns=START + 90_000 * S)]
    assert pending(made, overnight).progress.endswith("about 8 min left")


def test_same_question():
    assert same_question(plan(seed=1), replace(plan(seed=2, retries=3), id="other"))
    for other in (plan("short"), plan(variants=["final"]), plan(experiments=["me"])):
        assert not same_question(plan(), other)
