"""What the app tells of itself, which every measured session is held against."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import auth_app
import pytest
from auth_app.settings import Cache, Database, Keys, Settings
from harness import write_settings

PACKAGE = Path(auth_app.__file__).parent


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Copy the package, so that it can be changed."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "site/auth_app", ignore=shutil.ignore_patterns("*.pyc")))


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    password = tmp_path / "password"
    password.write_text("a-secret")
    made = Settings(
        database=Database(host="127.0.0.1", port=6432, name="auth", user="auth", password_file=str(password)),
        cache=Cache(host="127.0.0.1", port=6379),
        keys=Keys(directory="/etc/auth-app/keys"),
    )
    return write_settings(tmp_path / "settings.toml", made)


def described(installed: Path, settings: Path, variant: str = "final") -> dict:
    environment = os.environ | {"PYTHONPATH": str(installed.parent), "AUTH_APP_SETTINGS": str(settings)}
    command = [sys.executable, "-m", "auth_app.cli", "describe", "--variant", variant]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "a-secret" not in done.stdout
    return json.loads(done.stdout)


def test_the_same_installation_tells_the_same(installed: Path, settings: Path):
    first = described(installed, settings)
    assert described(installed, settings) == first
    assert first["settings"]["database.port"] == "6432"
    assert "fastapi" in first["lock"]


def test_a_file_that_is_changed_in_place_is_another_wheel(installed: Path, settings: Path):
    before = described(installed, settings)
    with (installed / "passwords.py").open("a") as file:
        file.write("# cheaper\n")
    after = described(installed, settings)
    assert after["wheel"] != before["wheel"]
    assert after["lock"] == before["lock"]


def test_variants_are_told_apart_by_their_levers(installed: Path, settings: Path):
    baseline, final = (described(installed, settings, variant) for variant in ("baseline", "final"))
    assert {name for name in baseline if baseline[name] != final[name]} == {"variant"}
    assert (baseline["variant"]["argon2_lanes"], final["variant"]["argon2_lanes"]) == ("4", "1")
