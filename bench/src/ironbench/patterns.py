"""Regular expressions that somebody else wrote: searched by RE2, whose time grows with the text and not with its powers.

RE2's syntax is that of Python's ``re`` without backreferences and lookaround (github.com/google/re2/wiki/Syntax).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

import re2

if TYPE_CHECKING:
    import re

MAX_LENGTH = 2000
"""Characters of one expression; the longest of the study that comes with ironbench has 170."""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile an expression; raises ValueError for one that RE2 does not take."""
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"it has {len(pattern)} characters, and {MAX_LENGTH} are allowed")
    options = re2.Options()
    options.log_errors = False
    try:
        return cast("re.Pattern[str]", re2.compile(pattern, options))  # RE2 has its methods, but no types
    except re2.error as error:
        said = error.args[0]
        raise ValueError(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from error
