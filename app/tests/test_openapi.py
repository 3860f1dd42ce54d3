"""schemathesis over the OpenAPI document that a real server gives: whatever comes in, no 5xx.

Hypothesis with a fixed seed and few examples, since many cost a hash. So that they get somewhere, half of
them carry good cookies of their own, and half have good passwords, of which the document says little.
"""

from collections.abc import Iterator

import pytest
import schemathesis
import schemathesis.schemas
from harness import PASSWORD, App
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies
from schemathesis.core.result import Err
from schemathesis.generation.modes import GenerationMode

EXAMPLES = 20
"""For each operation and mode."""

PATHS = {
    ("POST", "/api/v1/access/signup"),
    ("POST", "/api/v1/access/signin"),
    ("GET", "/api/v1/access/me"),
    ("POST", "/api/v1/access/refresh"),
    ("POST", "/api/v1/access/logout"),
    ("PATCH", "/api/v1/access/password"),
    ("GET", "/ping"),
    ("GET", "/health"),
}
"""What the document must name at least."""

pytestmark = pytest.mark.parametrize("app", ["baseline", "beyond"], indirect=True)


def all_operations(schema: schemathesis.schemas.BaseSchema) -> Iterator[schemathesis.schemas.APIOperation]:
    for result in schema.get_all_operations():
        assert not isinstance(result, Err), result.err()
        yield result.ok()


def test_no_request_is_answered_with_5xx(app: App):
    schema = schemathesis.openapi.from_url(f"{app.url}/openapi.json")
    operations = list(all_operations(schema))
    assert {(operation.method.upper(), operation.path) for operation in operations} >= PATHS
    session = app.new_session()
    seen: dict[str, set[int]] = {}

    for operation in operations:
        modes = [GenerationMode.POSITIVE]
        if operation.body:  # there is something that can be wrong
            modes.append(GenerationMode.NEGATIVE)
        for mode in modes:

            @seed(20_251_122)
            @settings(
                max_examples=EXAMPLES,
                database=None,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            )
            @given(
                case=operation.as_strategy(generation_mode=mode),
                signed_in=strategies.booleans(),
                good_passwords=strategies.booleans(),
            )
            def call(case: schemathesis.Case, signed_in: bool, good_passwords: bool) -> None:
                cookies = app.renewed(session).cookies if signed_in else None
                if good_passwords and isinstance(case.body, dict):
                    case.body |= {field: PASSWORD for field in case.body if "assword" in field}
                response = case.call(cookies=cookies)
                assert response.status_code < 500, (response.status_code, case.as_curl_command())
                seen.setdefault(case.path, set()).add(response.status_code)

            call()
    assert seen["/api/v1/access/signup"] >= {422}
    assert seen["/api/v1/access/signup"] & {201, 409}, (
        "no good signup: the seed makes the same users each time"
    )
    assert seen["/api/v1/access/signin"] >= {401, 422}
    assert seen["/api/v1/access/me"] >= {200, 401}
    assert seen["/api/v1/access/refresh"] >= {204, 401}
    assert seen["/api/v1/access/logout"] >= {204, 401}
    assert seen["/api/v1/access/password"] >= {204, 400, 401, 422}
