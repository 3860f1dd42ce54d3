"""Machines rented from stand-ins of both providers: the whole path, and machines whose controller is gone.

Machines are sandbox hosts with cloud-init and sshd; they share this machine's CPUs, so most runs of a plan have an
instrument fault. Refusals of the providers need no machines: plugins/tests/test_cloud.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from aws_api import IMAGE as DEBIAN
from aws_api import REGION, Aws
from controller import REPOSITORY, environment
from hetzner_api import TOKEN, Hetzner
from machines import PUBLIC, Machines, docker
from plans import until

IMAGE = "ironbench/sandbox:cloud"
PACKED = yaml.safe_load((REPOSITORY / "inventory/sandbox/group_vars/all.yml").read_text())["core_layout"]
ZONES = {"hetzner": ("fsn1", "cpx31"), "aws": ("eu-central-1a", "c7i.xlarge")}
WHOLE = os.environ.get("IRONBENCH_CLOUD_WHOLE", "hetzner,aws").split(",")
"""Providers on whose machines the bench is deployed and a plan runs; another's are only reached and given back. None of
them in ``make test``, whose time is short."""
INVENTORIES = {"hetzner": "hcloud.yml", "aws": "aws_ec2.yml"}
SERVICES = {"app1": ["app"], "data1": ["pgbouncer", "postgresql", "valkey"], "load1": []}
ROLES = {"app1": {"app"}, "data1": {"database", "cache"}, "load1": {"load_generators"}}


@pytest.fixture
def machines(tmp_path):
    made = Machines(IMAGE, tmp_path / "seeds", "molecule-cloud")
    yield made
    made.close()


@pytest.fixture(params=["hetzner", "aws"])
def provider(request):
    return request.param


@pytest.fixture
def api(provider, machines):
    made = Hetzner(machines, f"{PUBLIC}.1") if provider == "hetzner" else Aws(machines)
    yield made
    made.close()


class Controller:
    """Who rents, with keys and results of his own."""

    def __init__(self, home: Path, provider: str, api: Hetzner | Aws, **variables: object) -> None:
        self.home, self.provider = home, provider
        self.bench = home / "state/ironbench/bench"
        self.log = home / "log"
        zone, machine_type = ZONES[provider]
        self.environment = environment() | api.environment()
        self.environment |= {"XDG_STATE_HOME": str(home / "state"), "CLOUD_ID": "bench"}
        given = {"cloud_type": machine_type, "cloud_zone": zone, "cloud_price": 0.03, "cloud_yes": True}
        given |= {
            "cloud_ssh_from": f"{PUBLIC}.1/32",
            "core_layout": PACKED,
            "bench_results_dir": str(home / "results"),
        }
        self.options = ["-e", json.dumps(given | variables)]
        (home / "results").mkdir(parents=True)

    def start(self) -> subprocess.Popen:
        return self._start("tools/cloud.sh", self.provider, *self.options)

    def create(self) -> subprocess.Popen:
        names = ["-e", f"cloud_provider={self.provider} cloud_id=bench"]
        return self._start("ansible-playbook", "playbooks/cloud.yml", *self.options, *names)

    def give_back(self) -> str:
        names = ["-e", f"cloud_provider={self.provider} cloud_id=bench", "-e", "cloud_state=absent"]
        done = self._start("ansible-playbook", "playbooks/cloud.yml", *self.options, *names)
        assert done.wait(300) == 0, self.log.read_text()[-4000:]
        return self.log.read_text()

    def _start(self, *command: str) -> subprocess.Popen:
        log = self.log.open("a")
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )

    def created(self, process: subprocess.Popen) -> None:
        """Wait until the machines are there and known."""

        def there() -> bool:
            assert process.poll() is None, self.log.read_text()[-6000:]
            return "Say what there is" in self.log.read_text()

        until(there, "the machines", 600)

    def inventory(self) -> dict:
        told = subprocess.run(
            ["ansible-inventory", "-i", str(self.bench / INVENTORIES[self.provider]), "--list"],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(told.stdout, object_hook=lambda one: one.get("__ansible_unsafe", one))

    def ssh(self, host: str, address: str, known_hosts: Path, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [
                *("ssh", "-i", str(self.bench / "ssh_key"), "-oBatchMode=yes", "-oStrictHostKeyChecking=yes"),
                *(
                    f"-oUserKnownHostsFile={known_hosts}",
                    f"-oHostKeyAlias={host}",
                    f"root@{address}",
                    *command,
                ),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def controller(tmp_path, provider, api):
    return lambda **variables: Controller(tmp_path, provider, api, **variables)


def told_by_the_bundle(rented, provider):
    (bundle,) = (rented.home / "results").iterdir()
    assert len(list(bundle.glob("runs/*/*/*/run.json"))) >= 6
    for host, services in SERVICES.items():
        facts = json.loads((bundle / f"environment/{host}.json").read_text())
        assert facts["services"] == services
        told = facts["machine"]
        zone, machine_type = ZONES[provider]
        assert (told["provider"], told["type"], told["zone"], told["price_per_hour"]) == (
            provider,
            machine_type,
            zone,
            "0.03",
        )


def test_from_nothing_to_a_sealed_bundle_and_back_to_nothing(controller, api, machines, provider):
    rented = controller(
        bench_protocol="quick",
        bench_experiments="me",
        bench_variants=["baseline", "final"],
        bench_retries=0,
    )
    process = rented.start() if provider in WHOLE else rented.create()
    rented.created(process)

    inventory = rented.inventory()
    hosts = inventory["_meta"]["hostvars"]
    assert {
        host: {
            role
            for role in ("app", "database", "cache", "load_generators")
            if host in inventory[role]["hosts"]
        }
        for host in hosts
    } == ROLES
    secrets = [
        path.read_text().strip()
        for path in rented.bench.glob("*")
        if path.name in ("ssh_key", "database-password", "cache-password")
    ]
    assert len(api.user_data) == 3
    for text in api.user_data:
        assert not any(
            secret in text
            for secret in (*secrets, TOKEN, rented.environment.get("AWS_SECRET_ACCESS_KEY", TOKEN))
        )
    for host, told in hosts.items():
        address = told["ansible_host"]
        assert rented.ssh(host, address, rented.bench / "known_hosts", "true").returncode == 0
        if provider == "hetzner":
            first = rented.home / "first"
            first.write_text(f"{host} {(rented.bench / f'first_{host}.pub').read_text()}")
            refused = rented.ssh(host, address, first, "true")
            assert "Host key verification failed" in refused.stderr, (
                "the key of the user data still opens a connection"
            )

    assert process.wait(2400) == 0, rented.log.read_text()[-6000:]
    if provider in WHOLE:
        told_by_the_bundle(rented, provider)
    else:
        rented.give_back()
    assert api.left == []
    assert not rented.bench.exists()
    until(lambda: not any(machines.runs(name) for name in machines.names), "the machines' end")


@pytest.mark.parametrize("provider", ["hetzner"], indirect=True)
def test_a_machine_whose_controller_was_killed_deletes_itself_and_destroy_finds_the_rest(
    controller, api, machines
):
    rented = controller(cloud_machines=1)
    process = rented.start()
    rented.created(process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (machine,) = machines.names
    # What its timer does.
    docker("exec", machine, "systemctl", "start", "--no-block", "ironbench-expire.service")
    until(lambda: not any(one.startswith("server") for one in api.left), "the server's end")
    assert api.deleted_by == [f"{PUBLIC}.11"] or api.deleted_by[0].startswith("10.61.0.")
    assert {one.split()[0] for one in api.left} == {"firewall", "network", "placement_group", "ssh_key"}
    assert "Nothing of bench is left" in " ".join(rented.give_back().split())
    assert api.left == []
    assert not rented.bench.exists()


@pytest.mark.parametrize("provider", ["aws"], indirect=True)
def test_an_instance_ends_at_its_time(api, machines, tmp_path):
    expires = int(time.time()) + 30
    subprocess.run(
        [
            *("ansible", "--connection", "local", "--inventory", "localhost,", "--playbook-dir", "playbooks"),
            *("localhost", "--module-name", "template", "--extra-vars", f"__cloud_expires={expires}"),
            *("--args", f"src=playbooks/templates/cloud_user_data.yml.j2 dest={tmp_path}/user-data"),
        ],
        cwd=REPOSITORY,
        env=environment() | {"ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        check=True,
    )
    keys = {name.lower(): value for name, value in api.environment().items() if name.startswith("AWS_")}
    client = boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=api.url,
        aws_access_key_id=keys["aws_access_key_id"],
        aws_secret_access_key=keys["aws_secret_access_key"],
    )
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    client.import_key_pair(KeyName="bench", PublicKeyMaterial=(tmp_path / "key.pub").read_bytes())
    made = client.run_instances(
        ImageId=DEBIAN,
        InstanceType="c7i.xlarge",
        KeyName="bench",
        MinCount=1,
        MaxCount=1,
        InstanceInitiatedShutdownBehavior="terminate",
        UserData=(tmp_path / "user-data").read_text(),
    )
    number = made["Instances"][0]["InstanceId"]
    assert api.backend.get_instance(number).state == "running"
    (machine,) = machines.names
    until(lambda: not machines.runs(machine), "the machine off")
    until(lambda: api.left == ["key bench"], "the instance's end")
    assert time.time() >= expires
