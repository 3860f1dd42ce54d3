"""What a worker takes on: bodies, passwords, hashes, connections and the time of a statement."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from auth_app.errors import AuthAppError
from auth_app.settings import Settings, load_settings
from auth_app.variants import NAMED
from harness import PASSWORD, App, Session, new_email, running, wait_until, write_settings

MOST = 65_536
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
BUSY = (503, {"detail": "Too many requests are waiting"}, "1")
UNAVAILABLE = (503, {"detail": "Service unavailable"}, "1")

named = pytest.mark.parametrize("app", NAMED, indirect=True)


def answered(response: httpx.Response) -> tuple[int, object, str | None]:
    body = response.json() if response.content else None
    return response.status_code, body, response.headers.get("retry-after")


# --- bodies and passwords ------------------------------------------------------------------------


def in_chunks(body: bytes) -> Iterator[bytes]:
    """Without a length: the body is sent chunked."""
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


@named
@pytest.mark.parametrize("send", [bytes, in_chunks])
def test_long_body_is_refused(app: App, session: Session, send: Callable):
    with app.client(access_token=session.access) as client:
        requests = [("POST", "/signup", JSON), ("POST", "/signin", FORM), ("PATCH", "/password", JSON)]
        for method, path, headers in requests:
            for size, refused in ((MOST, False), (MOST + 1, True), (20 * MOST, True)):
                response = client.request(method, path, headers=headers, content=send(b" " * size))
                if refused:
                    assert (response.status_code, response.json()) == (
                        413,
                        {"detail": "The body is too long"},
                    )
                else:
                    assert response.status_code == 422


@named
@pytest.mark.parametrize(
    "password", ["Secret_\u0661\u0662", "Secret_\uff11\uff12", "S_1" + "x" * 254, "S" * 10_000]
)
def test_new_passwords(app: App, session: Session, password: str):
    """Digits are 0 to 9, in no other script; and there is an end to a password."""
    assert app.signup(password=password, confirmPassword=password).status_code == 422
    with app.client(access_token=session.access) as client:
        body = {"currentPassword": PASSWORD, "newPassword": password}
        assert client.patch("/password", json=body).status_code == 422


@named
def test_longest_password(app: App, session: Session):
    longest = "Sx_1" + "x" * 252
    assert app.signup(password=longest, confirmPassword=longest).status_code == 201
    assert app.signin(session.email, "x" * 257).status_code == 422
    with app.client(access_token=session.access) as client:
        body = {"currentPassword": "x" * 257, "newPassword": PASSWORD}
        assert client.patch("/password", json=body).status_code == 422


# --- hashes --------------------------------------------------------------------------------------


STATEMENT_S = 5
"""Longer than the wait for a connection, so that a test can tell them apart."""


@pytest.fixture(scope="module", params=["baseline", "final", "final-persistent-pool", "beyond"])
def narrow(
    request: pytest.FixtureRequest, database: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """Serve variants that have little to spare."""
    limits = {"hashing_queue": 1, "pool_wait_s": 1, "statement_s": STATEMENT_S}
    path = write_settings(tmp_path_factory.mktemp("narrow") / "settings.toml", database, limits=limits)
    with running(request.param, path) as app:
        yield app


def test_full_hashing_queue(narrow: App):
    if narrow.levers.hashing == "inline":
        pytest.skip("the event loop stands still during a hash, so there is no queue")
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: answered(narrow.signin(new_email())), range(24)))
    assert {status for status, *_ in answers} == {401, 503}
    assert all(answer == BUSY for answer in answers if answer[0] == 503)
    # Whoever comes again is served.
    wait_until(lambda: narrow.signin(new_email()).status_code == 401, "the queue is empty again")


# --- connections and statements ------------------------------------------------------------------


@contextmanager
def users_locked(settings: Settings) -> Iterator[None]:
    """Hold a lock that every question about users waits for, in a transaction of another client."""
    loop, database = asyncio.new_event_loop(), settings.database

    async def begin() -> asyncpg.Connection:
        connection = await asyncpg.connect(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password(),
            database=database.name,
            statement_cache_size=0,
        )
        await connection.execute("BEGIN; LOCK TABLE user_account IN ACCESS EXCLUSIVE MODE")
        return connection

    connection = loop.run_until_complete(begin())
    try:
        yield
    finally:
        loop.run_until_complete(connection.execute("ROLLBACK"))
        loop.run_until_complete(connection.close())
        loop.close()


def test_exhausted_pool(narrow: App, database: Settings):
    with users_locked(database), ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: answered(narrow.signin(new_email())), range(50)))
    if narrow.levers.database_pool == "persistent":
        # A worker has 20 connections, whose statements come to nothing.
        assert set(map(str, answers)) == {str(BUSY), str(UNAVAILABLE)}
    else:
        assert set(map(str, answers)) == {str(UNAVAILABLE)}
    assert narrow.signin(new_email()).status_code == 401


def test_statement_that_takes_too_long(narrow: App, database: Settings):
    session = narrow.new_session()
    with narrow.client(**session.cookies) as client:
        with users_locked(database):
            for request in (client.get("/me"), client.post("/refresh")):
                assert answered(request) == UNAVAILABLE
        assert client.get("/me").status_code == 200
        assert client.post("/refresh").status_code == 204


def test_unusable_limits_are_refused(database: Settings, tmp_path: Path):
    for limits in ({"body_bytes": 0}, {"pool_wait_s": -1}, {"hurry": 1}):
        path = write_settings(tmp_path / "settings.toml", database, limits=limits)
        with pytest.raises(AuthAppError, match="is not valid"):
            load_settings(path)
