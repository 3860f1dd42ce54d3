"""Bundles are compared that say less than it looks: one with its own copy, or one of each side with a call on days."""

import json
import shutil

import msgspec
import pytest
from ironbench.compare.compute import Compared
from ironbench.records import SCHEMA, Claims

from tests.made import replace, reseal
from tests.test_compare import made_study, make

from .test_edited_afterwards import CLAIM

OTHER = replace(CLAIM, expects="lower", says="final costs less")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return make(tmp_path_factory.mktemp("first") / "a")


@pytest.fixture
def second(tmp_path):
    return make(tmp_path / "b", shares={"baseline": 0.4, "final": 0.27})


def test_a_bundle_with_itself(first, run):
    code, _, err = run("compare", first, first)
    assert code == 2
    assert "share 12 sealed runs: a bundle is not compared with itself or its copy" in err


def test_a_bundle_with_its_renamed_copy(first, second, run, tmp_path):
    copy = tmp_path / "another-name"
    shutil.copytree(first, copy)
    code, _, err = run("compare", first, second, copy)
    assert code == 2
    assert f"{first} and {copy} share 12 sealed runs" in err


def test_a_bundle_with_its_copy_under_another_id(first, run, tmp_path):
    """With the id changed in every file nothing but what was seen tells that it is the same."""
    copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    for path in copy.rglob("*.json"):
        text = path.read_text()
        if path.name in ("plan.json", "manifest.json", "run.json"):
            content = json.loads(text)
            content["id" if "id" in content else "plan"] = "copy"
            content.pop("declared", None)
            path.write_text(json.dumps(content))
            reseal(copy, path)
    code, _, err = run("compare", first, copy)
    assert code == 2
    assert "share 12 sealed runs" in err


def test_a_change_between_two_single_bundles_is_not_called(first, second, run):
    """A tenth less in B is as well what another day makes of the same version."""
    code, out, _ = run("compare", first, second)
    assert code == 0
    line = next(
        line
        for line in out.splitlines()
        if "app_cpu_ms" in line and "baseline" not in line and "final" in line and "-10" in line
    )
    assert not [word for word in ("lower", "higher", "equivalent", "no difference") if word in line]
    assert "No call between bundles" in " ".join(out.split())


def test_two_claims_with_one_id_are_set_beside_each_other(run, tmp_path):
    """Claims of one id and opposite content: "holds" in both would be read as one claim that holds twice."""
    paths = []
    for name, claim, shares in (
        ("a", CLAIM, {"baseline": 0.3, "final": 0.4}),
        ("b", OTHER, {"baseline": 0.4, "final": 0.3}),
    ):
        claims = Claims(schema=SCHEMA, claims=[claim])
        paths.append(make(tmp_path / name, shares=shares, of=made_study(), claims=claims))
    code, out, _ = run("compare", *paths, "--json")
    assert code == 0
    answer = msgspec.json.decode(out)
    assert [one["words"] for one in answer["claims"]] == [["holds here", None], [None, "holds here"]]
    assert {one["everywhere"] for one in answer["claims"]} == {"not the same claim everywhere"}
    _, out, _ = run("compare", *paths)
    assert "dearer is not the same claim in all bundles (says, expects differ)" in " ".join(out.split())
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Compared)


def test_bundles_that_measured_with_other_settings_say_so(run, tmp_path):
    told = {"schema": 1, "facts": {"app workers": "2"}, "settings": {}}
    paths = [
        make(tmp_path / name, measured=told | {"facts": {"app workers": workers}})
        for name, workers in (("a", "2"), ("b", "4"))
    ]
    code, out, _ = run("compare", *paths, "--json")
    assert code == 0
    found = {one["fact"]: one["values"] for one in json.loads(out)["differences"]}
    assert found["app workers"] == ["2", "4"]
