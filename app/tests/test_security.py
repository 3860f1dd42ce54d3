"""The rules that the published code broke, and those next to them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from auth_app.variants import levers_of
from auth_app.wiring import build_tokens
from cryptography.hazmat.primitives import serialization
from harness import (
    PASSWORD,
    App,
    Session,
    cli_json,
    new_email,
    running,
    sql,
    wait_until,
)
from redis import Redis

INVALID = (401, {"detail": "Invalid token"})
EXPIRED = (401, {"detail": "Token has expired"})


def encode(data: dict | bytes) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(part: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def claims_of(token: str) -> dict:
    return decode(token.split(".")[1])


def answer(app: App, token: str) -> tuple[int, dict]:
    response = app.get_me(token)
    return response.status_code, response.json()


def answer_to_refresh(app: App, token: str) -> tuple[int, dict | None]:
    with app.client(refresh_token=token) as client:
        response = client.post("/refresh")
    return response.status_code, response.json() if response.content else None


def refused_by_both(app: App, token: str) -> None:
    """Both workers come to refuse the token, and stay with it."""
    with app.both_workers(access_token=token) as clients:
        for client in clients:
            wait_until(lambda c=client: c.get("/me").status_code == 401, "a worker refuses", 2.0)
            response = client.get("/me")
            assert (response.status_code, response.json()) == INVALID


def remembered_by_both(app: App, token: str) -> None:
    """Both workers have answered with the token, so that whatever they cache is filled."""
    with app.both_workers(access_token=token) as clients:
        for client in clients * 2:
            assert client.get("/me").status_code == 200


# --- forged and mistaken tokens ------------------------------------------------------------------


def alg_none(app: App, claims: dict) -> str:
    return f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(claims)}."


def hmac_with_public_key(app: App, claims: dict) -> str:
    """Confuse algorithms: the public key's PEM text as the secret of HS256."""
    name = "rsa.pem" if app.variant == "baseline" else "ed25519.pem"
    private_pem = Path(app.settings.keys.directory, name).read_bytes()
    key = serialization.load_pem_private_key(private_pem, None)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(claims)}"
    return f"{signed}.{encode(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"


def other_variants_key(app: App, claims: dict) -> str:
    other = "final" if app.variant == "baseline" else "baseline"
    return build_tokens(app.settings, levers_of(other))._codec.sign(claims)


def changed_payload(app: App, claims: dict) -> str:
    header, _, signature = app.sign(claims).split(".")
    return f"{header}.{encode(claims | {'email': 'other@example.com'})}.{signature}"


def other_header(app: App, claims: dict) -> str:
    _, payload, signature = app.sign(claims).split(".")
    return f"{encode({'alg': 'EdDSA', 'typ': 'JWT'})}.{payload}.{signature}"


FORGERIES = [alg_none, hmac_with_public_key, other_variants_key, changed_payload, other_header]


@pytest.mark.parametrize("forge", FORGERIES)
def test_forged_token(app: App, session: Session, forge: Callable[[App, dict], str]):
    assert answer(app, forge(app, claims_of(session.access))) == INVALID
    assert answer_to_refresh(app, forge(app, claims_of(session.refresh))) == INVALID


@pytest.mark.parametrize("token", ["x", "a.b.c", "....", "é.é.é", "eyJhbGciOiJSUzI1NiJ9.e30.", "a" * 5000])
def test_garbage_token(app: App, token: str):
    headers = [(b"cookie", f"access_token={token}; refresh_token={token}".encode())]
    with app.client() as client:
        for response in (client.get("/me", headers=headers), client.post("/refresh", headers=headers)):
            assert (response.status_code, response.json()) == INVALID


WRONG_CLAIMS = [
    *({"missing": name} for name in ("sub", "iat", "exp", "jti", "type", "email")),
    {"sub": "nobody"},
    {"sub": 1},
    {"sub": None},
    {"jti": 7},
    {"type": "refresh"},
    {"type": None},
    {"email": 7},
    {"iat": "now"},
    {"exp": "never"},
    {"exp": None},
    {"iat": time.time() + 3600},
    {"admin": True},
]


