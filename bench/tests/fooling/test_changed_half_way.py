"""Half of a plan is measured with one thing and the rest with another: a cheaper wheel, more workers, other settings.

Nobody has to mean it: a converge from another working tree between two blocks is enough.
"""

import json
import shutil

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.plan import make_session
from ironbench.report import compute

from tests.made import due, handed_in, new_bundle, plan, reseal, seal_next, write_raw

SETTINGS = {"shared_buffers": "16384", "work_mem": "16384"}


def digest(name):
    return name.encode().hex().ljust(64, "0")[:64]


def told(variant, **changes):
    """Make what a host tells of a session; ``changes`` with _ for the spaces of a fact's name."""
    facts = {
        "cpu model": "Made CPU",
        "kernel": "Linux 6.1",
        "app wheel": digest("one wheel"),
        "app workers": "2",
        "postgresql settings": digest("settings"),
        "pgbouncer settings": digest("pooler"),
        "valkey settings": digest("cache"),
        f"variant {variant}": digest(f"levers of {variant}"),
    } | changes.pop("facts", {})
    return {"schema": 1, "facts": facts, "settings": {"postgresql settings": SETTINGS} | changes}


@pytest.fixture
def bundle(tmp_path):
    return new_bundle(tmp_path, plan(experiments=["signin"], variants=["baseline", "final"]))


@pytest.fixture
def seal(bundle, tmp_path, run):
    """Seal the pending run as the playbook does, with what its host tells; return (exit status, stderr, variant)."""

    def seal(**changes):
        pending = due(bundle)
        raw = tmp_path / "raw"
        shutil.rmtree(raw, ignore_errors=True)
        write_raw(raw, make_session(bundles.read_plan(bundle), pending))
        text = json.dumps(told(pending.variant, **changes))
        (raw / "box/measured.json").write_text(text)
        code, _, err = run("seal", bundle, "--host", "box", stdin=handed_in(raw))
        return code, err, pending.variant

    return seal


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"app wheel": digest("a cheaper wheel")}, "app wheel: it was 6f6e65207768 and is 612063686561"),
        ({"app workers": "4"}, "app workers: it was 2 and is 4"),
        ({"pgbouncer settings": digest("other")}, "pgbouncer settings: it was"),
        ({"valkey settings": digest("other")}, "valkey settings: it was"),
        ({"cpu model": "Faster CPU"}, "cpu model: it was Made CPU and is Faster CPU"),
        ({"kernel": "Linux 6.12"}, "kernel: it was Linux 6.1 and is Linux 6.12"),
    ],
)
def test_what_was_measured_is_another_after_the_first_block(bundle, seal, changed, says):
    assert [seal()[0] for _ in range(2)] == [0, 0]
    code, err, _ = seal(facts=changed)
    assert code == 2
    assert says in err
    assert "Put that back as it was, and the plan goes on" in err
    assert len(bundles.read_runs(bundle)) == 2
    assert seal()[0] == 0  # put back, the plan goes on


def test_the_sentence_names_the_setting_that_changed(seal):
    seal()
    larger = SETTINGS | {"shared_buffers": "131072"}
    code, err, _ = seal(facts={"postgresql settings": digest("larger")}, **{"postgresql settings": larger})
    assert code == 2
    assert "on box, postgresql settings: shared_buffers was 16384 and is 131072" in err


def test_two_variants_are_swapped_between_two_blocks(bundle, seal):
    """Their names stay, and each is now what the other was: half of the blocks cancel the other half."""
    sealed = [seal()[2] for _ in range(2)]
    assert sorted(sealed) == ["baseline", "final"]
    variant = due(bundle).variant
    other = next(name for name in sealed if name != variant)
    code, err, _ = seal(facts={f"variant {variant}": digest(f"levers of {other}")})
    assert (code, f"variant {variant}: it was" in err) == (2, True)


def test_a_host_stops_telling(seal):
    seal()
    code, err, _ = seal(facts={"app workers": ""})
    assert code == 2
    assert "app workers" in err


def test_runs_of_two_kinds_lie_in_one_bundle(tmp_path):
    """Each is sealed in a bundle of the same plan, and one is copied over: the reader leaves the odd one out."""
    bundles_of = []
    for number, wheel in enumerate(("one wheel", "another")):
        path = new_bundle(
            tmp_path / str(number), plan(experiments=["signin"], variants=["baseline", "final"])
        )
        while run := due(path):
            measured = told(run.variant, facts={"app wheel": digest(wheel)})
            seal_next(path, tmp_path / str(number), measured=measured)
        bundles_of.append(path)
    first, other = bundles_of
    odd = "runs/signin/02/final"
    shutil.rmtree(first / odd)
    shutil.copytree(other / odd, first / odd)
    reseal(first, first / odd / "run.json")
    results = compute(first)
    assert [one.kind for one in results.damaged] == ["other-measured"]
    assert len(results.runs) == 5


def test_the_environment_is_deleted_and_the_host_has_another_cpu(bundle, seal, run):
    facts = {"schema": 1, "name": "box", "cpu_model": "Made CPU", "kernel": "Linux 6.1"}
    tell = lambda **changes: run("environment", bundle, "box", stdin=msgspec.json.encode(facts | changes))  # noqa: E731
    assert tell()[0] == 0
    seal()
    (bundle / "environment/box.json").unlink()
    code, _, err = tell(cpu_model="Faster CPU")
    assert code == 2
    assert "is not what the sealed runs" in err
    assert tell()[0] == 0


def test_the_environment_is_edited_to_look_like_another_host(bundle, seal):
    seal()
    told_of = {"schema": 1, "name": "box", "cpu_model": "Slower CPU"}
    (bundle / "environment/box.json").write_text(json.dumps(told_of))
    reseal(bundle, bundle / "environment/box.json")
    results = compute(bundle)
    assert [one.kind for one in results.damaged] == ["other-measured"]
    assert "environment/box.json tells of another cpu model Slower CPU" in results.damaged[0].detail
    assert results.environment == {}
