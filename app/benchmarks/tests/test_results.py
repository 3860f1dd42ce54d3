"""Made-up blocks with known figures: each must come out in its place, and verdicts only where allowed."""

# ruff: noqa: TID252  The package is installed nowhere, so its parent has no name to import it by.

import random

import pytest
from ironbench.records import SCHEMA, CoreLayout, HostFacts
from msgspec.structs import replace

from ..endpoints import ENDPOINTS, SERIALIZERS, order
from ..plan import make_plan
from ..records import Block, Environment, Sample, Timings
from ..report import NO_VERDICT, render
from ..results import make_results

IDLE = {"app": 2_000.0, "postgresql": 500.0, "pgbouncer": 100.0, "valkey": 0.0}
"""CPU-us per second."""
WALL_S = 1.5


def cost_ms(server, endpoint):
    """CPU-ms per request that the made-up servers have."""
    if server.startswith("serialization-"):
        pydantic = 9.0 if server.endswith("article") else 3.0
        return dict(zip(SERIALIZERS, (pydantic, 2.0, 8.0), strict=True))[endpoint]
    known = {
        ("ping", "ping"): 0.5,
        ("beyond", "me"): 0.6,
        ("final", "me"): 1.2,
        ("argon2", "argon2-verify"): 50.0,
        ("argon2", "argon2-kept-verify"): 40.0,
        ("beyond", "signin"): 52.0,
        ("baseline", "signin"): 160.0,
        ("ladder-01-tokens-pyjwt-rs256-key", "signin"): 80.0,
        ("ladder-02-tokens-joserfc-ed25519", "signin"): 75.0,
        ("final", "signin"): 60.0,
        ("final-but-tokens-pyjwt-rs256-pem", "signin"): 144.0,
        ("final-but-tokens-pyjwt-rs256-key", "signin"): 66.0,
        ("handwritten-final", "me"): 1.2 * 1.004,
        ("handwritten-final", "signin"): 60.0 * 1.10,
    }
    return known.get((server, endpoint), 1.2 if endpoint == "me" else 60.0)


def block(plan, number, *, foreign=0.01, steal=0.0):
    """Return a block in which everything costs up to 40 % more than in others, and each burst 0.2 % or so."""
    draw = random.Random(number)
    weather = draw.uniform(1.0, 1.4)

    def cpu_us(server, endpoint, requests, mood):
        app = cost_ms(server, endpoint) * weather * mood * draw.uniform(0.998, 1.002) * 1e3
        database = (0.9 if server == "beyond" else 2.0) * weather * 1e3
        used = {"app": app, "postgresql": 0.7 * database, "pgbouncer": 0.3 * database, "valkey": 0.0}
        return {name: round(us * requests + IDLE[name] * WALL_S) for name, us in used.items()}

    samples = []
    for burst in order(plan, number):
        # Rounds differ by up to a half, and come in the same proportion for all.
        endpoint = ENDPOINTS[burst.endpoint]
        done = sum((sample.server, sample.endpoint) == (burst.server, burst.endpoint) for sample in samples)
        mood = 1 + (done - (endpoint.rounds - 1) / 2) / endpoint.rounds
        samples.append(
            Sample(
                server=burst.server, endpoint=burst.endpoint, requests=endpoint.requests, wall_s=WALL_S,
                busy_s=endpoint.requests * cost_ms(burst.server, burst.endpoint) * weather * mood / 500,
                cpu_us=cpu_us(burst.server, burst.endpoint, endpoint.requests, mood),
            )
        )  # fmt: skip
    slow = {"beyond": 1.2}
    timings = {
        name: Timings(wrong_password=[60.0, 61.0], unknown_email=[60.5 * slow.get(name, 1.0)] * 2)
        for name in plan.timed
    }
    return Block(
        schema=SCHEMA, number=number, started="", took_s=60.0, samples=samples, timings=timings,
        idle_us_per_s=IDLE | dict.fromkeys(plan.servers, IDLE["app"]), foreign=foreign, steal=steal,
    )  # fmt: skip


