"""The serialization endpoints: one set of exercises, three ways to write it, no service needed."""

import json
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from auth_app.exercises import STRUCTS
from auth_app.schemas.exercise_struct import ExerciseRead
from auth_app.settings import Settings
from away import settings_of_nothing
from harness import App, running

WAYS = ["pydantic", "msgspec", "jsonable-encoder"]


@pytest.fixture(scope="module")
def alone(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Serve with no other service running, as in the article."""
    with running("baseline", settings_of_nothing(tmp_path_factory.mktemp("alone"), settings)) as app:
        yield app


def get(app: App, way: str) -> httpx.Response:
    return httpx.get(f"{app.url}/serialization-{way}")


@pytest.mark.parametrize("way", WAYS)
def test_body(alone: App, way: str):
    response = get(alone, way)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    # The article's is 54.9 kB.
    assert 54_000 <= len(response.content) <= 56_000
    # These are of this process, those of the server: the same in each.
    assert msgspec.json.decode(response.content, type=list[ExerciseRead]) == STRUCTS


def test_all_three_say_the_same(alone: App):
    one, *others = (get(alone, way).json() for way in WAYS)
    assert len({exercise["id"] for exercise in one}) == 50
    for other in others:
        assert other == one


def test_they_hold_what_is_costly_to_write():
    (exercise, *_) = json.loads(msgspec.json.encode(STRUCTS))
    assert exercise["createdAt"] == "2026-01-05T07:30:00.120450Z"
    nested = [exercise["equipment"], exercise["author"], *exercise["primaryMuscles"]]
    assert {len(thing["id"]) for thing in nested} == {36}
