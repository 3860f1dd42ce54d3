"""A service that answers 200 with an error page, or with an apology as JSON, once it has passed the gate."""

import pytest

from .real_load import kinds, seal_alone


@pytest.mark.parametrize("kind", ["page", "apology", "text", "array"])
def test_a_wrong_body_with_the_right_status_is_told(tmp_path, kind):
    run = seal_alone(tmp_path, f"/after/1/{kind}")
    assert run.load.statuses == {"200": run.load.completed}
    assert "wrong-body" in kinds(run.outcomes)
    assert (run.load.bodies_sampled, run.load.bodies_wrong) == (run.load.completed, run.load.completed)


def test_it_is_seen_when_it_comes_rarely_too(tmp_path):
    run = seal_alone(tmp_path, "/every/25/apology", rate=200.0)
    (told,) = [finding for finding in run.outcomes if finding.kind == "wrong-body"]
    assert told.value == run.load.bodies_wrong / run.load.bodies_sampled
    assert abs(run.load.bodies_wrong - run.load.bodies_sampled / 25) <= 1
    assert "has no ok" in told.detail


def test_a_study_that_names_no_keys_still_has_its_json(tmp_path):
    """What the gate got was a JSON object, so a page is none of the answers that were asked for."""
    run = seal_alone(tmp_path, "/after/1/page", keys=())
    (told,) = [finding for finding in run.outcomes if finding.kind == "wrong-body"]
    assert "not JSON" in told.detail
    assert told.value == 1


def test_who_answers_as_asked_is_not_accused(tmp_path):
    run = seal_alone(tmp_path, "/ok")
    assert run.load.bodies_sampled == run.load.completed
    assert not kinds(run.outcomes) & {"wrong-body", "gate-after", "unexpected-status"}
