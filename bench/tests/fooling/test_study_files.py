"""A study that somebody else wrote stops or floods the controller: a pattern, aliases, a number, a body without end."""

import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench.errors import IronbenchError
from ironbench.flame.stacks import parse, share
from ironbench.records import ExperimentCell, LoadChange, NamedFunction
from ironbench.study import MAX_COMMAND_LINE, command_line_bytes, load_study

from tests.made import experiment, replace, study

SOON_S = 20
"""What hangs takes longer than anybody waits; a refusal takes milliseconds."""
REAL = Path(__file__).parents[3] / "studies/iron_track"


def written(tmp_path, text):
    (tmp_path / "experiments.yml").write_text(text)
    return tmp_path


def as_text(made):
    return msgspec.yaml.encode(made).decode()


def refusal(tmp_path, text):
    with pytest.raises(IronbenchError) as told:
        load_study(written(tmp_path, text))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000
    return str(told.value)


def alone(code):
    """Run Python code in a process of its own, which is ended when it hangs; return whether it ended by itself."""
    try:
        done = subprocess.run([sys.executable, "-c", code], timeout=SOON_S, check=False, capture_output=True)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def test_pattern_that_takes_for_ever():
    """``(a+)+$`` on a long frame: a backtracking engine tries 2^40 ways."""
    assert alone(
        "from ironbench.flame.stacks import parse, share\n"
        "from ironbench.records import NamedFunction\n"
        "share(parse('a' * 40 + '! 1', 'x'), NamedFunction(title='t', frames='(a+)+$'))\n"
    )


def test_pattern_still_finds():
    found = share(parse("aaa 1\nb 3", "x"), NamedFunction(title="t", frames="(a+)+$"))
    assert found == 25


@pytest.mark.parametrize(
    "pattern", ["(a", "(?=a)b", r"(a)\1", "a" * 5000, "((((a{1000}){1000}){1000}){1000})"]
)
def test_pattern_that_the_engine_does_not_take(tmp_path, pattern):
    text = (REAL / "experiments.yml").read_text()
    start = text.index("  waiting: '")
    end = text.index("\n", start)
    said = refusal(tmp_path, f"{text[:start]}  waiting: '{pattern}'{text[end:]}")
    assert "which is no regular expression of RE2" in said


def test_aliases_that_repeat_each_other(tmp_path):
    """Nine levels of nine: a file of 500 bytes, and 10^9 values when it is converted."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    (tmp_path / "experiments.yml").write_text("\n".join(levels) + "\n")
    assert alone(
        "from pathlib import Path\nfrom ironbench.study import load_study\nfrom ironbench.errors import IronbenchError\n"
        f"try: load_study(Path({str(tmp_path)!r}))\nexcept IronbenchError: pass\n"
    )
    assert "each counted as often as aliases repeat it" in refusal(tmp_path, "\n".join(levels))


def test_merges_that_repeat_each_other(tmp_path):
    """Merge keys are written out while the file is loaded, before anything of it is checked."""
    levels = ["a0: &a0 {k: v, l: v}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 10)]
    (tmp_path / "experiments.yml").write_text("\n".join(levels) + "\n")
    assert alone(
        "from pathlib import Path\nfrom ironbench.study import load_study\nfrom ironbench.errors import IronbenchError\n"
        f"try: load_study(Path({str(tmp_path)!r}))\nexcept IronbenchError: pass\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]\n", "names nothing that is complete before it"),
        ("[" * 5000, "nested more than"),
        ("a: " + "[" * 60 + "]" * 60, "nested more than"),
        ("title: " + "x" * 2_000_000, "has more than 1048576 bytes"),
        ("schema: 2001-13-45\n", "is not a study"),
        ("? [a]\n: b\n", "is not a study"),
        ("schema: " + "9" * 5000 + "\n", "is not a study"),
        ("a: !!python/object/apply:os.system [true]\n", "is not a study"),
        ("\0", "is not a study"),
    ],
)
def test_file_that_is_no_study(tmp_path, text, said):
    assert said in refusal(tmp_path, text)


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", ".NaN", "1.0e+999"])
def test_number_that_is_none(tmp_path, number):
    text = as_text(study()).replace("rate: 3.0", f"rate: {number}")
    assert f"has the number {number}, which no figure can be" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rate: 3.0", "rate: 1.0e+308", "has rate 1e+308; at most 1,000,000 is allowed"),
        ("rate: 3.0", "rate: -1.0", "needs rate > 0"),
        ("connections: 4", "connections: 99999999999999999999", "has connections"),
        ("threads: 2", "threads: 4000", "has threads"),
        ("window_s: 8", "window_s: 1.0e+300", "has window_s 1e+300"),
        ("window_s: 8", "window_s: -8", "window_s > 0"),
        ("warmup_s: 2", "warmup_s: -2", "warmup_s >= 0"),
        ("blocks: 3", "blocks: 1000000000", "has blocks"),
        ("users: 1", "users: 1000000000", "has users"),
        ("rate: 3.0", "rate: 900000.0", "a window has 7200000 requests, and at most 5000000 are kept"),
    ],
)
def test_number_that_nobody_means(tmp_path, old, new, said):
    text = as_text(study())
    assert old in text
    assert said in refusal(tmp_path, text.replace(old, new))


def test_body_that_no_command_line_holds(tmp_path):
    """A session travels to the hosts on a command line, and Linux takes 128 KiB for one argument."""
    request = replace(experiment().request, form={"username": "{user.email}", "note": "x" * 60_000})
    made = study(experiments={"signin": experiment(request=request)})
    assert "experiment signin has 60" in refusal(tmp_path, as_text(made))


def test_cells_that_no_command_line_holds(tmp_path):
    cells = {
        f"cell-{number}": ExperimentCell(variant="final", load=LoadChange(rate=1.0 + number))
        for number in range(1000)
    }
    made = study(experiments={"signin": experiment(variants=[], cells=cells, factor="rate")})
    assert "give it fewer cells" in refusal(tmp_path, as_text(made))


def test_apostrophes_that_no_command_line_holds(tmp_path):
    """Each shell writes an apostrophe in five characters: 2 kB of them are 128 kB after the third."""
    request = replace(experiment().request, form={"username": "{user.email}", "note": "'" * 2000})
    made = study(experiments={"signin": experiment(request=request)})
    assert "bytes as it is sent to the hosts" in refusal(tmp_path, as_text(made))


def test_largest_session_passes_three_shells():
    """What is allowed does get through: two sessions in one argument, quoted as Ansible quotes them."""
    note = "it's " * 500
    while command_line_bytes(
        made := experiment(request=replace(experiment().request, form={"note": note}))
    ) < (MAX_COMMAND_LINE - 400):
        note += "x"
    text = 2 * msgspec.json.encode(made).decode()
    command = f"printf '%s' {shlex.quote(text)} | wc -c"
    for _ in range(2):
        command = f"/bin/sh -c {shlex.quote(command)}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True)
    assert int(done.stdout) == len(text)
