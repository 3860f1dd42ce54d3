"""A host hands in files that are allowed, with contents that exhaust the controller or that no reader expects.

``IRONBENCH_FUZZ=20000`` tries a hundredth of it as sessions whose files are mutated.
"""

import base64
import gzip
import json
import os
import random
import shutil
import struct
import zlib
from collections import Counter

import pytest
from ironbench import bundle as bundles
from ironbench import ingest
from ironbench.archive import pack
from ironbench.errors import IronbenchError
from ironbench.load import histogram
from ironbench.plan import make_session
from ironbench.records import SCHEMA, Collected
from ironbench.report import compute

from tests.made import due, new_bundle, plan, replace, write_raw

SESSIONS = int(os.environ.get("IRONBENCH_FUZZ", "6000")) // 100


@pytest.fixture
def bundle(tmp_path):
    return new_bundle(tmp_path, plan("short", experiments=["signin"]))


@pytest.fixture
def box(bundle, tmp_path):
    """What the host of the pending run left."""
    return write_raw(tmp_path / "raw", make_session(bundles.read_plan(bundle), due(bundle))) / "box"


def collected(box):
    """Return what the host hands in, whatever its files hold."""
    return Collected(schema=SCHEMA, host="box", key="x", generator_exit=0, started_ns=1, archive=pack(box))


def seal(bundle, box):
    return bundles.seal_collected(bundle, [collected(box)])


def refusal(bundle, box):
    with pytest.raises(IronbenchError) as told:
        seal(bundle, box)
    assert "\n" not in str(told.value)
    assert bundles.read_runs(bundle) == []
    return str(told.value)


def test_list_of_requests_that_unpacks_without_end(bundle, box, monkeypatch):
    """2 GB in 2 MB; here the limit is smaller, so that the test is quick."""
    monkeypatch.setattr(ingest, "MAX_REQUESTS", 10_000)
    row = b"0,1,1,2,204\n"
    for rows in (row * 20_000, b"9" * 4_000_000):
        packed = gzip.compress(b"connection,intended_ns,sent_ns,done_ns,outcome\n" + rows)
        (box / "load/requests.csv.gz").write_bytes(packed)
        assert "requests.csv.gz" in refusal(bundle, box)


@pytest.mark.parametrize(
    "row",
    [
        "0,-5,0,1,204",
        "0," + "9" * 5000 + ",0,1,204",
        "0,1e9,0,1,204",
        "0,1,0,²,204",
        "0,1",
        "0,1,1,,204",
        '0,"1',
    ],
)
def test_request_that_is_none(bundle, box, row):
    text = f"connection,intended_ns,sent_ns,done_ns,outcome\n{row}\n"
    (box / "load/requests.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert "requests.csv.gz" in refusal(bundle, box)


def bomb(size):
    """A histogram that unpacks to so many bytes of counts, with a header that says so."""
    payload = struct.pack(
        ">IIIIQQd", 0x1C849303, size, 0, 3, histogram.LOWEST, histogram.HIGHEST, 1.0
    ) + bytes(size)
    packed = zlib.compress(payload, 9)
    return base64.b64encode(struct.pack(">II", 0x1C849304, len(packed)) + packed).decode()


def wide():
    """A histogram of all values to 2^62 with five digits: its counts alone take 100 MB."""
    payload = struct.pack(">IIIIQQd", 0x1C849303, 1, 0, 5, 1, 2**62, 1.0) + b"\x02"
    packed = zlib.compress(payload, 9)
    return base64.b64encode(struct.pack(">II", 0x1C849304, len(packed)) + packed).decode()


@pytest.mark.parametrize("made", [bomb(300 * 2**20), wide(), "", "AAAA", "*" * 100])
def test_histogram_that_takes_all_memory(bundle, box, made):
    path = box / "load/histograms.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"latency": made}))
    shutil.rmtree(box.parent / "other", ignore_errors=True)
    (box / "load/latency.hgrm").unlink()  # else that text is taken, and this one is read for the report
    assert "istogram" in refusal(bundle, box)


@pytest.mark.parametrize(
    "name", ["session.json", "host.json", "before.json", "load/load.json", "load/histograms.json"]
)
@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b'{"schema":' * 100_000, b'{"schema": 1, "ns": ' + b"9" * 400 + b"}", b""]
)
def test_record_that_is_none(bundle, box, name, content):
    (box / name).write_bytes(content)
    if name == "load/histograms.json":
        (box / "load/latency.hgrm").unlink()
    refusal(bundle, box)


