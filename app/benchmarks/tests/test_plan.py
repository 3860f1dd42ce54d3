"""What is planned, and in which order it comes."""

# ruff: noqa: TID252  The package is installed nowhere, so its parent has no name to import it by.

from collections import Counter
from itertools import pairwise

import pytest
from auth_app.variants import LADDER, LEAVE_ONE_OUT
from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.records import CoreLayout

from ..endpoints import AUTH, ENDPOINTS, SERIALIZERS, order
from ..host import choose_cpus
from ..plan import LOCKS, SECTIONS, TIMED, TIMED_PAIRS, make_plan
from ..records import Burst
from ..targets import TARGETS


def plan(*sections, blocks=10, seed=1, lock="current"):
    return make_plan(sections=list(sections), blocks=blocks, seed=seed, lock=lock)


def layout(app, database, cache, load_generator):
    return CoreLayout(
        name="made", app=app, database=database, cache=cache, load_generator=load_generator, housekeeping="0",
        packed=False,
    )  # fmt: skip


def test_all_sections_without_a_choice():
    assert plan().sections == list(SECTIONS)


def test_every_rung_and_every_lever_taken_back_is_asked_for_all_three_endpoints():
    bursts = plan("ladder").bursts
    assert set(bursts) == {Burst(v, e) for v in [*LADDER, *LEAVE_ONE_OUT] for e in AUTH}


def test_a_burst_that_two_sections_need_comes_once():
    bursts = plan().bursts
    assert max(Counter(bursts).values()) == 1
    assert Burst("final", "me") in bursts


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.says)
def test_sections_have_what_their_targets_need(target):
    bursts = plan(target.section).bursts
    for quantity in (target.numerator, target.denominator):
        assert Burst(quantity.server, quantity.endpoint) in bursts


def test_serialization_has_a_server_of_each_lock():
    made = plan("serialization", lock="article")
    assert {(s.lock, s.variant) for s in made.servers.values()} == {(lock, "final") for lock in LOCKS}
    assert {burst.endpoint for burst in made.bursts} == set(SERIALIZERS)


def test_other_servers_have_the_lock_of_the_host():
    assert {s.lock for s in plan("me", "passwords", "handwritten", lock="article").servers.values()} == {
        "article"
    }


@pytest.mark.parametrize("blocks", [1, 3, 10, 11])
def test_enough_refusals_are_timed_whatever_the_blocks(blocks):
    made = plan("timing", blocks=blocks)
    assert made.timed == list(TIMED)
    assert set(TIMED) <= made.servers.keys()
    assert made.pairs * blocks >= TIMED_PAIRS
    assert (made.pairs - 1) * blocks < TIMED_PAIRS


def test_order_has_every_burst_once_a_round_and_tasks_together():
    made = plan()
    ordered = order(made, 1)
    assert Counter(ordered) == {burst: ENDPOINTS[burst.endpoint].rounds for burst in made.bursts}
    me = [burst for burst in ordered if ENDPOINTS[burst.endpoint].task == "me"]
    of_a_round = len(set(me))
    assert len(set(me[:of_a_round])) == of_a_round
    assert me[:of_a_round] != me[of_a_round : 2 * of_a_round]
    tasks = [ENDPOINTS[burst.endpoint].task for burst in ordered]
    changes = sum(one != other for one, other in pairwise(tasks))
    assert changes == len(set(tasks)) - 1


def test_order_is_the_seeds_and_the_blocks():
    assert order(plan(seed=5), 1) == order(plan(seed=5), 1)
    assert order(plan(seed=5), 1) != order(plan(seed=5), 2)
    assert order(plan(seed=5), 1) != order(plan(seed=6), 1)


@pytest.mark.parametrize(
    ("sections", "blocks", "message"),
    [(["me", "ladders"], 10, "there is no section 'ladders': choose from me, "), (["me"], 0, "0 blocks")],
)
def test_what_cannot_be_planned_is_one_sentence(sections, blocks, message):
    with pytest.raises(IronbenchError, match=message):
        plan(*sections, blocks=blocks)


@pytest.mark.parametrize(
    ("made", "online", "server", "driver"),
    [
        (layout("0-1", "0", "0", "1"), "0-1", 1, [0]),
        (layout("0-1", "2-3", "4-5", "6-7"), "0-7", 1, [6, 7]),
        (layout("0", "0", "1", "1"), "0-1", 0, [1]),
        (layout("0-3", "2", "3", "1,4"), "0-5", 1, [4]),
    ],
)
def test_servers_have_one_cpu_of_the_app_and_the_driver_another(made, online, server, driver):
    assert choose_cpus(made, parse_cpu_list(online)) == (server, driver)


def test_one_cpu_is_refused():
    with pytest.raises(IronbenchError, match="a CPU of their own"):
        choose_cpus(layout("0", "0", "0", "0"), [0])
