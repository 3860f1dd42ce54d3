"""What a host, a log or a study says is obeyed by a terminal, a browser or a viewer of Markdown."""

import html
import json
import re

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.records import Finding
from ironbench.report import write_report

from tests.made import due, new_bundle, plan, replace, seal_next, study

ESCAPES = "\x1b]0;title\x07 \x1b[2J\x1b[1;1HAll claims hold here.\x1b[8m \x9b31m \u202egnirts"
MARKUP = "<script>alert(1)</script> <img src=x onerror=alert(1)> [all is well](javascript:alert(1)) ![x](http://x/) `|a|"
HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def reported(tmp_path, words):
    """Make a bundle in which a host and a lost session say such words; return its directory."""
    made = new_bundle(tmp_path, plan("short", experiments=["signin"]))
    told = {"schema": 1, "name": "box", "cpu_model": words, "governor": words, "kernel": words, words: words}
    bundles.write_environment(made, "box", msgspec.json.encode(told))
    bundles.lose_pending(
        made, [Finding(kind="generator-died", host="box", detail=f"the generator said: {words}")]
    )
    while due(made):
        seal_next(made, tmp_path)
    return made


def test_terminal_is_not_told_what_to_do(tmp_path, run):
    bundle = reported(tmp_path, ESCAPES)
    code, out, err = run("report", bundle)
    assert (code, err) == (0, "")
    assert "the generator said: \\u001b]0;title" in out
    assert not HIDDEN.search(out)


def test_json_on_a_terminal_is_the_same_json(tmp_path, run):
    bundle = reported(tmp_path, ESCAPES)
    _, out, _ = run("report", bundle, "--json")
    assert not HIDDEN.search(out)
    assert json.loads(out)["environment"]["box"]["cpu_model"] == ESCAPES


def test_refusals_do_not_tell_a_terminal_what_to_do(tmp_path, run):
    code, out, err = run("pending", tmp_path / ESCAPES.replace("/", ""))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not HIDDEN.search(err)


def test_lint_does_not_either(tmp_path, run):
    path = tmp_path / "table.md"
    path.write_text(f"| Variant | p50 |\n|---|---|\n| {ESCAPES} | 5 |\n| b | x{ESCAPES} |\n")
    _, out, err = run("lint", path)
    assert not HIDDEN.search(out + err)


def test_line_of_the_report_is_not_forged(tmp_path, run):
    bundle = reported(tmp_path, "nothing.\n\nClaims\n------\nholds here  final is cheaper\r\u2028## Claims")
    _, out, _ = run("report", bundle)
    assert not any(line.startswith(("Claims", "holds here", "## Claims")) for line in out.splitlines()[1:])
    lines = (bundle / "report.md").read_text().splitlines()
    assert not any(line.startswith(("Claims", "holds here", "## Claims")) for line in lines)


def test_browser_runs_nothing(tmp_path):
    bundle = reported(tmp_path, MARKUP)
    page = (write_report(bundle), (bundle / "report.html").read_text())[1]
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert 'href="javascript' not in page
    assert MARKUP in html.unescape(page)


def test_markdown_has_no_tag_and_no_link(tmp_path):
    bundle = reported(tmp_path, MARKUP)
    write_report(bundle)
    text = (bundle / "report.md").read_text()
    assert "said: " in text
    assert "<script" not in text
    assert "<img" not in text
    assert "](" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "said: " in line]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows), (
        "a cell of others has no column of its own"
    )


@pytest.mark.parametrize("title", [MARKUP, ESCAPES])
def test_title_of_an_experiment(tmp_path, run, title):
    titled = study()
    titled = replace(titled, experiments={"signin": replace(titled.experiments["signin"], title=title)})
    bundle = new_bundle(tmp_path, plan("short", of=titled))
    while due(bundle):
        seal_next(bundle, tmp_path)
    _, out, _ = run("report", bundle)
    assert not HIDDEN.search(out)
    text = (bundle / "report.md").read_text()
    assert "<script" not in text
    assert "](" not in text
    assert "<script>alert" not in (bundle / "report.html").read_text()
