"""Flame graphs are recorded in two visits, with another wheel in the second: a share of both is a share of neither."""

import json

import pytest
from ironbench.errors import IronbenchError
from ironbench.flame import files
from ironbench.report import compute

from tests.made import reseal
from tests.test_flame import handed_in, make, own_bundle

ONE = {"app wheel": "1" * 64}
OTHER = {"app wheel": "2" * 64}


def test_another_wheel_is_not_sealed(tmp_path):
    made = make()
    bundle = own_bundle(tmp_path, made)
    files.seal_recording(bundle, handed_in(made, made.runs[0], measured=ONE))
    with pytest.raises(IronbenchError, match="app wheel: it was 111111111111 and is 222222222222"):
        files.seal_recording(bundle, handed_in(made, made.runs[1], measured=OTHER))
    files.seal_recording(bundle, handed_in(made, made.runs[1], measured=ONE))


def test_recordings_of_two_wheels_lie_in_one_bundle(tmp_path):
    made = make()
    bundle, other = (own_bundle(tmp_path / name, made) for name in ("a", "b"))
    for run in made.runs[:4]:
        files.seal_recording(bundle, handed_in(made, run, measured=ONE))
        files.seal_recording(other, handed_in(made, run, measured=OTHER))
    odd = made.runs[1]
    (path,) = bundle.glob(f"flamegraphs/{odd.experiment}/{odd.block:02d}/{odd.variant}")
    path.rename(tmp_path / "moved")
    (other / path.relative_to(bundle)).rename(path)
    reseal(bundle, *path.iterdir())
    assert json.loads((path / "recording.json").read_bytes())["run"]["position"] == 2
    (damage,) = compute(bundle).damaged
    assert damage.kind == "other-measured"
    assert "did not record what" in damage.detail
