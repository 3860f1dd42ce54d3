"""The command line, as the roles use it."""

import json
import stat
from pathlib import Path

import pytest
from auth_app.settings import Settings, load_settings
from auth_app.variants import NAMED, VARIANTS, levers_of
from harness import App, cli, cli_json, new_email, running, sql, write_settings
from redis import Redis


def test_variants():
    assert list(cli_json("variants", "--json")) == list(VARIANTS)
    assert cli_json("variants", "--json")["final"]["argon2_lanes"] == 1
    assert [line.partition(":")[0] for line in cli("variants").stdout.splitlines()] == list(VARIANTS)


def test_migrations_from_empty(migrations: list[dict], settings: Settings):
    assert sorted(each["changed"] for each in migrations) == [False, True]
    assert cli_json("migrate") == {"changed": False}
    rows = sql(settings, "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
    indexes = {row["indexname"]: row["indexdef"] for row in rows}
    assert indexes["ix_user_account_email"].startswith("CREATE UNIQUE INDEX")
    assert indexes["ix_user_account_email"].endswith("(email)")
    assert indexes["uq_sys_exercise_slug"].endswith("(slug) WHERE (is_system_default IS TRUE)")
    assert indexes["uq_sys_exercise_name"].endswith("(name) WHERE (is_system_default IS TRUE)")
    assert indexes["uq_user_exercise_name"].endswith("(created_by, name) WHERE (created_by IS NOT NULL)")
    enums = sql(settings, "SELECT typname FROM pg_type WHERE typtype = 'e' ORDER BY 1")
    assert [row["typname"] for row in enums] == ["category", "difficulty_level", "force", "mechanic"]


def test_seed_roles(database: Settings):
    assert cli_json("seed-roles") == {"changed": False}
    rows = sql(database, "SELECT slug FROM role ORDER BY slug")
    assert [row["slug"] for row in rows] == ["application-access", "fitness-trainer", "superuser"]


def test_keys(tmp_path: Path, settings: Settings):
    directory = tmp_path / "keys"
    path = write_settings(tmp_path / "settings.toml", settings, keys={"directory": str(directory)})
    assert cli_json("keys", "generate", settings=path) == {"changed": True}
    made = {file.name: file.read_bytes() for file in directory.iterdir()}
    assert set(made) == {"rsa.pem", "ed25519.pem"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}
    assert cli_json("keys", "generate", settings=path) == {"changed": False}
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == made
    (directory / "rsa.pem").chmod(0o640)
    done = cli("keys", "generate", settings=path, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"auth-app: key {directory}/rsa.pem has mode 0640: "
        f"it must be 0600 (chmod 0600 {directory}/rsa.pem).\n"
    )


@pytest.mark.parametrize("variant", ["baseline", "beyond"])
def test_prepare(variant: str, database: Settings, settings_path: Path):
    cache = database.cache
    with Redis(host=cache.host, port=cache.port, db=cache.database, **cache.login()) as valkey:
        valkey.set("left over", "x")
        lines = cli("prepare", "--variant", variant, "--users", "2").stdout.splitlines()
        assert not valkey.exists("left over")
    users = [json.loads(line) for line in lines]
    assert [set(user) for user in users] == [{"email", "password", "access_token"}] * 2
    rows = sql(database, "SELECT name, email, password FROM user_account ORDER BY email")
    assert [row["email"] for row in rows] == [user["email"] for user in users]
    assert {len(row["name"]) for row in rows} == {8}
    lanes = levers_of(variant).argon2_lanes
    assert all(f"m=65536,t=3,p={lanes}$" in row["password"] for row in rows)
    with running(variant, settings_path) as app:
        for user in users:
            assert app.get_me(user["access_token"]).json()["email"] == user["email"]
            assert app.signin(user["email"], user["password"]).status_code == 204
        # The passwords would pass signup, too.
        password = users[0]["password"]
        assert app.signup(password=password, confirmPassword=password).status_code == 201


def test_clear(database: Settings):
    cli("prepare", "--variant", "final", "--users", "1")
    cli("clear")
    assert sql(database, "SELECT count(*) FROM user_account")[0][0] == 0
    assert sql(database, "SELECT count(*) FROM role")[0][0] == 3


@pytest.mark.parametrize("app", NAMED, indirect=True)
def test_create_user_and_mint_token(app: App):
    email = new_email()
    made = cli_json("create-user", "--email", email.upper(), "--variant", app.variant, stdin="secret\n")
    assert made["email"] == email
    assert app.signin(email, "secret").status_code == 204
    token = cli_json("mint-token", "--email", email, "--variant", app.variant)["access_token"]
    assert app.get_me(token).json()["id"] == made["id"]
    again = cli("create-user", "--email", email, "--variant", app.variant, stdin="secret\n", check=False)
    assert again.stderr == "auth-app: a user with this email already exists: choose another.\n"
    short = cli("create-user", "--email", new_email(), "--variant", app.variant, stdin="ab\n", check=False)
    assert short.stderr.startswith("auth-app: the password on stdin has fewer than 3 characters")


def test_faults_are_one_sentence(tmp_path: Path, settings: Settings, database: Settings):
    closed = write_settings(tmp_path / "closed.toml", settings, database={"port": 1})
    no_cache = write_settings(tmp_path / "cache.toml", settings, cache={"port": 1})
    unknown = tmp_path / "unknown.toml"
    unknown.write_text(closed.read_text() + "\nhurry = true\n")
    cases = [
        (
            ("prepare", "--variant", "fast", "--users", "1"),
            None,
            "choose one of baseline, optimization-1, final, beyond, ",
        ),
        (("prepare", "--variant", "final", "--users", "-1"), None, "give 0 or more."),
        (("mint-token", "--variant", "final", "--email", "no@example.com"), None, "`auth-app create-user`."),
        (("clear",), closed, "the database at 127.0.0.1:1 could not be used"),
        (("migrate",), closed, "the database at 127.0.0.1:1 could not be used"),
        (("clear",), no_cache, "Valkey at 127.0.0.1:1 could not be used"),
        (("clear",), unknown, "`hurry`"),
        (("clear",), tmp_path / "none.toml", "name another in $AUTH_APP_SETTINGS."),
    ]
    for arguments, path, words in cases:
        done = cli(*arguments, settings=path, check=False)
        assert done.returncode == 1, arguments
        assert done.stdout == ""
        assert done.stderr.startswith("auth-app: ")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_settings_have_defaults(tmp_path: Path):
    path = tmp_path / "settings.toml"
    path.write_text(
        '[database]\nhost = "a"\nport = 1\nname = "b"\nuser = "c"\npassword_file = "d"\n'
        '[cache]\nhost = "e"\nport = 2\ndatabase = 3\n[keys]\ndirectory = "f"\n'
    )
    tokens = load_settings(path).tokens
    assert (tokens.access_minutes, tokens.refresh_days, tokens.cookie_secure) == (30, 30, False)


def test_check_says_what_would_not_serve():
    assert cli("check", "--variant", "final").returncode == 0
    refused = cli("check", "--variant", "nonsense", check=False)
    assert refused.returncode != 0
    assert "baseline" in refused.stderr


def test_check_reads_valkeys_password(tmp_path: Path, settings: Settings):
    none = write_settings(
        tmp_path / "settings.toml", settings, cache={"user": "auth", "password_file": "/nowhere"}
    )
    refused = cli("check", "--variant", "final", settings=none, check=False)
    assert refused.returncode == 1
    assert refused.stderr == (
        "auth-app: cache.password_file /nowhere cannot be read (No such file or directory): "
        "write the password of auth to it.\n"
    )