def results(*sections, blocks=10, packed=False, **disturbance):
    plan = make_plan(sections=list(sections), blocks=blocks, seed=1, lock="current")
    return make_results(plan, [block(plan, n, **disturbance) for n in range(1, blocks + 1)], packed=packed)


def test_targets_come_from_ratios_within_blocks_less_idle():
    made = {each.says: each for each in results("me", "passwords").targets}
    ping = made["me: beyond / async FastAPI ping"]
    assert ping.ratio.value == pytest.approx(0.6 / 0.5, rel=0.005)
    assert ping.ratio.low is not None
    assert ping.ratio.high is not None
    assert ping.ratio.low <= ping.ratio.value <= ping.ratio.high
    # The weather of a block moves both figures alike: it may not widen the interval.
    assert ping.ratio.high / ping.ratio.low < 1.01
    assert made["signin, app: beyond / bare Argon2id"].ratio.value == pytest.approx(1.04, rel=0.005)
    kept = made["signin, app: beyond / bare Argon2id, kept memory"]
    assert (kept.ratio.value, kept.at_most) == (pytest.approx(1.3, rel=0.005), None)
    database = made["signin, PostgreSQL + PgBouncer: beyond / final"]
    assert database.ratio.value == pytest.approx(0.45, rel=0.005)


def test_one_quiet_time_that_was_none_spoils_no_block():
    plan = make_plan(sections=["passwords"], blocks=6, seed=1, lock="current")
    blocks = [block(plan, n) for n in range(1, 7)]
    busy = replace(blocks[0], idle_us_per_s=blocks[0].idle_us_per_s | {"postgresql": 900_000.0})
    assert make_results(plan, [busy, *blocks[1:]], packed=False) == make_results(plan, blocks, packed=False)


def test_ladder_and_leave_one_out():
    made = results("ladder")
    rows = made.ladder["signin"]
    assert [row.variant for row in rows[:2]] == ["baseline", "ladder-01-tokens-pyjwt-rs256-key"]
    assert rows[-1].variant == "final"
    assert (rows[0].change, rows[0].against) == ("", None)
    assert rows[1].change == "tokens: pyjwt-rs256-pem -> pyjwt-rs256-key"
    assert rows[1].against is not None
    assert rows[1].against.value == pytest.approx(0.5, rel=0.005)
    assert rows[2].against is not None
    assert rows[2].against.value == pytest.approx(75 / 80, rel=0.005)
    assert rows[2].against_baseline is not None
    assert rows[2].against_baseline.value == pytest.approx(75 / 160, rel=0.005)
    assert sum(row.share.value for row in rows if row.share) == pytest.approx(1, abs=0.02)
    back = {row.variant: row for row in made.leave_one_out["signin"]}["final-but-tokens-pyjwt-rs256-pem"]
    assert back.change == "tokens: joserfc-ed25519 -> pyjwt-rs256-pem"
    assert back.against is not None
    assert back.against.value == pytest.approx(144 / 60, rel=0.005)


def test_signin_gain_is_told_apart():
    made = results("ladder").tokens
    assert made is not None
    assert made.pem_share.value == pytest.approx(0.8, abs=0.01)
    assert made.ed25519_share.value == pytest.approx(0.05, abs=0.01)
    assert made.key_back is not None
    assert made.key_back.value == pytest.approx(1.1, rel=0.005)


def test_no_share_of_a_gain_that_is_none():
    """At /me all variants of this world cost the same: nothing can be divided by that."""
    assert all(row.share is None for row in results("ladder").ladder["me"])


def test_by_hand_is_held_against_the_a_a_floor():
    made = {row.endpoint: row for row in results("handwritten").by_hand}
    assert made["me"].equivalent
    assert made["me"].same.value == pytest.approx(1, abs=0.005)
    assert made["signin"].by_hand.value == pytest.approx(1.1, rel=0.005)
    assert (made["signin"].inside, made["signin"].equivalent) == (False, False)
    assert 0 < made["signin"].floor < 0.01


def test_serialization_by_lock():
    made = {row.lock: row for row in results("serialization").serialization}
    assert made["article"].pydantic.value == pytest.approx(4.5, rel=0.005)
    assert made["current"].pydantic.value == pytest.approx(1.5, rel=0.005)
    assert made["current"].jsonable.value == pytest.approx(4.0, rel=0.005)


