"""What ``ironbench load`` refuses before it connects, and how it writes."""

import gzip
import json

import msgspec
import pytest
from ironbench.errors import IronbenchError
from ironbench.load.spec import prepare, read_users
from ironbench.load.summary import durations
from ironbench.load.write import make_directory
from ironbench.records import SCHEMA, LoadSpec

SPEC = {
    "schema": SCHEMA,
    "run": "me.01.baseline",
    "base_url": "http://127.0.0.1:8000",
    "request": {"method": "GET", "path": "/", "expect": {"status": 200}},
    "load": {"rate": 10, "connections": 4, "threads": 2, "arrivals": "even"},
    "seed": 1,
    "warmup_s": 1,
    "window_s": 1,
    "idle_s": 1,
    "timeout_s": 1,
    "drain_s": 1,
    "users_file": None,
}


@pytest.fixture
def prepare_with(tmp_path):
    def prepare_with(**changes):
        known = {*SPEC["load"], "placement", "backend"}
        load = SPEC["load"] | {name: changes.pop(name) for name in list(changes) if name in known}
        path = tmp_path / "spec.json"
        path.write_text(json.dumps(SPEC | {"load": load} | changes))
        return prepare(path)[0]

    return prepare_with


def test_the_spec_that_the_others_are_made_from_is_good(prepare_with):
    prepared = prepare_with()

    assert (prepared.warmup.count, prepared.window.count) == (10, 10)
    assert prepared.spec == msgspec.convert(SPEC, LoadSpec)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "has schema 99; this ironbench reads schema 1 only"),
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"run": ""}, "run .* must be not empty"),
        ({"rate": 0}, "load.rate .* is 0.0; it must be above 0"),
        ({"connections": 0}, "load.connections .* must be 1 or more"),
        ({"threads": 3}, "load.connections .* must be a multiple of load.threads"),
        ({"processes": 3}, "processes .* is 3; it must be from 1 to load.threads"),
        ({"placement": "balanced", "base_url": "http+unix://%2Frun%2Fx"}, "a Unix socket does not tell"),
        ({"placement": "odd"}, "Invalid enum value 'odd'"),
        ({"base_url": "http+unix://run"}, r"must be http://HOST, .* or http\+unix://PATH"),
        ({"requests_file": "/does/not/exist"}, "requests file /does/not/exist cannot be read: No such file"),
        ({"threads": 5}, "load.threads .* must be from 1 to load.connections"),
        ({"arrivals": "odd"}, "Invalid enum value 'odd'"),
        ({"window_s": 0}, "window_s .* must be above 0"),
        ({"window_s": 0.01}, "too short for a request"),
        ({"warmup_s": -1}, "warmup_s .* must be 0 or more"),
        ({"timeout_s": 0}, "timeout_s .* must be above 0"),
        ({"base_url": "https://127.0.0.1"}, "must be http://HOST, http://HOST:PORT or"),
        ({"base_url": "http://127.0.0.1:port"}, "must be http://HOST,"),
        ({"base_url": "http://127.0.0.1/api"}, "must be http://HOST,"),
        (
            {"base_url": "http://does.not.exist.invalid"},
            "does.not.exist.invalid of base_url cannot be resolved",
        ),
        ({"users_file": "/does/not/exist"}, "users file /does/not/exist cannot be read: No such file"),
    ],
)
def test_a_bad_spec_is_refused_in_one_sentence(prepare_with, changes, message):
    with pytest.raises(IronbenchError, match=message) as caught:
        prepare_with(**changes)
    assert "\n" not in str(caught.value)


BACKGROUND = {
    "request": {"method": "GET", "path": "/b", "expect": {"status": 201}},
    "load": {"rate": 2, "connections": 4, "threads": 4, "arrivals": "poisson"},
}


