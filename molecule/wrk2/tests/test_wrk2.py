"""What the role built works as ironbench uses it, and is what it says."""

import json
import re

import pytest
from ironbench.collect.wrk2 import parse
from ironbench.load.lua import script
from ironbench.records import Expectation, RequestTemplate

COMMIT = "44a94c17d8e6a0bac8559b53da76848e430cb7a7"
# http.server ends a connection after an error, and answers GET only.
REQUEST = RequestTemplate(
    method="GET",
    path="/?{unique}",
    headers={"X-Unique": "{unique}"},
    cookies={"access_token": "{user.token}"},
    expect=Expectation(status=200),
)


@pytest.fixture
def server(host):
    """Serve on loopback, and keep a log."""
    host.check_output(
        "systemd-run --quiet --unit=molecule-www python3 -u -m http.server --protocol HTTP/1.1 "
        "--bind 127.0.0.1 --directory /srv 8099",
    )
    host.check_output("timeout 20 sh -c 'until ss -Hltn sport = :8099 | grep -q LISTEN; do sleep 0.1; done'")
    yield
    host.check_output("systemctl stop molecule-www")


def test_the_link_leads_to_the_commit(host):
    assert host.file("/opt/wrk2/wrk2").linked_to == f"/opt/wrk2/{COMMIT}/wrk2"
    program = host.file(f"/opt/wrk2/{COMMIT}/wrk2")
    assert (program.user, program.mode) == ("root", 0o755)


def test_what_it_is_made_of_lies_beside_it(host):
    made_of = json.loads(host.file(f"/opt/wrk2/{COMMIT}/build.json").content_string)
    assert made_of.keys() == {"commit", "sha256", "recipe"}
    assert made_of["commit"] == COMMIT


def test_it_runs_ironbenchs_script_and_ironbench_reads_what_it_prints(host, server):
    lua = script(REQUEST, "127.0.0.1:8099", [{"token": "t"}], "utest", threads=1).decode()
    host.check_output("umask 077 && cat > /tmp/test.lua <<'END'\n" + lua + "\nEND")
    output = host.check_output(
        "/opt/wrk2/wrk2 -t1 -c1 -d1s -R20 --latency --u_latency -s /tmp/test.lua http://127.0.0.1:8099/"
    )
    host.check_output("rm /tmp/test.lua")
    log = parse(output.encode(), "wrk2.log")
    assert (log.threads, log.requests, log.non_2xx) == (1, 20, 0)
    assert log.uncorrected is not None
    journal = host.check_output("journalctl --unit=molecule-www --output=cat")
    assert len(set(re.findall(r'"GET /\?(utest\d{8}) HTTP/1.1" 200', journal))) == 20


def test_nothing_of_the_build_is_left(host):
    assert host.check_output("find /opt -mindepth 1 -maxdepth 1") == "/opt/wrk2"
