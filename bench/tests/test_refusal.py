"""What is said of a file that msgspec refuses."""

import msgspec
import pytest
from ironbench.records import Claims, Study
from ironbench.refusal import why_refused

STUDY = """
schema: 1
name: mine
title: Mine
source: me
protocols: {quick: {blocks: 3, warmup_s: 1, window_s: 8}}
experiments:
  me:
    title: Me
    variants: [baseline, final]
    load: {rate: 200, connections: 8, threads: 2, arrivals: poisson}
    request: {method: GET, path: /, expect: {status: 200}}
"""
CLAIMS = "schema: 1\nclaims: [{id: a, says: b, source: c, kind: direction, expects: lower}]"


def refused(kind, text):
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.yaml.decode(text.encode(), type=kind)
    return why_refused(caught.value, kind)


@pytest.mark.parametrize(
    ("right", "wrong", "choices"),
    [
        ("arrivals: poisson", "arrivals: random", "there are even, poisson, wrk2-phase"),
        ("connections: 8", "conections: 8", "there are rate, connections, threads,"),
        ("status: 200", "code: 200", "there are status, json_keys, cookies"),
    ],
)
def test_the_choices_are_told_where_there_are_any(right, wrong, choices):
    msgspec.yaml.decode(STUDY.encode(), type=Study)

    assert choices in refused(Study, STUDY.replace(right, wrong))


def test_choices_of_a_field_that_may_be_left_out():
    msgspec.yaml.decode(CLAIMS.encode(), type=Claims)

    assert refused(Claims, CLAIMS.replace("lower", "less")).endswith("; there are higher, lower, same")


@pytest.mark.parametrize("wrong", ["rate: fast", "rate: 200, ]"])
def test_other_complaints_are_one_line_without_choices(wrong):
    said = refused(Study, STUDY.replace("rate: 200", wrong))

    assert "there are" not in said
    assert "\n" not in said
