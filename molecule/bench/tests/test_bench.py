"""ironbench on the host knows the host."""

import json

IRONBENCH = "/opt/ironbench/venv/bin/ironbench"


def test_it_describes_the_host_as_it_is(host):
    facts = json.loads(host.check_output(f"{IRONBENCH} host describe"))
    assert host.check_output("uname -r") in facts["kernel"]
    assert facts["layout"]["name"] == "packed"
    assert facts["packages"].keys() >= {"sysstat"}


def test_what_is_asked_for_and_is_not_there_is_one_sentence(host):
    refused = host.run(f"{IRONBENCH} host prepare < /dev/null")
    assert refused.rc == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert refused.stderr.startswith("ironbench: ")


def test_only_root_may_look_into_the_sessions(host):
    assert host.file("/var/lib/ironbench").mode == 0o700
