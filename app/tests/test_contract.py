"""What every variant answers: statuses, bodies, cookies, claims, errors.

Runs against all of them, so it is to stay cheap: a hash costs 0.17 s of CPU time. What asks for the
answers of one ordinary user looks at ``visit``, which is made once for each variant.
"""

import re
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import argon2
import httpx
import pytest
from harness import LIVES_S, PASSWORD, App, Session, new_email, sql
from signing import claims_of, header_of
from visit import Visit

NEW_USER_FIELDS = [
    "id",
    "name",
    "email",
    "isActive",
    "isSuperuser",
    "roleName",
    "roleSlug",
    "createdAt",
    "updatedAt",
]
ME_FIELDS = {9: NEW_USER_FIELDS, 6: ["id", "name", "email", "isActive", "isSuperuser", "roleSlug"]}
SAME_SITE = {"access_token": "lax", "refresh_token": "strict"}


def answer(response: httpx.Response) -> tuple[int, object]:
    return response.status_code, response.json() if response.content else None


def as_json(response: httpx.Response) -> dict:
    assert response.headers["content-type"] == "application/json"
    return response.json()


def test_ping(app: App):
    response = httpx.get(f"{app.url}/ping")
    assert (response.status_code, response.content) == (200, b"OK")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_health(app: App):
    response = httpx.get(f"{app.url}/health")
    assert answer(response) == (200, {"status": "ok", "database": "online", "cache": "online"})


# --- signup --------------------------------------------------------------------------------------


def test_signup(visit: Visit):
    response = visit.signup.response
    assert response.status_code == 201
    user = as_json(response)
    assert list(user) == NEW_USER_FIELDS
    assert UUID(user.pop("id")).version == 7
    created, updated = user.pop("createdAt"), user.pop("updatedAt")
    for moment in (created, updated):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", moment)
        assert abs(datetime.fromisoformat(moment) - datetime.now(UTC)) < timedelta(minutes=1)
    assert user == {
        "name": "Tester",
        "email": visit.email,
        "isActive": True,
        "isSuperuser": False,
        "roleName": "Application Access",
        "roleSlug": "application-access",
    }


def test_stored_user_is_the_one_that_was_shown(app: App, visit: Visit):
    (row,) = sql(app.settings, f"SELECT * FROM user_account WHERE email = '{visit.email}'")
    shown = visit.signup.response.json()
    assert str(row["id"]) == shown["id"]
    assert row["name"] == "Tester"
    assert (row["is_active"], row["is_superuser"]) == (True, False)
    assert row["created_at"] == datetime.fromisoformat(shown["createdAt"])
    assert row["updated_at"] == datetime.fromisoformat(shown["updatedAt"])
    assert row["password"].startswith(f"$argon2id$v=19$m=65536,t=3,p={app.levers.argon2_lanes}$")
    assert argon2.PasswordHasher().verify(row["password"], PASSWORD)


def test_snake_case_without_a_name(app: App):
    body = {"email": new_email(), "password": PASSWORD, "confirm_password": PASSWORD}
    with app.client() as client:
        response = client.post("/signup", json=body)
    assert response.status_code == 201
    assert response.json()["name"] is None


def test_email_is_taken_in_any_case(visit: Visit):
    """The visitor signed up in upper case."""
    assert answer(visit.duplicate.response) == (409, {"detail": "A user with this email already exists"})


