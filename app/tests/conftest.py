import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from auth_app.settings import Settings, load_settings
from auth_app.variants import NAMED, VARIANTS
from harness import App, Session, cli_json, running, sql, write_settings
from msgspec.structs import asdict
from visit import Visit
from visit import visit as make_visit
from wire import Relay


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--served",
        choices=("all", "levers", "named"),
        default="all",
        help="variants whose servers are tested: all, few that have each value of each lever, the named ones",
    )


def each_value() -> Iterable[str]:
    """Choose the named variants and, one by one, that with the most values of levers that none has yet."""
    values = {variant: set(asdict(levers).items()) for variant, levers in VARIANTS.items()}
    chosen = list(NAMED)
    while left := set().union(*values.values()) - set().union(*(values[variant] for variant in chosen)):
        chosen.append(max(values, key=lambda variant: len(values[variant] & left)))
    return chosen


SERVED = {"all": VARIANTS.keys, "levers": each_value, "named": NAMED.keys}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one variant one after another, so that each server starts once; others before them."""
    order = {variant: number for number, variant in enumerate(VARIANTS, start=1)}

    def served(item: pytest.Item) -> str | None:
        callspec = getattr(item, "callspec", None)
        return callspec.params.get("app") if callspec else None

    wanted = {None, *SERVED[config.getoption("served")]()}
    config.hook.pytest_deselected(items=[item for item in items if served(item) not in wanted])
    items[:] = [item for item in items if served(item) in wanted]
    items.sort(key=lambda item: order.get(served(item) or "", 0))


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


@pytest.fixture(scope="session")
def relay(database: Settings) -> Iterator[Relay]:
    """Stand between every server of ``app`` and PgBouncer."""
    with Relay.to(database.database.host, database.database.port) as relay:
        yield relay


@pytest.fixture(scope="session")
def relayed(relay: Relay, database: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the relay's port in a settings file."""
    path = tmp_path_factory.mktemp("relayed") / "settings.toml"
    return write_settings(path, database, database={"host": "127.0.0.1", "port": relay.port})


@pytest.fixture(scope="session", params=VARIANTS)
def app(request: pytest.FixtureRequest, relayed: Path) -> Iterator[App]:
    """Serve each variant; a module that needs fewer says ``parametrize("app", ..., indirect=True)``."""
    with running(request.param, relayed) as app:
        yield app


@pytest.fixture(scope="session")
def visit(app: App, relay: Relay) -> Visit:
    return make_visit(app, relay)


@pytest.fixture
def session(app: App) -> Session:
    """Sign a new user in."""
    return app.new_session()
