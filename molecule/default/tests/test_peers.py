"""Containers of the host's own still reach each other after site.yml, and after a quiet host is given back."""

from __future__ import annotations

import json

import pytest

CONNECT = "import socket; socket.create_connection(('10.77.2.2', 7), timeout=5)"
ANSWER = "import socket; server = socket.create_server(('10.77.2.2', 7))\nwhile True: server.accept()"
QUIET = "/opt/ironbench/venv/bin/ironbench host quiet"


@pytest.fixture
def connect(host):
    """Whether one peer reaches the other, as ../peers.sh made them before site.yml."""
    unit = "molecule-peer"
    host.check_output(f"systemd-run --quiet --unit={unit} ip netns exec molecule-2 python3 -c %s", ANSWER)
    host.check_output(
        "timeout 20 sh -c 'until ip netns exec molecule-2 ss -Hltn sport = :7 | grep -q LISTEN; do sleep 0.1; done'"
    )
    yield lambda: host.run("ip netns exec molecule-1 python3 -c %s", CONNECT).rc == 0
    host.check_output(f"systemctl stop {unit}")


def test_peers_reach_each_other_before_during_and_after_a_quiet_host(host, connect):
    assert connect()
    steps = json.loads(host.check_output(QUIET))["steps"]
    assert any(step["ok"] for step in steps.values()), steps
    assert connect()
    host.check_output(QUIET.replace("quiet", "unquiet"))
    assert connect()
