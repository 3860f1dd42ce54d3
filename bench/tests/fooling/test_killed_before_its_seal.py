"""Somebody who sees the live figures kills the playbook when they displease, and starts it again until they please."""

import json
import shutil

from ironbench import bundle as bundles
from ironbench.plan import make_session

from tests.made import due, handed_in, new_bundle, write_raw


def collected(bundle, directory, **changes):
    """Make what the hosts hand in of the session that is due."""
    raw = write_raw(directory, make_session(bundles.read_plan(bundle), due(bundle)), **changes)
    return handed_in(raw)


def begun(bundle):
    """Return the sessions that the bundle says were begun, by run and number."""
    found = [json.loads(path.read_bytes()) for path in bundle.glob("attempts/*/*.json")]
    return sorted((one["run"]["position"], one["number"]) for one in found)


def begin_again(run, bundle):
    """What the playbook asks first when it is started."""
    code, out, _ = run("pending", bundle, "--begin", "--json")
    assert code == 0
    return json.loads(out)["session"]["run"]


def test_a_session_that_was_killed_is_seen(run, tmp_path):
    bundle = new_bundle(tmp_path)
    code, out, _ = run("seal", bundle, "--host", "box", "--json", stdin=collected(bundle, tmp_path / "1"))
    assert code == 0
    second = json.loads(out)["session"]["run"]
    assert second["position"] == 2
    assert (2, 1) in begun(bundle), "its load begins with the next task of the playbook"
    # Killed here: what the hosts measured displeases. Started again, and again.
    for _ in range(2):
        assert begin_again(run, bundle) == second
    assert (
        run("seal", bundle, "--host", "box", stdin=collected(bundle, tmp_path / "2", app_share=0.2))[0] == 0
    )
    assert [one.run.position for one in bundles.read_runs(bundle)] == [1, 2]
    assert begun(bundle) == [(2, 1), (2, 2), (2, 3), (3, 1)], "one was sealed, so two were interrupted"


def test_a_sealed_run_that_is_moved_out_is_seen(run, tmp_path):
    """A damaged run may be moved out and is measured again; so may one that is as it was sealed."""
    bundle = new_bundle(tmp_path)
    for number in (1, 2):
        assert run("seal", bundle, "--host", "box", stdin=collected(bundle, tmp_path / f"{number}"))[0] == 0
    assert (2, 1) in begun(bundle)
    second = bundles.read_runs(bundle)[1].run
    shutil.move(bundles.run_directory(bundle, second), tmp_path / "displeasing")
    assert begin_again(run, bundle)["position"] == 2
    assert (
        run("seal", bundle, "--host", "box", stdin=collected(bundle, tmp_path / "again", app_share=0.2))[0]
        == 0
    )
    assert [number for position, number in begun(bundle) if position == 2] == [1, 2], "and sealed once"


def test_an_attempt_that_is_edited_is_named(run, tmp_path):
    bundle = new_bundle(tmp_path)
    begin_again(run, bundle)
    begin_again(run, bundle)
    (second,) = bundle.glob("attempts/*/2.json")
    second.rename(second.with_name("1.json"))
    code, _, err = run("pending", bundle, "--begin")
    assert code == 2
    assert "1.json is not what was sealed" in err
