"""A bundle with a file that is not as it was written: named, the rest still reported, the plan stopped."""

import html
import json
import random
import shutil

import pytest
from ironbench import bundle as bundles
from ironbench import seals
from ironbench.errors import IronbenchError
from ironbench.files import encode_record
from ironbench.records import Claims
from ironbench.report import compute, write_report

from .made import due, new_bundle, plan, reseal, seal_next, study

FOREIGN = b'{"hello": "world"}\n'
FACTS = b'{"schema": 1, "name": "box", "cpu_model": "A"}'


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Make a finished bundle of one block."""
    tmp_path = tmp_path_factory.mktemp("whole")
    bundle = new_bundle(tmp_path, plan("short", experiments=["signin"], of=study()))
    bundles.write_environment(bundle, "box", FACTS)
    (bundle / bundles.CLAIMS).write_bytes(encode_record(Claims(schema=1, claims=[])))
    reseal(bundle, bundle / bundles.CLAIMS)
    while due(bundle):
        seal_next(bundle, tmp_path)
    return bundle


@pytest.fixture
def bundle(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "made")


def run_dir(bundle, variant="final"):
    return bundle / "runs/signin/01" / variant


def files_of_one_run(bundle):
    """Return every file of a run, and the bundle's own."""
    found = [path for path in sorted(run_dir(bundle).rglob("*")) if path.is_file()]
    return [*found, *sorted(bundle.glob("*.json")), *sorted(bundle.glob("environment/*"))]


def told(bundle):
    """Return all that a report says of damage, or the sentence with which it gives up."""
    try:
        results, text = write_report(bundle)
    except IronbenchError as error:
        return str(error)
    assert ("Damaged files" in text) == bool(results.damaged)
    assert ("Damaged files" in (bundle / "report.md").read_text()) == bool(results.damaged)
    page = html.unescape((bundle / "report.html").read_text())
    assert all(finding.detail in page for finding in results.damaged)
    return " ".join(finding.detail for finding in results.damaged)


def changed(bundle, path, content):
    """Return what is told with another content of a file, and put the old one back."""
    kept = path.read_bytes()
    path.write_bytes(content)
    try:
        said = told(bundle)
    finally:
        path.write_bytes(kept)
    assert "\n" not in said
    return said


def test_whole_bundle_has_no_damage(bundle):
    assert told(bundle) == ""


def test_any_file_cut_off_anywhere_is_named(bundle):
    draw = random.Random(7)
    for path in files_of_one_run(bundle):
        raw = path.read_bytes()
        last = (
            len(raw.rstrip()) - 1 if path.suffix == ".json" else len(raw) - 1
        )  # a record needs no last newline
        for cut in {0, last, *(draw.randrange(last) for _ in range(2))} if raw else ():
            said = changed(bundle, path, raw[:cut])
            assert path.relative_to(bundle).as_posix() in said, (path, cut, said)


def test_any_file_replaced_by_foreign_json_is_named(bundle):
    for path in files_of_one_run(bundle):
        if path.parent.name == "environment":
            continue  # any JSON object may be what a host tells
        said = changed(bundle, path, FOREIGN)
        assert path.relative_to(bundle).as_posix() in said, (path, said)


@pytest.mark.parametrize(
    "junk", [b"\xff\xfe\x00", b'{"schema": 1, "x": "\xff"}', b'{"schema": 1, "x":' + b"[" * 100_000]
)
def test_junk_is_named(bundle, junk):
    for path in files_of_one_run(bundle):
        said = changed(bundle, path, junk)
        assert path.relative_to(bundle).as_posix() in said, (path, said)


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "plan.json", "claims.json", "environment/box.json", "runs/signin/01/final/run.json"],
)
def test_newer_schema_is_named(bundle, name):
    newer = (bundle / name).read_bytes().replace(b'"schema": 1', b'"schema": 2', 1)
    said = changed(bundle, bundle / name, newer)
    assert f"{name} has schema 2, and this ironbench reads schema 1 only" in said


