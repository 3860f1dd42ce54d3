"""Passwords and tokens are in no log, whatever the log is for."""

import time

import httpx
import pytest
from auth_app.variants import NAMED, VARIANTS
from harness import PASSWORD, App, Session, new_email, sql
from signing import claims_of, encode

LOUD = [name for name, levers in VARIANTS.items() if levers.logging or levers.asyncio_debug]
NEW_PASSWORD, WRONG_PASSWORD, WEAK_PASSWORD = "Renewed_34", "Mistaken_56", "weakling78"

pytestmark = pytest.mark.parametrize("app", [*NAMED, *LOUD], indirect=True)


def all_endpoints(app: App) -> list[bytes]:
    """Call everything, rightly and wrongly; return what must not be written anywhere."""
    email = new_email()
    secrets = [PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, WEAK_PASSWORD]
    answers = [
        app.signup(email=email),
        app.signup(email=email),
        app.signup(email=email, password=WEAK_PASSWORD, confirmPassword=WEAK_PASSWORD),
        app.signup(email=email, confirmPassword=WRONG_PASSWORD),
        app.signin(email, WRONG_PASSWORD),
        app.signin(new_email(), WRONG_PASSWORD),
        app.signin("a\x00", WRONG_PASSWORD),
    ]
    session = Session.of(email, app.signin(email))
    claims = claims_of(session.access)
    tokens = [
        session.access,
        session.refresh,
        app.sign(claims | {"exp": time.time() - 60}),
        app.sign(claims | {"email": 7}),
        app.signer.sign(b"[1]"),
        f"{encode({'alg': 'none'})}.{encode(claims)}.",
    ]
    with app.client() as client:
        for token in tokens:
            cookies = {"cookie": f"access_token={token}; refresh_token={token}"}
            answers.append(client.get("/me", headers=cookies))
            answers.append(client.get(f"/me?access_token={token}"))
            answers.append(client.post("/refresh", headers=cookies))
        for current, new in (
            (WRONG_PASSWORD, NEW_PASSWORD),
            (PASSWORD, WEAK_PASSWORD),
            (PASSWORD, NEW_PASSWORD),
        ):
            answers.append(
                client.patch(
                    "/password",
                    json={"currentPassword": current, "newPassword": new},
                    headers={"cookie": f"access_token={session.access}"},
                )
            )
    session = Session.of(email, app.signin(email, NEW_PASSWORD))
    tokens += [session.access, session.refresh]
    with app.client(**session.cookies) as client:
        answers += [client.get("/me"), client.post("/logout"), client.get("/me")]
    answers += [httpx.get(f"{app.url}{path}") for path in ("/ping", "/health", "/nowhere")]
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 201, 204, 400, 401, 404, 409, 422}
    (row,) = sql(app.settings, f"SELECT password FROM user_account WHERE email = '{email}'")
    secrets += [row["password"].rpartition("$")[2], "$argon2id$"]
    secrets += [part for token in tokens for part in token.split(".")[1:] if part]
    return [secret.encode() for secret in secrets]


def test_secrets_are_in_no_log(app: App):
    before = len(app.output())
    secrets = all_endpoints(app)
    written = app.output()
    # A hash in the event loop is a slow callback; without any, asyncio's debug mode has nothing to say.
    if app.levers.logging or (app.levers.asyncio_debug and app.levers.hashing == "inline"):
        assert len(written) > before, "nothing was looked at"
    assert [secret for secret in secrets if secret in written] == []
