"""Services in containers: where they run, with what limits, for whom, and what a bundle tells of them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from controller import REPOSITORY, changed, play

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ironbench/inventory"
SERVICES = {"postgresql": "database", "pgbouncer": "database", "valkey": "cache"}
PORTS = {"postgresql": 5432, "pgbouncer": 6432, "valkey": 6379}
NEIGHBOUR = "127.0.0.1 16379"


def password(of: str = "database") -> str:
    return (STATE / f"{of}-password").read_text().strip()


def pids(host, slice_name: str) -> list[int]:
    """The processes of a slice of the bench's, those of its containers included."""
    return [
        int(pid)
        for pid in host.check_output(
            f"find /sys/fs/cgroup/unified/bench.slice/{slice_name} -name cgroup.procs -exec cat {{}} +"
        ).split()
    ]


def main_pid(host, container: str) -> int:
    return int(host.check_output("docker inspect --format '{{.State.Pid}}' %s", container))


def affinities(host, of: list[int]) -> set[str]:
    listing = host.check_output(
        "cat " + " ".join(f"/proc/{pid}/task/*/status" for pid in of) + " | grep Cpus_allowed_list"
    )
    return {line.split()[1] for line in listing.splitlines()}


def query(host, sql: str, port: int = 6432):
    # The password is the test's own throwaway host's.
    return host.run(
        "docker exec --env PGPASSWORD=%s bench-postgresql psql --no-psqlrc --tuples-only --no-align --host=127.0.0.1 "
        f"--port={port} --username=auth auth --command=%s",
        password(),
        sql,
    )


def superuser(host, sql: str) -> str:
    return host.check_output(
        "docker exec bench-postgresql psql --no-psqlrc --tuples-only --no-align --username=postgres --command=%s",
        sql,
    )


def valkey(host, command: str) -> str:
    """Ask as the app's user."""
    return host.check_output(
        f"docker exec --env REDISCLI_AUTH=%s bench-valkey valkey-cli --user auth {command}", password("cache")
    )


def answers(host, where: str) -> bool:
    """Whether a Valkey answers there."""
    script = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); s.sendall(b'PING\\r\\n'); "
        "sys.exit(s.recv(7) != b'+PONG\\r\\n')"
    )
    return host.run(f'python3 -c "{script}" {where}').rc == 0


@pytest.mark.parametrize(("service", "owner"), SERVICES.items())
def test_every_thread_is_on_its_cpus_in_a_slice_of_the_bench(host, layout, service, owner):
    found = pids(host, f"bench-{service}.slice")
    assert main_pid(host, f"bench-{service}") in found
    (seen,) = affinities(host, found)
    assert {int(cpu) for cpu in seen.split(",")} == layout[owner]


@pytest.mark.parametrize("service", SERVICES)
def test_limits_are_what_the_host_can_give(host, nofile_ceiling, service):
    limits = host.file(f"/proc/{main_pid(host, f'bench-{service}')}/limits").content_string
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == [nofile_ceiling, nofile_ceiling]


def test_the_engine_is_on_the_housekeeping_cpus_and_was_not_restarted(host, unit, layout):
    for name in ("docker.service", "containerd.service"):
        found = pids(host, f"../system.slice/{name}")
        (seen,) = affinities(host, found)
        assert {int(cpu) for cpu in seen.split(",")} == layout["housekeeping"], name
    proxies = host.check_output("pgrep docker-proxy").split()
    assert affinities(host, [int(pid) for pid in proxies]) == {seen}


def test_somebody_elses_container_still_has_its_network(host):
    address = host.check_output("docker inspect --format '{{.NetworkSettings.IPAddress}}' neighbour")
    assert answers(host, NEIGHBOUR), "through the userland proxy or NAT"
    assert answers(host, f"{address} 6379"), "on the bridge"
    started = host.check_output("docker inspect --format '{{.RestartCount}} {{.State.Running}}' neighbour")
    assert started == "0 true"


def test_a_query_goes_through_pgbouncer_to_postgresql(host):
    answer = query(host, "SELECT current_user || ' ' || current_database() || ' ' || (2 + 2)")
    assert (answer.stdout.strip(), answer.rc) == ("auth auth 4", 0), answer.stderr


def test_a_wrong_password_is_refused(host):
    refused = host.run(
        "docker exec --env PGPASSWORD=wrong bench-postgresql psql --host=127.0.0.1 --port=6432 --username=auth auth -c 'SELECT 1'"
    )
    assert refused.rc != 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("random_page_cost", "3"),
        ("synchronous_commit", "off"),
        ("max_connections", "250"),
        ("data_checksums", "on"),
        ("listen_addresses", "127.0.0.1"),
    ],
)
def test_the_native_clusters_settings_are_in_force(host, name, value):
    assert superuser(host, f"SHOW {name}") == value


def test_valkey_answers_and_is_a_cache(host):
    assert valkey(host, "PING") == "PONG"
    assert valkey(host, "SET molecule 42") == "OK"
    assert valkey(host, "GET molecule") == "42"
    assert {"maxmemory:268435456", "maxmemory_policy:volatile-ttl"} <= set(
        valkey(host, "INFO memory").split()
    )


@pytest.mark.parametrize(("service", "port"), PORTS.items())
def test_only_loopback_is_listened_on(host, service, port):
    sockets = host.check_output(f"ss -Hltn 'sport = :{port}'").splitlines()
    assert [line.split()[3] for line in sockets] == [f"127.0.0.1:{port}"]
    address = host.check_output("ip -4 -oneline address show eth0").split()[3].partition("/")[0]
    assert host.run(f"timeout 5 bash -c '</dev/tcp/{address}/{port}'").rc != 0


