"""A study is run in parts, or without some variants, so that Holm's correction has less to correct."""

import pytest
from ironbench import bundle as bundles
from ironbench.records import SCHEMA, Claims
from ironbench.report import write_report

from tests.made import plan, replace, study

from .test_edited_afterwards import CLAIM, COMPARISON

CLAIMS = [
    replace(CLAIM, id=f"{experiment}-{variant}", comparison=replace(
        COMPARISON, experiment=experiment, variant=variant, against="baseline"
    ))
    for experiment in ("signin", "me")
    for variant in ("optimization-1", "final")
]  # fmt: skip

SAYS = (
    "2 claims are left out, for this plan does not measure all of the study ({}): p is corrected over 2 comparisons, and "
    "would be over 4 with the whole study."
)


@pytest.fixture
def texts(tmp_path):
    """Return what the terminal, Markdown and HTML say of a plan."""

    def texts(**chosen):
        path = bundles.create(
            tmp_path / "results",
            plan(**chosen),
            study(),
            tmp_path,
            claims=Claims(schema=SCHEMA, claims=CLAIMS),
        )
        _, terminal = write_report(path)
        found = [terminal, (path / "report.md").read_text(), (path / "report.html").read_text()]
        return [" ".join(text.split()).replace("&#39;", "'") for text in found]

    return texts


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"experiments": ["me"]}, SAYS.format("signin")),
        ({"variants": ["baseline", "final"]}, SAYS.format("signin, me")),
    ],
    ids=["one experiment", "two variants"],
)
def test_what_is_left_out_is_told_beside_the_verdicts(texts, chosen, says):
    assert [says in text for text in texts(**chosen)] == [True, True, True]


def test_a_plan_of_the_whole_study_says_nothing(texts):
    assert not any("left out" in text for text in texts())
