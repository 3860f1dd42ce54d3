"""The command line: ``auth-app COMMAND``. Answers are JSON on stdout, faults one sentence on stderr."""

# ruff: noqa: PLC0415  A command imports what it needs; `prepare` runs before every measured session.

import argparse
import asyncio
import os
import socket
import sys
from pathlib import Path

import msgspec

from auth_app.errors import AuthAppError
from auth_app.settings import Settings, load_settings, settings_path
from auth_app.variants import VARIANTS, levers_of

MIN_PASSWORD = 3
"""The article's load test signs in with a password that the signup policy refuses."""


def main() -> None:
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except AuthAppError as error:
        sys.exit(f"auth-app: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="auth-app", description="Administers the auth service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    variants = command("variants", _variants, "List the variants and their levers.")
    variants.add_argument("--json", action="store_true")
    check = command("check", _check, "See that settings, keys and variant would serve.")
    check.add_argument("--variant", required=True)
    describe = command(
        "describe", _describe, "Print what is installed, the settings, and a variant's levers."
    )
    describe.add_argument("--variant", required=True)
    serve = command("serve", _serve, "See that it would serve, and become the variant's server.")
    serve.add_argument("--variant", required=True)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--workers", type=int, default=2, help="processes that answer")
    serve.add_argument("--backlog", type=int, default=2048, help="connections that may wait")
    keys = command("keys", _keys, "Make the signing keys that are missing.")
    keys.add_argument("action", choices=["generate"])
    command("migrate", _migrate, "Bring the schema to the newest revision.")
    command("seed-roles", _seed_roles, "Insert the roles that are missing.")
    create = command("create-user", _create_user, "Create a user; the password is read from stdin.")
    create.add_argument("--email", required=True)
    create.add_argument("--name")
    create.add_argument("--variant", required=True, help="whose hasher to use")
    deactivate = command("deactivate-user", _deactivate_user, "Switch a user off and end all tokens.")
    deactivate.add_argument("--email", required=True)
    mint = command("mint-token", _mint_token, "Print an access token of a user.")
    mint.add_argument("--email", required=True)
    mint.add_argument("--variant", required=True, help="whose keys to use")
    command("clear", _clear, "Empty users, exercises and Valkey's database.")
    prepare = command("prepare", _prepare, "clear, seed roles and users, VACUUM ANALYZE, CHECKPOINT.")
    prepare.add_argument("--variant", required=True, help="whose hasher and keys to use")
    prepare.add_argument("--users", type=int, required=True)
    return parser


def _variants(arguments: argparse.Namespace) -> None:
    if arguments.json:
        _print(VARIANTS)
        return
    for name, levers in VARIANTS.items():
        chosen = ", ".join(f"{field}={value}" for field, value in msgspec.structs.asdict(levers).items())
        print(f"{name}: {chosen}")


def _check(arguments: argparse.Namespace) -> None:
    from auth_app.wiring import check

    check(_settings(), levers_of(arguments.variant))


def _describe(arguments: argparse.Namespace) -> None:
    from auth_app.describe import describe

    _print(describe(_settings(), levers_of(arguments.variant)))


def _serve(arguments: argparse.Namespace) -> None:
    from auth_app.servers import Listener
    from auth_app.wiring import check, server_command

    levers = levers_of(arguments.variant)
    # The servers' supervisors tell little of a worker that cannot serve, uvicorn's starts it for ever; this says
    # why, once.
    check(_settings(), levers)
    listener = Listener(
        host=arguments.host, port=arguments.port, workers=arguments.workers, backlog=arguments.backlog
    )
    command = server_command(listener, levers)
    os.environ["AUTH_APP_VARIANT"] = arguments.variant
    _say_ready()
    # In place of this process: whoever started it signals and measures the server itself.
    os.execv(command[0], command)  # noqa: S606  (no shell is wanted)


def _say_ready() -> None:
    """Tell systemd, if it waits for that (Type=notify), that the start is worth waiting for; see sd_notify(3)."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(b"READY=1", f"\0{address[1:]}" if address.startswith("@") else address)


def _keys(_: argparse.Namespace) -> None:
    from auth_app.keys import generate_keys

    _print_changed(generate_keys(Path(_settings().keys.directory)))


def _migrate(_: argparse.Namespace) -> None:
    from auth_app.db.migrate import migrate

    _print_changed(asyncio.run(migrate(_settings().database)))


def _seed_roles(_: argparse.Namespace) -> None:
    from auth_app import admin

    _print_changed(asyncio.run(admin.seed_roles(_settings())))


def _create_user(arguments: argparse.Namespace) -> None:
    from auth_app import admin

    levers, settings = levers_of(arguments.variant), _settings()
    password = sys.stdin.readline().rstrip("\n")
    if len(password) < MIN_PASSWORD:
        msg = f"the password on stdin has fewer than {MIN_PASSWORD} characters: give a longer one."
        raise AuthAppError(msg)
    user = asyncio.run(
        admin.create_user(
            settings,
            levers,
            email=arguments.email,
            name=arguments.name,
            password=password,
        )
    )
    _print({"id": user.id, "email": user.email})


def _deactivate_user(arguments: argparse.Namespace) -> None:
    from auth_app import admin

    _print_changed(asyncio.run(admin.deactivate_user(_settings(), arguments.email)))


def _mint_token(arguments: argparse.Namespace) -> None:
    from auth_app import admin

    levers = levers_of(arguments.variant)
    _print({"access_token": asyncio.run(admin.mint_token(_settings(), levers, arguments.email))})


def _clear(_: argparse.Namespace) -> None:
    from auth_app import admin

    asyncio.run(admin.clear(_settings()))


def _prepare(arguments: argparse.Namespace) -> None:
    from auth_app import admin

    levers = levers_of(arguments.variant)
    if arguments.users < 0:
        raise AuthAppError(f"--users {arguments.users} is negative: give 0 or more.")
    for user in asyncio.run(admin.prepare(_settings(), levers, arguments.users)):
        _print(user)


def _settings() -> Settings:
    return load_settings(settings_path())


def _print_changed(changed: bool) -> None:
    _print({"changed": changed})


def _print(value: object) -> None:
    print(msgspec.json.encode(value).decode())


if __name__ == "__main__":
    main()
