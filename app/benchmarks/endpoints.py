"""What is asked of the servers, how often, and in which order."""

import random

from ironbench.records import Record
from msgspec.structs import replace

from .records import Burst, Plan


class Endpoint(Record, frozen=True, kw_only=True):
    task: str
    """Bursts of one task follow each other, in random order, so that they share the machine's mood."""
    requests: int
    """In one burst."""
    rounds: int
    """How often a block goes through the task: many short bursts share a changing mood better."""
    lead: int
    """Requests before each burst that are not counted, on top of the ping that follows each connect.
    None where Argon2 sweeps the caches anyway."""
    warm_up: int
    """Requests to a new server. One sign-up and one sign-in it has seen by then, for its user."""


ME = Endpoint(task="me", requests=200, rounds=4, lead=20, warm_up=100)
SIGNIN = Endpoint(task="signin", requests=2, rounds=3, lead=0, warm_up=0)
SIGNUP = Endpoint(task="signup", requests=2, rounds=3, lead=0, warm_up=0)
ARGON2_VERIFY = replace(SIGNIN, warm_up=1)
ARGON2_HASH = replace(SIGNUP, warm_up=1)
SERIALIZATION = Endpoint(task="serialization", requests=50, rounds=3, lead=10, warm_up=20)

SERIALIZERS = ("serialization-pydantic", "serialization-msgspec", "serialization-jsonable-encoder")

ENDPOINTS = {
    "me": ME,
    "ping": ME,
    "signin": SIGNIN,
    "argon2-verify": ARGON2_VERIFY,
    "argon2-kept-verify": ARGON2_VERIFY,
    "signup": SIGNUP,
    "argon2-hash": ARGON2_HASH,
    "argon2-kept-hash": ARGON2_HASH,
    **dict.fromkeys(SERIALIZERS, SERIALIZATION),
}

AUTH = ("me", "signin", "signup")
"""The endpoints of the article's tests."""


def order(plan: Plan, block: int) -> list[Burst]:
    """Bursts of a block: tasks in random order, and in each round of a task its bursts; the seed decides."""
    draw = random.Random(f"{plan.seed}-{block}")  # noqa: S311  (an order, not a secret)
    tasks: dict[str, list[Burst]] = {}
    for burst in sorted(plan.bursts):
        tasks.setdefault(ENDPOINTS[burst.endpoint].task, []).append(burst)
    return [
        burst
        for task in draw.sample(sorted(tasks), len(tasks))
        for _ in range(ENDPOINTS[tasks[task][0].endpoint].rounds)
        for burst in draw.sample(tasks[task], len(tasks[task]))
    ]
