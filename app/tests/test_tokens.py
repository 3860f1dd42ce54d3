"""Forged and mistaken tokens. No password is hashed here, so it runs against every variant."""

import hashlib
import hmac
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from auth_app.variants import NAMED
from harness import App, Session
from joserfc.jwk import OKPKey, RSAKey
from signing import Signer, another_key, claims_of, decode, encode

INVALID = (401, {"detail": "Invalid token"})
EXPIRED = (401, {"detail": "Token has expired"})


def answer(app: App, token: str) -> tuple[int, dict]:
    response = app.get_me(token)
    return response.status_code, response.json()


def answer_to_refresh(app: App, token: str) -> tuple[int, dict | None]:
    with app.client(refresh_token=token) as client:
        response = client.post("/refresh")
    return response.status_code, response.json() if response.content else None


def remember(app: App, token: str) -> None:
    """Let both workers answer with the token, so that whatever they cache is filled."""
    with app.both_workers(access_token=token) as clients:
        for client in clients * 2:
            assert client.get("/me").status_code == 200


@pytest.fixture(scope="module")
def live(app: App) -> Session:
    """Sign a user in whose tokens both workers have verified and remember."""
    live = app.new_session()
    remember(app, live.access)
    return live


# --- forged: somebody without the key made it ----------------------------------------------------


def alg_none(app: App, claims: dict) -> str:
    return f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(claims)}."


def alg_none_with_the_signature(app: App, claims: dict) -> str:
    return f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(claims)}.{app.sign(claims).split('.')[2]}"


def without_signature(app: App, claims: dict) -> str:
    return app.sign(claims).rpartition(".")[0] + "."


def hs256_with_the_public_key(app: App, claims: dict) -> str:
    """Confuse algorithms: the public key's PEM text as the secret of HS256."""
    signed = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(claims)}"
    mac = hmac.new(app.signer.public_pem, signed.encode(), hashlib.sha256)
    return f"{signed}.{encode(mac.digest())}"


def other_key_of_the_app(app: App, claims: dict) -> str:
    """Sign with the key of the variants that use the other algorithm, under its header."""
    signers = [Signer(app.settings, levers) for levers in NAMED.values()]
    other = next(signer for signer in signers if signer.algorithm != app.signer.algorithm)
    return other.sign(claims)


def strangers_key(app: App, claims: dict) -> str:
    return app.signer.sign(claims, key=another_key(app.signer.key))


