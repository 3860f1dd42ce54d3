"""Mutated logs: a record or one sentence that names file and line, never another exception.

``IRONBENCH_FUZZ=20000 pytest bench/tests/imports/test_fuzz.py`` (``make fuzz``) tries as many.
"""

import os
import random
import re
from collections import Counter

import pytest
from ironbench.collect import sar, sar_text, wrk2
from ironbench.errors import IronbenchError

from .logs import cpu_section, plain_section, sar_report, wrk2_log

MUTATIONS = int(os.environ.get("IRONBENCH_FUZZ", "2400"))
SEED = 4
NAMED = re.compile(r"fuzzed\.txt, line [1-9][0-9]*: [^\n]+\.")


def read_sar(raw, name):
    return sar.make_report(sar_text.parse(raw, name), None)


READERS = {"wrk2": wrk2.parse, "sar": read_sar}


def originals():
    queue = plain_section(("runq-sz", "plist-sz", "blocked"), [(2, 676, 0), (10, 687, 0), (1, 680, 0)])
    return {
        "wrk2": [
            wrk2_log(),
            wrk2_log([1_000 + 7 * i for i in range(500)], errors=(1, 2, 3, 4), non_2xx=5),
            wrk2_log([2_000_000 + 9_999 * i for i in range(60)], uncorrected_us=[300 + i for i in range(60)]),
            wrk2_log((), requests=0, calibrated=False, duration_s=10.0, header="10s"),
            wrk2_log(latency=False, duration_s=90.0, header="2m", requests=9000),
        ],
        "sar": [
            sar_report(cpu_section(6, busy=lambda cpu, second: 10.0 * second + cpu)),
            sar_report(cpu_section(6, clock=12, start=86_397, every=2), queue),
            sar_report(queue, ["12:59:50       LINUX RESTART\t(2 CPU)"], cpu_section(2, start=46_800)),
            sar_report(
                ["12:00:00 tps DEV", "12:00:01 1.00 sda", "Average: 1.00 sda"], queue, date="05/18/2026"
            ),
        ],
    }


# --- mutations ---------------------------------------------------------------------------------


def flip_bytes(raw, rng, _):
    raw = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def change_digits(raw, rng, _):
    raw = bytearray(raw)
    digits = [i for i, byte in enumerate(raw) if byte in b"0123456789"]
    for i in rng.sample(digits, min(len(digits), rng.randint(1, 4))):
        raw[i] = rng.choice(b"0123456789.-,e")
    return bytes(raw)


def delete(raw, rng, _):
    start = rng.randrange(len(raw))
    return raw[:start] + raw[start + rng.randint(1, 200) :]


def truncate(raw, rng, _):
    return raw[: rng.randrange(len(raw))]


def repeat(raw, rng, _):
    start = rng.randrange(len(raw))
    end = start + rng.randint(1, 300)
    return raw[:end] + raw[start:end] * rng.randint(1, 3) + raw[end:]


def change_lines(raw, rng, _):
    lines = raw.split(b"\n")
    for _ in range(rng.randint(1, 3)):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        what = rng.randrange(4)
        if what == 0:
            lines[i], lines[j] = lines[j], lines[i]
        elif what == 1:
            lines[i] = lines[j]
        elif what == 2:
            lines.insert(i, lines[j])
        elif len(lines) > 1:
            del lines[i]
    return b"\n".join(lines)


def change_units(raw, rng, _):
    units = [b"us", b"ms", b"s", b"m", b"h", b"%", b"AM", b"PM", b"nan", b"inf", b""]
    return re.sub(
        rb"(?<=[0-9 ])(us|ms|s|m|%|AM|PM)\b", lambda m: m[0] if rng.random() < 0.9 else rng.choice(units), raw
    )


def change_tokens(raw, rng, _):
    odd = [
        b"-nan",
        b"nan",
        b"inf",
        b"-1",
        b"0",
        b"9" * 400,
        b"1e999",
        b"0x1f",
        b"1_000",
        "٣".encode(),
        b"\0",
        b"..",
        b"{}",
    ]
    tokens = raw.split(b" ")
    for _ in range(rng.randint(1, 4)):
        tokens[rng.randrange(len(tokens))] = rng.choice(odd)
    return b" ".join(tokens)


def encode(raw, rng, _):
    text = raw.decode()
    return rng.choice(
        [
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-8-sig"),
            lambda: text.replace("\n", "\r\n").encode(),
            lambda: text.replace("\n", rng.choice("\r\v\f\x85\u2028")).encode(),
            lambda: text.replace(" ", rng.choice("\t\xa0\u3000")).encode(),
            lambda: text.translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789"}).encode(),
        ]
    )()


def splice(raw, rng, other):
    return raw[: rng.randrange(len(raw))] + other[rng.randrange(len(other)) :]


KINDS = [
    flip_bytes, change_digits, delete, truncate, repeat, change_lines, change_units, change_tokens, encode, splice,
]  # fmt: skip


def mutants(kind, count):
    rng = random.Random(f"{SEED}/{kind}")
    everything = {k: [text.encode() for text in texts] for k, texts in originals().items()}
    others = [raw for texts in everything.values() for raw in texts]
    for _ in range(count):
        raw = rng.choice(everything[kind])
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            raw = rng.choice(KINDS)(raw, rng, rng.choice(others)) or b"\n"
            try:
                raw.decode()
            except UnicodeDecodeError:
                break
        yield raw


# --- what must hold ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", READERS)
def test_originals_are_read(kind):
    for text in originals()[kind]:
        READERS[kind](text.encode(), "x")


@pytest.mark.parametrize("kind", READERS)
def test_mutants_are_read_or_refused_by_file_and_line(kind):
    seen = Counter()
    for raw in mutants(kind, MUTATIONS // 2):
        sentence = ""
        try:
            READERS[kind](raw, "fuzzed.txt")
        except IronbenchError as error:
            sentence = str(error)
        except Exception as error:
            raise AssertionError(raw) from error
        assert not sentence or NAMED.fullmatch(sentence), (sentence, raw)
        seen["refused" if sentence else "read"] += 1
    assert min(seen["refused"], seen["read"]) > MUTATIONS // 100, seen
    print(
        f"{kind}: {seen['refused']} of {MUTATIONS // 2} mutants refused by file and line, {seen['read']} read"
    )
