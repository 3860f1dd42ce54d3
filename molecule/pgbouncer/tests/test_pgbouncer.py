"""PgBouncer as the app uses it: real queries through it, with SCRAM, in transaction mode."""

import os
from pathlib import Path

import pytest

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ironbench/inventory"


@pytest.fixture
def query(host):
    password = (STATE / "database-password").read_text().strip()

    def run(sql: str, password: str = password, user: str = "auth"):
        # The password is the test's own throwaway host's.
        return host.run(
            "PGPASSWORD=%s psql --no-psqlrc --tuples-only --no-align --host=127.0.0.1 --port=6432 --username=%s auth --command=%s",
            password,
            user,
            sql,
        )

    return run


def test_a_query_goes_through_to_postgresql(query):
    answer = query("SELECT current_user || ' ' || current_database() || ' ' || (2 + 2)")
    assert (answer.stdout.strip(), answer.rc) == ("auth auth 4", 0), answer.stderr


def test_it_logs_in_to_postgresql_with_scram(host, query):
    query("SELECT 1")
    settings = host.check_output(
        "runuser -u postgres -- psql -tAc \"SELECT count(*) FROM pg_stat_activity WHERE usename = 'auth'\""
    )
    assert int(settings) >= 1


def test_a_wrong_password_is_refused(query):
    refused = query("SELECT 1", password="wrong")
    assert refused.rc != 0
    assert (
        "SASL authentication failed" in refused.stderr or "password authentication failed" in refused.stderr
    )


def test_an_unknown_user_is_refused(query):
    assert query("SELECT 1", user="nobody").rc != 0


def test_pooling_is_by_transaction(query):
    """A session's prepared statement would outlive its transaction in session mode; here SET is not kept."""
    answer = query("BEGIN; SET LOCAL statement_timeout = 4321; COMMIT; SHOW statement_timeout")
    assert answer.stdout.split()[-1] == "0", answer.stderr


def test_the_password_is_not_on_the_host(host):
    password = (STATE / "database-password").read_text().strip()
    assert host.run("grep -rlF %s /etc /var/lib/postgresql /var/log", password).stdout == ""


def test_it_is_on_the_databases_cpus_with_the_limits_that_the_host_can_give(unit, layout, nofile_ceiling):
    pgbouncer = unit("pgbouncer.service")
    assert set(map(frozenset, pgbouncer.thread_cpus.values())) == {frozenset(layout["database"])}
    assert pgbouncer.nofile == [nofile_ceiling, nofile_ceiling]
    assert pgbouncer.show("Slice") == "bench.slice"


def test_only_loopback_is_listened_on(host):
    sockets = host.check_output("ss -Hltn 'sport = :6432'").splitlines()
    assert [line.split()[3] for line in sockets] == ["127.0.0.1:6432"]
