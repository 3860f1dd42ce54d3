"""Real load of ``ironbench load`` on a dishonest server, sealed as a run of a bundle.

What the observers of a host would have written is made (see made.py), for the time at which the load is said to have
been.
"""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from ironbench import bundle as bundles
from ironbench.cli import main as ironbench
from ironbench.files import encode_record, read_record
from ironbench.plan import make_session
from ironbench.records import SCHEMA, Expectation, Latency, Load, LoadResult, LoadSpec, RequestTemplate

from tests.made import START, due, experiment, new_bundle, plan, replace, study, write_raw

SERVER = Path(__file__).parents[1] / "load/server.py"
NONE = Latency(count=0, mean=0, stdev=0, p50=0, p75=0, p90=0, p99=0, p999=0, max=0)
CLOCK = ("idle_until_ns", "first_send_ns", "window_end_ns", "drained_ns")


@contextmanager
def serving():
    """Run the server whose paths say how it misbehaves; give its URL."""
    command = [sys.executable, SERVER, "127.0.0.1", "0", "0", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def make_load(out, url, path, *, keys=("ok",), rate=100.0, connections=4, **changes) -> LoadResult:
    """Load ``path`` for half a second, 50 requests unless said otherwise; return what ``ironbench load`` wrote."""
    expect = Expectation(status=200, json_keys=list(keys))
    others: dict[str, Any] = {"window_s": 0.5, "timeout_s": 0.5, "drain_s": 0.5} | changes
    spec = LoadSpec(
        schema=SCHEMA,
        run=out.name,
        base_url=url,
        request=RequestTemplate(method="GET", path=path, expect=expect),
        load=Load(rate=rate, connections=connections, threads=1, arrivals="even"),
        seed=7,
        warmup_s=0.0,
        idle_s=0.0,
        users_file=None,
        **others,
    )
    file = out.with_suffix(".json")
    file.write_bytes(msgspec.json.encode(spec))
    assert ironbench(["load", "--spec", str(file), "--out", str(out)]) == 0
    return read_record(out / "load.json", LoadResult)


def seal_load(bundle, tmp_path, out, **changes):
    """Seal the pending run with a real load; the other ``changes`` are those of made.write_raw."""
    run = due(bundle)
    result = read_record(out / "load.json", LoadResult)
    later = START - result.idle_until_ns
    moved = replace(
        result,
        **{name: getattr(result, name) + later for name in CLOCK},
        idle_from_ns=START - 1_500_000_000,
        # How late a busy machine made the generator is none of these tests' business.
        own_send_lag=NONE,
        timer_lag=None,
        cpu_share=0.01,
    )
    raw = write_raw(tmp_path / "raw" / run.key, make_session(bundles.read_plan(bundle), run), **changes)
    for path in out.iterdir():
        (raw / "box/load" / path.name).write_bytes(path.read_bytes())
    (raw / "box/load/load.json").write_bytes(encode_record(moved))
    return bundles.seal(bundle, raw, started_ns=None)


def seal_alone(tmp_path, path, **changes):
    """Load a path, and seal that as the first run of a bundle."""
    asked = experiment(rate=100.0, variants=["baseline", "final"])
    bundle = new_bundle(tmp_path, plan("short", of=study(experiments={"me": asked})))
    with serving() as url:
        make_load(tmp_path / "out", url, path, **changes)
    return seal_load(bundle, tmp_path, tmp_path / "out")


def kinds(findings):
    """Return the kinds of the entries of a ledger."""
    return {finding.kind for finding in findings}