@pytest.mark.parametrize(
    "name", ["manifest.json", "plan.json", "environment/box.json", "runs/signin/01/final/run.json"]
)
def test_plan_does_not_go_on(bundle, run, name):
    path = bundle / name
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 2', 1))
    code, out, err = run("pending", bundle)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{name} has schema 2" in err


def test_histogram_that_changed_within_is_named(bundle):
    """Its size and its JSON are as they were; where nobody sealed its digest, its own checksum tells."""
    path = run_dir(bundle) / "raw/box/load/histograms.json"
    raw = path.read_bytes()
    at = raw.index(b'"latency":') + 40
    other = b"A" if raw[at : at + 1] != b"A" else b"B"
    as_earlier(bundle)
    said = changed(bundle, path, raw[:at] + other + raw[at + 1 :])
    assert "runs/signin/01/final/raw/box/load/histograms.json holds a histogram that is not whole" in said


def test_rest_is_reported(bundle):
    (run_dir(bundle) / "run.json").write_text('{"schema": 1, "plan"')
    results = compute(bundle)
    assert sorted(one.variant for one in results.runs) == ["baseline", "optimization-1"]
    (card,) = results.scorecards
    assert (card.sessions["baseline"], card.sessions["final"]) == (1, 0)
    assert [finding.kind for finding in results.damaged] == ["unreadable"]
    assert (results.sealed, results.total) == (2, 3)


def test_run_of_another_place_is_foreign(bundle):
    shutil.copy(run_dir(bundle, "baseline") / "run.json", run_dir(bundle) / "run.json")
    (finding,) = compute(bundle).damaged
    assert (finding.kind, finding.detail) == (
        "foreign",
        "runs/signin/01/final/run.json is of signin.01.baseline, and the plan has no such run there.",
    )


def test_run_of_another_plan_is_foreign(bundle):
    path = run_dir(bundle) / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"plan": "made"', b'"plan": "other"', 1))
    (finding,) = compute(bundle).damaged
    assert finding.detail == "runs/signin/01/final/run.json is of plan other, not of made."


def test_run_of_another_order_is_foreign(bundle):
    """A plan of the same id with another seed has the same runs in other places."""
    path = run_dir(bundle) / "run.json"
    run = json.loads(path.read_bytes())
    run["run"]["position"] = run["run"]["position"] % 3 + 1
    path.write_text(json.dumps(run))
    (finding,) = compute(bundle).damaged
    assert finding.kind == "foreign"


def test_repetition_that_no_fault_asked_for(bundle):
    """One repetition is allowed by the plan; a second one is foreign."""
    for attempt, damaged in ((2, 0), (3, 1)):
        directory = run_dir(bundle).with_name(f"final.retry{attempt - 1}")
        shutil.copytree(run_dir(bundle), directory)
        path = directory / "run.json"
        path.write_bytes(path.read_bytes().replace(b'"attempt": 1', f'"attempt": {attempt}'.encode(), 1))
        reseal(bundle, path)
        assert len(bundles.read_contents(bundle).damaged) == damaged, attempt


def test_directory_without_its_run(bundle):
    (run_dir(bundle) / "run.json").unlink()
    (finding,) = compute(bundle).damaged
    assert finding.detail == "runs/signin/01/final/run.json cannot be read: No such file or directory."


def test_a_file_beside_the_runs_is_no_damage_and_one_in_a_run_is(bundle):
    (bundle / "runs/signin/01/.DS_Store").write_text("x")
    (bundle / "notes.txt").write_text("mine")
    assert compute(bundle).damaged == []
    (run_dir(bundle) / "raw/box/notes.txt").write_text("mine")
    (finding,) = compute(bundle).damaged
    assert finding.detail == "runs/signin/01/final/raw/box/notes.txt was put there after the run was sealed."


def as_earlier(bundle, *fields):
    """Make a bundle one of an earlier ironbench: no ledger, and no digests of a run's files."""
    (bundle / seals.LEDGER).unlink()
    for path in bundle.glob("runs/*/*/*/run.json"):
        run = json.loads(path.read_bytes())
        for field in ("digests", *fields):
            del run[field]
        path.write_text(json.dumps(run))