def test_no_secret_is_where_others_can_read_it(host):
    secrets = [
        password(),
        password("cache"),
        host.check_output("cat /etc/bench-postgresql/superuser-password"),
    ]
    seen = host.check_output(
        "docker inspect bench-postgresql bench-pgbouncer bench-valkey; cat /etc/systemd/system/bench-*.service; "
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )
    assert not [secret for secret in secrets if secret in seen]
    for file in (
        "bench-postgresql/superuser-password",
        "bench-pgbouncer/ironbench-userlist.txt",
        "bench-valkey/ironbench.conf",
        "bench-valkey/ironbench.acl",
    ):
        assert host.file(f"/etc/{file}").mode == 0o600, file


def test_a_crash_is_seen_and_nothing_starts_the_service_again(host):
    host.check_output(f"kill -KILL {main_pid(host, 'bench-valkey')}")
    host.check_output("timeout 20 sh -c 'while systemctl is-active --quiet bench-valkey; do :; done'")
    shown = host.check_output(
        "systemctl show --property=ActiveState,Result,NRestarts --value bench-valkey.service"
    )
    assert sorted(shown.split()) == ["0", "exit-code", "failed"]
    host.check_output("systemctl start bench-valkey.service")
    assert valkey(host, "PING") == "PONG"


def test_a_client_that_is_killed_leaves_no_container_behind(host):
    client = host.check_output("systemctl show --property=MainPID --value bench-valkey.service")
    host.check_output(f"kill -KILL {client}")
    host.check_output(
        "timeout 20 sh -c 'while docker ps --quiet --filter name=bench-valkey | grep -q .; do :; done'"
    )
    host.check_output("systemctl start bench-valkey.service")


def test_the_host_tells_its_images(host):
    facts = json.loads(host.check_output("/opt/ironbench/venv/bin/ironbench host describe"))
    for service in SERVICES:
        assert facts["backend"][service] == "docker"
        image = facts["images"][service]
        running = host.check_output("docker inspect --format '{{.Image}}' %s", f"bench-{service}")
        assert image["id"] == running
        assert image["id"].startswith("sha256:")
    assert facts["images"]["postgresql"]["reference"] == "ironbench-standin/postgres:17"
    assert facts["images"]["postgresql"]["version"].startswith("postgres (PostgreSQL) 17.")
    assert facts["images"]["pgbouncer"]["version"].startswith("PgBouncer 1.24")
    assert "from ironbench-standin/alpine:3.21.5" in facts["images"]["pgbouncer"]["reference"]


def test_a_plan_counts_each_services_cpu_time_in_its_container(host, tmp_path):
    if "-13" not in host.backend.name:
        pytest.skip("the app is on the host with Debian 13")
    variables = {
        "bench_study": str(REPOSITORY / "molecule/site/study"),
        "bench_results_dir": str(tmp_path),
        "bench_protocol": "tiny",
        "bench_experiments": ["signin"],
        "bench_variants": ["final"],
    }
    done = play(
        "playbooks/bench.yml",
        "docker_services",
        "--limit=molecule-docker_services-13",
        "--extra-vars",
        json.dumps(variables),
    )
    assert done.returncode == 0, done.stdout
    (sealed,) = tmp_path.glob("*/runs/signin/*/final/run.json")
    run = json.loads(sealed.read_bytes())
    assert run["load"]["completed"] > 0
    assert run["load"]["unexpected_status"] == 0
    work = {cpu["service"]: cpu for cpu in run["cpu"]}
    for service in SERVICES:
        assert work[service]["cgroup"] == f"/bench.slice/bench-{service}.slice"
        assert work[service]["total_ms"] > 0, service
    assert {one["service"] for one in run["affinity"] if one["ok"]} >= SERVICES.keys(), run["affinity"]
    (environment,) = tmp_path.glob("*/environment/*.json")
    images = json.loads(environment.read_bytes())["images"]
    assert {image["id"][:7] for image in images.values()} == {"sha256:"}


def test_backends_take_each_others_place_and_data_stay(host):
    if "-12" not in host.backend.name:
        pytest.skip("once is enough, on the host without the app")
    limit = "--limit=molecule-docker_services-12"
    superuser(host, "CREATE TABLE kept AS SELECT 42 AS answer")
    native = play("playbooks/services.yml", "docker_services", limit, "--extra-vars", "bench_backend=native")
    assert native.returncode == 0, native.stdout
    assert host.check_output("docker ps --format '{{.Names}}'") == "neighbour"
    for name in ("postgresql@15-bench", "pgbouncer", "valkey-server"):
        assert host.service(name).is_running, name
        assert host.check_output(f"systemctl show --property=Slice --value {name}") == "bench.slice"
    back = play("playbooks/services.yml", "docker_services", limit)
    assert back.returncode == 0, back.stdout
    for name in ("postgresql@15-bench", "pgbouncer", "valkey-server"):
        assert host.run(f"systemctl is-active {name}").rc != 0, name
        assert host.run(f"systemctl start {name}").rc != 0, f"{name} could start beside the container"
    assert superuser(host, "SELECT answer FROM kept") == "42"
    assert query(host, "SELECT 1").stdout.strip() == "1"
    again = play("playbooks/services.yml", "docker_services", limit)
    assert set(changed(again).values()) == {0}, again.stdout
