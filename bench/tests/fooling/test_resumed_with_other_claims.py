"""A plan is begun, the first figures are looked at, and it goes on with other claims, retries or a seed of choice."""

import json
from pathlib import Path

import msgspec
import pytest
from ironbench.records import SCHEMA, Claims

from tests.made import seal_next, study

from .test_edited_afterwards import CLAIM


@pytest.fixture
def begin(tmp_path, run):
    """Ask for the plan of a study, and return (its bundle, whether it goes on with one)."""
    directory = tmp_path / "study"
    directory.mkdir()
    (directory / "experiments.yml").write_bytes(msgspec.yaml.encode(study()))

    def begin(*claims, options=()):
        written = Claims(schema=SCHEMA, claims=list(claims))
        (directory / "claims.yml").write_bytes(msgspec.yaml.encode(written))
        code, out, err = run(
            *("plan", "--study", directory, "--protocol", "quick", "--results", tmp_path / "results"),
            *("--resume", "--json", *options, *(() if "--id" in options else ("--id", "second"))),
        )
        assert code == 0, err
        answer = json.loads(out)
        return Path(answer["bundle"]), answer["resumed"]

    return begin


def test_the_same_question_goes_on(begin, tmp_path):
    bundle, _ = begin(CLAIM, options=("--id", "first"))
    seal_next(bundle, tmp_path)
    assert begin(CLAIM) == (bundle, True)


def test_a_claim_is_turned_round_half_way(begin, tmp_path):
    bundle, _ = begin(CLAIM, options=("--id", "first"))
    seal_next(bundle, tmp_path)
    other, resumed = begin(msgspec.structs.replace(CLAIM, expects="lower"))
    assert not resumed
    assert other != bundle


@pytest.mark.parametrize("options", [("--retries", "4"), ("--seed", "1")])
def test_retries_or_a_seed_are_chosen_half_way(begin, tmp_path, options):
    bundle, _ = begin(CLAIM, options=("--id", "first"))
    seal_next(bundle, tmp_path)
    assert begin(CLAIM, options=options)[1] is False
