"""Runs this repository's playbooks as a user does, against a scenario's hosts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """The caller's, without what Molecule sets for its own calls of Ansible."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))
    }
    return kept | {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def command(playbook: str, inventory: str, *arguments: str) -> list[str]:
    source = REPOSITORY / f"molecule/inventory/{inventory}.yml"
    return ["ansible-playbook", "-i", str(source), str(REPOSITORY / playbook), *arguments]


def play(
    playbook: str, inventory: str, *arguments: str, strategy: str = "mitogen_linear"
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, at most 15 min. Mitogen's strategy takes half as long as Ansible's own, ``linear``."""
    return subprocess.run(
        command(playbook, inventory, *arguments),
        cwd=REPOSITORY,
        env=environment() | {"ANSIBLE_STRATEGY": strategy},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def changed(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Changes by host, from the recap."""
    return {
        host: int(count)
        for host, count in re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", done.stdout, re.MULTILINE)
    }
