"""The cryptography endpoints: the variant's own keys, and no service asked."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from auth_app.settings import Settings
from away import settings_of_nothing
from harness import App, running


@pytest.fixture(scope="module", params=["baseline", "ladder-01-tokens-pyjwt-rs256-key", "final"])
def alone(
    request: pytest.FixtureRequest, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    with running(request.param, settings_of_nothing(tmp_path_factory.mktemp("alone"), settings)) as app:
        yield app


def verify(app: App, token: str | None) -> httpx.Response:
    return httpx.get(
        f"{app.url}/cryptography-verify", headers={"cookie": f"access_token={token}"} if token else {}
    )


def test_signing(alone: App):
    answer = httpx.get(f"{alone.url}/cryptography-sign")
    assert (answer.status_code, answer.content, answer.cookies) == (200, b"OK", httpx.Cookies())


def test_verifying_looks_at_the_signature_every_time(alone: App):
    session = alone.session_of("nobody@example.com", str(uuid4()))
    head, payload, signature = session.access.split(".")
    forged = ".".join((head, payload, signature[::-1]))
    for token, status in ((session.access, 200), (forged, 401), (session.refresh, 401), (None, 401)):
        assert verify(alone, token).status_code == status
    assert verify(alone, session.access).content == b"OK"
