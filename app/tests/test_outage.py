"""Without the database or without Valkey."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from auth_app.settings import Settings
from harness import PASSWORD, cli_json, new_email, running
from test_cli import write_settings


@pytest.fixture
def token_of(database: Settings):
    """Mint a good token for any variant."""
    email = new_email()
    cli_json("create-user", "--email", email, "--variant", "final", stdin=f"{PASSWORD}\n")
    return lambda variant: cli_json("mint-token", "--email", email, "--variant", variant)["access_token"]


@pytest.mark.parametrize("variant", ["baseline", "final"])
def test_without_valkey(variant: str, tmp_path: Path, database: Settings, token_of):
    path = write_settings(tmp_path / "settings.toml", database, cache={"port": 1})
    with running(variant, path) as app:
        health = httpx.get(f"{app.url}/health")
        assert health.status_code == 503
        assert health.json() == {"status": "unavailable", "database": "online", "cache": "offline"}
        # Nobody knows which tokens are revoked, so no token is good.
        response = app.get_me(token_of(variant))
        assert (response.status_code, response.json()) == (503, {"detail": "Service unavailable"})


def test_without_the_database(tmp_path: Path, database: Settings):
    path = write_settings(tmp_path / "settings.toml", database, database={"port": 1})
    with running("final", path) as app:
        health = httpx.get(f"{app.url}/health")
        assert health.status_code == 503
        assert health.json() == {"status": "unavailable", "database": "offline", "cache": "online"}
        response = app.signin(new_email())
        assert (response.status_code, response.json()) == (503, {"detail": "Service unavailable"})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"AUTH_APP_VARIANT": "fast"}, "choose one of baseline, optimization-1, final."),
        ({"AUTH_APP_SETTINGS": "/nowhere.toml"}, "name another in $AUTH_APP_SETTINGS."),
    ],
)
def test_factory_refuses_in_one_sentence(settings_path: Path, environment: dict, words: str):
    done = subprocess.run(
        [sys.executable, "-c", "from auth_app.asgi import create_app; create_app()"],
        env=os.environ | {"AUTH_APP_VARIANT": "final"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("auth-app: ")
    assert done.stderr.endswith(f"{words}\n")
    assert done.stderr.count("\n") == 1
