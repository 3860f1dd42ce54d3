"""Services in containers: where they run, with what limits, for whom, what a bundle tells of them, and their end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
sys.path.insert(0, str(Path(__file__).parents[2]))
from conftest import cpus
from controller import changed, play
from plans import Plan, until

SCENARIO = "docker_services"
STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ironbench/inventory"
STUDY = Path(__file__).parents[2] / "site/study"
DIGEST = Path(__file__).parents[3] / ".cache/molecule/docker_services.digest"
OWNERS = {"postgresql": "database", "pgbouncer": "database", "valkey": "cache"}
PORTS = {"postgresql": 5432, "pgbouncer": 6432, "valkey": 6379}
NOFILE = "16384"


def password(of: str = "database") -> str:
    """The test's own throwaway host's."""
    return (STATE / f"{of}-password").read_text().strip()


def pids(host, cgroup: str) -> list[int]:
    """The processes of a cgroup and of those below it."""
    return [
        int(pid)
        for pid in host.check_output(
            f"find /sys/fs/cgroup/unified/{cgroup} -name cgroup.procs -exec cat {{}} +"
        ).split()
    ]


def read(host, of: list[int], files: str) -> list[str]:
    """Lines of files of processes; one that ended since has none."""
    return host.run("cat " + " ".join(f"/proc/{pid}/{files}" for pid in of)).stdout.splitlines()


def thread_cpus(host, of: list[int]) -> list[set[int]]:
    """The sets of CPUs that there are among the effective ones of all threads."""
    lines = {line for line in read(host, of, "task/*/status") if line.startswith("Cpus_allowed_list")}
    return [cpus(line.split()[1]) for line in lines]


def container_pids(host, service: str) -> list[int]:
    """All processes of a service's container: those in the PID namespace of its main one."""
    script = (
        "own=$(readlink /proc/%s/ns/pid); for process in /proc/[0-9]*; do "
        '[ "$(readlink $process/ns/pid)" != "$own" ] || echo ${process#/proc/}; done'
    )
    return [int(pid) for pid in host.check_output(script, main_pid(host, service)).split()]


def main_pid(host, service: str) -> str:
    return host.check_output("docker inspect --format '{{.State.Pid}}' %s", f"bench-{service}")


def placed(host, layout, service: str) -> None:
    """Every process of the container is below bench.slice, on its CPUs, with its limit of open files."""

    def found() -> list[int]:
        ours = sorted(container_pids(host, service))
        return ours if ours == sorted(pids(host, f"bench.slice/bench-{service}.slice")) else []

    # PostgreSQL's come and go.
    processes = until(found, "the container's processes in its slice, and no others", 30)
    assert thread_cpus(host, processes) == [layout[OWNERS[service]]]
    limits = {line for line in read(host, processes, "limits") if line.startswith("Max open files")}
    assert [line.split()[3:5] for line in limits] == [[NOFILE, NOFILE]]


def query(host, sql: str, password: str, port: int = 6432):
    return host.run(
        "docker exec --env PGPASSWORD=%s bench-postgresql psql --no-psqlrc --tuples-only --no-align --host=127.0.0.1 "
        f"--port={port} --username=auth auth --command=%s",
        password,
        sql,
    )


def superuser(host, sql: str) -> str:
    return host.check_output(
        "docker exec --user=postgres bench-postgresql psql --no-psqlrc --tuples-only --no-align --command=%s",
        sql,
    )


def answers(host, service: str) -> bool:
    """Whether the app's user is served."""
    if service == "valkey":
        ask = host.run(
            "docker exec --env REDISCLI_AUTH=%s bench-valkey valkey-cli --user auth PING", password("cache")
        )
        return ask.stdout.strip() == "PONG"
    return query(host, "SELECT 2 + 2", password(), PORTS[service]).stdout.strip() == "4"


@pytest.mark.parametrize("service", OWNERS)
def test_every_process_is_in_the_benchs_slice_on_its_cpus_with_its_limit(host, layout, service):
    placed(host, layout, service)


