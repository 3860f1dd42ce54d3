"""restore.yml gives both Debians back as they were before site.yml; run last, after everything that changes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from controller import REPOSITORY, changed, command, environment, play
from snapshot import difference

HOSTS = ("molecule-default-13", "molecule-default-12")
EVERYTHING = ("--extra-vars", json.dumps({"restore_data": True, "restore_packages": True}))
SNAPSHOT = REPOSITORY / "molecule/shared/snapshot.py"


def restore(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    done = play("playbooks/restore.yml", "default", *arguments, **options)
    assert done.returncode == 0, done.stdout
    return done


def now(name: str) -> dict:
    """The snapshot of a host at this moment."""
    with SNAPSHOT.open() as script:
        done = subprocess.run(
            ["docker", "exec", "--interactive", name, "python3", "-"],
            stdin=script,
            check=True,
            capture_output=True,
            text=True,
        )
    return json.loads(done.stdout)


def before(name: str) -> dict:
    return json.loads(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], f"{name}.before.json").read_text())


def show(capsys, when: str) -> dict[str, dict]:
    """Print and return what is not as before site.yml, by host."""
    found = {name: difference(before(name), now(name)) for name in HOSTS}
    with capsys.disabled():
        for name, sections in found.items():
            print(f"\n{name}, {when}: difference to before site.yml: {json.dumps(sections, indent=1)}")
    return found


def run(name: str, *argv: str) -> str:
    done = subprocess.run(["docker", "exec", name, *argv], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_check_mode_foretells_and_changes_nothing():
    states = {name: now(name) for name in HOSTS}
    done = restore("--check", *EVERYTHING)
    assert all(count > 0 for count in changed(done).values())
    assert {name: difference(states[name], now(name)) for name in HOSTS} == {name: {} for name in HOSTS}


def test_data_and_packages_stay_unless_asked_for_and_are_named():
    run(HOSTS[0], "sysctl", "--write", "net.core.somaxconn=1111")  # by somebody else
    done = restore()
    said = " ".join(done.stdout.split())
    for name, version in zip(HOSTS, ("17", "15"), strict=True):
        assert f"{name} is as it was before site.yml, but for" in said
        assert f"the PostgreSQL cluster {version}/bench in" in said
        assert "valkey-server" in said
        assert run(name, "ls", f"/var/lib/postgresql/{version}/bench/PG_VERSION")
        assert now(name)["ports"] == before(name)["ports"]
    assert run(HOSTS[0], "sysctl", "--values", "net.core.somaxconn") == "1111"
    assert run(HOSTS[1], "sysctl", "--values", "net.core.somaxconn") == "4096"
    run(HOSTS[0], "sysctl", "--write", "net.core.somaxconn=4096")
    assert changed(restore()) == dict.fromkeys(HOSTS, 0)


def test_nothing_is_left_when_everything_is_asked_for(capsys):
    restore(*EVERYTHING, strategy="linear")
    assert show(capsys, "after restore.yml") == {name: {} for name in HOSTS}


def test_a_host_that_never_saw_site_is_not_changed():
    done = restore(*EVERYTHING)
    assert changed(done) == dict.fromkeys(HOSTS, 0)
    assert f"{HOSTS[0]} is as it is without ironbench" in " ".join(done.stdout.split())


@pytest.mark.parametrize("until", ["Start, or restart when its configuration changed, pgbouncer.service"])
def test_a_site_that_was_cut_off_is_given_back(capsys, until):
    arguments = command("site.yml", "default")
    with subprocess.Popen(
        arguments,
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as site:
        assert site.stdout
        assert any(until in line for line in site.stdout), "site.yml ended before it came so far"
        os.killpg(site.pid, signal.SIGKILL)
    restore(*EVERYTHING)
    assert show(capsys, "after a site.yml that was killed, and restore.yml") == {name: {} for name in HOSTS}
