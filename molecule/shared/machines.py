"""Machines that a stand-in of a cloud provider boots: sandbox hosts with cloud-init and sshd.

cloud-init itself reads the user data that the playbook gave the provider, from a seed (its data source NoCloud); a
real provider has it behind an address of the link.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PUBLIC, PRIVATE = "172.30.62", "10.61.0"
NO_NETWORK = "network: {config: disabled}\ndatasource_list: [NoCloud]\n"
FLAGS = (
    *("--tty", "--cgroupns=private", "--cap-add=ALL", "--cap-drop=SYS_RESOURCE"),
    *("--security-opt=seccomp=unconfined", "--stop-signal=SIGRTMIN+3", "--shm-size=1g"),
    *("--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp", "--volume=ironbench-pip-cache:/root/.cache/pip"),
)
"""As playbooks/tasks/sandbox_present.yml."""


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


@dataclass
class Machines:
    """All machines of a stand-in, each with a public and a private address, in networks of their own."""

    image: str
    seeds: Path
    prefix: str
    """Of the containers' names."""
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for network, subnet in self._networks:
            docker(
                *("network", "create", "--subnet", subnet, "--opt", "com.docker.network.driver.mtu=1400"),
                network,
            )

    @property
    def _networks(self) -> Sequence[tuple[str, str]]:
        return ((f"{self.prefix}-public", f"{PUBLIC}.0/24"), (f"{self.prefix}-private", f"{PRIVATE}.0/24"))

    def addresses(self) -> tuple[str, str]:
        """Public and private address of the next machine; none is given twice, as a new machine has another key."""
        number = 11 + len(self.names)
        return f"{PUBLIC}.{number}", f"{PRIVATE}.{number}"

    def boot(self, name: str, user_data: str, public_key: str) -> str:
        """Start a machine and return its container's name."""
        public, private = self.addresses()
        container = f"{self.prefix}-{len(self.names)}-{name}"
        self.names.append(container)
        seed = self.seeds / container
        seed.mkdir(parents=True)
        told = {"instance-id": container, "local-hostname": name, "public-keys": [public_key]}
        (seed / "meta-data").write_text(json.dumps(told))
        (seed / "user-data").write_text(user_data)
        (seed / "no-network.cfg").write_text(NO_NETWORK)
        (outside, _), (inside, _) = self._networks
        docker(
            *(
                "create",
                "--name",
                container,
                "--hostname",
                name,
                "--network",
                outside,
                "--ip",
                public,
                *FLAGS,
            ),
            f"--volume=ironbench-apt-cache-{self.prefix}-{len(self.names) % 3}:/var/cache/apt/archives",
            f"--volume={seed}:/var/lib/cloud/seed/nocloud:ro",
            f"--volume={seed}/no-network.cfg:/etc/cloud/cloud.cfg.d/99-no-network.cfg:ro",
            self.image,
        )
        docker("network", "connect", "--ip", private, inside, container)
        docker("start", container)
        return container

    def runs(self, container: str) -> bool:
        return docker("inspect", "--format", "{{.State.Running}}", container, check=False) == "true"

    def console(self, container: str) -> str:
        return docker("logs", container, check=False)

    def end(self, container: str) -> None:
        docker("rm", "--force", "--volumes", container, check=False)

    def close(self) -> None:
        for container in self.names:
            self.end(container)
        for network, _ in self._networks:
            docker("network", "rm", network, check=False)
