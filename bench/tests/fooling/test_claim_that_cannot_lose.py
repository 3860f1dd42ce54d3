"""A claims file lists one comparison twice, once as lower and once as higher: one of the two always holds."""

import msgspec
import pytest
from ironbench.records import SCHEMA, Claims

from tests.made import replace, study

from .test_edited_afterwards import CLAIM, COMPARISON

TURNED = replace(COMPARISON, variant=COMPARISON.against, against=COMPARISON.variant)


@pytest.mark.parametrize(
    "other",
    [
        replace(CLAIM, id="other", expects="lower"),
        replace(CLAIM, id="other", expects="same", kind="mechanism"),
        replace(CLAIM, id="other", comparison=TURNED),
        replace(CLAIM, id="other"),
    ],
    ids=["opposite", "of another kind", "sides turned round", "again"],
)
def test_one_comparison_with_two_claims_is_refused(tmp_path, run, other):
    (tmp_path / "experiments.yml").write_bytes(msgspec.yaml.encode(study()))
    (tmp_path / "claims.yml").write_bytes(msgspec.yaml.encode(Claims(schema=SCHEMA, claims=[CLAIM, other])))
    code, _, err = run("plan", "--study", tmp_path, "--protocol", "quick", "--results", tmp_path / "results")
    assert code == 2
    assert "claim 'other' rests on the same comparison as 'dearer'" in err