def background(**load):
    return BACKGROUND | {"load": BACKGROUND["load"] | load}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": background(rate=0)}, "background.load.rate .* is 0.0; it must be above 0"),
        (
            {"background": background(threads=3)},
            "background.load.connections .* must be a multiple of background.load.threads",
        ),
        (
            {"background": background(backend="wrk2")},
            "cannot have this background: backend must be ironbench",
        ),
        ({"background": BACKGROUND, "backend": "wrk2"}, "cannot have this background: backend must be"),
        (
            {"background": background(arrivals="wrk2-phase", rate=3)},
            "both windows must be equally long, .* they last 1.000 and 1.333 s",
        ),
        ({"background": background(rate=0.1)}, "1 s at 0.1 requests per second are too short for a request"),
    ],
)
def test_a_bad_background_is_refused_in_one_sentence(prepare_with, changes, message):
    with pytest.raises(IronbenchError, match=message) as caught:
        prepare_with(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("cpus", "processes"), [(1, [1, 1]), (2, [1, 1]), (6, [2, 3]), (64, [2, 4])])
def test_two_loads_share_the_generators_cpus(tmp_path, monkeypatch, cpus, processes):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cpus)))
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SPEC | {"background": BACKGROUND}))
    own, other = prepare(path)

    assert [own.processes, other.processes] == processes
    assert (own.window.count, other.window.count) == (10, 2)
    assert own.window.length_ns == other.window.length_ns
    assert other.spec == msgspec.convert(SPEC | BACKGROUND, LoadSpec)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_file_that_is_no_spec_is_refused(tmp_path, text):
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(IronbenchError, match="is not a load spec"):
        prepare(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; seed the users"),
        ("\n\n", "is empty"),
        ('{"a":"b"}\n[1]\n', "Line 2 of .* is not a JSON object"),
        ('{"a":{}}', "Line 1 of"),
    ],
)
def test_a_bad_users_file_is_refused(tmp_path, text, message):
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(IronbenchError, match=message):
        read_users(path)


def test_users_are_one_object_a_line(tmp_path):
    path = tmp_path / "users"
    path.write_text('{"a":"b","id":1}\n{"a":"c","id":2}\n')
    assert read_users(path) == [{"a": "b", "id": "1"}, {"a": "c", "id": "2"}]


@pytest.mark.parametrize(
    ("url", "host", "address"),
    [
        ("http://[::1]:81", "[::1]:81", "[::1]:81"),
        ("http://127.0.0.1", "127.0.0.1", "127.0.0.1:80"),
        ("http://127.0.0.1:8000/", "127.0.0.1:8000", "127.0.0.1:8000"),
        ("http+unix://%2Frun%2FApp.sock", "localhost", "/run/App.sock"),
    ],
)
def test_host_header_and_address(prepare_with, url, host, address):
    prepared = prepare_with(base_url=url)

    assert f"\r\nHost: {host}\r\n".encode() in prepared.stream.render(0)
    assert str(prepared.address) == address


def test_a_finished_run_is_not_written_over(tmp_path):
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "load.json").write_text("")
    with pytest.raises(IronbenchError, match="already holds a run"):
        make_directory(tmp_path / "a" / "b")


def test_the_files_of_a_run(server, measure):
    run = measure(server.url, window_s=0.1, timeout_s=30.0, drain_s=30.0)  # all ten are to be answered

    histograms = ["latency", "service_time", "own_send_lag", "system_send_lag", "timer_lag", "timeouts"]
    assert {path.name for path in run.out.iterdir()} == {
        "histograms.json",
        "load.json",
        "requests.csv.gz",
        *(f"{name}.{kind}" for name in histograms for kind in ("hlog", "hgrm")),
    }
    assert list(run.histograms)[:5] == ["schema", "unit", "lowest", "highest", "significant_digits"]
    assert list(run.histograms)[5:] == [*histograms, "censored"]
    assert run.histograms["unit"] == "microseconds"
    packed = (run.out / "requests.csv.gz").read_bytes()
    assert packed[4:8] == bytes(4)  # RFC 1952: MTIME
    assert gzip.decompress(packed).startswith(b"connection,intended_ns,sent_ns,done_ns,outcome\n")
    assert "Total count    =           10]" in (run.out / "latency.hgrm").read_text()


def test_no_window_gives_empty_histograms():
    assert durations(None).latency.get_total_count() == 0