@pytest.mark.parametrize("change", WRONG_CLAIMS, ids=str)
def test_wrong_claims_under_a_good_signature(app: App, session: Session, change: dict):
    claims = claims_of(session.access) | change
    claims.pop(claims.pop("missing", ""), None)
    assert answer(app, app.sign(claims)) == INVALID


def test_payload_that_is_no_object(app: App):
    header, _, signature = app.sign({"sub": "x"}).split(".")
    assert answer(app, f"{header}.{encode(b'[1]')}.{signature}") == INVALID


def test_expired_tokens(app: App, session: Session):
    past = {"iat": time.time() - 7200, "exp": time.time() - 3600}
    assert answer(app, app.sign(claims_of(session.access) | past)) == EXPIRED
    assert answer_to_refresh(app, app.sign(claims_of(session.refresh) | past)) == EXPIRED


def test_remembered_token_expires(app: App, session: Session):
    soon = {"exp": time.time() + 2.5, "jti": str(uuid4())}
    token = app.sign(claims_of(session.access) | soon)
    remembered_by_both(app, token)
    with app.both_workers(access_token=token) as clients:
        for client in clients:
            wait_until(lambda c=client: c.get("/me").status_code == 401, "the token expires", 4.0)
            assert client.get("/me").json() == EXPIRED[1]


def test_one_kind_is_not_the_other(app: App, session: Session):
    assert answer(app, session.refresh) == INVALID
    assert answer_to_refresh(app, session.access) == INVALID
    # The type alone, with all claims of an access token in place.
    assert answer(app, app.sign(claims_of(session.refresh) | {"email": session.email})) == INVALID


def test_remembered_token_does_not_vouch_for_another(app: App, session: Session):
    """The hole of the published cache: a live jti in an unverified payload was enough."""
    other = app.signup().json()
    remembered_by_both(app, session.access)
    header, payload, signature = session.access.split(".")
    stolen = encode(claims_of(session.access) | {"sub": other["id"], "email": other["email"]})
    middle = len(signature) // 2
    flipped = signature[:middle] + ("A" if signature[middle] != "A" else "B") + signature[middle + 1 :]
    for forged in (f"{header}.{stolen}.{signature}", f"{header}.{payload}.{flipped}", f"{header}.{payload}."):
        with app.both_workers(access_token=forged) as clients:
            for client in clients:
                response = client.get("/me")
                assert (response.status_code, response.json()) == INVALID


# --- revocation ----------------------------------------------------------------------------------


def test_logout_ends_both_tokens_in_every_worker(app: App, session: Session):
    other = Session(session.email, app.signin(session.email).cookies)
    remembered_by_both(app, session.access)
    with app.client(**session.cookies) as client:
        assert client.post("/logout").status_code == 204
    refused_by_both(app, session.access)
    assert answer_to_refresh(app, session.refresh) == INVALID
    assert answer(app, other.access)[0] == 200
    assert answer_to_refresh(app, other.refresh)[0] == 204


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_logout_with_one_token(app: App, session: Session, kind: str):
    with app.client(**{f"{kind}_token": getattr(session, kind)}) as client:
        assert client.post("/logout").status_code == 204
    if kind == "access":
        refused_by_both(app, session.access)
    else:
        assert answer_to_refresh(app, session.refresh) == INVALID


def test_password_change_ends_all_tokens_in_every_worker(app: App, session: Session):
    other = Session(session.email, app.signin(session.email).cookies)
    for token in (session.access, other.access):
        remembered_by_both(app, token)
    with app.client(access_token=session.access) as client:
        body = {"currentPassword": PASSWORD, "newPassword": "Secret_34"}
        response = client.patch("/password", json=body)
    assert (response.status_code, response.content) == (204, b"")
    # At once: a token of the same second as the change is a good one.
    fresh = app.signin(session.email, "Secret_34")
    assert fresh.status_code == 204
    assert app.signin(session.email, PASSWORD).status_code == 401
    for old in (session, other):
        refused_by_both(app, old.access)
        assert answer_to_refresh(app, old.refresh) == INVALID
    remembered_by_both(app, fresh.cookies["access_token"])
    assert answer_to_refresh(app, fresh.cookies["refresh_token"])[0] == 204


