"""site.yml as a whole: nothing left to do, one sentence for what it cannot do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from controller import changed, play

REPOSITORY = Path(__file__).parents[3]
ONE = "--limit=molecule-default-13"
LAYOUT = {"name": "x", "app": "0", "database": "0", "cache": "0", "load_generator": "1", "housekeeping": "1"}


@pytest.fixture(scope="module")
def host_of_13(request):
    import testinfra  # noqa: PLC0415 - in the controller only

    return testinfra.get_host("docker://molecule-default-13")


def sentence(done) -> str:
    assert done.returncode != 0, done.stdout
    assert set(changed(done).values()) <= {0}, "something was changed before it was refused"
    return " ".join(done.stdout.split())


def test_check_mode_on_a_converged_host_finds_nothing_to_change():
    done = play("site.yml", "default", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert changed(done) == {"molecule-default-13": 0, "molecule-default-12": 0}, done.stdout


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"core_layout": LAYOUT}, "gives CPU 0 to app and to database"),
        ({"core_layout": LAYOUT | {"packed": True, "app": "0-97"}}, "but this host has 0-"),
        ({"core_layout": LAYOUT | {"packed": True, "app": "0,0"}}, "names a CPU twice"),
        ({"valkey_prot": 1}, "The role valkey has no variable valkey_prot: did you mean valkey_port?"),
        ({"valkey_backend": "podman"}, "valkey_backend is 'podman': say native or docker"),
        (
            {"bench_backend": "docker"},
            "has services of the bench with the other backend (/etc/systemd/system/",
        ),
        ({"pgbouncer_default_pool_size": 900}, "postgresql_max_connections is 250"),
    ],
)
def test_a_faulty_inventory_stops_before_anything_is_changed(variables, words):
    assert words in sentence(play("site.yml", "default", ONE, "--extra-vars", json.dumps(variables)))


def test_a_layout_that_parts_modules_is_warned_of_and_nothing_fails():
    # No sandbox has eight CPUs: a recorded host stands for what the real one told.
    recorded = json.loads((REPOSITORY / "bench/tests/layout/fixtures/fx8320.json").read_text())
    told = {
        "cpus": "0-7",
        "distribution": "debian",
        "version": "13",
        "pretty": "",
        "init": "systemd",
        "taken": [],
        "found": [],
    }
    halves = {"app": "0,2", "database": "1,3", "cache": "4-5", "load_generator": "6-7", "housekeeping": "4-5"}
    variables = {
        "preflight_host": {"stdout": json.dumps(told)},
        "preflight_topology": {"stdout": json.dumps(recorded)},
        "core_layout": {"name": "halves", **halves},
    }
    done = play("playbooks/preflight.yml", "default", ONE, "--extra-vars", json.dumps(variables))
    assert done.returncode == 0, done.stdout
    words = " ".join(done.stdout.split())
    assert "WARNING: app (CPU 0,2) and database (CPU 1,3) share a module" in words
    assert "share an L3 cache" not in words, "no layout avoids that on this CPU"
    quiet = play("playbooks/preflight.yml", "default", ONE)
    assert (quiet.returncode, "WARNING: " in quiet.stdout) == (0, False), quiet.stdout


def test_a_port_that_somebody_else_uses_stops_before_anything_is_changed(host_of_13):
    host_of_13.check_output(
        "systemd-run --quiet --unit=molecule-squatter python3 -m http.server --bind 127.0.0.1 8222"
    )
    host_of_13.check_output(
        "timeout 20 sh -c 'until ss -Hltn sport = :8222 | grep -q LISTEN; do sleep 0.1; done'"
    )
    done = play("site.yml", "default", ONE, "--extra-vars", json.dumps({"valkey_port": 8222}))
    host_of_13.check_output("systemctl stop molecule-squatter")
    assert "port 8222, which valkey needs, is used by python3" in sentence(done)


def test_another_system_stops_before_anything_is_changed(host_of_13):
    host_of_13.check_output("cp -L /etc/os-release /tmp/os-release")
    host_of_13.check_output("sed -i --follow-symlinks 's/^VERSION_ID=.*/VERSION_ID=\"11\"/' /etc/os-release")
    done = play("site.yml", "default", ONE)
    host_of_13.check_output("cat /tmp/os-release > /etc/os-release")
    assert "the roles know Debian 12 and 13 with systemd" in sentence(done)


def test_an_unknown_protocol_experiment_or_variant_names_the_known_ones():
    for variables, words in (
        ({"bench_protocol": "hasty"}, "quick"),
        ({"bench_experiments": ["signout"]}, "signin"),
        ({"bench_variants": ["optimization-9"]}, "optimization-1"),
    ):
        done = play("playbooks/bench.yml", "default", ONE, "--extra-vars", json.dumps(variables))
        assert words in sentence(done), variables


def test_a_service_that_does_not_come_up_shows_its_journal(host_of_13):
    done = play("site.yml", "default", ONE, "--extra-vars", json.dumps({"valkey_maxmemory": "plenty"}))
    assert done.returncode != 0
    assert "does not come up" in done.stdout
    assert "argument must be a memory value" in done.stdout
    mended = play("site.yml", "default", ONE)
    assert mended.returncode == 0, mended.stdout
    assert host_of_13.service("valkey-server").is_running


def test_an_app_that_does_not_answer_shows_its_journal(host_of_13):
    directory = "/run/systemd/system/auth-app@.service.d"
    command = "echo listens to nobody >&2; systemd-notify --ready; exec sleep 600"
    deaf = f"[Service]\nNotifyAccess=all\nExecStart=\nExecStart=/bin/sh -c '{command}'\n"
    host_of_13.check_output(f"mkdir {directory}")
    host_of_13.check_output(f"printf %s > {directory}/deaf.conf", deaf)
    restart = "systemctl daemon-reload && systemctl restart auth-app@baseline"
    host_of_13.check_output(restart)
    done = play("playbooks/app.yml", "default", ONE, "--extra-vars", json.dumps({"auth_app_start_s": 2}))
    host_of_13.check_output(f"rm -r {directory} && {restart}")
    assert done.returncode != 0
    assert "auth-app@baseline.service does not answer at http://127.0.0.1:8000/health" in done.stdout
    assert "listens to nobody" in done.stdout
    mended = play("playbooks/app.yml", "default", ONE)
    assert mended.returncode == 0, mended.stdout
