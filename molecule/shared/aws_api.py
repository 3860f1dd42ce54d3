"""AWS's EC2 as moto's server has it, in this process: with credentials that are checked, refusals to order, and a console.

moto knows no placement groups, so they are here. With ``machines`` an instance is a sandbox host, and one that powers
itself off is ended as its shutdown behaviour says.
"""

from __future__ import annotations

import base64
import logging
import urllib.request
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.responses.general import General
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from machines import Machines

REGION = "eu-central-1"
IMAGE = "ami-0d0eb1a2026000001"
POLICY = Path(__file__).parents[2] / "inventory/cloud/aws-policy.json"
"""What docs/how-to/cloud.md tells users to allow, and nothing else."""


def refused(code: str, message: str) -> EC2ClientError:
    return EC2ClientError(code, message)


QUOTA = (
    "VcpuLimitExceeded",
    "You have requested more vCPU capacity than your current vCPU limit of 8 allows",
)
# The collection repeats a call that was refused with InsufficientInstanceCapacity, for some minutes.
NO_CAPACITY = (
    "Unsupported",
    "Your requested instance type (c7i.xlarge) is not supported in your requested Availability Zone",
)


class Aws:
    """One account. ``refuse`` says with how many instances the next one is refused, and with what."""

    def __init__(self, machines: Machines | None = None) -> None:
        self.refuse: dict[int, tuple[str, str]] = {}
        self.user_data: list[str] = []
        self.placement_groups: dict[str, dict[str, Any]] = {}
        self._machines, self._containers = machines, {}
        for action in (
            self.create_placement_group,
            self.describe_placement_groups,
            self.delete_placement_group,
        ):
            setattr(General, action.__name__, lambda response, action=action: ActionResult(action(response)))
        self._patched = (EC2Backend.run_instances, General.get_console_output)
        EC2Backend.run_instances = self._run(EC2Backend.run_instances)
        General.get_console_output = self._console(General.get_console_output)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self._keys = self._account()
        self._stopped = Event()
        Thread(target=self._watch, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """What makes collection and SDK call this server."""
        return {
            "AWS_URL": self.url,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self._keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": self._keys["SecretAccessKey"],
        }

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self._server.get_host_and_port())

    @property
    def backend(self) -> EC2Backend:
        return ec2_backends[DEFAULT_ACCOUNT_ID][REGION]

    def close(self) -> None:
        self._stopped.set()
        self._server.stop()
        EC2Backend.run_instances, General.get_console_output = self._patched

    @property
    def left(self) -> list[str]:
        """All that somebody could be charged for, or find in the account, besides what a new account has."""
        running = [one for one in self.backend.all_instances() if one.state != "terminated"]
        return [
            *(f"instance {one.id}" for one in running),
            *(
                f"security group {one.name}"
                for one in self.backend.describe_security_groups()
                if one.name != "default"
            ),
            *(f"key {one.key_name}" for one in self.backend.describe_key_pairs([])),
            *(f"placement group {name}" for name in self.placement_groups),
            *(f"volume {one.id}" for one in self.backend.describe_volumes()),
        ]

    def create_placement_group(self, response: Any) -> dict[str, Any]:
        name = response._get_param("GroupName")
        made = {
            "GroupName": name,
            "State": "available",
            "Strategy": response._get_param("Strategy"),
            "Tags": [],
        }
        self.placement_groups[name] = made
        return {"PlacementGroup": made}

    def describe_placement_groups(self, response: Any) -> dict[str, Any]:
        asked = {one["Name"]: one["Values"] for one in response._get_param("Filters") or []}
        names = response._get_param("GroupNames") or asked.get("group-name", list(self.placement_groups))
        unknown = [name for name in names if name not in self.placement_groups]
        if unknown and "group-name" not in asked:
            raise refused("InvalidPlacementGroup.Unknown", f"The Placement Group '{unknown[0]}' is unknown.")
        return {"PlacementGroups": [group for name, group in self.placement_groups.items() if name in names]}

    def delete_placement_group(self, response: Any) -> dict[str, Any]:
        del self.placement_groups[response._get_param("GroupName")]
        return {}

    def _account(self) -> dict[str, str]:
        """A user who may do what the policy of the docs allows; from then on everybody else is refused."""
        # The three calls below need no credentials, and then all do.
        self._moto("reset")
        self._moto("reset-auth", b"3")
        debian: Any = Ami(
            self.backend,
            IMAGE,
            name="debian-13-amd64-20260101-1",
            owner_id="136693071363",
            public=True,
            architecture="x86_64",
        )
        self.backend.amis[IMAGE] = debian
        nobody = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": REGION}
        iam = boto3.client("iam", endpoint_url=self.url, **nobody)
        iam.create_user(UserName="bench")
        iam.put_user_policy(UserName="bench", PolicyName="bench", PolicyDocument=POLICY.read_text())
        return iam.create_access_key(UserName="bench")["AccessKey"]

    def _moto(self, what: str, body: bytes = b"") -> None:
        plain = {"Content-Type": "text/plain"}
        asked = urllib.request.Request(f"{self.url}/moto-api/{what}", data=body, headers=plain)
        urllib.request.urlopen(asked).close()

    def _run(self, original: Any) -> Any:
        account = self

        def run_instances(backend: EC2Backend, *arguments: Any, **named: Any) -> Any:
            code = account.refuse.get(len(account.user_data))
            if code is not None:
                raise refused(*code)
            made = original(backend, *arguments, **named)
            for instance in made.instances:
                account._boot(instance)
            return made

        return run_instances

    def _boot(self, instance: Any) -> None:
        (interface,) = instance.nics.values()
        public, private = self._machines.addresses() if self._machines else ("127.0.0.2", "10.61.0.2")
        # moto tells the groups of an interface to that alone.
        instance.security_groups[:] = interface.group_set
        interface.public_ip = public
        interface.private_ip_address = private
        self.user_data.append(base64.b64decode(str(instance.user_data)).decode())
        if self._machines:
            key = self.backend.key_pairs[instance.key_name].material_public.decode()
            self._containers[instance.id] = self._machines.boot(instance.id, self.user_data[-1], key)

    def _console(self, original: Any) -> Any:
        def get_console_output(response: Any) -> Any:
            answer = original(response)
            machines, container = self._machines, self._containers.get(response._get_param("InstanceId"))
            text = machines.console(container) if machines and container else ""
            answer.result["Output"] = base64.b64encode(text.encode()).decode()
            return answer

        return get_console_output

    def _watch(self) -> None:
        """End what powered itself off, if that is its shutdown behaviour, and the machines of what was ended."""
        while not self._stopped.wait(0.5):
            for instance in self.backend.all_instances():
                container = self._containers.get(instance.id)
                if container is None or self._machines is None:
                    continue
                off = not self._machines.runs(container)
                if (
                    off
                    and instance.state != "terminated"
                    and instance.instance_initiated_shutdown_behavior == "terminate"
                ):
                    instance.terminate()
                if instance.state == "terminated":
                    self._machines.end(self._containers.pop(instance.id))