def test_the_engine_and_its_proxies_are_on_the_housekeeping_cpus(host, layout):
    host.check_output(
        "docker run --detach --rm --name=neighbour --publish=127.0.0.1:16379:6379 ironbench-standin:17 sleep infinity"
    )
    found = [pid for name in ("docker", "containerd") for pid in pids(host, f"system.slice/{name}.service")]
    names = set(read(host, found, "comm"))
    seen = thread_cpus(host, found)
    host.check_output("docker rm --force neighbour")
    assert {"dockerd", "containerd", "docker-proxy", "containerd-shim"} <= names
    assert seen == [layout["housekeeping"]]


@pytest.mark.parametrize("service", OWNERS)
def test_the_apps_user_is_served(host, service):
    assert answers(host, service)


def test_a_query_through_pgbouncer_logs_in_to_postgresql_with_scram_and_others_are_refused(host):
    answer = query(host, "SELECT current_user || ' ' || current_database()", password())
    assert (answer.stdout.strip(), answer.rc) == ("auth auth", 0), answer.stderr
    assert superuser(host, "SELECT rolpassword FROM pg_authid WHERE rolname = 'auth'").startswith(
        "SCRAM-SHA-256$"
    )
    for port in (6432, 5432):
        refused = query(host, "SELECT 1", "wrong", port)
        assert refused.rc != 0
        assert "authentication failed" in refused.stderr
    # By its password, which the image wanted: no rule for it.
    given = host.file("/etc/bench-postgresql/superuser-password").content_string
    refused = host.run(
        "docker exec --env PGPASSWORD=%s bench-postgresql psql --host=127.0.0.1 --username=postgres postgres -c 'SELECT 1'",
        given,
    )
    assert "no pg_hba.conf entry" in refused.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("random_page_cost", "3"),
        ("synchronous_commit", "off"),
        ("max_connections", "250"),
        ("data_checksums", "on"),
    ],
)
def test_the_native_settings_are_in_force(host, name, value):
    assert superuser(host, f"SHOW {name}") == value


@pytest.mark.parametrize(("service", "port"), PORTS.items())
def test_only_loopback_is_listened_on(host, service, port):
    sockets = host.check_output(f"ss -Hltn 'sport = :{port}'").splitlines()
    assert [line.split()[3] for line in sockets] == [f"127.0.0.1:{port}"], service


def test_no_secret_is_where_others_can_read_it(host):
    secrets = [
        password(),
        password("cache"),
        host.file("/etc/bench-postgresql/superuser-password").content_string,
    ]
    seen = host.check_output(
        "docker inspect bench-postgresql bench-pgbouncer bench-valkey; cat /etc/systemd/system/bench-*.service; "
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    )
    assert not [secret for secret in secrets if secret in seen]
    assert host.run("runuser -u nobody -- cat /etc/bench-postgresql/superuser-password").rc != 0
    assert host.run("runuser -u nobody -- ls /etc/bench-pgbouncer /etc/bench-valkey").stdout == ""


@pytest.mark.parametrize("service", OWNERS)
def test_a_crash_is_seen_and_a_start_puts_everything_in_its_place_again(host, layout, service):
    unit = f"bench-{service}.service"
    since = host.check_output("date +%s%N")
    host.check_output(f"kill -KILL {main_pid(host, service)}")
    host.check_output(f"timeout 20 sh -c 'until systemctl is-failed --quiet {unit}; do sleep 0.1; done'")
    shown = host.check_output(f"systemctl show --property=ActiveState,Result,NRestarts,ExecMainStatus {unit}")
    assert set(shown.split()) == {
        "ActiveState=failed",
        "Result=exit-code",
        "NRestarts=0",
        "ExecMainStatus=137",
    }
    # As a run judges it: an outcome, and no fault of the instruments.
    killed = (
        "import sys; from ironbench.host.system import killed; print(killed(sys.argv[1], int(sys.argv[2])))"
    )
    assert host.check_output(f"/opt/ironbench/venv/bin/python -c '{killed}' {unit} {since}") == "True"
    host.check_output(f"systemctl start {unit}")
    assert answers(host, service)
    placed(host, layout, service)


