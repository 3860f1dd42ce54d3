"""Valkey as the app uses it."""

import os
from pathlib import Path

import pytest

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "ironbench/inventory"
CLI = "valkey-cli -h 127.0.0.1 -p 6379"


@pytest.fixture
def ask(host):
    """Ask as the app's user; the password is the test's own throwaway host's."""
    password = (STATE / "cache-password").read_text().strip()
    return lambda command: host.check_output("REDISCLI_AUTH=%s " + f"{CLI} --user auth {command}", password)


def test_what_is_set_can_be_got(ask):
    assert ask("SET molecule 42") == "OK"
    assert ask("GET molecule") == "42"
    assert ask("DEL molecule") == "1"


def test_it_is_a_cache_and_keeps_nothing(host, ask):
    memory = ask("INFO memory").split()
    assert {"maxmemory:268435456", "maxmemory_policy:volatile-ttl"} <= set(memory)
    ask("SET gone 1")
    host.check_output("systemctl restart valkey-server")
    assert ask("GET gone") == ""


def test_nobody_is_told_anything_without_the_password(host):
    assert host.run(f"{CLI} PING").stdout.startswith("NOAUTH")
    guessed = host.run(f"REDISCLI_AUTH=guessed {CLI} --user auth PING")
    assert "WRONGPASS" in guessed.stderr
    assert guessed.stdout.startswith("NOAUTH")


def test_the_apps_user_does_not_administer(ask):
    for command in ("CONFIG GET dir", "ACL LIST", "SHUTDOWN NOSAVE", "KEYS '*'"):
        assert "NOPERM" in ask(command), command


def test_the_password_is_not_on_the_host(host):
    password = (STATE / "cache-password").read_text().strip()
    assert host.run("grep -rlF %s /etc /var/lib/valkey /var/log", password).stdout == ""


def test_every_thread_is_on_the_caches_cpus_with_the_limits_that_the_host_can_give(
    unit, layout, nofile_ceiling
):
    valkey = unit("valkey-server.service")
    threads = valkey.thread_cpus
    assert len(threads) > 1
    assert set(map(frozenset, threads.values())) == {frozenset(layout["cache"])}
    assert valkey.nofile == [nofile_ceiling, nofile_ceiling]
    assert valkey.show("Slice") == "bench.slice"


def test_only_loopback_is_listened_on(host):
    sockets = host.check_output("ss -Hltn 'sport = :6379'").splitlines()
    assert [line.split()[3] for line in sockets] == ["127.0.0.1:6379"]
