"""A variant that answers 503 to everything after the gate is cheaper and faster, for an error costs next to nothing."""

import pytest

from tests.made import load_result, replace

from .whole import LATENCY, calls, measured, reason, words

MS = 10**6
HONEST = {"app_share": 0.3, "durations_ns": [60 * MS] * 24}
CHEAP = {"app_share": 0.05, "durations_ns": [1 * MS] * 24}
NOBODY_WINS = dict.fromkeys(("cheaper", "as-cheap", "a-quarter-off", "faster"), "undecided")


def dishonest(**changes):
    """Return what is special of a run whose answers come to this."""
    return lambda run: (
        HONEST
        if run.variant == "baseline"
        else {**CHEAP, "load": replace(load_result(CHEAP["durations_ns"]), **changes)}
    )


def test_an_honest_variant_wins(tmp_path):
    """The figures of the others are these, so it is the errors that decide below."""
    _, results = measured(tmp_path, dishonest())
    assert words(results)["cheaper"] == words(results)["faster"] == "holds here"


def test_nobody_wins_by_answering_nothing(tmp_path):
    """Without one expected answer there is no CPU per request at all; the reason is the errors all the same."""
    _, results = measured(tmp_path, dishonest(statuses={"503": 24}, unexpected_status=24))
    assert words(results) == NOBODY_WINS
    assert "240 of 240 requests or 100 % to final failed" in reason(results, "cheaper")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"statuses": {"204": 1, "503": 23}, "unexpected_status": 23}, "230 of 240 requests"),
        ({"statuses": {"204": 23}, "completed": 23, "errors": {"timeout": 1}}, "10 timeout"),
        ({"statuses": {"204": 23}, "completed": 23, "errors": {"reset": 1}}, "10 reset"),
        ({"statuses": {"204": 23}, "completed": 23, "errors": {"closed": 1}}, "10 closed"),
        ({"statuses": {"204": 20}, "completed": 20, "sent": 20, "unsent": 4}, "40 unsent"),
    ],
)
def test_nobody_wins_by_answering_less(tmp_path, changes, says):
    _, results = measured(tmp_path, dishonest(**changes))
    assert words(results) == NOBODY_WINS
    assert calls(results) == calls(results, LATENCY) == "undecided"
    assert says in reason(results, "cheaper")
    # What benchstat gets would be judged by the figures alone.
    (side,) = [one for one in results.conduct if one.side == "final"]
    assert side.withheld


def test_what_a_late_generator_leaves_unsent_is_no_failure(tmp_path):
    def of_run(run):
        late = (
            {"statuses": {"204": 23}, "completed": 23, "sent": 23, "unsent": 1} if run.position == 1 else {}
        )
        return {
            **(HONEST if run.variant == "baseline" else CHEAP),
            **({"load": replace(load_result(), **late)} if late else {}),
        }

    _, results = measured(tmp_path, of_run)
    assert words(results)["cheaper"] == "holds here"
