"""Valkey as the app uses it."""

CLI = "valkey-cli -h 127.0.0.1 -p 6379"


def test_what_is_set_can_be_got(host):
    assert host.check_output(f"{CLI} SET molecule 42") == "OK"
    assert host.check_output(f"{CLI} GET molecule") == "42"
    assert host.check_output(f"{CLI} DEL molecule") == "1"


def test_it_is_a_cache_and_keeps_nothing(host):
    assert host.check_output(f"{CLI} CONFIG GET maxmemory").split() == ["maxmemory", "268435456"]
    assert host.check_output(f"{CLI} CONFIG GET maxmemory-policy").split()[1] == "volatile-ttl"
    host.check_output(f"{CLI} SET gone 1")
    host.check_output("systemctl restart valkey-server")
    assert host.check_output(f"{CLI} GET gone") == ""


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
