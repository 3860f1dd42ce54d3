"""A study's publication: its tables and logs as data, and the rules that hold the one against the other."""

from ironbench.published.figures import Published, load_published, published_series
from ironbench.published.rules import RULES, judge_record

__all__ = ["RULES", "Published", "judge_record", "load_published", "published_series"]
