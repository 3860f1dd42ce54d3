"""A service that moves work into the time when nobody counts looks cheaper than one that does it at once."""

import pytest

from tests.made import replace

from .whole import CPU, calls, measured, reason, words

HONEST = {"app_share": 0.3}


def against(final):
    return lambda run: HONEST if run.variant == "baseline" else final


@pytest.mark.parametrize(
    "moved",
    [
        # What the warm-up put off is done in the quiet time, and all work in the window is taken for 15 % idle work.
        {"app_share": 0.3, "quiet_share": 0.045},
        # 200 ms of each second: half of the price.
        {"app_share": 0.3, "quiet_share": 0.15},
        # What is done ahead of the window makes the window cheaper too.
        {"app_share": 0.27, "quiet_share": 0.15},
        # What the window put off is done when the last answer is out.
        {"app_share": 0.255, "late_share": 0.369},
        # Both.
        {"app_share": 0.28, "quiet_share": 0.03, "late_share": 0.2},
    ],
)
def test_moved_work_is_no_saving(tmp_path, moved):
    _, results = measured(tmp_path, against(moved))
    assert words(results)["cheaper"] == words(results)["a-quarter-off"] == "undecided"
    assert calls(results) == "undecided"
    assert "work that was moved into the quiet time" in reason(results, "cheaper")
    # The gross figure is called by itself: there is nothing to gain.
    assert calls(results, replace(CPU, metric="app_gross_cpu_ms")) != "lower"


def test_half_moved_is_no_quarter_off(tmp_path):
    """A tenth is really saved and a sixth is moved: cheaper it is, but not by a quarter."""
    _, results = measured(tmp_path, against({"app_share": 0.27, "quiet_share": 0.045}))
    assert words(results)["cheaper"] == "holds here"
    assert words(results)["a-quarter-off"] == "undecided"
    assert "With idle work included it is not so" in reason(results, "a-quarter-off")


def test_as_dear_when_idle_is_no_saving_hidden(tmp_path):
    """A variant that polls all the time costs as much per request, and more to run."""
    _, results = measured(tmp_path, against({"app_share": 0.35, "quiet_share": 0.05, "late_share": 0.05}))
    assert words(results)["as-cheap"] == "undecided"


def test_a_service_that_polls_may_be_cheaper(tmp_path):
    polls = {"app_share": 0.2, "quiet_share": 0.01, "late_share": 0.01}
    _, results = measured(tmp_path, against(polls))
    assert words(results)["cheaper"] == "holds here"


def test_figures_are_shown_beside_each_other(tmp_path):
    _, results = measured(tmp_path, against({"app_share": 0.3, "quiet_share": 0.15}), blocks=1)
    rows = {row.name: row.cells["final"].value for row in results.scorecards[0].rows}
    net, gross = rows["CPU per request: app"], rows["Gross CPU per request: app"]
    assert net is not None
    assert gross is not None
    # Half of the window's work is taken off the one, and two seconds of the quiet time are in the other.
    assert net == pytest.approx(gross * 0.5 / (1 + 2 * 0.15 / (8 * 0.3)), rel=0.05)
    assert rows["CPU per second in quiet: app"] == pytest.approx(300, rel=0.1)
