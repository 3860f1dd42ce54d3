"""The rules that the published code broke, and those next to them, where a check costs time.

Runs against the four named variants and, for each value of a lever that security depends on and that
none of the four has, the first variant that has it. Which tokens are taken, test_tokens.py sees in
every variant; what only happens between two workers, or with many hashes, is seen here.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
from auth_app.variants import NAMED, VARIANTS
from harness import PASSWORD, App, Session, cli_json, new_email, running, sql, wait_until
from redis import Redis
from signing import claims_of
from test_tokens import EXPIRED, INVALID, answer, answer_to_refresh, remember

BOUND_S = 2.0
"""README: normally a worker knows of a revocation within a millisecond; generous, for a busy machine."""

SECURITY_LEVERS = (
    "tokens",
    "hashing",
    "argon2_memory",
    "user_cache",
    "claims_check",
    "token_cache",
    "database_pool",
    "data_access",
    "me_handler",
)


def representatives() -> list[str]:
    chosen = dict(NAMED)
    for name, levers in VARIANTS.items():
        seen = {(lever, getattr(each, lever)) for each in chosen.values() for lever in SECURITY_LEVERS}
        if not {(lever, getattr(levers, lever)) for lever in SECURITY_LEVERS} <= seen:
            chosen[name] = levers
    return list(chosen)


pytestmark = pytest.mark.parametrize("app", representatives(), indirect=True)


def refused_by_both(app: App, *tokens: str, bound_s: float = BOUND_S) -> None:
    """Both workers come to refuse the tokens, and stay with it."""
    with app.both_workers() as clients:
        for token in tokens:
            for client in clients:
                cookie = {"cookie": f"access_token={token}"}
                wait_until(
                    lambda c=client, h=cookie: c.get("/me", headers=h).status_code == 401,
                    "a worker refuses",
                    bound_s,
                )
                response = client.get("/me", headers=cookie)
                assert (response.status_code, response.json()) == INVALID


def change_password(app: App, session: Session, new: str) -> httpx.Response:
    with app.client(access_token=session.access) as client:
        return client.patch("/password", json={"currentPassword": PASSWORD, "newPassword": new})


# --- revocation: caches are warm in both workers -------------------------------------------------


def test_logout_ends_both_tokens_in_every_worker(app: App, session: Session):
    other = app.renewed(session)
    remember(app, session.access)
    with app.client(**session.cookies) as client:
        assert client.post("/logout").status_code == 204
    refused_by_both(app, session.access)
    assert answer_to_refresh(app, session.refresh) == INVALID
    remember(app, other.access)
    assert answer_to_refresh(app, other.refresh)[0] == 204


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_logout_with_one_token(app: App, session: Session, kind: str):
    remember(app, session.access)
    with app.client(**{f"{kind}_token": getattr(session, kind)}) as client:
        assert client.post("/logout").status_code == 204
    if kind == "access":
        refused_by_both(app, session.access)
        assert answer_to_refresh(app, session.refresh)[0] == 204
    else:
        remember(app, session.access)
        assert answer_to_refresh(app, session.refresh) == INVALID


def test_password_change_ends_all_tokens_in_every_worker(app: App, session: Session):
    other = app.renewed(session)
    for token in (session.access, other.access):
        remember(app, token)
    assert change_password(app, session, "Secret_34").status_code == 204
    # At once: a token of the same second as the change is a good one.
    fresh = Session.of(session.email, app.signin(session.email, "Secret_34"))
    refused_by_both(app, session.access, other.access)
    for old in (session, other):
        assert answer_to_refresh(app, old.refresh) == INVALID
    remember(app, fresh.access)
    assert answer_to_refresh(app, fresh.refresh)[0] == 204


def test_revocations_outlive_the_server(app: App, relayed):
    ended, changed, kept = (app.new_session() for _ in range(3))
    with app.client(**ended.cookies) as client:
        assert client.post("/logout").status_code == 204
    assert change_password(app, changed, "Secret_34").status_code == 204
    with running(app.variant, relayed) as restarted:
        # At once: a worker that has not caught up yet must not answer from ignorance.
        with restarted.both_workers() as clients:
            for client in clients:
                for dead in (ended, changed):
                    response = client.get("/me", headers={"cookie": f"access_token={dead.access}"})
                    assert (response.status_code, response.json()) == INVALID
        for dead in (ended, changed):
            assert answer_to_refresh(restarted, dead.refresh) == INVALID
        remember(restarted, kept.access)


def test_deactivated_user_is_out_in_every_worker(app: App, session: Session):
    remember(app, session.access)
    assert cli_json("deactivate-user", "--email", session.email) == {"changed": True}
    refused_by_both(app, session.access)
    assert answer_to_refresh(app, session.refresh) == INVALID
    response = app.signin(session.email)
    assert (response.status_code, response.json()) == (401, {"detail": "Invalid credentials"})
    assert cli_json("deactivate-user", "--email", session.email) == {"changed": False}


def test_inactive_user_without_revocation(app: App, session: Session):
    """Switched off by hand in the database, before anything was cached."""
    sql(
        app.settings,
        f"UPDATE user_account SET is_active = false WHERE email = '{session.email}' RETURNING id",
    )
    with app.both_workers(access_token=session.access) as clients:
        for client in clients * 2:
            response = client.get("/me")
            assert (response.status_code, response.json()) == INVALID
    assert change_password(app, session, "Secret_34").status_code == 401
    assert answer_to_refresh(app, session.refresh) == INVALID
    assert app.signin(session.email).status_code == 401


def test_deleted_user(app: App, session: Session):
    sql(app.settings, f"DELETE FROM user_account WHERE email = '{session.email}' RETURNING id")
    assert answer(app, session.access) == INVALID
    assert answer_to_refresh(app, session.refresh) == INVALID
    assert change_password(app, session, "Secret_34").status_code == 401


def test_remembered_token_expires(app: App, session: Session):
    token = app.sign(claims_of(session.access) | {"exp": time.time() + 1.5, "jti": str(uuid4())})
    with app.both_workers(access_token=token) as clients:
        for client in clients:
            client.get("/me")
        for client in clients:
            wait_until(lambda c=client: c.get("/me").status_code == 401, "the token expires", 4.0)
            response = client.get("/me")
            assert (response.status_code, response.json()) == EXPIRED


# --- signin and signup ---------------------------------------------------------------------------


def test_unknown_user_costs_a_wrong_password(app: App, session: Session):
    def work(of: str) -> float:
        """CPU time, which does not depend on what else the machine does."""
        begin = app.cpu_s()
        for _ in range(5):
            assert app.signin(of, "Wrong_12").status_code == 401
        return app.cpu_s() - begin

    wrong, unknown = work(session.email), work(new_email())
    assert 0.5 < unknown / wrong < 2


def test_one_email_in_50_concurrent_signups(app: App):
    email = new_email()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: app.signup(email=email), range(50)))
    assert sorted(response.status_code for response in answers) == [201] + [409] * 49
    refusals = [response.json() for response in answers if response.status_code == 409]
    assert refusals == [{"detail": "A user with this email already exists"}] * 49
    assert sql(app.settings, f"SELECT count(*) FROM user_account WHERE email = '{email}'")[0][0] == 1


# --- what is left lying about --------------------------------------------------------------------


def test_nothing_in_valkey_is_a_password_or_a_token(app: App, session: Session):
    remember(app, session.access)
    cache = app.settings.cache
    with Redis(host=cache.host, port=cache.port, db=cache.database, **cache.login()) as valkey:
        dumped = b"".join(key + (valkey.dump(key) or b"") for key in valkey.scan_iter())
    assert b"argon2" not in dumped
    assert session.access.encode() not in dumped
    assert session.access.rpartition(".")[2].encode() not in dumped
