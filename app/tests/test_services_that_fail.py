"""Restarts, a full memory and a clock that is set: nothing that was ended comes back, and nothing else ends.

PostgreSQL and Valkey are the tests' own, and are really stopped, killed and filled.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from auth_app.settings import Settings
from harness import DEADLINE_S, PASSWORD, App, Session, cli, cli_json, running, sql, wait_until
from services_of_own import Own, own_services
from signing import claims_of
from test_security import change_password, refused_by_both
from test_tokens import INVALID, answer, answer_to_refresh, remember

LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
UNAVAILABLE = (503, {"detail": "Service unavailable"})
NEW_PASSWORD = "Secret_34"


@pytest.fixture(scope="module")
def own(database: Settings) -> Iterator[Own]:
    with own_services(database) as own:
        yield own


class Clock:
    """The clock of a server, by libfaketime; the machine's is left alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        assert LIBFAKETIME.exists(), "libfaketime is not installed (apt-get install libfaketime)"
        self.step(0)

    def step(self, seconds: int) -> None:
        """Set the clock so many seconds off the machine's."""
        self._path.write_text(f"{seconds:+d}")

    @property
    def variables(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture(scope="module")
def server_clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock") / "offset")


@pytest.fixture
def clock(server_clock: Clock) -> Iterator[Clock]:
    """Provide the clock of the server, which is right again afterwards."""
    yield server_clock
    server_clock.step(0)


@pytest.fixture(scope="module", params=["baseline", "final", "beyond"])
def served(request: pytest.FixtureRequest, own: Own, server_clock: Clock) -> Iterator[App]:
    """Serve each variant once: after every test it has its services and the right time."""
    with running(request.param, own.path, **server_clock.variables) as app:
        yield app


def logout(app: App, session: Session) -> httpx.Response:
    with app.client(**session.cookies) as client:
        return client.post("/logout")


def answered(response: httpx.Response) -> tuple[int, object]:
    return response.status_code, response.json() if response.content else None


def healthy(app: App) -> None:
    wait_until(lambda: httpx.get(f"{app.url}/health").status_code == 200, "the app has its services again")


def all_dead(app: App, *sessions: Session) -> None:
    for session in sessions:
        refused_by_both(app, session.access, bound_s=DEADLINE_S)
        assert answer_to_refresh(app, session.refresh) == INVALID


# --- what fails must not have changed anything ---------------------------------------------------


def test_outage_of_the_database_burns_no_session(own: Own, served: App):
    refreshing, changing, leaving = (served.new_session() for _ in range(3))
    with own.database.away():
        for _ in range(2):
            assert answer_to_refresh(served, refreshing.refresh) == UNAVAILABLE
        assert answered(change_password(served, changing, NEW_PASSWORD)) == UNAVAILABLE
        assert answered(logout(served, leaving)) == UNAVAILABLE
    healthy(served)
    assert answer_to_refresh(served, refreshing.refresh) == (204, None)
    assert answer_to_refresh(served, leaving.refresh) == (204, None)
    remember(served, changing.access)
    assert change_password(served, changing, NEW_PASSWORD).status_code == 204


def test_outage_of_valkey_burns_no_session(own: Own, served: App):
    refreshing, changing, leaving = (served.new_session() for _ in range(3))
    with own.valkey.away():
        # PostgreSQL alone knows what is spent.
        assert answer_to_refresh(served, refreshing.refresh) == (204, None)
        assert answer_to_refresh(served, refreshing.refresh) == INVALID
        assert answered(change_password(served, changing, NEW_PASSWORD)) == UNAVAILABLE
        assert answered(logout(served, leaving)) == UNAVAILABLE
    healthy(served)
    for session in (changing, leaving):
        remember(served, session.access)
        assert answer_to_refresh(served, session.refresh) == (204, None)
    assert served.signin(changing.email, PASSWORD).status_code == 204


def test_worker_without_valkey_knows_what_was_ended_meanwhile(own: Own, served: App):
    ended, kept = served.new_session(), served.new_session()
    for session in (ended, kept):
        remember(served, session.access)
    with own.valkey.away():
        done = cli("deactivate-user", "--email", ended.email, settings=own.path, check=False)
        assert done.returncode == 1
        assert "Valkey at " in done.stderr
        with served.both_workers() as clients:
            for client in clients:
                for session, status in ((ended, 401), (kept, 200)):
                    response = client.get("/me", headers={"cookie": f"access_token={session.access}"})
                    assert response.status_code == status
    healthy(served)
    all_dead(served, ended)
    remember(served, kept.access)


# --- restarts ------------------------------------------------------------------------------------


def end_three(app: App) -> list[Session]:
    """End sessions in each of the ways; their refresh tokens are spent or dead."""
    refreshed, left, changed = (app.new_session() for _ in range(3))
    for session in (left, changed):
        remember(app, session.access)
    assert answer_to_refresh(app, refreshed.refresh) == (204, None)
    assert logout(app, left).status_code == 204
    assert change_password(app, changed, NEW_PASSWORD).status_code == 204
    # A refresh leaves the access token alone.
    assert logout(app, refreshed).status_code == 204
    return [refreshed, left, changed]


def test_restarts_of_the_services_revive_nothing(own: Own, served: App):
    ended, kept = end_three(served), served.new_session()
    own.valkey.restart()
    own.database.restart()
    healthy(served)
    all_dead(served, *ended)
    remember(served, kept.access)
    # Nor for a worker that has never heard of them.
    with running(served.variant, own.path) as another:
        all_dead(another, *ended)
        remember(another, kept.access)
        assert answer_to_refresh(another, kept.refresh) == (204, None)


# --- a full memory -------------------------------------------------------------------------------


def test_full_memory_revives_nothing_and_stops_nothing(own: Own, served: App):
    before, changing, kept = end_three(served), served.new_session(), served.new_session()
    with own.valkey.full():
        all_dead(served, *before)
        all_dead(served, *end_three(served))
        remember(served, kept.access)
        assert change_password(served, changing, NEW_PASSWORD).status_code == 204
        refused_by_both(served, changing.access, bound_s=DEADLINE_S)


def test_dead_token_presented_again_and_again_leaves_one_row(own: Own, served: App):
    session = served.new_session()
    assert logout(served, session).status_code == 204
    newest = "SELECT max(position), count(*) FROM revocation"
    (before,) = sql(served.settings, newest)
    with served.client() as client:
        dead = {"cookie": f"access_token={session.access}; refresh_token={session.refresh}"}
        assert {client.post("/logout", headers=dead).status_code for _ in range(200)} == {204}
    (after,) = sql(served.settings, newest)
    assert tuple(after) == tuple(before)
    with own.valkey.client() as valkey:
        kinds = {valkey.type(key) for key in valkey.scan_iter()}
        assert kinds <= {b"string"}
        assert all(valkey.ttl(key) > 0 for key in valkey.scan_iter()), "Valkey keeps what nobody evicts"


def test_rows_are_pruned_once_they_are_old_and_many(served: App):
    """By position and by time: neither a clock alone nor a crowd alone removes one."""
    sql(
        served.settings,
        "DELETE FROM revocation WHERE key LIKE 'old %'",
        "INSERT INTO revocation (key, kind, expires_at)"
        " SELECT 'old ' || n, 'refresh', now() - interval '8 days' FROM generate_series(1, 150) AS n"
        " RETURNING key",
    )

    def left() -> int:
        for _ in range(3):
            assert answer_to_refresh(served, served.new_session().refresh) == (204, None)
        return sql(served.settings, "SELECT count(*) FROM revocation WHERE key LIKE 'old %'")[0][0]

    assert left() == 150
    # As if so many had come since.
    sql(
        served.settings,
        "SELECT setval('revocation_position_seq', (SELECT max(position) FROM revocation) + 100000)",
    )
    assert left() == 0


# --- the clock is set ----------------------------------------------------------------------------


def aged(app: App, session: Session, seconds: float) -> Session:
    """Sign tokens of the same user that were issued so long ago."""
    issued = time.time() - seconds
    user = claims_of(session.access)["sub"]
    tokens = app.session_of(session.email, user)
    access = claims_of(tokens.access) | {"iat": issued}
    refresh = claims_of(tokens.refresh) | {"iat": issued}
    return Session(session.email, access=app.sign(access), refresh=app.sign(refresh))


@pytest.mark.parametrize("step_s", [-100, -86_400])
def test_clock_that_was_behind_spares_no_token(served: App, clock: Clock, step_s: int):
    """The password is changed while the clock is behind; then the clock is right again."""
    session = served.new_session()
    older = aged(served, session, 200_000)
    newer = Session.of(session.email, served.signin(session.email))
    remember(served, newer.access)
    clock.step(step_s)
    assert change_password(served, older, NEW_PASSWORD).status_code == 204
    fresh = Session.of(session.email, served.signin(session.email, NEW_PASSWORD))
    remember(served, fresh.access)
    clock.step(0)
    all_dead(served, session, older, newer)
    if step_s > -1800:
        remember(served, fresh.access)
    assert answer_to_refresh(served, fresh.refresh) == (204, None)


def test_clock_that_was_ahead_revives_no_token(served: App, clock: Clock):
    """Everything looks expired for a while, and is forgotten by whoever believes it."""
    ended = end_three(served)
    clock.step(40 * 86_400)
    strangers = [served.new_session() for _ in range(2)]
    for stranger in strangers:
        later = Session.of(stranger.email, served.signin(stranger.email))
        assert answer_to_refresh(served, later.refresh)[0] == 204
        assert logout(served, later).status_code == 204
    clock.step(0)
    all_dead(served, *ended)


def test_signin_after_the_clock_went_back_is_good(served: App, clock: Clock):
    """What was outdated by a clock that was ahead must not outdate what is issued afterwards."""
    clock.step(1000)
    session = served.new_session()
    assert change_password(served, session, NEW_PASSWORD).status_code == 204
    clock.step(0)
    fresh = Session.of(session.email, served.signin(session.email, NEW_PASSWORD))
    remember(served, fresh.access)
    assert answer_to_refresh(served, fresh.refresh) == (204, None)


# --- what another variant has left in the cache --------------------------------------------------

FORMS = ["final", "final-but-me-fields-9", "final-but-user-cache-fastapi-cache2", "baseline"]
"""Each cache is first filled with 6 fields, then asked for 9."""


def test_users_cached_by_another_variant_are_no_fault(own: Own):
    """One after the other at the same Valkey, as a plan does it."""
    user = None
    for variant in FORMS:
        with running(variant, own.path) as app:
            session = app.new_session() if user is None else app.session_of(*user)
            user = (session.email, claims_of(session.access)["sub"])
            with app.both_workers(access_token=session.access) as clients:
                for client in clients * 2:
                    response = client.get("/me")
                    assert (response.status_code, response.json()["email"]) == (200, session.email), variant


LEFT = [b"\xc1", b"", b"\x80", b"\x93\x01\x02\x03", b"\x91" * 4000]
"""No msgpack, nothing, an empty map, an array of something else, deep nesting."""


@pytest.mark.parametrize("variant", ["baseline", "final"])
def test_unreadable_entries_are_misses(variant: str, own: Own):
    with running(variant, own.path) as app, own.valkey.client() as valkey:
        sessions = [app.new_session() for _ in LEFT]
        for session, left in zip(sessions, LEFT, strict=True):
            known = set(valkey.scan_iter())
            remember(app, session.access)
            kept = set(valkey.scan_iter()) - known
            assert kept, "nothing was cached"
            for key in kept:
                valkey.set(key, left, keepttl=True)
    # A worker that was there might answer from its own memory.
    with running(variant, own.path) as another:
        for session in sessions:
            remember(another, session.access)


def test_deactivation_tells_what_is_the_case(served: App, own: Own):
    session = served.new_session()
    assert cli_json("deactivate-user", "--email", session.email, settings=own.path) == {"changed": True}
    assert cli_json("deactivate-user", "--email", session.email, settings=own.path) == {"changed": False}
    assert answer(served, session.access) == INVALID
