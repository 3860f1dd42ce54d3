"""playbooks/cloud.yml where a provider refuses: one sentence that says why, and nothing left.

The providers are stand-ins in this process (molecule/shared): of Hetzner's API a server of ours, of AWS's moto's, which
also holds each call against the policy that the docs tell users to allow. What needs machines is in molecule/cloud.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "molecule/shared"))
import aws_api
import hetzner_api

REPOSITORY = Path(__file__).parents[2]

_spec = importlib.util.spec_from_file_location("filters", REPOSITORY / "plugins/filter/ironbench.py")
assert _spec is not None
assert _spec.loader is not None
filters = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(filters)

ZONES = {"hetzner": ("fsn1", "cpx31"), "aws": ("eu-central-1a", "c7i.xlarge")}
GIVEN = {
    "cloud_state": "present",
    "cloud_provider": "hetzner",
    "cloud_id": "mine",
    "cloud_type": "cpx31",
    "cloud_zone": "fsn1",
    "cloud_price": 0.03,
    "cloud_ssh_from": "203.0.113.7/32",
    "cloud_machines": 3,
    "cloud_debian": "13",
    "cloud_ttl_hours": 6,
    "cloud_yes": True,
}


class Outcome(NamedTuple):
    result: int
    said: str
    left: list[str]
    keys: bool
    """Whether the bench's own directory is still there."""


def play(api, provider: str, home: Path, environment: dict[str, str] | None = None, **variables) -> Outcome:
    zone, machine_type = ZONES[provider]
    given = GIVEN | {"cloud_provider": provider, "cloud_zone": zone, "cloud_type": machine_type}
    given |= {"cloud_wait_s": 2, "cloud_poll_s": 1}
    own = {
        "XDG_STATE_HOME": str(home),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        # Refusals take it a third of the time; molecule/cloud has Ansible's own strategy.
        "ANSIBLE_STRATEGY": "mitogen_linear",
    }
    done = subprocess.run(
        ["ansible-playbook", "playbooks/cloud.yml", "-e", json.dumps(given | variables)],
        cwd=REPOSITORY,
        env=os.environ | api.environment() | own | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    said = " ".join((done.stdout + done.stderr).split()).replace("''", "'")
    return Outcome(done.returncode, said, api.left, (home / "ironbench/mine").exists())


def hetzner(home: Path) -> dict[str, Outcome]:
    found = {}
    for name in ("credentials", "quota", "capacity", "image", "ssh"):
        api = hetzner_api.Hetzner()
        # A quota is mostly met half-way.
        api.refuse = {"quota": {1: hetzner_api.QUOTA}, "capacity": {0: hetzner_api.NO_CAPACITY}}.get(name, {})
        if name == "image":
            api.things["images"].clear()
        wrong = {"HCLOUD_TOKEN": "another"} if name == "credentials" else {}
        found[name] = play(api, "hetzner", home / name, wrong)
        api.close()

    api = hetzner_api.Hetzner()
    found["no yes"] = play(api, "hetzner", home / "no yes", cloud_yes=False)
    api.close()

    # A crash left this; somebody protected the server, and keeps a volume under the id.
    api = hetzner_api.Hetzner()
    for path, body in (
        ("/v1/ssh_keys", {"name": "ironbench-mine", "public_key": "ssh-ed25519 AAAA"}),
        ("/v1/servers", {"name": "ironbench-mine-app1", "server_type": "cpx31", "image": "debian-13"}),
        ("/v1/volumes", {"name": "precious"}),
    ):
        api.call("POST", path, body | {"labels": {"ironbench": "mine"}}, "")
    api.call("POST", "/v1/volumes", {"name": "anothers", "labels": {"ironbench": "another"}}, "")
    (server,) = api.things["servers"].values()
    server["protection"]["delete"] = True
    found["in use"] = play(api, "hetzner", home / "in use")
    found["protected"] = play(api, "hetzner", home / "protected", cloud_state="absent")
    api.close()
    return found


def aws(home: Path) -> dict[str, Outcome]:
    found = {}
    for name in ("credentials", "quota", "capacity", "image", "ssh"):
        api = aws_api.Aws()
        api.refuse = {"quota": {1: aws_api.QUOTA}, "capacity": {0: aws_api.NO_CAPACITY}}.get(name, {})
        wrong = {"AWS_SECRET_ACCESS_KEY": "another"} if name == "credentials" else {}
        found[name] = play(
            api, "aws", home / name, wrong, **({"cloud_debian": "12"} if name == "image" else {})
        )
        api.close()
    return found


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, dict[str, Outcome]]:
    """All plays, those of the two providers side by side: each is ten seconds of Ansible's own work."""
    with ThreadPoolExecutor(2) as pool:
        running = {
            run.__name__: pool.submit(run, tmp_path_factory.mktemp(run.__name__)) for run in (hetzner, aws)
        }
        return {name: future.result() for name, future in running.items()}


SENTENCES = {
    "credentials": "Nothing was created: {provider} did not accept the credentials: give",
    "quota": "All that was created is given back: the account's quota does not allow 3 machines of {type}:",
    "capacity": "All that was created is given back: {zone} has no {type} to give: choose another zone or type",
    "image": "All that was created is given back: the image of Debian {debian} is gone at {provider}: choose another",
    "ssh": "All that was created is given back: app1 (127.0.0.2) was not reached within 2 s:",
}