POLICY = {
    "type": "password_policy",
    "field": "password",
    "message": "Password needs a lower-case letter, an upper-case letter, a digit and one of "
    "@$!%*?&_, and nothing else",
}


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        ({"password": "Short_1"}, [("string_too_short", "password")]),
        ({"password": "SECRET_12"}, [POLICY]),
        ({"password": "secret_12"}, [POLICY]),
        ({"password": "Secret_ab"}, [POLICY]),
        ({"password": "Secret123"}, [POLICY]),
        ({"password": "Secret_12 "}, [POLICY]),
        ({"password": "Secret_12#"}, [POLICY]),
        ({"password": "Secrét_12"}, [POLICY]),
        (
            {"confirmPassword": "Secret_13"},
            [{"type": "password_mismatch", "field": "confirmPassword", "message": "Passwords do not match"}],
        ),
        ({"email": "nobody"}, [("value_error", "email")]),
        ({"email": None}, [("string_type", "email")]),
        ({"nickname": "x"}, [("extra_forbidden", "nickname")]),
        ({"isSuperuser": True}, [("extra_forbidden", "isSuperuser")]),
        ({"name": "a\x00b"}, [("string_pattern_mismatch", "name")]),
        ({"name": "x" * 256}, [("string_too_long", "name")]),
        ({"email": 1, "confirmPassword": 2}, [("string_type", "email"), ("string_type", "confirmPassword")]),
    ],
)
def test_signup_refuses(app: App, fields: dict, details: list):
    response = app.signup(**{"confirmPassword": fields.get("password", PASSWORD), **fields})
    body = as_json(response)
    assert response.status_code == 422
    assert list(body) == ["message", "details"]
    assert body["message"] == "Validation Error"
    assert all(list(detail) == ["type", "field", "message"] for detail in body["details"])
    seen = [
        detail if isinstance(want, dict) else (detail["type"], detail["field"])
        for detail, want in zip(body["details"], details, strict=True)
    ]
    assert seen == details


