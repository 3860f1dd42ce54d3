"""A user edits a sealed bundle so that it says what it should: a file of the same size, run.json, the plan, a claim."""

import json
import shutil

import pytest
from ironbench import bundle as bundles
from ironbench.errors import IronbenchError
from ironbench.records import SCHEMA, Claim, Claims, Comparison
from ironbench.report import compute

from tests.made import due, plan, seal_next, study

FACTS = b'{"schema": 1, "name": "box", "cpu_model": "A"}'
CLAIM = Claim(
    id="faster",
    says="final is cheaper",
    source="x",
    kind="direction",
    expects="lower",
    comparison=Comparison(experiment="signin", metric="app_cpu_ms", variant="final", against="baseline"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Make a finished bundle of one block, with a claim and an environment."""
    tmp_path = tmp_path_factory.mktemp("edited")
    claims = Claims(schema=SCHEMA, claims=[CLAIM])
    made = bundles.create(
        tmp_path / "results", plan("short", experiments=["signin"]), study(), tmp_path, claims=claims
    )
    bundles.write_environment(made, "box", FACTS)
    while due(made):
        seal_next(made, tmp_path)
    assert compute(made).damaged == []
    return made


@pytest.fixture
def bundle(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "made")


def run_dir(bundle):
    return bundle / "runs/signin/01/final"


def told(bundle):
    """Return what the report says of damage, or the sentence with which it gives up."""
    try:
        return " ".join(finding.detail for finding in compute(bundle).damaged)
    except IronbenchError as error:
        return str(error)


@pytest.mark.parametrize(
    "name", ["latency.hgrm", "raw/box/sar.json", "raw/box/load/load.json", "raw/box/host.json"]
)
def test_file_of_the_same_size(bundle, name):
    path = run_dir(bundle) / name
    raw = path.read_bytes()
    at = max(raw.rfind(b"%d" % digit) for digit in range(10))
    path.write_bytes(raw[:at] + (b"1" if raw[at : at + 1] != b"1" else b"2") + raw[at + 1 :])
    assert path.stat().st_size == len(raw)
    assert f"runs/signin/01/final/{name} is not what was sealed" in told(bundle)


def test_figure_in_run_json(bundle):
    path = run_dir(bundle) / "run.json"
    run = json.loads(path.read_bytes())
    for cpu in run["cpu"]:
        cpu["net_ms"] /= 2
        cpu["per_request_ms"] /= 2
    path.write_text(json.dumps(run, indent=2))
    assert "runs/signin/01/final/run.json is not what was sealed" in told(bundle)
    assert [one.variant for one in compute(bundle).runs if one.variant == "final"] == []


def test_instrument_fault_is_taken_out_and_the_file_added_up_again(bundle):
    """Who mends the digests in run.json has not mended that of run.json."""
    path = run_dir(bundle) / "run.json"
    run = json.loads(path.read_bytes())
    run["outcomes"], run["instrument_faults"], run["files"], run["digests"] = [], [], {}, {}
    path.write_text(json.dumps(run, indent=2))
    assert "runs/signin/01/final/run.json is not what was sealed" in told(bundle)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("plan.json", b'"retries": 1', b'"retries": 5'),
        ("manifest.json", b'"dirty": true', b'"dirty": false'),
        ("claims.json", b'"expects": "lower"', b'"expects": "higher"'),
        ("environment/box.json", b'"cpu_model": "A"', b'"cpu_model": "B"'),
    ],
)
def test_record_of_the_bundle(bundle, name, old, new):
    path = bundle / name
    raw = path.read_bytes()
    path.write_bytes(raw.replace(old, new) if old in raw else raw.replace(b'"2', b'"1', 1))
    assert path.read_bytes() != raw
    assert f"{name} is not what was sealed" in told(bundle)


def test_claim_that_is_taken_out_or_put_in_afterwards(bundle, tmp_path):
    (bundle / "claims.json").unlink()
    assert "claims.json was sealed, and is gone" in told(bundle)
    without = bundles.create(tmp_path / "other", plan("short"), study(), tmp_path)
    shutil.copy(shutil.copytree(bundle, tmp_path / "again") / "plan.json", tmp_path / "x")
    (without / "claims.json").write_bytes(json.dumps({"schema": 1, "claims": []}).encode())
    assert "claims.json is there, and none was sealed" in told(without)


def test_second_histogram_beside_the_first(bundle):
    """Latency is merged over all hosts' histograms: one more of fast answers makes it better."""
    there = run_dir(bundle) / "raw/extra/load"
    there.mkdir(parents=True)
    shutil.copy(run_dir(bundle) / "raw/box/load/histograms.json", there / "histograms.json")
    assert "raw/extra/load/histograms.json was put there after the run was sealed" in told(bundle)


def test_link_in_place_of_a_file(bundle, tmp_path):
    path = run_dir(bundle) / "latency.hgrm"
    shutil.move(path, tmp_path / "mine")
    path.symlink_to(tmp_path / "mine")
    assert "runs/signin/01/final/latency.hgrm has -1 bytes" in told(bundle)


def test_ledger_is_removed(bundle):
    (bundle / "seals.jsonl").unlink()
    assert "run.json has no seal in seals.jsonl" in told(bundle)


def test_plan_does_not_go_on_after_an_edit(bundle, run):
    path = run_dir(bundle) / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"ironbench_version": "', b'"ironbench_version": "9', 1))
    code, out, err = run("pending", bundle)
    assert (code, out) == (2, "")
    assert "runs/signin/01/final/run.json is not what was sealed" in err
