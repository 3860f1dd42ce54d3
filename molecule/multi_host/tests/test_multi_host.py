"""A bench of several machines: who reaches whom, and a plan with load over the network from two generators."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import testinfra
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from controller import REPOSITORY, changed, play
from plans import Plan, until

STUDY = Path(__file__).parents[1] / "study"
INVENTORY = yaml.safe_load((REPOSITORY / "molecule/inventory/multi_host.yml").read_text())["all"]
ADDRESSES = {
    name: host["private_address"] for name, host in INVENTORY["children"]["sandbox"]["hosts"].items()
}
APP, DATA, LOAD_A, LOAD_B = ADDRESSES
DATABASE_PASSWORD = INVENTORY["vars"]["secrets_database_password"]

# A startup message as the user auth; what comes back is R (log in) or E and why not.
ASK_PGBOUNCER = """
import socket, struct
body = struct.pack("!i", 196608) + b"user\\0auth\\0database\\0auth\\0\\0"
with socket.create_connection(("{address}", {port}), timeout=5) as connection:
    connection.sendall(struct.pack("!i", len(body) + 4) + body)
    print(connection.recv(4096))
"""
ASK_VALKEY = """
import socket
with socket.create_connection(("{address}", 6379), timeout=5) as connection:
    connection.sendall(b"{command}\\r\\n")
    print(connection.recv(4096))