def test_signup_wants_json(app: App):
    with app.client() as client:
        response = client.post("/signup", content=b"{", headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert [detail["type"] for detail in response.json()["details"]] == ["json_invalid"]


# --- signin --------------------------------------------------------------------------------------


def test_signin_sets_both_cookies(visit: Visit):
    response = visit.signin.response
    assert answer(response) == (204, None)
    headers = {header.partition("=")[0]: header for header in response.headers.get_list("set-cookie")}
    assert set(headers) == set(SAME_SITE)
    for name, header in headers.items():
        attributes = {text.strip() for text in header.split(";")[1:]}
        life_s = LIVES_S[name.removesuffix("_token")]
        assert attributes == {"HttpOnly", f"Max-Age={life_s}", "Path=/", f"SameSite={SAME_SITE[name]}"}


def test_claims(app: App, visit: Visit):
    tokens = {kind: visit.signin.response.cookies[f"{kind}_token"] for kind in LIVES_S}
    claims = {kind: claims_of(token) for kind, token in tokens.items()}
    assert set(claims["access"]) == {"sub", "iat", "exp", "jti", "type", "email"}
    assert set(claims["refresh"]) == {"sub", "iat", "exp", "jti", "type"}
    assert claims["access"]["email"] == visit.email
    assert claims["access"]["jti"] != claims["refresh"]["jti"]
    for kind, token in tokens.items():
        app.signer.verify(token)
        assert header_of(token) == {"alg": app.signer.algorithm, "typ": "JWT"}
        assert claims[kind]["type"] == kind
        assert claims[kind]["sub"] == visit.signup.response.json()["id"]
        assert UUID(claims[kind]["jti"]).version == 4
        assert visit.begun_at <= claims[kind]["iat"] <= time.time()
        assert claims[kind]["exp"] == claims[kind]["iat"] + LIVES_S[kind]


def test_signin_refuses_alike(visit: Visit):
    for exchange in (visit.wrong_password, visit.unknown_user):
        assert answer(exchange.response) == (401, {"detail": "Invalid credentials"})
        assert "set-cookie" not in exchange.response.headers


@pytest.mark.parametrize(
    ("form", "kind", "field"),
    [
        ({"username": "a@example.com"}, "missing", "password"),
        ({"password": PASSWORD}, "missing", "username"),
        ({"username": "a\x00", "password": PASSWORD}, "string_pattern_mismatch", "username"),
    ],
)
def test_signin_wants_a_form(app: App, form: dict, kind: str, field: str):
    with app.client() as client:
        response = client.post("/signin", data=form)
    assert response.status_code == 422
    assert [(d["type"], d["field"]) for d in response.json()["details"]] == [(kind, field)]


# --- me ------------------------------------------------------------------------------------------


def test_me(app: App, visit: Visit):
    user, fields = visit.signup.response.json(), ME_FIELDS[app.levers.me_fields]
    for exchange in (visit.me_miss, visit.me_hit):
        assert exchange.response.status_code == 200
        body = as_json(exchange.response)
        assert list(body) == fields
        assert body == {field: user[field] for field in fields}


def test_me_of_both_workers(app: App, visit: Visit):
    """One from its own memory, the other from Valkey or the database."""
    token = visit.signin.response.cookies["access_token"]
    with app.both_workers(access_token=token) as clients:
        for client in clients:
            assert client.get("/me").content == visit.me_hit.response.content


def test_me_without_a_token(app: App, visit: Visit):
    bearer = {"authorization": f"Bearer {visit.signin.response.cookies['access_token']}"}
    with app.client() as client:
        for headers in ({}, bearer, {"cookie": "access_token="}, {"cookie": "other=1"}):
            response = client.get("/me", headers=headers)
            assert answer(response) == (401, {"detail": "Not authenticated"})


# --- the other endpoints -------------------------------------------------------------------------


def test_refresh_rotates(app: App, session: Session):
    with app.client(refresh_token=session.refresh) as client:
        response = client.post("/refresh")
    assert answer(response) == (204, None)
    renewed = Session.of(session.email, response)
    assert renewed.refresh != session.refresh
    assert claims_of(renewed.access)["email"] == session.email
    with app.client() as client:
        answers = [client.post("/refresh", headers={"cookie": f"refresh_token={session.refresh}"})]
        answers += [client.post("/refresh", headers={"cookie": f"refresh_token={renewed.refresh}"})]
    assert [each.status_code for each in answers] == [401, 204]
    assert app.get_me(renewed.access).json()["email"] == session.email


def test_refresh_needs_its_cookie(app: App, session: Session):
    with app.client(access_token=session.access) as client:
        assert answer(client.post("/refresh")) == (401, {"detail": "Not authenticated"})


def test_logout_clears_the_cookies(app: App, session: Session):
    with app.client(**session.cookies) as client:
        response = client.post("/logout")
    assert answer(response) == (204, None)
    cleared = response.headers.get_list("set-cookie")
    assert sorted(header.partition("=")[0] for header in cleared) == sorted(SAME_SITE)
    assert all(re.match(r'\w+=("")?;', header) and "Max-Age=0;" in header for header in cleared)


def test_logout_needs_a_token(app: App):
    for cookies in ({}, {"access_token": "x", "refresh_token": "y"}):
        with app.client(**cookies) as client:
            assert answer(client.post("/logout")) == (401, {"detail": "Not authenticated"})


def test_password_change(app: App, session: Session):
    def change(current: str, new: str) -> httpx.Response:
        with app.client(access_token=session.access) as client:
            return client.patch("/password", json={"currentPassword": current, "newPassword": new})

    policy = {"message": "Validation Error", "details": [POLICY | {"field": "newPassword"}]}
    assert answer(change(PASSWORD, "secret34")) == (422, policy)
    assert answer(change("x", "Secret_34")) == (400, {"detail": "Current password is wrong"})
    assert answer(app.get_me(session.access))[0] == 200
    changed = change(PASSWORD, "Secret_34")
    assert answer(changed) == (204, None)
    assert len(changed.headers.get_list("set-cookie")) == 2
    assert app.signin(session.email, "Secret_34").status_code == 204
    assert app.signin(session.email, PASSWORD).status_code == 401
    (row,) = sql(app.settings, f"SELECT password FROM user_account WHERE email = '{session.email}'")
    assert row["password"].startswith(f"$argon2id$v=19$m=65536,t=3,p={app.levers.argon2_lanes}$")


def test_password_change_needs_a_token(app: App):
    with app.client() as client:
        response = client.patch("/password", json={"currentPassword": "x", "newPassword": "Secret_34"})
    assert answer(response) == (401, {"detail": "Not authenticated"})


def test_unknown_route_and_method(app: App):
    assert answer(httpx.get(f"{app.url}/nowhere")) == (404, {"detail": "Not Found"})
    wrong_method = httpx.get(f"{app.url}/api/v1/access/signin")
    assert answer(wrong_method) == (405, {"detail": "Method Not Allowed"})
