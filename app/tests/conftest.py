import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from auth_app.settings import Settings, load_settings
from auth_app.variants import VARIANTS
from harness import App, Session, cli_json, running, sql


@pytest.fixture(scope="session")
def settings_path() -> Path:
    path = os.environ.get("AUTH_APP_SETTINGS")
    if not path:
        pytest.fail(
            "set AUTH_APP_SETTINGS to a settings file with a PgBouncer, a PostgreSQL database and a "
            "Valkey database that the tests may empty",
            pytrace=False,
        )
    return Path(path)


@pytest.fixture(scope="session")
def settings(settings_path: Path) -> Settings:
    return load_settings(settings_path)


@pytest.fixture(scope="session")
def migrations(settings: Settings) -> list[dict]:
    """Empty the database and migrate it by two processes at once: what each of them said."""
    cli_json("keys", "generate")
    sql(settings, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "SELECT 1")
    command = [sys.executable, "-m", "auth_app.cli", "migrate"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    return [json.loads(text) for text in said]


@pytest.fixture(scope="session")
def database(settings: Settings, migrations: list[dict]) -> Settings:
    """Provide schema and roles."""
    cli_json("seed-roles")
    return settings


@pytest.fixture(scope="session", params=VARIANTS)
def app(request: pytest.FixtureRequest, settings_path: Path, database: Settings) -> Iterator[App]:
    with running(request.param, settings_path) as app:
        yield app


@pytest.fixture
def session(app: App) -> Session:
    """Sign a new user in."""
    return app.new_session()