def test_earlier_bundle_without_digests(bundle):
    as_earlier(bundle)
    assert compute(bundle).damaged == []
    path = run_dir(bundle) / "latency.hgrm"
    path.write_bytes(path.read_bytes() + b"#")
    (finding,) = compute(bundle).damaged
    assert finding.detail.startswith("runs/signin/01/final/latency.hgrm has ")


def test_earlier_bundle_without_sizes(bundle):
    as_earlier(bundle, "files")
    assert compute(bundle).damaged == []
    (run_dir(bundle) / "raw/box/load/histograms.json").write_text("{")
    (finding,) = compute(bundle).damaged
    assert finding.detail.startswith(
        "runs/signin/01/final/raw/box/load/histograms.json is not a Histograms record"
    )


def test_manifest_of_another_bundle(bundle):
    path = bundle / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"id": "made"', b'"id": "other"', 1))
    for command in (compute, bundles.read_runs):
        with pytest.raises(
            IronbenchError, match=r"plan\.json is of bundle made and its manifest\.json of other"
        ):
            command(bundle)


def test_environment_of_another_host(bundle):
    (bundle / "environment/box.json").write_bytes(FACTS.replace(b"box", b"bax"))
    (finding,) = compute(bundle).damaged
    assert (finding.kind, finding.detail) == ("foreign", "environment/box.json is what bax told of itself.")


def test_environment_of_another_host_is_not_kept(whole):
    with pytest.raises(IronbenchError, match="what box told of itself, not bax"):
        bundles.write_environment(whole, "bax", FACTS)


# --- the plan stops, and how it goes on --------------------------------------------------------


def test_pending_and_seal_say_how_to_mend_it(bundle, run, tmp_path):
    (run_dir(bundle) / "latency.hgrm").write_text("")
    sentence = (
        f"ironbench: {bundle} is damaged: runs/signin/01/final/latency.hgrm has 0 bytes and was sealed with "
    )
    code, out, err = run("pending", bundle)
    assert (code, out) == (2, "")
    assert err.startswith(sentence)
    assert err.endswith("; move runs/signin/01/final out of the bundle, and the run is measured again.\n")
    with pytest.raises(IronbenchError, match="is damaged: runs/signin/01/final"):
        bundles.seal(bundle, tmp_path, started_ns=None)


def test_moved_away_it_is_measured_again(bundle, tmp_path):
    run = bundles.read_runs(bundle)[1].run
    directory = bundles.run_directory(bundle, run)
    (directory / "run.json").write_text("{")
    shutil.move(directory, tmp_path / "away")
    assert due(bundle) == run
    seal_next(bundle, tmp_path)
    assert due(bundle) is None
    assert compute(bundle).damaged == []


def test_several_are_counted(bundle):
    for variant in ("final", "baseline"):
        (run_dir(bundle, variant) / "run.json").write_text("{")
    with pytest.raises(IronbenchError, match=r"\(2 are damaged; `ironbench report` names all\)\.$"):
        bundles.read_runs(bundle)


def test_damaged_environment_is_not_overwritten(bundle):
    path = bundle / "environment/box.json"
    path.write_text("{")
    with pytest.raises(
        IronbenchError, match=r"move environment/box\.json out of the bundle, and its host tells"
    ):
        bundles.write_environment(bundle, "box", FACTS)
    path.unlink()
    assert bundles.write_environment(bundle, "box", FACTS)


def test_resume_does_not_pass_over_damage(bundle, tmp_path):
    (run_dir(bundle) / "run.json").write_text("{")
    made = plan("short", experiments=["signin"], of=study())
    with pytest.raises(IronbenchError, match="is damaged"):
        bundles.find_unfinished(tmp_path, made, seed=None, retries=None)


def test_sealing_keeps_sizes_and_digests(bundle):
    for run in bundles.read_runs(bundle):
        directory = bundles.run_directory(bundle, run.run)
        assert set(run.files) >= {"latency.hgrm", "raw/box/host.json", "raw/box/load/histograms.json"}
        assert "run.json" not in run.files
        assert all((directory / name).stat().st_size == size for name, size in run.files.items())
        assert run.digests == {name: seals.file_digest(directory / name) for name in run.files}