def test_a_client_that_is_killed_leaves_no_container_behind(host):
    client = host.check_output("systemctl show --property=MainPID --value bench-valkey.service")
    host.check_output(f"kill -KILL {client}")
    host.check_output(
        "timeout 20 sh -c 'while docker inspect bench-valkey >/dev/null 2>&1; do sleep 0.1; done'"
    )
    host.check_output("systemctl restart bench-valkey.service")
    assert answers(host, "valkey")


def test_a_plan_seals_the_images_and_counts_cpu_time_in_the_containers(host, layout, tmp_path):
    plan = Plan(
        tmp_path, SCENARIO, STUDY, bench_experiments=["signin"], bench_variants=["final"], bench_retries=0
    )
    plan.finish()
    (run,) = [run for run in plan.runs.values() if run["run"]["attempt"] == 1]
    assert run["load"]["statuses"] == {"204": run["load"]["completed"]}
    work = {cpu["service"]: cpu for cpu in run["cpu"]}
    for service in OWNERS:
        assert work[service]["cgroup"] == f"/bench.slice/bench-{service}.slice"
        assert work[service]["total_ms"] > 0, service
    assert {one["service"] for one in run["affinity"] if one["ok"]} >= OWNERS.keys(), run["affinity"]
    (environment,) = tmp_path.glob("*/environment/*.json")
    told = json.loads(environment.read_bytes())
    for service in OWNERS:
        assert told["images"][service]["id"] == host.check_output(
            "docker inspect --format '{{.Image}}' %s", f"bench-{service}"
        )
        assert told["nofile"][service] == [int(NOFILE)] * 2
    digest = DIGEST.read_text()
    assert told["images"]["valkey"]["digests"] == [f"localhost:5000/ironbench-standin@{digest}"]
    assert told["images"]["valkey"]["reference"] == f"localhost:5000/ironbench-standin:17@{digest}"
    assert told["images"]["postgresql"]["reference"] == "ironbench-standin:17"
    assert told["images"]["postgresql"]["version"].startswith("postgres (PostgreSQL) 17.")
    assert told["images"]["pgbouncer"]["version"].startswith("PgBouncer 1.")
    assert "docker.io" in told["packages"]


def test_check_mode_on_a_converged_host_finds_nothing_to_change(host):
    done = play("site.yml", SCENARIO, "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert set(changed(done).values()) == {0}, done.stdout


@pytest.mark.parametrize(
    ("playbook", "variables", "words"),
    [
        (
            "preflight",
            {"bench_backend": "native"},
            "other backend (/etc/systemd/system/bench-pgbouncer.service,",
        ),
        (
            "services",
            {"postgresql_image": "localhost:5000/nothing:1"},
            "nothing:1 is not on molecule-docker_serv",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence_and_nothing_is_changed(host, playbook, variables, words):
    done = play(f"playbooks/{playbook}.yml", SCENARIO, "--extra-vars", json.dumps(variables))
    assert done.returncode != 0, done.stdout
    assert set(changed(done).values()) == {0}, done.stdout
    assert words in " ".join(done.stdout.split())
    assert answers(host, "valkey")


def test_restore_takes_containers_units_and_drop_ins_away_and_data_when_asked(host):
    done = play("playbooks/restore.yml", SCENARIO)
    assert done.returncode == 0, done.stdout
    assert "the cluster of PostgreSQL's container in /var/lib/bench-postgresql" in " ".join(
        done.stdout.split()
    )
    for path in (
        "/etc/systemd/system/bench-*",
        "/etc/systemd/system/docker.service.d",
        "/etc/systemd/system/containerd.service.d",
        "/etc/bench-*",
    ):
        assert host.run(f"ls -d {path}").stdout == "", path
    assert host.run("systemctl list-units --no-legend --all 'bench-*.service'").stdout == ""
    assert not host.user("bench-container").exists
    assert not host.service("docker").is_running, "it was not there before"
    assert host.run("ls /var/lib/bench-postgresql/17/docker/PG_VERSION").rc == 0
    done = play("playbooks/restore.yml", SCENARIO, "--extra-vars", json.dumps({"restore_data": True}))
    assert done.returncode == 0, done.stdout
    assert not host.file("/var/lib/bench-postgresql").exists
    assert set(changed(play("playbooks/restore.yml", SCENARIO)).values()) == {0}
