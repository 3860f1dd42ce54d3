"""The settings file: where the database, the cache and the keys are, and how long tokens live."""

import os
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec
from msgspec import Meta

from auth_app.errors import AuthAppError

DEFAULT_PATH = Path("/etc/auth-app/settings.toml")

Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[int, Meta(ge=1)]


def _password(section: str, file: str, user: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        msg = (
            f"{section}.password_file {file} cannot be read "
            f"({error.strerror}): write the password of {user} to it."
        )
        raise AuthAppError(msg) from error


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the sections: immutable; an unknown key is refused."""


class Database(Section, frozen=True, kw_only=True):
    host: str
    port: Port
    name: str
    user: str
    password_file: str
    prepared_statements: bool = False
    """Whether PgBouncer follows prepared statements (1.21 or newer, with max_prepared_statements > 0)."""

    def password(self) -> str:
        return _password("database", self.password_file, self.user)


class Login(TypedDict, total=False):
    """Arguments of a client of Valkey."""

    username: str
    password: str


class Cache(Section, frozen=True, kw_only=True):
    host: str
    port: Port
    database: Annotated[int, Meta(ge=0)] = 0
    user: str = ""
    password_file: str = ""
    """Both empty: Valkey asks for no login."""

    def login(self) -> Login:
        """Return what a client needs to log in; nothing where that is not asked for."""
        if not self.password_file:
            return {}
        password = _password("cache", self.password_file, self.user)
        return {"username": self.user, "password": password}


class Keys(Section, frozen=True, kw_only=True):
    directory: str


class Tokens(Section, frozen=True, kw_only=True):
    access_minutes: Positive = 30
    refresh_days: Positive = 30
    cookie_secure: bool = False

    @property
    def access_s(self) -> int:
        return self.access_minutes * 60

    @property
    def refresh_s(self) -> int:
        return self.refresh_days * 86_400


class Limits(Section, frozen=True, kw_only=True):
    """What a worker takes on. The defaults are far above what the published tests ask for."""

    body_bytes: Positive = 65_536
    """Longest body of a request; a longer one is answered with 413."""
    hashing_queue: Positive = 200
    """Passwords that a worker's threads have in hand or that wait for them; the next is answered with 503.
    Where passwords are hashed in the event loop nothing else runs meanwhile, and nothing waits here."""
    pool_wait_s: Positive = 30
    """How long a request waits for one of the persistent connections before it is answered with 503."""
    statement_s: Positive = 60
    """How long the answer to one SQL statement may take before it is cancelled and the request answered with
    503. Long: where passwords are hashed in the event loop, fifty at once keep a finished answer waiting."""


class Settings(Section, frozen=True, kw_only=True):
    database: Database
    cache: Cache
    keys: Keys
    tokens: Tokens = Tokens()
    limits: Limits = Limits()


def settings_path() -> Path:
    return Path(os.environ.get("AUTH_APP_SETTINGS", DEFAULT_PATH))


def load_settings(path: Path) -> Settings:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Settings)
    except OSError as error:
        msg = f"settings file {path} cannot be read ({error.strerror}): name another in $AUTH_APP_SETTINGS."
        raise AuthAppError(msg) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        msg = f"settings file {path} is not valid: {reason}."
        raise AuthAppError(msg) from error
