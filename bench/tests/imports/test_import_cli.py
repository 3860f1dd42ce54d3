"""`ironbench import wrk2` and `import sar` as their users run them."""

import json
import stat

import msgspec
import pytest

from .logs import cpu_section, plain_section, sar_report, wrk2_log

SADF_JSON = {
    "sysstat": {
        "hosts": [
            {
                "nodename": "debian",
                "release": "6.1.0",
                "number-of-cpus": 1,
                "statistics": [
                    {
                        "timestamp": {"date": "2026-05-18", "time": f"09:59:3{second}", "utc": 1, "interval": 1},
                        "cpu-load": [
                            {
                                "cpu": cpu, "usr": 10.0 * second, "nice": 0, "sys": 0, "iowait": 0, "steal": 0,
                                "irq": 0, "soft": 5.0, "guest": 0, "gnice": 0, "idle": 95 - 10.0 * second,
                            }
                            for cpu in ("all", "0")
                        ],
                        "process-and-context-switch": {"proc": second, "cswch": 100 * second},
                        "queue": {"runq-sz": second},
                    }
                    for second in (1, 2, 3)
                ],
            }
        ]
    }
}  # fmt: skip
SAR_TEXT = sar_report(
    cpu_section(3, cpus=(0,), busy=lambda _, second: 10.0 * second, soft=5.0, start=35_970, average_usr=19.5),
    plain_section(("proc/s", "cswch/s"), [(1, 100), (2, 200), (3, 300)], start=35_970),
    plain_section(("runq-sz",), [(1,), (2,), (3,)], start=35_970),
)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def command(path, script):
    """Put a stand-in for a program of sysstat, which may be absent, on the path."""
    write(path, f"#!/bin/sh\n{script}\n").chmod(0o700 | stat.S_IXUSR)


def test_wrk2_has_exactly_the_documented_shape(run, tmp_path):
    path = write(tmp_path / "run.txt", wrk2_log(errors=(0, 1, 0, 2), non_2xx=4))
    code, out, _ = run("import", "wrk2", path, "--json")
    told = json.loads(out)
    assert code == 0
    assert list(told) == [
        "file", "latency_ms", "recorded", "requests", "duration_s", "errors", "non_2xx", "spectrum",
    ]  # fmt: skip
    assert set(told["latency_ms"]) == {"mean", "stdev", "max", "p50", "p75", "p90", "p99", "p999"}
    assert told["errors"] == {"connect": 0, "read": 1, "write": 0, "timeout": 2}
    assert (told["recorded"], told["requests"], told["duration_s"], told["non_2xx"]) == (100, 148, 30.02, 4)
    assert told["spectrum"][-1] == {"value_ms": 671.231, "percentile": 1.0, "count": 100}


def test_several_files_are_an_object_a_line(run, tmp_path):
    paths = [write(tmp_path / f"{n}.txt", wrk2_log()) for n in range(3)]
    _, out, _ = run("import", "wrk2", *paths, "--json")
    assert [json.loads(line)["file"] for line in out.splitlines()] == [str(path) for path in paths]


def test_uncorrected_latency_is_added_where_the_log_has_it(run, tmp_path):
    path = write(tmp_path / "run.txt", wrk2_log(uncorrected_us=[100_000] * 100))
    told = json.loads(run("import", "wrk2", path, "--json")[1])
    assert told["uncorrected"]["latency_ms"]["p50"] < told["latency_ms"]["p50"]


def test_one_bad_file_and_nothing_is_printed(run, tmp_path):
    good, bad = write(tmp_path / "a", wrk2_log()), write(tmp_path / "b", wrk2_log()[:500])
    code, out, err = run("import", "wrk2", good, bad)
    assert (code, out) == (2, "")
    assert err.startswith(f"ironbench: {bad}, line ")
    assert run("import", "wrk2", tmp_path / "none")[2] == (
        f"ironbench: cannot read {tmp_path / 'none'}: No such file or directory.\n"
    )


def test_for_people(run, tmp_path):
    _, out, _ = run("import", "wrk2", write(tmp_path / "run.txt", wrk2_log()))
    assert "mean 656.512, p50 650.239" in out
    assert "100 of 148 requests recorded in 30.02 s" in out
    _, out, _ = run("import", "sar", write(tmp_path / "cpu.txt", SAR_TEXT), "--window", "2-3")
    assert "CPU 0: 19.50 %usr of the whole record, 30.00 % busy in the window" in out
    assert "cswch/s: mean 250.00, max 300" in out


def told_sar(run, path, *arguments):
    return json.loads(run("import", "sar", path, "--json", *arguments)[1])


def test_sar_text_and_sadfs_json_say_the_same(run, tmp_path):
    text = told_sar(run, write(tmp_path / "cpu.txt", SAR_TEXT), "--window", "2-3")
    sadf = told_sar(run, write(tmp_path / "sar.json", json.dumps(SADF_JSON)), "--window", "2-3")
    assert (text["start"], text["window"], text["samples"]) == ("2026-05-18T09:59:30", [2, 3], 3)
    for report in (text, sadf):
        report["cores"][0].pop("usr_whole_record")
        for series in report["series"]:
            series.pop("average")
    for key in ("start", "samples", "window", "cores"):
        assert text[key] == sadf[key], key
    assert sorted(text["series"], key=str) == sorted(sadf["series"], key=str)
    assert (text["clock"], sadf["clock"]) == ("local", "UTC")


def test_a_binary_file_needs_sysstat(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run("import", "sar", write(tmp_path / "sa18", b"\x96\xd5\x75\x21rest"))
    assert code == 2
    assert "has no sadf to read it: install the package sysstat" in err


def test_a_binary_file_goes_through_sadf_and_takes_its_averages_from_sar(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    write(tmp_path / "told.json", json.dumps(SADF_JSON))
    write(tmp_path / "told.txt", SAR_TEXT)
    command(tmp_path / "sadf", f"cat {tmp_path}/told.json")
    command(tmp_path / "sar", f"cat {tmp_path}/told.txt")
    told = told_sar(run, write(tmp_path / "sa18", b"\x96\xd5\x75\x21rest"))
    assert (told["cores"][0]["usr"], told["cores"][0]["usr_whole_record"]) == (20, 19.5)


def test_a_binary_file_that_sadf_does_not_read(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command(tmp_path / "sadf", "echo 'Invalid system activity file' >&2; exit 3")
    _, _, err = run("import", "sar", write(tmp_path / "sa18", b"\x96\xd5\x75\x21rest"))
    assert "cannot be read by this machine's sadf (Invalid system activity file)" in err


@pytest.mark.parametrize("window", ["2", "0-3", "3-2", "a-b"])
def test_a_window_that_is_none(run, tmp_path, window):
    code, _, err = run("import", "sar", write(tmp_path / "cpu.txt", SAR_TEXT), "--window", window)
    assert code == 2
    assert "is not FIRST-LAST in samples" in err


def test_errors_of_sar_name_the_file(run, tmp_path):
    path = write(tmp_path / "cpu.txt", SAR_TEXT)
    assert run("import", "sar", path, "--window", "2-9")[2].startswith(f"ironbench: {path}: the window 2-9")
    path = write(tmp_path / "sar.json", b'{"sysstat": {}}')
    assert run("import", "sar", path)[2].startswith(f"ironbench: {path}: this is not sadf's JSON")
    two = msgspec.json.decode(json.dumps(SADF_JSON))
    two["sysstat"]["hosts"] *= 2
    path = write(tmp_path / "two.json", json.dumps(two))
    assert "of 2 hosts" in run("import", "sar", path)[2]