def strangers_key_in_the_header(app: App, claims: dict) -> str:
    """Bring a key along: jwk, and kid, jku, x5u and x5c for those who would follow them."""
    key = another_key(app.signer.key)
    kind = RSAKey if app.signer.algorithm == "RS256" else OKPKey
    jwk = kind.import_key(Signer.pem_of(key)).as_dict(private=False)
    header = {"alg": app.signer.algorithm, "typ": "JWT", "jwk": jwk, "kid": "/dev/null"}
    header |= {"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "x5c": [jwk.get("n", "x")]}
    return app.signer.sign(claims, header, key)


def other_claims(app: App, claims: dict) -> str:
    header, _, signature = app.sign(claims).split(".")
    return f"{header}.{encode(claims | {'iat': claims['iat'] + 1})}.{signature}"


def other_algorithm_in_the_header(app: App, claims: dict) -> str:
    """Keep the good signature, of another header."""
    _, payload, signature = app.sign(claims).split(".")
    return f"{encode({'alg': 'ES256', 'typ': 'JWT'})}.{payload}.{signature}"


def flipped_signature(app: App, claims: dict) -> str:
    signed, _, signature = app.sign(claims).rpartition(".")
    raw = bytearray(decode(signature))
    raw[len(raw) // 2] ^= 1
    return f"{signed}.{encode(bytes(raw))}"


FORGERIES = [
    alg_none,
    alg_none_with_the_signature,
    without_signature,
    hs256_with_the_public_key,
    other_key_of_the_app,
    strangers_key,
    strangers_key_in_the_header,
    other_claims,
    other_algorithm_in_the_header,
    flipped_signature,
]
"""Each makes a token from claims that would be good, the jti of a live and remembered token included."""


@pytest.mark.parametrize("forge", FORGERIES)
def test_forged_token(app: App, live: Session, forge: Callable[[App, dict], str]):
    for _ in range(2):  # a refusal must not fill a cache either
        assert answer(app, forge(app, claims_of(live.access))) == INVALID
    assert answer_to_refresh(app, forge(app, claims_of(live.refresh))) == INVALID


def test_live_jti_does_not_vouch_for_another_user(app: App, live: Session, session: Session):
    """The hole of the published cache: a live jti in an unverified payload was enough."""
    header, payload, signature = live.access.split(".")
    victim = {key: claims_of(session.access)[key] for key in ("sub", "email")}
    stolen = encode(claims_of(live.access) | victim)
    for forged in (f"{header}.{stolen}.{signature}", f"{header}.{stolen}.", f"{header}.{payload}."):
        with app.both_workers(access_token=forged) as clients:
            for client in clients:
                response = client.get("/me")
                assert (response.status_code, response.json()) == INVALID


def test_same_jti_under_a_good_signature_is_its_own_token(app: App, live: Session, session: Session):
    """The other way round: a cache must not answer with the claims of the token that it knows."""
    token = app.sign(claims_of(session.access) | {"jti": claims_of(live.access)["jti"]})
    with app.both_workers(access_token=token) as clients:
        for client in clients:
            assert client.get("/me").json()["email"] == session.email


GARBAGE = ["x", "a.b.c", "....", "é.é.é", "eyJhbGciOiJSUzI1NiJ9.e30.", "a" * 5000, "%00", "e30.e30.e30"]


@pytest.mark.parametrize("token", GARBAGE)
def test_garbage_token(app: App, token: str):
    headers = [(b"cookie", f"access_token={token}; refresh_token={token}".encode())]
    with app.client() as client:
        for response in (client.get("/me", headers=headers), client.post("/refresh", headers=headers)):
            assert (response.status_code, response.json()) == INVALID


# --- mistaken: the signature is good, the claims are not -----------------------------------------


MISSING = ("sub", "iat", "exp", "jti", "type", "email")
WRONG_CLAIMS = [
    {"sub": "nobody"},
    {"sub": ""},
    {"sub": 1},
    {"sub": None},
    {"sub": ["x"]},
    {"jti": 7},
    {"jti": None},
    {"type": "refresh"},
    {"type": "Access"},
    {"type": None},
    {"type": ["access"]},
    {"email": 7},
    {"email": None},
    {"iat": "now"},
    {"iat": None},
    {"iat": {}},
    {"exp": "never"},
    {"exp": str(2**40)},
    {"exp": None},
    {"exp": []},
    {"exp": 10**400},
    {"nbf": "x"},
    {"admin": True},
    {"aud": "x"},
]


def mistaken() -> dict[str, Callable[[dict], dict]]:
    """Return what turns good claims into wrong ones, by name."""

    def without(name: str) -> Callable[[dict], dict]:
        return lambda claims: {key: value for key, value in claims.items() if key != name}

    def changed(change: dict) -> Callable[[dict], dict]:
        return lambda claims: claims | change

    cases = {f"no {name}": without(name) for name in MISSING}
    return cases | {str(change)[:40]: changed(change) for change in WRONG_CLAIMS}


def test_wrong_claims_under_a_good_signature(app: App, session: Session):
    """All of them in one test: 30 cases for each of many variants would bury the others."""
    wrong = {}
    with app.client() as client:
        for name, change in mistaken().items():
            token = app.sign(change(claims_of(session.access)))
            response = client.get("/me", headers={"cookie": f"access_token={token}"})
            wrong[name] = (response.status_code, response.json())
    assert {name: answer for name, answer in wrong.items() if answer != INVALID} == {}


def test_wrong_claims_of_a_refresh_token(app: App, session: Session):
    wrong = {}
    with app.client() as client:
        for name, change in mistaken().items():
            claims = change(claims_of(session.refresh))
            if claims == claims_of(session.refresh):  # it has no email, and its type is refresh
                continue
            response = client.post("/refresh", headers={"cookie": f"refresh_token={app.sign(claims)}"})
            wrong[name] = (response.status_code, response.json() if response.content else None)
    assert {name: answer for name, answer in wrong.items() if answer != INVALID} == {}


@pytest.mark.parametrize("payload", [b"[1]", b'"x"', b"7", b"null", b"{", b"", b"\xff", b"{}"])
def test_payload_without_claims(app: App, payload: bytes):
    token = app.signer.sign(payload)
    assert answer(app, token) == INVALID
    assert answer_to_refresh(app, token) == INVALID


def test_expired_tokens(app: App, session: Session):
    past = {"iat": time.time() - 7200, "exp": time.time() - 3600}
    assert answer(app, app.sign(claims_of(session.access) | past)) == EXPIRED
    assert answer_to_refresh(app, app.sign(claims_of(session.refresh) | past)) == EXPIRED


def test_tokens_from_the_future(app: App, session: Session):
    """An iat in an hour; a nbf is no claim of ours, and is refused whatever it says."""
    now = time.time()
    for change in ({"iat": now + 3600, "exp": now + 7200}, {"nbf": now + 3600}, {"nbf": now - 3600}):
        assert answer(app, app.sign(claims_of(session.access) | change)) == INVALID
        assert answer_to_refresh(app, app.sign(claims_of(session.refresh) | change)) == INVALID


def test_one_kind_is_not_the_other(app: App, session: Session):
    assert answer(app, session.refresh) == INVALID
    assert answer_to_refresh(app, session.access) == INVALID
    # The type alone, with all claims of the other kind in place.
    claims = claims_of(session.refresh) | {"email": session.email}
    assert answer(app, app.sign(claims)) == INVALID
    claims = {key: value for key, value in claims_of(session.access).items() if key != "email"}
    assert answer_to_refresh(app, app.sign(claims)) == INVALID
    # Neither did any of it spend the refresh token.
    assert answer_to_refresh(app, session.refresh) == (204, None)


def test_refresh_token_is_spent_once(app: App, session: Session):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: answer_to_refresh(app, session.refresh), range(8)))
    assert sorted(status for status, _ in answers) == [204] + [401] * 7
