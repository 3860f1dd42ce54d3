"""SQL statements and connections of a request, as they pass between the app and PgBouncer.

They follow from the levers alone, and cost more than anything else that a request does beside its hash:
a connection is a SCRAM exchange in Python.
"""

import re

import pytest
from auth_app.settings import Settings
from auth_app.variants import Levers
from harness import App
from visit import Visit

REQUESTS = ("signup", "duplicate", "signin", "wrong_password", "unknown_user", "me_miss", "me_hit")


def in_words(sql: str) -> str:
    """Name what a statement does and to which tables: ``select user_account role``, ``begin``."""
    tables = re.findall(r"\b(?:FROM|JOIN|INTO) (user_account|role)\b", sql)
    verb = re.match(r"\w+", sql.strip())
    assert verb, sql
    return " ".join([verb[0].lower(), *dict.fromkeys(tables)])


def expected(levers: Levers, *, prepared: bool) -> dict[str, list[str]]:
    """Statements of each request."""
    if levers.data_access == "sql":
        signup, duplicate = ["insert user_account role"], ["insert user_account role"]
        signin = unknown = ["select user_account"]
        me = ["select user_account role"]
        if not prepared:  # parsing and execution must meet the same server connection
            signup, signin, unknown, me = (
                ["begin", *each, "commit"] for each in (signup, signin, unknown, me)
            )
            duplicate = ["begin", *duplicate, "rollback"]
    else:
        insert = ["begin", "select role", "insert user_account"]
        signup, duplicate = [*insert, "commit"], [*insert, "rollback"]
        if levers.refresh_after_insert:  # the commit has given the connection back
            signup += ["begin", "select user_account", "rollback"]
        signin = ["begin", "select user_account", "rollback"]
        unknown = list(signin)  # who is nobody has no role
        if levers.signin_query == "selectin":
            signin.insert(2, "select role")
        me = {
            "selectin": ["begin", "select user_account", "select role", "rollback"],
            "joinedload-load-only": ["begin", "select user_account role", "rollback"],
        }[levers.me_query]
    return {
        "signup": signup,
        "duplicate": duplicate,
        "signin": signin,
        "wrong_password": signin,
        "unknown_user": unknown,
        "me_miss": me,
        "me_hit": me if levers.user_cache == "none" else [],
    }


def connections(levers: Levers, statements: list[str]) -> int:
    """Without a pool, one for each transaction; with one, none."""
    return statements.count("begin") if levers.database_pool == "none" else 0


def test_statements_and_connections_of_each_request(app: App, visit: Visit, settings: Settings):
    want = expected(app.levers, prepared=settings.database.prepared_statements)
    seen = {request: getattr(visit, request).database for request in REQUESTS}
    assert {
        request: [in_words(sql) for sql in traffic.statements] for request, traffic in seen.items()
    } == want
    assert {request: traffic.connections for request, traffic in seen.items()} == {
        request: connections(app.levers, statements) for request, statements in want.items()
    }


def test_statements_are_prepared_once_where_that_can_be(app: App, visit: Visit, settings: Settings):
    """The wrong password asks what signin asked, on the same connection if there is one that stays.

    asyncpg sends an unnamed statement twice: to learn its types, and again with its arguments.
    """
    kept = app.levers.database_pool == "persistent" and settings.database.prepared_statements
    traffic = visit.wrong_password.database
    run = [sql for sql in traffic.statements if in_words(sql).startswith("select")]
    assert traffic.parses == (0 if kept else 2 * len(run))


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("BEGIN ISOLATION LEVEL READ COMMITTED;", "begin"),
        ("SELECT a FROM user_account LEFT OUTER JOIN role AS role_1 ON b", "select user_account role"),
        ("\nINSERT INTO user_account (id) SELECT $1 FROM role", "insert user_account role"),
    ],
)
def test_words(sql: str, words: str):
    assert in_words(sql) == words
