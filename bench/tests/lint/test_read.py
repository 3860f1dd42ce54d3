"""What lint makes of names, cells and files, whatever way round they are."""

import json
import random
from pathlib import Path

import pytest
from ironbench.errors import IronbenchError
from ironbench.lint.names import differs, read_name
from ironbench.lint.read import read_tables
from ironbench.lint.rules import lint
from ironbench.lint.tables import Metric, measured, read_figures


def figure(text, unit="", *, comma=False):
    found = read_figures(text, 1, "x", unit, comma=comma)
    return (found[0].value, found[0].unit) if found else None


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stat", "family", "unit"),
    [
        ("mean", "mean", "", ""),
        ("Mean Latency", "mean", "", ""),
        ("avg_ms", "mean", "", "ms"),
        ("latency_ms.mean", "mean", "", "ms"),
        ("Average response time (us)", "mean", "", "us"),
        ("Median", "p50", "", ""),
        ("P90 (90%)", "p90", "", ""),
        ("p99", "p99", "", ""),
        ("latency_p99_us", "p99", "", "us"),
        ("p999", "p99.9", "", ""),
        ("p99_9", "p99.9", "", ""),
        ("P99.99, ms", "p99.99", "", "ms"),
        ("99th percentile [ms]", "p99", "", "ms"),
        ("99.000%", "p99", "", ""),
        ("100%", "max", "", ""),
        ("http_req_duration.p(95)", "p95", "http req", ""),
        ("Max Latency", "max", "", ""),
        ("max rps", "max", "rate", "rps"),
        ("StdDev", "stdev", "", ""),
        ("Std. deviation ms", "stdev", "", "ms"),
        ("requests", "count", "", ""),
        ("recorded", "count", "", ""),
        ("failed requests", "count", "failed", ""),
        ("Runs", "runs", "", ""),
        ("n", "runs", "", ""),
        ("Offered rate, rps", "rate", "", "rps"),
        ("target_rps", "rate", "", "rps"),
        ("Requests/sec", "achieved", "", ""),
        ("Achieved rate", "achieved", "", ""),
        ("duration_s", "duration", "", "s"),
        ("Duration", "duration", "", "s"),
        ("service p99", "p99", "service", ""),
        ("CPU Load (Core 0)", "", "cpu load core 0", ""),
        ("Optimization 1", "", "optimization 1", ""),
        ("", "", "", ""),
    ],
)
def test_names(text, stat, family, unit):
    name = read_name(text)
    assert (name.metric, name.unit) == (Metric(stat=stat, family=family), unit)


@pytest.mark.parametrize(
    ("text", "others", "expected"),
    [
        ("Difference (Delta)", ["Baseline", "Final"], True),
        ("Delta (Baseline → Final)", ["Baseline", "Optimization 1", "Final"], True),
        ("Δ %", ["a", "b"], True),
        ("opt vs base", ["baseline", "optimization-1"], True),
        ("change-password", ["login"], False),
        ("final", ["baseline"], False),
    ],
)
def test_what_is_a_difference(text, others, expected):
    assert differs(text, others) is expected


# --- cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("662.76 ms", (662.76, "ms")),
        ("1.10s", (1100.0, "ms")),
        ("510us", (0.51, "ms")),
        ("5 µs", (0.005, "ms")),
        ("57.55%", (57.55, "%")),
        ("−0.9 %", (-0.9, "%")),  # noqa: RUF001 - as tables have it
        ("+5.63 ms", (5.63, "ms")),
        ("4.49x", (4.49, "x")),
        ("1,234.5", (1234.5, "")),
        ("12,5", (12.5, "")),
        ("1 234", (1234.0, "")),
        ("1.2e3", (1200.0, "")),
        ("n<10", None),
        ("-", None),
        ("", None),
        ("v1.2.3", None),
        ("2026-01-31", None),
        ("1e999", None),
        ("1" + " " * 100_000 + "x y", None),
    ],
)
def test_cells(text, expected):
    assert figure(text) == (expected and (pytest.approx(expected[0]), expected[1]))


def test_the_header_gives_the_unit_that_a_cell_does_not():
    assert figure("5", "us") == (pytest.approx(0.005), "ms")
    assert figure("5 ms", "us") == (5.0, "ms")


def test_decimal_comma():
    assert figure("1.234,5 ms", comma=True) == (1234.5, "ms")


def test_rounding_is_known_from_the_digits():
    (one,) = read_figures("3.70 ms", 1, "x")
    assert (one.half, one.digits) == (0.005, 3)
    rounder = read_figures("1100.00 ms (1.10s)", 1, "x")
    assert measured(rounder).half == 5.0  # 1.10 s is anything from 1.095 s
    two = read_figures("-0.9% (-6.13 ms)", 1, "x")
    assert [(part.value, part.unit) for part in two] == [(-0.9, "%"), (-6.13, "ms")]
    assert measured(two).half == pytest.approx(0.05)


# --- files -------------------------------------------------------------------------------------


