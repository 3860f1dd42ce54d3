"""The generator drives a real server from its own CPUs."""

import json

import pytest

SPEC = {
    "schema": 1,
    "run": "molecule",
    "base_url": "http://127.0.0.1:8099",
    "request": {"method": "GET", "path": "/", "expect": {"status": 200}},
    "load": {"rate": 50, "connections": 2, "threads": 1, "arrivals": "even"},
    "seed": 1,
    "warmup_s": 0.2,
    "window_s": 1,
    "idle_s": 0.1,
    "timeout_s": 5,
    "drain_s": 5,
    "users_file": None,
}


@pytest.fixture
def server(host):
    host.check_output("mkdir -p /tmp/www && touch /tmp/www/index.html")
    host.check_output(
        "systemd-run --quiet --unit=molecule-www python3 -m http.server --protocol HTTP/1.1 "
        "--bind 127.0.0.1 --directory /tmp/www 8099",
    )
    host.check_output(
        "timeout 20 sh -c 'until ss -Hltn sport = :8099 | grep -q LISTEN; do sleep 0.1; done'",
    )
    yield
    host.check_output("systemctl stop molecule-www")


def test_every_request_that_was_due_is_accounted_for(host, server):
    host.check_output(
        "rm -rf /tmp/out && mkdir /tmp/out && cat > /tmp/spec.json <<'END'\n" + json.dumps(SPEC) + "\nEND"
    )
    host.check_output("/opt/ironbench/venv/bin/ironbench load --spec /tmp/spec.json --out /tmp/out")
    result = json.loads(host.file("/tmp/out/load.json").content_string)
    # On a busy machine the last ones may still be waiting when the window ends; that is no fault here.
    answered = result["completed"]
    assert (result["scheduled"], answered + result["unsent"]) == (50, 50)
    assert answered > 0
    assert result["statuses"] == {"200": answered}
    assert result["latency"]["count"] == answered
    assert result["errors"] == {}