@pytest.mark.parametrize("provider", ["hetzner", "aws"])
@pytest.mark.parametrize("name", SENTENCES)
def test_a_refusal_is_one_sentence_and_nothing_is_left(outcomes, provider, name):
    zone, machine_type = ZONES[provider]
    debian = "12" if (provider, name) == ("aws", "image") else "13"
    outcome = outcomes[provider][name]
    wanted = SENTENCES[name].format(provider=provider, zone=zone, type=machine_type, debian=debian)
    assert wanted in outcome.said, outcome.said[-3000:]
    assert (outcome.result, outcome.left, outcome.keys) == (2, [], False)


def test_without_a_yes_nothing_is_created(outcomes):
    outcome = outcomes["hetzner"]["no yes"]
    assert "Nothing was created: the answer was not yes" in outcome.said
    assert (outcome.result, outcome.left, outcome.keys) == (2, [], False)


def test_an_id_in_use_is_refused_and_nothing_of_it_is_touched(outcomes):
    outcome = outcomes["hetzner"]["in use"]
    assert (
        "Nothing was created: hetzner has the server ironbench-mine-app1, the key ironbench-mine"
        in outcome.said
    )
    assert len(outcome.left) == 4


def test_what_cannot_be_given_back_is_named_with_its_reason_and_the_rest_goes(outcomes):
    outcome = outcomes["hetzner"]["protected"]
    assert outcome.result == 2
    assert "the server ironbench-mine-app1: server deletion is protected (protected); " in outcome.said
    assert "the volume precious: it carries the id, but ironbench did not make it. Mend that" in outcome.said
    assert sorted(outcome.left) == ["server ironbench-mine-app1", "volume anothers", "volume precious"]


# --- what is given ------------------------------------------------------------------------------


def test_what_is_right_is_not_complained_of():
    assert filters.cloud_findings(GIVEN) == []
    assert (
        filters.cloud_findings({"cloud_state": "absent", "cloud_provider": "hetzner", "cloud_id": "a"}) == []
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cloud_typ": "x"}, "no variable cloud_typ: did you mean cloud_type?"),
        ({"cloud_provider": "gcp"}, "cloud_provider is 'gcp'"),
        ({"cloud_state": "gone"}, "cloud_state is 'gone'"),
        ({"cloud_id": "My bench"}, "cloud_id is 'My bench'"),
        ({"cloud_id": "-"}, "cloud_id is '-'"),
        ({"cloud_price": None}, "cloud_price is missing"),
        ({"cloud_price": "cheap"}, "cloud_price is 'cheap'"),
        ({"cloud_ttl_hours": 0}, "cloud_ttl_hours is '0'"),
        ({"cloud_ttl_hours": 1000}, "168 at most"),
        ({"cloud_machines": 2}, "1 machine or 3"),
        ({"cloud_debian": "11"}, "use 12 or 13"),
        ({"cloud_ssh_from": "0.0.0.0/0"}, "which is everybody"),
        ({"cloud_ssh_from": "203.0.113.7/24"}, "has host bits set"),
        ({"cloud_ssh_from": "203.0.113.7,2001:db8::1"}, "such as 203.0.113.7/32 (IPv4)"),
        ({"cloud_state": "absent", "cloud_provider": "aws", "cloud_zone": ""}, "cloud_zone is missing"),
    ],
)
def test_what_is_wrong_is_said(change, sentence):
    (finding,) = filters.cloud_findings(GIVEN | change)
    assert sentence in finding


# --- what a provider says -----------------------------------------------------------------------

MEANINGS = yaml.safe_load((REPOSITORY / "playbooks/vars/cloud.yml").read_text())["__cloud_meanings"]


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("unable to authenticate (unauthorized)", "did not accept"),
        ("An error occurred (ExpiredToken) when calling the DescribeInstances operation", "did not accept"),
        ("missing required arguments: api_token", "did not accept"),
        ("server limit exceeded (resource_limit_exceeded)", "quota"),
        ("An error occurred (VcpuLimitExceeded) when calling the RunInstances operation", "quota"),
        ("error during placement (placement_error)", "to give: choose another zone"),
        ("An error occurred (InsufficientInstanceCapacity) when calling the RunInstances", "to give: choose"),
        ("the image debian-13 was not found", "the image of Debian"),
    ],
)
def test_what_a_refusal_means(said, means):
    told = filters.cloud_reason(said, MEANINGS)
    assert means in told
    assert told.endswith(f"(it said: {said})")


def test_an_unknown_refusal_is_passed_on():
    assert filters.cloud_reason("out of cheese", MEANINGS) == "out of cheese"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"failed": True, "msg": "Task failed: Module failed: no.\n Not today."}, "no. Not today"),
        ({"failed": True, "msg": "non-zero", "stderr": "Warning\nrefused"}, "refused"),
        (
            {
                "failed": True,
                "msg": "One or more",
                "results": [{"msg": "fine"}, {"failed": True, "msg": "bad"}],
            },
            "bad",
        ),
        ({"failed": True}, "no reason was given"),
    ],
)
def test_what_a_task_said(result, said):
    assert filters.cloud_said(result) == said
