"""A service that answers 503 to everything after the gate, so that a request costs it next to nothing.

What the verdicts make of such a run is in test_errors_are_cheap; here is that its figures show no gain.
"""

import json

import pytest
from ironbench.report import compute

from tests.made import DRAINED, START, due, experiment, load_result, new_bundle, plan, seal_next, study

COUNT = 480
CARD = ("CPU per request: app", "CPU per request: sum", "Achieved rate", "Event loop blocked per request")


def refusing(share):
    """Make a load of which a share is answered by 503, and fast."""
    wrong = round(share * COUNT)
    statuses = {"204": COUNT - wrong, "503": wrong}
    return load_result(
        [10**6] * COUNT, rate=60.0, statuses={k: n for k, n in statuses.items() if n}, unexpected_status=wrong
    )


def blocked(session):
    """Make the log of an app whose event loop was blocked for 100 ms, whatever it answered."""
    at = (START + DRAINED) // 2
    entry = {"__REALTIME_TIMESTAMP": str(at // 1000), "MESSAGE": "Executing <Task> took 0.100 seconds"}
    return json.dumps(entry).encode() + b"\n"


@pytest.fixture
def figures(tmp_path):
    """Measure an honest baseline, and a final variant that refuses a share and works half as much."""

    def figures(share):
        asked = experiment(rate=60.0, variants=["baseline", "final"], slow_callbacks=True)
        bundle = new_bundle(tmp_path, plan("short", of=study(experiments={"me": asked})))
        for _ in range(2):
            honest = due(bundle).variant == "baseline"
            seal_next(
                bundle,
                tmp_path,
                load=refusing(0.0 if honest else share),
                app_share=0.4 if honest else 0.2,
                slow_callbacks=blocked,
            )
        (card,) = compute(bundle).scorecards
        return {row.name: row.cells for row in card.rows if row.name in CARD}

    return figures


def test_a_refused_request_has_no_price(figures):
    """Half the work for a quarter of the answers is dear."""
    found = figures(0.75)
    for name in ("CPU per request: app", "CPU per request: sum", "Event loop blocked per request"):
        assert found[name]["final"].value > found[name]["baseline"].value, name
    assert found["CPU per request: app"]["final"].value == pytest.approx(
        2 * found["CPU per request: app"]["baseline"].value, rel=0.01
    )


def test_a_service_that_answers_nothing_right_is_not_free(figures):
    """Nothing was answered as expected, so there is no cost per request; 0 would be the best of all."""
    found = figures(1.0)
    for name in ("CPU per request: app", "CPU per request: sum", "Event loop blocked per request"):
        assert found.get(name) is None or found[name]["final"].value is None, name


def test_refusals_are_no_throughput(figures):
    found = figures(0.75)
    assert found["Achieved rate"]["baseline"].value == 60
    assert found["Achieved rate"]["final"].value == 15
