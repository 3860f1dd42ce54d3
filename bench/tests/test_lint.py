"""The command `ironbench lint`, and what it says of our own results."""

import json

from .made import due, new_bundle, plan, seal_next


def test_our_own_results(tmp_path, run):
    bundle = new_bundle(tmp_path, plan("short", experiments=["signin"]))
    while due(bundle):
        seal_next(bundle, tmp_path)
    run("report", bundle)
    code, out, _ = run("lint", bundle / "results.json", "--json")
    answer = json.loads(out)
    assert (code, answer["errors"]) == (0, 0)
    assert [(flaw["rule"], flaw["table"]) for flaw in answer["flaws"]] == [("few-runs", "signin")]
    newer = tmp_path / "newer.json"
    newer.write_bytes((bundle / "results.json").read_bytes().replace(b'"schema": 1', b'"schema": 2', 1))
    code, _, err = run("lint", newer)
    assert (code, err) == (2, f"ironbench: {newer} has schema 2, and this ironbench reads schema 1 only.\n")


def test_exit_status_and_lines(tmp_path, run):
    bad, weak, good = (tmp_path / name for name in ("bad.csv", "weak.csv", "good.csv"))
    bad.write_text("name,p99 ms,max ms\na,70.1,60.0\n")
    weak.write_text("name,p99 ms,count\na,70.1,100\n")
    good.write_text("name,p99 ms,count\na,70.1,5000\n")
    line = (
        f"{bad}:2:p99 ms: error: P99 70.1 of a is above its max 60.0, which no sample can do, so the two are not of "
        "the same run, or one is mistyped. [percentile-above-max]"
    )
    assert run("lint", bad) == (1, f"{line}\n1 error, 0 warnings in 1 file\n", "")
    assert run("lint", weak)[0] == 0
    assert run("lint", good) == (0, "0 errors, 0 warnings in 1 file\n", "")
    assert run("lint", bad, weak, good)[0] == 1


def test_unreadable_file_is_2_and_prints_nothing_else(tmp_path, run):
    bad = tmp_path / "bad.csv"
    bad.write_text("name,p99 ms,max ms\na,70.1,60.0\n")
    code, out, err = run("lint", bad, tmp_path / "none")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_json_has_every_flaw(tmp_path, run):
    bad = tmp_path / "bad.csv"
    bad.write_text("name,p99 ms,max ms\na,70.1,60.0\n")
    code, out, _ = run("lint", bad, "--json")
    answer = json.loads(out)
    assert (code, answer["errors"], answer["warnings"], answer["files"]) == (1, 1, 0, [str(bad)])
    (flaw,) = answer["flaws"]
    assert (flaw["file"], flaw["row"], flaw["column"], flaw["rule"]) == (
        str(bad),
        2,
        "p99 ms",
        "percentile-above-max",
    )
    assert flaw["what"]
    assert flaw["why"]
