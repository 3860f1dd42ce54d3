"""Somebody pulls the cable of every session that displeases, and gives the same command until one pleases."""

import json

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.plan import make_session

from tests.made import due, handed_in, study, write_raw

CABLE = b'{"failures": [{"host": "box", "detail": "the cable is out"}]}'


@pytest.fixture
def bench(run, tmp_path):
    """Return what starts the plan, or goes on with it."""
    directory = tmp_path / "study"
    directory.mkdir()
    (directory / "experiments.yml").write_bytes(msgspec.yaml.encode(study()))
    arguments = ("--study", directory, "--protocol", "short", "--results", tmp_path / "results", "--json")

    def start(name):
        code, out, _ = run("plan", *arguments, "--resume", "--retries", "1", "--id", name)
        assert code == 0
        return json.loads(out)

    return start


def collected(bundle, directory):
    return handed_in(write_raw(directory, make_session(bundles.read_plan(bundle), due(bundle))))


def test_a_run_lost_too_often_ends_its_plan_for_good(run, bench, tmp_path):
    bundle = tmp_path / "results" / bench("one")["id"]
    assert run("seal", bundle, "--host", "box", stdin=collected(bundle, tmp_path / "1"))[0] == 0
    assert run("lost", bundle, stdin=CABLE)[0] == 0, "once may be"
    code, _, said = run("lost", bundle, stdin=CABLE)
    assert code != 0
    assert "was lost 2 times, the last time because of box: the cable is out." in said

    again = bench("two")
    assert not again["resumed"], "the same command goes on as if nothing had been"
    assert (again["id"], again["sealed"]) == ("two", 0)

    handed = collected(bundle, tmp_path / "2")
    for command, stdin in ((("seal", "--host", "box"), handed), (("lost",), CABLE)):
        code, out, said = run(*command, bundle, stdin=stdin)
        assert (code, out) == (5, "")
        assert said.startswith("ironbench: the plan ended for good in block 1 of ")
    assert run("pending", bundle, "--begin")[0] == 5
    code, out, _ = run("pending", bundle, "--json")
    assert (code, json.loads(out)["session"]) == (0, None)
    assert json.loads(out)["ended"] == json.loads(out)["progress"]
    contents = bundles.read_contents(bundle)
    assert (len(contents.runs), len(contents.lost)) == (1, 2)


def test_the_report_says_that_it_ended(run, bench, tmp_path):
    bundle = tmp_path / "results" / bench("one")["id"]
    for _ in range(2):
        run("lost", bundle, stdin=CABLE)
    code, out, _ = run("report", bundle)
    assert code == 0
    assert "the plan ended for good in block 1 of " in " ".join(out.split())


def test_what_an_earlier_ironbench_went_on_with_is_not_forgotten(run, bench, tmp_path):
    """Every run is sealed, for the command went on after the last loss that was allowed."""
    bundle = tmp_path / "results" / bench("one")["id"]
    for _ in range(2):
        run("lost", bundle, stdin=CABLE)
    lost = bundle / "lost"
    lost.rename(tmp_path / "lost")
    while due(bundle):
        assert (
            run("seal", bundle, "--host", "box", stdin=collected(bundle, tmp_path / due(bundle).key))[0] == 0
        )
    (tmp_path / "lost").rename(lost)
    assert not due(bundle)
    _, out, _ = run("report", bundle)
    assert "the plan ended for good in block 1 of " in " ".join(out.split())
