"""A service that bears the window at any price, and is broken as soon as nobody measures it any more."""

import pytest

from .real_load import kinds, seal_alone


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("broken", "The answer's status is 503, not 200."),
        ("page", "The answer's body is not JSON."),
        ("apology", "The answer's JSON has no ok."),
        ("silent", "The server did not answer in time."),
        ("exit", "The server closed the connection before its answer was complete"),
    ],
)
def test_it_is_asked_once_more(tmp_path, kind, said):
    run = seal_alone(tmp_path, f"/rested/{kind}")
    assert (run.load.completed, run.load.errors) == (run.load.sent, {})
    (told,) = [finding for finding in run.outcomes if finding.kind == "gate-after"]
    assert said in told.detail
    # An outcome is a result: the run is sealed, and no instrument is blamed.
    assert "gate-after" not in kinds(run.instrument_faults)


def test_it_may_be_gone_by_then(tmp_path):
    """The process has ended when the gate is asked again, so that not even a connection can be made."""
    run = seal_alone(tmp_path, "/quits")
    (told,) = [finding for finding in run.outcomes if finding.kind == "gate-after"]
    assert "No connection to 127.0.0.1" in told.detail


def test_who_closes_its_connections_is_asked_on_a_new_one(tmp_path):
    run = seal_alone(tmp_path, "/close")
    assert run.load.gate_after is not None
    assert run.load.gate_after.ok
    assert "gate-after" not in kinds(run.outcomes)
