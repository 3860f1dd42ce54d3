"""A service that lets a search find a high rate by not answering, or by answering rubbish, at that rate."""

import msgspec
import pytest
from ironbench.records import Search, SearchResult

from .real_load import make_load, serving

SEARCH = Search(p99_ms=400, from_rate=40, to_rate=200, steps=2, step_s=1, warmup_s=0)
FIRST = 1 + 40
"""What the first step asks for, its gate included."""
WRONG = 4
"""Requests of the second that go wrong, after its gate: too few for its P99."""


@pytest.mark.parametrize("kind", ["page", "apology", "silent", "broken"])
def test_no_rate_is_kept_that_was_not_answered_as_expected(tmp_path, kind):
    """The second step passes its gate, and so does the run at the rate that was found."""
    with serving() as url:
        make_load(
            tmp_path / "out", url, f"/within/{FIRST + 1}/{FIRST + 1 + WRONG}/{kind}", search=SEARCH, rate=40.0
        )
    found = msgspec.json.decode((tmp_path / "out/search.json").read_bytes(), type=SearchResult)
    assert [(step.rate, step.kept) for step in found.steps] == [(40, True), (200, False)]
    assert found.highest_rps == 40
