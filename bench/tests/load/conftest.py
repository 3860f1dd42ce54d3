"""Servers with known behaviour in processes of their own, and the generator as its users start it."""

import argparse
import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ironbench.load import cli
from ironbench.records import SCHEMA, Expectation, Load, LoadResult, LoadSpec, RequestTemplate

HERE = Path(__file__).parent
COMMAND = """
import argparse, sys
from ironbench.load.cli import add_parser
parser = argparse.ArgumentParser()
add_parser(parser.add_subparsers())
args = parser.parse_args()
sys.exit(args.func(args))
"""


def make_spec(base_url, path="/ok", *, request=None, status=200, **changes):
    """Describe a short run of 100 requests per second over 4 connections."""
    load = {"rate": 100.0, "connections": 4, "threads": 2, "arrivals": "even", "placement": "as_landed"}
    load |= {name: changes.pop(name) for name in list(changes) if name in load}
    files = {
        name: str(value) for name in ("users_file", "requests_file") if (value := changes.pop(name, None))
    }
    times = {"warmup_s": 0.0, "window_s": 0.5, "idle_s": 0.0, "timeout_s": 1.0, "drain_s": 1.0}
    others: dict[str, Any] = {"users_file": None} | files | times
    return LoadSpec(
        schema=SCHEMA,
        run=changes.pop("run", "me.01.baseline"),
        base_url=base_url,
        request=request or RequestTemplate(method="GET", path=path, expect=Expectation(status=status)),
        load=Load(**load),
        seed=changes.pop("seed", 7),
        **(others | changes),
    )


class Run:
    """The files of one run."""

    def __init__(self, code, out):
        self.code = code
        self.out = out
        self.result = msgspec.json.decode((out / "load.json").read_bytes(), type=LoadResult)
        self.histograms = json.loads((out / "histograms.json").read_text())
        with gzip.open(out / "requests.csv.gz", "rt") as file:
            self.rows = list(csv.DictReader(file))
        background = out / "background"
        self.background = Run(code, background) if background.exists() else None


class Generator:
    """``ironbench load`` as a process group of its own, after what else is to be done in its process."""

    def __init__(self, spec, out, prelude):
        command = [sys.executable, "-c", prelude + COMMAND, "load", "--spec", spec, "--out", out]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0)
        self.out = out

    def finish(self):
        self.process.communicate(timeout=30)
        return Run(self.process.returncode, self.out)

    def stderr(self):
        return self.process.communicate()[1]

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.communicate()


class Server:
    def __init__(self, stall_s=0, period_s=0, *, where="127.0.0.1", workers=0):
        arguments = [where, stall_s, period_s, workers]
        self.process = subprocess.Popen(
            [sys.executable, HERE / "server.py", *map(str, arguments)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        port = int(self.process.stdout.readline())
        host = f"[{where}]" if ":" in where else where
        self.url = f"http://{host}:{port}" if port else "http+unix://" + where.replace("/", "%2F")
        self.workers = self.process.stdout.readline().split() if workers else []

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return json.load(response)

    def stop(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def shared_server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server):
    """Give the server that all tests share, its memory emptied."""
    shared_server.get("/records")
    return shared_server


@pytest.fixture
def start_server():
    """Servers of one test's own; the arguments are those of server.py."""
    started = []

    def start(*stall, **changes):
        started.append(Server(*stall, **changes))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def measure(tmp_path):
    """Run ``ironbench load`` in this process and read what it wrote."""

    def measure(base_url, path="/ok", out="run", **changes):
        spec = tmp_path / "spec.json"
        spec.write_bytes(msgspec.json.encode(make_spec(base_url, path, **changes)))
        parser = argparse.ArgumentParser()
        cli.add_parser(parser.add_subparsers())
        args = parser.parse_args(["load", "--spec", str(spec), "--out", str(tmp_path / out)])
        return Run(args.func(args), args.out)

    return measure


@pytest.fixture(scope="session")
def generators(tmp_path_factory):
    """Start generators as processes of their own, each with a directory of its own."""
    started = []

    def start(base_url, path="/ok", prelude="", **changes):
        directory = tmp_path_factory.mktemp("generator")
        spec = directory / "spec.json"
        spec.write_bytes(msgspec.json.encode(make_spec(base_url, path, **changes)))
        started.append(Generator(spec, directory / "run", prelude))
        return started[-1]

    yield start
    for generator in started:
        generator.stop()
