"""A role that changes hosts is one that playbooks/restore.yml walks."""

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
WALKED = yaml.safe_load((REPOSITORY / "playbooks/restore.yml").read_text())[0]["vars"]["walked_roles"]
CHANGE_NOTHING = {"secrets", "load_generator"}
IN_ANOTHERS_NAME = {"bench_service", "wheel_venv"}
"""Restored by the roles that use them."""
LAST = {"origin"}


def dependencies(role: str) -> list:
    path = REPOSITORY / f"roles/{role}/meta/main.yml"
    return yaml.safe_load(path.read_text())["dependencies"] if path.exists() else []


@pytest.mark.parametrize("role", sorted(path.name for path in (REPOSITORY / "roles").iterdir()))
def test_every_role_that_changes_hosts_is_given_back(role):
    if role in CHANGE_NOTHING:
        return
    assert (REPOSITORY / f"roles/{role}/tasks/restore.yml").exists()
    if role not in IN_ANOTHERS_NAME | LAST:
        assert role in WALKED
        assert {"role": "origin", "vars": {"origin_role": role}} in dependencies(role), (
            "the role does not write down beforehand that it is about to change the host"
        )
