"""Defaults and argument_specs of a role are two places for one fact, so they are compared."""

from pathlib import Path

import pytest
import yaml

ROLES = sorted((Path(__file__).parents[2] / "roles").iterdir())


def options(role: Path) -> dict[str, dict]:
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return {name: option for spec in specs.values() for name, option in (spec["options"] or {}).items()}


def defaults(role: Path) -> dict[str, object]:
    path = role / "defaults/main.yml"
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_specified_and_says_the_same(role):
    for name, value in defaults(role).items():
        assert name in options(role), f"{name} has a default and no argument spec"
        if "default" in options(role)[name]:
            assert options(role)[name]["default"] == value, name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_specified_default_is_real(role):
    for name, option in options(role).items():
        if "default" in option and not name.startswith("bench_service_"):
            assert name in defaults(role), f"argument_specs promises a default of {name}"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_is_described_and_has_the_roles_prefix(role):
    for name, option in options(role).items():
        assert option["description"]
        assert name.startswith(f"{role.name}_")


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_says_what_it_does_and_how_to_undo_it(role):
    text = (role / "README.md").read_text()
    assert "**Outcome.**" in text
    assert "**Rollback.**" in text
