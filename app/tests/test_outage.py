"""Without the database or without Valkey, and with a Valkey that is there but does not answer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from auth_app.settings import Settings
from away import forwarding, free_ports
from harness import PASSWORD, cli_json, new_email, running, sql, wait_until, write_settings
from test_tokens import INVALID, answer, remember

HANG_S = 3.0
"""README: a connection to Valkey that hangs is noticed after this time."""
BUSY_S = 3.0
"""For a machine that does something else meanwhile."""


@pytest.fixture
def token_of(database: Settings):
    """Mint a good token for any variant."""
    email = new_email()
    cli_json("create-user", "--email", email, "--variant", "final", stdin=f"{PASSWORD}\n")
    return lambda variant: cli_json("mint-token", "--email", email, "--variant", variant)["access_token"]


@pytest.mark.parametrize("variant", ["baseline", "final", "beyond"])
def test_without_valkey(variant: str, tmp_path: Path, database: Settings, token_of):
    path = write_settings(tmp_path / "settings.toml", database, cache={"port": 1})
    with running(variant, path) as app:
        health = httpx.get(f"{app.url}/health")
        assert health.status_code == 503
        assert health.json() == {"status": "unavailable", "database": "online", "cache": "offline"}
        # PostgreSQL knows which tokens are dead.
        for _ in range(2):
            assert app.get_me(token_of(variant)).status_code == 200
        session = app.new_session()
        sql(
            app.settings,
            f"UPDATE user_account SET token_version = 1 WHERE email = '{session.email}' RETURNING id",
        )
        assert answer(app, session.access) == INVALID


def ask_until_refused(client: httpx.Client) -> tuple[httpx.Response, list[float]]:
    """Return the first answer that is not 200, and when each request before it was sent."""
    sent_at: list[float] = []
    answers: list[httpx.Response] = []

    def refuses() -> bool:
        sent_at.append(time.monotonic())
        answers.append(client.get("/me"))
        return answers[-1].status_code != 200

    wait_until(refuses, "the worker notices")
    return answers[-1], sent_at[:-1]


@pytest.mark.parametrize("variant", ["final", "beyond"])
def test_revocation_that_cannot_arrive(variant: str, tmp_path: Path, database: Settings):
    """The worst case of the bound: caches are warm, and Valkey's answers get lost."""
    cache, (port,) = database.cache, free_ports(1)
    path = write_settings(tmp_path / "settings.toml", database, cache={"host": "127.0.0.1", "port": port})
    with forwarding({port: (cache.host, cache.port)}) as line, running(variant, path) as app:
        session = app.new_session()
        remember(app, session.access)
        with app.both_workers(access_token=session.access) as clients:
            line.hold()
            assert cli_json("deactivate-user", "--email", session.email) == {"changed": True}
            revoked_at = time.monotonic()
            for client in clients:
                response, good_at = ask_until_refused(client)
                assert max(good_at, default=revoked_at) - revoked_at < HANG_S + BUSY_S
                assert (response.status_code, response.json()) == INVALID
            line.release()
            for client in clients:
                response = client.get("/me")
                assert (response.status_code, response.json()) == INVALID


@pytest.mark.parametrize("variant", ["final", "beyond"])
def test_without_the_database(variant: str, tmp_path: Path, database: Settings):
    path = write_settings(tmp_path / "settings.toml", database, database={"port": 1})
    with running(variant, path) as app:
        health = httpx.get(f"{app.url}/health")
        assert health.status_code == 503
        assert health.json() == {"status": "unavailable", "database": "offline", "cache": "online"}
        response = app.signin(new_email())
        assert (response.status_code, response.json()) == (503, {"detail": "Service unavailable"})


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"AUTH_APP_VARIANT": "fast"}, "choose one of baseline, optimization-1, final, beyond, "),
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
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