@pytest.mark.parametrize("value", ["1e308", "9" * 19, "9" * 400, "-1"])
@pytest.mark.parametrize(
    "field", ["first_send_ns", "drained_ns", "window_end_ns", "idle_until_ns", "achieved_rps", "completed"]
)
def test_figure_that_nobody_measured(bundle, box, field, value):
    path = box / "load/load.json"
    told = json.loads(path.read_bytes())
    told[field] = 0
    path.write_text(json.dumps(told).replace(f'"{field}": 0', f'"{field}": {value}'))
    sealed_or_refused(bundle, box)


def test_signal_that_there_is_not(bundle, box):
    (box / "load/load.json").unlink()
    for status in (-999, 10**30):
        with pytest.raises(IronbenchError):  # lost once, and then once too often
            bundles.seal_collected(bundle, [replace(collected(box), generator_exit=status)])


def test_stacks_that_are_no_text(bundle, box):
    (box / "idle.7.folded").write_bytes(b"\xff\xfe \xb2\n")
    sealed_or_refused(bundle, box)


# --- anything at all ---------------------------------------------------------------------------


def sealed_or_refused(bundle, box):
    """Return whether it was sealed; then the report is made of it. No other exception comes through."""
    try:
        seal(bundle, box)
    except IronbenchError:
        return False
    compute(bundle)
    return True


def mutated(raw, rng):
    numbers = [
        b"-1",
        b"0",
        b"9" * 19,
        b"1e308",
        b"-1e308",
        b"1e-308",
        b"null",
        b'""',
        b"[]",
        b"{}",
        b"true",
        b"0.5",
    ]
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(4)
        start = rng.randrange(len(raw) + 1)
        if kind == 0:
            raw = raw[:start]
        elif kind == 1:
            raw = raw[:start] + bytes([rng.randrange(256)]) + raw[start + 1 :]
        else:
            digits = [at for at, byte in enumerate(raw) if byte in b"0123456789"]
            if digits:
                first = last = rng.choice(digits)
                while first and raw[first - 1] in b"0123456789.-":
                    first -= 1
                while last < len(raw) and raw[last] in b"0123456789.":
                    last += 1
                raw = raw[:first] + rng.choice(numbers) + raw[last:]
    return raw


def test_mutated_sessions_are_sealed_or_refused(tmp_path):
    rng, tally = random.Random(16), Counter()
    made = plan("short", experiments=["signin"])
    for number in range(SESSIONS):
        top = tmp_path / str(number)
        bundle = new_bundle(top, made)
        box = write_raw(top / "raw", make_session(made, due(bundle))) / "box"
        said = ""
        names = sorted(path for path in box.rglob("*") if path.is_file() and path.stat().st_size)
        for path in rng.sample(names, rng.choice((1, 1, 2))):
            zipped = path.suffix == ".gz"
            raw = gzip.decompress(path.read_bytes()) if zipped else path.read_bytes()
            raw = mutated(raw, rng)
            path.write_bytes(gzip.compress(raw) if zipped else raw)
            said = path.name
        try:
            tally[sealed_or_refused(bundle, box)] += 1
        except Exception as error:
            raise AssertionError(number, said) from error
        shutil.rmtree(top)
    assert tally[False]
    print(f"{tally[True]} sealed and reported on, {tally[False]} refused")
