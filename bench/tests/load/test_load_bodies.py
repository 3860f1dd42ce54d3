"""Which answers of a window are read."""

from ironbench.load.bodies import MOST, Bodies, added, choose
from ironbench.load.gate import json_type, judge_type


def test_all_are_read_where_they_are_few():
    assert choose(0, "7") == frozenset()
    assert choose(MOST, "7") == frozenset(range(MOST))


def test_a_sample_of_many_follows_the_seed_alone():
    chosen = choose(18_000, "7")
    assert len(chosen) == MOST
    assert chosen <= set(range(18_000))
    assert chosen == choose(18_000, "7")
    assert len(chosen & choose(18_000, "8")) < MOST / 5
    # In each tenth of the window there is about a tenth of them.
    tenths = [sum(number // 1800 == tenth for number in chosen) for tenth in range(10)]
    assert min(tenths) > 60


def test_types_of_bodies():
    bodies = {b"{}": "object", b"[1]": "array", b'"x"': "string", b"1.5": "number", b"true": "boolean"}
    bodies |= {b"null": "null", b"": "none", b"<html>": "none", b"\xff": "none"}
    assert {body: json_type(body) for body in bodies} == bodies
    assert judge_type("", b"<html>") == ""
    assert judge_type("none", b"text") == ""
    assert judge_type("object", b"[]") == (
        "The answer's body is JSON of the type array, and the gate's was JSON of the type object."
    )


def test_what_processes_found_adds_up():
    parts = [
        Bodies(sampled=3),
        Bodies(sampled=2, wrong=1, detail="No."),
        Bodies(sampled=1, wrong=1, detail="?"),
    ]
    assert added(parts) == Bodies(sampled=6, wrong=2, detail="No.")
