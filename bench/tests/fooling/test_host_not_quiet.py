"""A host that is quiet while one side is measured, and busy with its own work while the other is."""

from __future__ import annotations

import json

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.report import compute

from tests.made import due, handed_in, new_bundle, plan, snapshot, write_raw

BUNDLE_QUIET = {"housekeeping": "0", "shared": [], "steps": {}}
LASTED = {"wanted": True, "invocation": "a"}


def seal(bundle, tmp_path, before, after):
    """Seal the pending run with what its host told of its quiet before and after the window."""
    run = due(bundle)
    raw = tmp_path / run.key
    write_raw(raw, bundles.make_session(bundles.read_plan(bundle), run))
    for name, at_s, quiet in (("before", -20, before), ("after", 10, after)):
        told = msgspec.to_builtins(snapshot(at_s))
        if quiet is not None:
            told["quiet"] = quiet
        (raw / "box" / f"{name}.json").write_text(json.dumps(told))
    return bundles.seal_collected(bundle, [msgspec.json.decode(handed_in(raw), type=bundles.Collected)])


@pytest.fixture
def bundle(tmp_path):
    made = new_bundle(tmp_path, plan(retries=0))
    told = {"schema": 1, "name": "box", "quiet": BUNDLE_QUIET}
    bundles.write_environment(made, "box", json.dumps(told).encode())
    return made


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (LASTED, {"wanted": True}, "after the window any more"),
        (LASTED, None, "after the window any more"),
        ({"wanted": True}, LASTED, "before the window any more"),
        (LASTED, LASTED | {"undone": ["fstrim.timer"]}, "was back after the window: fstrim.timer"),
        (LASTED, LASTED | {"invocation": "b"}, "let back to the bench's CPUs in between"),
    ],
)
def test_it_is_an_instrument_fault(bundle, tmp_path, before, after, words):
    run = seal(bundle, tmp_path, before, after)
    (fault,) = [fault for fault in run.instrument_faults if fault.kind == "quiet-ended"]
    assert (fault.host, words in fault.detail) == ("box", True), fault


def test_one_that_lasted_is_none_and_nothing_is_said(bundle, tmp_path):
    assert seal(bundle, tmp_path, LASTED, LASTED).instrument_faults == []
    assert compute(bundle).quiet == []


def test_the_report_says_where_runs_contradict_what_was_told_when_the_plan_began(bundle, tmp_path):
    seal(bundle, tmp_path, LASTED, LASTED)
    seal(bundle, tmp_path, {"wanted": False}, {"wanted": False})
    (sentence,) = compute(bundle).quiet
    assert sentence.startswith("box was to be quiet, and was not in 1 of 2 runs")


def test_the_report_says_when_it_was_made_quiet_again_and_why(bundle, tmp_path):
    again = LASTED | {"again": "the host has booted since"}
    seal(bundle, tmp_path, LASTED, LASTED)
    seal(bundle, tmp_path, again, again)
    (sentence,) = compute(bundle).quiet
    assert sentence == (
        "box had stopped being quiet between runs and was made quiet again, once: the host has booted since."
    )


def test_one_that_nobody_had_told_to_be_quiet(tmp_path):
    made = new_bundle(tmp_path, plan(retries=0))
    bundles.write_environment(made, "box", b'{"schema": 1, "name": "box", "quiet": null}')
    seal(made, tmp_path, LASTED, LASTED)
    seal(made, tmp_path, None, None)
    (sentence,) = compute(made).quiet
    assert sentence.startswith("box was quiet in 1 of 1 runs, and was not when the plan began")