"""
LOGGED_IN = """
import asyncio, asyncpg
from pathlib import Path
async def main():
    password = Path("/etc/auth-app/database-password").read_text().strip()
    connection = await asyncpg.connect(
        host="{address}", port=6432, user="auth", database="auth", password=password, statement_cache_size=0)
    print(await connection.fetchval("SELECT current_user || ' from ' || inet_client_addr()"))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def hosts():
    return {name: testinfra.get_host(f"docker://{name}") for name in ADDRESSES}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Run a plan of two sessions to its end."""
    made = Plan(tmp_path_factory.mktemp("results"), "multi_host", STUDY, bench_retries=0)
    made.finish()
    return made


def python(host, text: str, **values: object):
    return host.run("python3 -c %s", text.format(**values))


def listening(host) -> set[str]:
    return {line.split()[3] for line in host.check_output("ss -Hltn").splitlines()}


def test_services_listen_at_the_private_address_or_loopback_and_nowhere_else(hosts):
    assert f"{ADDRESSES[APP]}:8000" in listening(hosts[APP])
    assert {f"{ADDRESSES[DATA]}:6432", f"{ADDRESSES[DATA]}:6379", "127.0.0.1:5432"} <= listening(hosts[DATA])
    for name in (APP, DATA):
        # ssh is the host's own.
        others = {at.rpartition(":")[0] for at in listening(hosts[name]) if not at.endswith(":22")}
        # Docker's own resolver of the network.
        assert others <= {ADDRESSES[name], "127.0.0.1", "127.0.0.11"}, name


def test_pgbouncer_lets_in_the_app_from_its_host_alone(hosts):
    address = ADDRESSES[DATA]
    welcome = python(hosts[APP], ASK_PGBOUNCER, address=address, port=6432)
    assert "SCRAM-SHA-256" in welcome.stdout, welcome.stderr
    for name in (LOAD_A, DATA):
        refused = python(hosts[name], ASK_PGBOUNCER, address=address, port=6432)
        assert refused.stdout.startswith("b'E"), (name, refused)
        assert "SCRAM" not in refused.stdout
    query = hosts[APP].run("/opt/auth-app/venv/bin/python -c %s", LOGGED_IN.format(address=address))
    assert query.stdout.strip() == "auth from 127.0.0.1/32", query.stderr


def test_postgresql_is_reached_through_pgbouncer_only(hosts):
    refused = python(hosts[APP], ASK_PGBOUNCER, address=ADDRESSES[DATA], port=5432)
    assert "ConnectionRefusedError" in refused.stderr


def test_valkey_tells_nothing_without_the_password_and_nobody_how_it_is_configured(hosts):
    address = ADDRESSES[DATA]
    for name in (APP, LOAD_A, DATA):
        assert "NOAUTH" in python(hosts[name], ASK_VALKEY, address=address, command="PING").stdout, name
    wrong = python(hosts[LOAD_A], ASK_VALKEY, address=address, command="AUTH auth guessed")
    assert "WRONGPASS" in wrong.stdout
    password = hosts[APP].file("/etc/auth-app/cache-password")
    assert (password.mode, password.user) == (0o600, "auth-app")
    own = f"AUTH auth {password.content_string.strip()}\\r\\nCONFIG GET *"
    answers = python(hosts[APP], ASK_VALKEY, address=address, command=own).stdout
    assert "+OK" in answers


def test_a_password_that_the_inventory_gives_is_the_one_that_is_used(hosts):
    given = INVENTORY["vars"]
    for file, name in (
        ("database-password", "secrets_database_password"),
        ("cache-password", "secrets_cache_password"),
    ):
        assert hosts[APP].file(f"/etc/auth-app/{file}").content_string == given[name]
    assert hosts[DATA].run("grep -rlF %s /etc", given["secrets_cache_password"]).stdout == ""


def test_all_hosts_are_in_every_run_with_their_counters(plan):
    assert len(plan.runs) == 2
    for key, run in plan.runs.items():
        raw = plan.files[key].parent / "raw"
        assert {path.name for path in raw.iterdir()} == set(ADDRESSES)
        for name in ADDRESSES:
            for file in ("sar.json", "sar.bin", "cgroup.jsonl", "before.json", "after.json"):
                assert (raw / name / file).stat().st_size > 0, (key, name, file)
        by_host = {(cpu["host"], cpu["service"]) for cpu in run["cpu"]}
        services = {(APP, "app"), (DATA, "postgresql"), (DATA, "pgbouncer"), (DATA, "valkey")}
        assert by_host >= services | {(LOAD_A, "load_generator"), (LOAD_B, "load_generator")}
        assert {core["host"] for core in run["cores"]} == set(ADDRESSES)
        (app,) = [cpu["per_request_ms"] for cpu in run["cpu"] if cpu["service"] == "app"]
        assert app > 0
        assert not list(raw.rglob("users*")), "tokens stay on the hosts"


def test_two_generators_make_one_load_and_nothing_is_counted_twice(plan):
    for key, run in plan.runs.items():
        raw = plan.files[key].parent / "raw"
        own = [json.loads((raw / name / "load/load.json").read_bytes()) for name in (LOAD_A, LOAD_B)]
        merged = run["load"]
        assert [one["scheduled"] for one in own] == [40, 40]
        assert (merged["scheduled"], merged["offered_rps"]) == (80, 20.0)
        assert (merged["unexpected_status"], merged["errors"]) == (0, {})
        for count in ("sent", "completed", "unsent"):
            assert merged[count] == sum(one[count] for one in own), count
        for name in ("latency", "service_time", "own_send_lag"):
            assert merged[name]["count"] == sum(one[name]["count"] for one in own), name
        assert merged["latency"]["max"] == max(one["latency"]["max"] for one in own)
        assert sum(second["count"] for second in merged["seconds"]) == merged["completed"]
        assert own[0]["idle_until_ns"] == pytest.approx(own[1]["idle_until_ns"], abs=10_000_000)
        workers = [one["landing"]["workers"] for one in own]
        assert sum(merged["landing"]["workers"].values()) == 4, workers
        total = next(
            line
            for line in (plan.files[key].parent / "latency.hgrm").read_text().splitlines()
            if "Total count" in line
        )
        assert int(total.rpartition("=")[2].strip(" ]")) == merged["completed"]


def test_clocks_are_read_before_and_after(plan):
    for key in plan.runs:
        for name in (LOAD_A, LOAD_B):
            clocks = json.loads((plan.files[key].parent / f"raw/{name}/clocks.json").read_bytes())
            for readings in (clocks["before"], clocks["after"]):
                assert {reading["peer"] for reading in readings} == set(ADDRESSES) - {name}
                for reading in readings:
                    assert reading["unknown"] == ""
                    # The hosts are containers of one machine, and have its one clock.
                    assert abs(reading["offset_ms"]) <= reading["bound_ms"]


def test_a_connection_that_is_cut_during_a_run_loses_nothing(hosts, tmp_path):
    made = Plan(tmp_path, "multi_host", STUDY, bench_retries=0, bench_variants=["final"])
    playbook = made.start()
    until(lambda: hosts[LOAD_A].run("pgrep -f 'host [w]ait'").rc == 0, "somebody who waits for the window")
    hosts[LOAD_A].check_output("pkill -KILL -x sshd-session")

    assert playbook.wait(300) == 0, (tmp_path / "log").read_text()[-4000:]
    assert "Wait again where a connection was cut" in (tmp_path / "log").read_text()
    ((_, run),) = made.runs.items()
    assert run["load"]["completed"] == 80
    assert not list(tmp_path.glob("*/lost/*"))


def test_nothing_is_left_running(hosts, plan):
    for name, host in hosts.items():
        assert host.run("systemctl list-units --no-legend 'ironbench-*'").stdout == "", name
    assert hosts[APP].service("auth-app@baseline").is_running


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"valkey_address": "0.0.0.0"}, "which is every address that the host has"),
        ({"pgbouncer_address": "172.30.61.99"}, "give both the private address of"),
        ({"pgbouncer_clients": ["172.30.61.13"]}, "add that"),
        ({"bench_address": ""}, "bench_address of molecule-multi_host-app is missing"),
    ],
)
def test_addresses_that_cannot_be_stop_before_anything_is_changed(variables, words):
    done = play("playbooks/preflight.yml", "multi_host", "--extra-vars", json.dumps(variables))
    assert done.returncode != 0
    assert set(changed(done).values()) <= {0}
    assert words in " ".join(done.stdout.split())
