"""What every variant answers: statuses, bodies, cookies, claims, errors."""

import base64
import json
import re
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from harness import PASSWORD, App, Session, new_email

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
ME_FIELDS = {
    "baseline": NEW_USER_FIELDS,
    "optimization-1": NEW_USER_FIELDS,
    "final": ["id", "name", "email", "isActive", "isSuperuser", "roleSlug"],
}
LIVES_S = {"access_token": 30 * 60, "refresh_token": 30 * 86_400}


def part(token: str, index: int) -> dict:
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_ping(app: App):
    response = httpx.get(f"{app.url}/ping")
    assert (response.status_code, response.content) == (200, b"OK")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_health(app: App):
    response = httpx.get(f"{app.url}/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "database": "online", "cache": "online"}


@pytest.mark.parametrize("confirm", ["confirmPassword", "confirm_password"])
def test_signup(app: App, confirm: str):
    email = new_email()
    body = {"email": email.upper(), "password": PASSWORD, confirm: PASSWORD, "name": "Tester"}
    with app.client() as client:
        response = client.post("/signup", json=body)
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    user = response.json()
    assert list(user) == NEW_USER_FIELDS
    assert UUID(user.pop("id")).version == 7
    created, updated = user.pop("createdAt"), user.pop("updatedAt")
    for moment in (created, updated):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", moment)
        assert abs(datetime.fromisoformat(moment) - datetime.now(UTC)) < timedelta(minutes=1)
    assert user == {
        "name": "Tester",
        "email": email,
        "isActive": True,
        "isSuperuser": False,
        "roleName": "Application Access",
        "roleSlug": "application-access",
    }


def test_name_is_optional(app: App):
    response = app.signup()
    assert (response.status_code, response.json()["name"]) == (201, None)


def test_email_is_taken_in_any_case(app: App):
    email = new_email()
    assert app.signup(email=email).status_code == 201
    response = app.signup(email=email.upper())
    assert response.status_code == 409
    assert response.json() == {"detail": "A user with this email already exists"}


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
        ({"email": 1, "password": 2}, [("string_type", "email"), ("string_type", "password")]),
    ],
)
def test_signup_refuses(app: App, fields: dict, details: list):
    response = app.signup(**{"confirmPassword": fields.get("password", PASSWORD), **fields})
    body = response.json()
    assert response.status_code == 422
    assert list(body) == ["message", "details"]
    assert body["message"] == "Validation Error"
    assert [list(detail) for detail in body["details"]] == [["type", "field", "message"]] * len(
        body["details"]
    )
    seen = [
        detail if isinstance(want, dict) else (detail["type"], detail["field"])
        for detail, want in zip(body["details"], details, strict=False)
    ]
    assert seen == details


def test_signup_wants_json(app: App):
    with app.client() as client:
        response = client.post("/signup", content=b"{", headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert [detail["type"] for detail in response.json()["details"]] == ["json_invalid"]


def test_signin_sets_both_cookies(app: App):
    email = app.signup().json()["email"]
    response = app.signin(email.upper())
    assert (response.status_code, response.content) == (204, b"")
    headers = {header.partition("=")[0]: header for header in response.headers.get_list("set-cookie")}
    assert set(headers) == set(LIVES_S)
    for name, header in headers.items():
        same_site = {"access_token": "lax", "refresh_token": "strict"}[name]
        attributes = {text.strip() for text in header.split(";")[1:]}
        assert attributes == {"HttpOnly", f"Max-Age={LIVES_S[name]}", "Path=/", f"SameSite={same_site}"}


def test_claims(app: App):
    user = app.signup().json()
    before = time.time()
    cookies = app.signin(user["email"]).cookies
    access, refresh = part(cookies["access_token"], 1), part(cookies["refresh_token"], 1)
    assert set(access) == {"sub", "email", "iat", "exp", "jti", "type"}
    assert set(refresh) == {"sub", "iat", "exp", "jti", "type"}
    assert (access["type"], refresh["type"]) == ("access", "refresh")
    assert access["email"] == user["email"]
    assert access["jti"] != refresh["jti"]
    for name, claims in (("access_token", access), ("refresh_token", refresh)):
        assert claims["sub"] == user["id"]
        assert UUID(claims["jti"]).version == 4
        assert before <= claims["iat"] <= time.time()
        assert claims["exp"] == claims["iat"] + LIVES_S[name]
        algorithm = "RS256" if app.variant == "baseline" else "Ed25519"
        assert part(cookies[name], 0) == {"alg": algorithm, "typ": "JWT"}


def test_signin_refuses_alike(app: App, settings):
    email = app.signup().json()["email"]
    for response in (app.signin(email, "Wrong_12"), app.signin(new_email()), app.signin("nobody")):
        assert response.status_code == 401
        assert response.json() == {"detail": "Invalid credentials"}
        assert "set-cookie" not in response.headers


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


def test_me(app: App):
    user = app.signup(name="Tester__").json()
    token = app.signin(user["email"]).cookies["access_token"]
    want = {field: user[field] for field in ME_FIELDS[app.variant]}
    for _ in range(3):  # from the database, then from the caches of either worker
        response = app.get_me(token)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.json() == want
        assert list(response.json()) == ME_FIELDS[app.variant]


def test_me_without_a_token(app: App):
    with app.client() as client:
        response = client.get("/me")
    assert (response.status_code, response.json()) == (401, {"detail": "Not authenticated"})


def test_authorization_header_is_no_way_in(app: App, session: Session):
    with app.client() as client:
        response = client.get("/me", headers={"authorization": f"Bearer {session.access}"})
    assert (response.status_code, response.json()) == (401, {"detail": "Not authenticated"})


def test_refresh_needs_its_cookie(app: App, session: Session):
    with app.client(access_token=session.access) as client:
        response = client.post("/refresh")
    assert (response.status_code, response.json()) == (401, {"detail": "Not authenticated"})


def test_logout_needs_a_token(app: App):
    for cookies in ({}, {"access_token": "x", "refresh_token": "y"}):
        with app.client(**cookies) as client:
            response = client.post("/logout")
        assert (response.status_code, response.json()) == (401, {"detail": "Not authenticated"})


def test_logout_clears_the_cookies(app: App, session: Session):
    with app.client(**session.cookies) as client:
        response = client.post("/logout")
    assert (response.status_code, response.content) == (204, b"")
    for header in response.headers.get_list("set-cookie"):
        assert re.match(r'(access|refresh)_token="?"?;', header)
        assert "Max-Age=0" in header
    assert len(response.headers.get_list("set-cookie")) == 2


def test_password_change_refuses(app: App, session: Session):
    with app.client(access_token=session.access) as client:
        wrong = client.patch("/password", json={"currentPassword": "x", "newPassword": "Secret_34"})
        weak = client.patch("/password", json={"currentPassword": PASSWORD, "newPassword": "secret34"})
    assert (wrong.status_code, wrong.json()) == (400, {"detail": "Current password is wrong"})
    assert weak.status_code == 422
    assert weak.json() == {"message": "Validation Error", "details": [POLICY | {"field": "newPassword"}]}
    assert app.signin(session.email).status_code == 204


def test_unknown_route_and_method(app: App):
    response = httpx.get(f"{app.url}/nowhere")
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
    response = httpx.get(f"{app.url}/api/v1/access/signin")
    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})