def test_refusals():
    made = {row.server: row for row in results("timing").refusals}
    assert (made["final"].within, made["beyond"].within) == (True, False)
    assert made["final"].ratio == pytest.approx(1.0)
    assert made["beyond"].answers == 20


def test_disturbed_blocks_do_not_count():
    plan = make_plan(sections=["me"], blocks=8, seed=1, lock="current")
    blocks = [block(plan, n, foreign=0.01 if n < 7 else 0.5) for n in range(1, 9)]
    made = make_results(plan, blocks, packed=False)
    assert (made.counted, list(made.disturbed), made.verdicts) == (6, [7, 8], True)
    assert made.targets[0].ratio.blocks == 6
    made = make_results(plan, blocks[1:], packed=False)
    assert (made.counted, made.verdicts) == (5, False)


@pytest.mark.parametrize(
    ("disturbance", "packed", "verdicts"),
    [
        ({"foreign": 0.2}, False, False),
        ({"foreign": 0.2}, True, True),
        ({"foreign": 0.3}, True, False),
        ({"steal": 3.0}, True, False),
    ],
)
def test_no_verdict_from_a_host_that_was_not_quiet(disturbance, packed, verdicts):
    made = results("me", packed=packed, **disturbance)
    assert (made.verdicts, made.counted) == (verdicts, 10)


def text(*sections, blocks=10, **disturbance):
    plan = make_plan(sections=list(sections), blocks=blocks, seed=1, lock="current")
    measured = [block(plan, n, **disturbance) for n in range(1, blocks + 1)]
    owners = dict.fromkeys(("app", "database", "cache", "load_generator", "housekeeping"), "0-1")
    facts = HostFacts(
        schema=SCHEMA, name="box", cpu_model="made", cpu_count=2, topology=[], kernel="Linux", kernel_config={},
        os="Debian", memory_mib=1, virtualization="none", governors={}, boost=None, packages={"pgbouncer": "1"},
        python="3.13", ironbench="0", layout=CoreLayout(name="made", packed=False, **owners), somaxconn=1,
        overcommit_memory=1, nofile={}, cgroup_version="v2", cpuset=True,
    )  # fmt: skip
    environment = Environment(
        schema=SCHEMA, facts=facts, app_cpu=1, driver_cpus=[0], service_cpus={"pgbouncer": "0"},
        prepared_statements=False, versions={lock: {"fastapi": "0.1"} for lock in ("article", "current")},
    )  # fmt: skip
    return render(plan, environment, measured, make_results(plan, measured, packed=False))


def lines(report, start):
    return [line for line in report.splitlines() if line.strip().startswith(start)]


def test_report_says_met_and_missed():
    report = text()
    assert lines(report, "me: beyond / async FastAPI ping")[0].endswith("wanted <= 1.35: met")
    assert "wanted" not in lines(report, "signin, app: beyond / bare Argon2id, kept memory")[0]
    assert lines(report, "beyond     wrong")[0].endswith("wanted within 5%: MISSED")
    assert lines(report, "signin  by hand")[0].count("does NOT lie inside the A/A floor") == 1
    assert "Not parsing the PEM (PyJWT RS256, key loaded once) is 80." in report
    published = lines(report, "The published gap")
    assert [("smaller, 1.50 x" in line, "larger, 4.50 x" in line) for line in published] == [
        (True, False),
        (False, True),
    ]
    assert NO_VERDICT not in report


@pytest.mark.parametrize(("blocks", "disturbance"), [(5, {}), (10, {"foreign": 0.4})])
def test_report_gives_no_verdict_without_enough_quiet_blocks(blocks, disturbance):
    report = text(blocks=blocks, **disturbance)
    for verdict in (": met", "MISSED", "lies inside", "NOT lie", "smaller", "larger"):
        assert verdict not in report
    assert report.count(NO_VERDICT) > 10
    assert "1.2" in lines(report, "me: beyond / async FastAPI ping")[0]