def read(tmp_path, text, name="x.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_tables(path)


def means(table):
    return {one.name: one.figures[Metric(stat="mean")].value for one in table.series}


def test_both_ways_round_are_one_table(tmp_path):
    (across,) = read(tmp_path, "variant,mean ms,p99 ms\na,1.5,2\nb,2.5,3\n")
    (down,) = read(tmp_path, "metric,a,b\nmean ms,1.5,2.5\np99 ms,2,3\n")
    assert means(across) == means(down) == {"a": 1.5, "b": 2.5}


@pytest.mark.parametrize(
    "text", ["a;mean ms\nx;1,5\n", "a\tmean ms\nx\t1.5\n", "\ufeffa,mean ms\r\n\r\nx,1.5\r\n"]
)
def test_csv_dialects(tmp_path, text):
    (table,) = read(tmp_path, text)
    assert means(table) == {"x": 1.5}


@pytest.mark.parametrize(
    "value",
    [
        [{"name": "a", "mean": 1.50}, {"name": "b", "mean": 2.5}],
        {"results": [{"name": "a", "mean": 1.5}, {"name": "b", "latency": {"mean": 2.5}}]},
        {"a": {"mean": 1.5}, "b": {"mean": 2.5, "tags": ["x"]}},
        {"study": {"me": {"a": {"latency_ms": 3, "mean": 1.5}, "b": {"mean": 2.5}}}},
    ],
)
def test_json_forms(tmp_path, value):
    (table,) = read(tmp_path, json.dumps(value), "x.json")
    assert means(table) == {"a": 1.5, "b": 2.5}


def test_json_keeps_its_digits(tmp_path):
    (table,) = read(tmp_path, '[{"mean": 1.50}]', "x.json")
    assert table.series[0].figures[Metric(stat="mean")].half == 0.005


def test_shared_values_hold_for_every_row(tmp_path):
    value = {"rate": 5, "duration": "30 s", "note": "saturated", "rows": [{"name": "a", "p99": 20}]}
    tables = read(tmp_path, json.dumps(value), "x.json")
    assert [flaw.rule for flaw in lint(tables)] == ["few-samples"]
    assert "saturated" in tables[0].text


def test_several_tables_of_a_file(tmp_path):
    value = {"one": [{"p99": 20, "max": 10}], "two": [{"p99": 1, "max": 2}]}
    flaws = lint(read(tmp_path, json.dumps(value), "x.json"))
    assert [(flaw.table, flaw.row, flaw.column) for flaw in flaws] == [("one", 1, "p99")]


def told(number, mean):
    return {
        "file": f"signup/run_{number}.txt",
        "latency_ms": {
            "mean": mean,
            "stdev": 9.79,
            "max": 682.496,
            "p50": 665.6,
            "p90": 674.3,
            "p99": 679.93,
        },
        "recorded": 100,
        "requests": 148,
        "spectrum": [{"value_ms": 637.951, "percentile": 0.0, "count": 1}],
        "uncorrected": None,
    }


def test_records_of_ironbench_import(tmp_path):
    """Lines of JSON; the samples are the recorded ones, and the spectrum is no table."""
    lines = "\n".join(json.dumps(told(number, mean)) for number, mean in ((1, 662.764), (2, 591.866)))
    (table,) = read(tmp_path, lines + "\n", "x.json")
    assert [one.run for one in table.series] == [True, True]
    assert {flaw.what for flaw in lint([table])} == {
        f"P99 of signup/run_{n}.txt has 1 of 100 samples above it" for n in (1, 2)
    }
    (published,) = read(tmp_path, "metric,Baseline\nMean,662.76 ms\nP99,679.93 ms\n")
    assert "one-of-several" in {flaw.rule for flaw in lint([table, published])}
    (single,) = read(tmp_path, json.dumps(told(1, 662.764)), "y.json")
    assert len(single.series) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no header with rows below it"),
        ("mean,p99\n", "has no header with rows below it"),
        ("name,colour\na,red\n", "holds no figure that has a name"),
        ("mean\nred\n", "holds no figure that has a name"),
        ("{", "is not JSON, line 1"),
        ('{"a": 1}\n{"a": 2\n', "is not JSON, line 2"),
        ("[" * 200_000, "is nested too deeply"),
        ('{"mean": NaN}', "holds no figure that has a name"),
        ('[{"mean": 1e999999999}]', "holds no figure that has a name"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(IronbenchError, match=sentence) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "x.csv"))


def test_no_text_no_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"mean\n\xff\xfe\n")
    with pytest.raises(IronbenchError, match="is not text in UTF-8"):
        read_tables(path)
    with pytest.raises(IronbenchError, match=f"cannot read {tmp_path}/none"):
        read_tables(tmp_path / "none")


FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("name", ["final-signup.csv", "runs-signup.csv", "round-1-signin.csv", "told"])
def test_mutated_files_are_read_or_refused_in_one_sentence(tmp_path, name):
    lines = [json.dumps(told(number, 600.0 + number)) for number in (1, 2)]
    whole = "\n".join(lines).encode() if name == "told" else (FIXTURES / name).read_bytes()
    draw = random.Random(name)
    path = tmp_path / "x"
    sentences = []
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(draw.randrange(1, 6)):
            at = draw.randrange(len(raw))
            piece = draw.choice(
                [b"", b",", b'"', b"%", b"(", b"-", b"0", b"\n", b"\xff", b"1e9", raw[at : at + 40]]
            )
            raw[at : at + draw.randrange(8)] = piece
        path.write_bytes(raw)
        try:
            lint(read_tables(path))
        except IronbenchError as error:
            sentences.append(str(error))
    assert len(sentences) < 400
    assert all(sentence.startswith(str(path)) and "\n" not in sentence for sentence in sentences)