def test_revocations_outlive_the_server(app: App, session: Session, settings_path):
    with app.client(**session.cookies) as client:
        client.post("/logout")
    changed = app.new_session()
    with app.client(access_token=changed.access) as client:
        client.patch("/password", json={"currentPassword": PASSWORD, "newPassword": "Secret_34"})
    with running(app.variant, settings_path) as restarted:
        for ended in (session, changed):
            refused_by_both(restarted, ended.access)
            assert answer_to_refresh(restarted, ended.refresh) == INVALID


def test_refresh_rotates(app: App, session: Session):
    with app.client(refresh_token=session.refresh) as client:
        response = client.post("/refresh")
    assert (response.status_code, response.content) == (204, b"")
    renewed = Session(session.email, response.cookies)
    assert renewed.refresh != session.refresh
    assert answer(app, renewed.access)[0] == 200
    assert answer_to_refresh(app, session.refresh) == INVALID
    assert answer_to_refresh(app, renewed.refresh)[0] == 204


def test_refresh_token_is_spent_once(app: App, session: Session):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: answer_to_refresh(app, session.refresh), range(8)))
    assert sorted(status for status, _ in answers) == [204] + [401] * 7


# --- users that may not come in ------------------------------------------------------------------


def test_deactivated_user_is_out_in_every_worker(app: App, session: Session):
    remembered_by_both(app, session.access)
    assert cli_json("deactivate-user", "--email", session.email) == {"changed": True}
    refused_by_both(app, session.access)
    assert answer_to_refresh(app, session.refresh) == INVALID
    response = app.signin(session.email)
    assert (response.status_code, response.json()) == (401, {"detail": "Invalid credentials"})
    assert cli_json("deactivate-user", "--email", session.email) == {"changed": False}


def test_inactive_user_without_revocation(app: App, session: Session):
    """Switched off by hand in the database, before anything was cached."""
    sql(app.settings, f"UPDATE user_account SET is_active = false WHERE email = '{session.email}'")
    with app.both_workers(access_token=session.access) as clients:
        for client in clients * 2:
            response = client.get("/me")
            assert (response.status_code, response.json()) == INVALID
    with app.client(access_token=session.access) as client:
        body = {"currentPassword": PASSWORD, "newPassword": "Secret_34"}
        assert client.patch("/password", json=body).status_code == 401
    assert answer_to_refresh(app, session.refresh) == INVALID
    assert app.signin(session.email).status_code == 401


def test_deleted_user(app: App, session: Session):
    sql(app.settings, f"DELETE FROM user_account WHERE email = '{session.email}'")
    assert answer(app, session.access) == INVALID
    assert answer_to_refresh(app, session.refresh) == INVALID


def test_unknown_user_costs_a_wrong_password(app: App):
    email = app.signup().json()["email"]

    def work(of: str) -> float:
        """CPU time, which does not depend on what else the machine does."""
        begin = app.cpu_s()
        for _ in range(7):
            assert app.signin(of, "Wrong_12").status_code == 401
        return app.cpu_s() - begin

    wrong, unknown = work(email), work(new_email())
    assert 0.5 < unknown / wrong < 2


def test_stored_hash_has_the_variants_parameters(app: App):
    email = app.signup().json()["email"]
    (row,) = sql(app.settings, f"SELECT password FROM user_account WHERE email = '{email}'")
    lanes = 1 if app.variant == "final" else 4
    assert row["password"].startswith(f"$argon2id$v=19$m=65536,t=3,p={lanes}$")


def test_nothing_in_valkey_is_a_password_or_a_token(app: App, session: Session):
    remembered_by_both(app, session.access)
    cache = app.settings.cache
    with Redis(host=cache.host, port=cache.port, db=cache.database) as valkey:
        dumped = b"".join(key + (valkey.dump(key) or b"") for key in valkey.scan_iter())
    assert b"argon2" not in dumped
    assert session.access.encode() not in dumped
