"""The middlewares: an id for each request, and a line in the log."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from auth_app.request_log import StructLogMiddleware
from auth_app.settings import Settings
from away import settings_of_nothing
from harness import App, running, wait_until

SECRET = "Str0ng_Secret"
OWN_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def apps(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, App]]:
    """Serve final without middlewares and with each of them; no other service is needed."""
    path = settings_of_nothing(tmp_path_factory.mktemp("middlewares"), settings)
    with ExitStack() as stack:
        variants = ("final", "final-correlation-id", "final-logging")
        yield {variant: stack.enter_context(running(variant, path)) for variant in variants}


def bytes_of_ping(app: App) -> bytes:
    with socket.create_connection(("127.0.0.1", app.port)) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nOK"):
            received = connection.recv(4096)
            assert received, answer
            answer += received
        return answer


def logged(app: App) -> list[dict]:
    """Lines of the log, but for those of the question whether the server answers."""
    lines = [json.loads(line) for line in app.output().splitlines() if line.startswith(b"{")]
    return [line for line in lines if line["path"] != "/ping"]


def wait_for_line(app: App, request_id: str) -> dict:
    found = []

    def appears() -> bool:
        found[:] = [line for line in logged(app) if line["request_id"] == request_id]
        return bool(found)

    wait_until(appears, f"a line of request {request_id}")
    (line,) = found
    return line


def test_sizes_of_ping_are_the_published_ones(apps: dict[str, App]):
    assert {variant: len(bytes_of_ping(app)) for variant, app in apps.items()} == {
        "final": 135,
        "final-correlation-id": 183,
        "final-logging": 183,
    }


def test_each_request_has_an_id(apps: dict[str, App]):
    ids = [
        httpx.get(f"{apps['final-correlation-id'].url}{path}").headers["x-request-id"]
        for path in ("/ping", "/ping", "/nowhere", "/api/v1/access/me")
    ]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids)
    assert "x-request-id" not in httpx.get(f"{apps['final'].url}/ping").headers


def test_the_clients_own_id_is_kept_if_it_is_one(apps: dict[str, App]):
    url = f"{apps['final-correlation-id'].url}/ping"
    assert httpx.get(url, headers={"x-request-id": OWN_ID}).headers["x-request-id"] == OWN_ID
    assert httpx.get(url, headers={"x-request-id": "mine"}).headers["x-request-id"] != "mine"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/serialization-msgspec", 200),
        ("GET", "/api/v1/access/me", 401),
        ("GET", "/nowhere", 404),
        ("POST", "/api/v1/access/signup", 422),
        ("POST", "/api/v1/access/signin", 503),
    ],
)
def test_a_line_for_each_request(apps: dict[str, App], method: str, path: str, status: int):
    app = apps["final-logging"]
    request = {
        "params": {"token": SECRET},
        "headers": {"authorization": SECRET},
        "data": {"username": f"{SECRET}@example.com", "password": SECRET} if method == "POST" else None,
    }
    with httpx.Client(cookies={"refresh_token": SECRET}) as client:
        response = client.request(method, f"{app.url}{path}", **request)
    line = wait_for_line(app, response.headers["x-request-id"])
    assert line.pop("duration_ms") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "request",
        "level": "info",
        "method": method,
        "path": path,
        "status": status,
        "request_id": response.headers["x-request-id"],
    }
    assert response.status_code == status
    assert SECRET.encode() not in app.output()


def test_without_the_lever_nothing_is_logged(apps: dict[str, App]):
    httpx.get(f"{apps['final'].url}/nowhere")
    assert logged(apps["final"]) == []


def test_an_exception_is_logged_as_what_the_client_gets(capfdbinary: pytest.CaptureFixture[bytes]):
    async def broken(*_: object) -> None:
        raise LookupError(SECRET)

    scope = {"type": "http", "method": "GET", "path": "/"}
    with pytest.raises(LookupError):
        asyncio.run(StructLogMiddleware(broken)(scope, None, None))  # type: ignore[arg-type]
    line = json.loads(capfdbinary.readouterr().out)
    assert (line["status"], line["request_id"]) == (500, None)
    assert SECRET not in str(line)
