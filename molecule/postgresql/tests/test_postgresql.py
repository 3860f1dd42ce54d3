"""PostgreSQL as it runs: where, with what limits, and for whom."""

import pytest

PSQL = "psql --no-psqlrc --tuples-only --no-align --host=/var/run/postgresql --username=postgres"


@pytest.fixture
def cluster(host, unit):
    version = {"12": "15", "13": "17"}[host.system_info.release.split(".")[0]]
    return unit(f"postgresql@{version}-bench.service")


def test_every_process_of_the_cluster_is_on_the_databases_cpus(host, cluster, layout):
    host.check_output(f"{PSQL} --command='SELECT 1'")
    threads = cluster.thread_cpus
    assert len(threads) > 3
    assert set(map(frozenset, threads.values())) == {frozenset(layout["database"])}


def test_a_backend_is_there_too_and_in_the_slice(host, layout):
    script = f"{PSQL} --command=\"COPY (SELECT pg_backend_pid()) TO PROGRAM 'cat > /tmp/backend; cat /proc/self/cgroup >> /tmp/backend'\""
    host.check_output(script)
    assert "/bench.slice/" in host.file("/tmp/backend").content_string


def test_limits_are_what_the_host_can_give(cluster, nofile_ceiling):
    assert cluster.nofile == [nofile_ceiling, nofile_ceiling]


def test_placement_survives_a_restart(host, cluster, layout):
    before = cluster.show("InvocationID")
    host.check_output(f"systemctl restart {cluster.name}")
    assert cluster.show("InvocationID") != before
    assert set(map(frozenset, cluster.thread_cpus.values())) == {frozenset(layout["database"])}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("random_page_cost", "3"),
        ("synchronous_commit", "off"),
        ("max_connections", "250"),
        ("data_checksums", "on"),
    ],
)
def test_settings_are_in_force(host, name, value):
    assert host.check_output(f"{PSQL} --command='SHOW {name}'") == value


def test_only_loopback_is_listened_on(host):
    sockets = host.check_output("ss -Hltn 'sport = :5432'").splitlines()
    assert [line.split()[3] for line in sockets] == ["127.0.0.1:5432"]


def test_the_app_user_has_a_scram_verifier(host):
    verifier = host.check_output(
        f"{PSQL} --command=\"SELECT rolpassword FROM pg_authid WHERE rolname = 'auth'\""
    )
    assert verifier.startswith("SCRAM-SHA-256$4096:")


def test_the_app_user_may_checkpoint_and_owns_its_database(host):
    assert (
        host.check_output(f"{PSQL} --command=\"SELECT pg_has_role('auth', 'pg_checkpoint', 'member')\"")
        == "t"
    )
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'auth'"
    assert host.check_output(f'{PSQL} --command="{owner}"') == "auth"


def test_nobody_comes_in_without_a_password(host):
    refused = host.run("psql --no-password --host=127.0.0.1 --username=auth auth --command='SELECT 1'")
    assert refused.rc != 0
    assert "no password supplied" in refused.stderr
    stranger = host.run(
        "psql --no-password --host=127.0.0.1 --username=postgres postgres --command='SELECT 1'"
    )
    assert "no pg_hba.conf entry" in stranger.stderr


def test_no_other_cluster_was_made(host):
    assert [line.split()[1] for line in host.check_output("pg_lsclusters --no-header").splitlines()] == [
        "bench"
    ]
