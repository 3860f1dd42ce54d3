"""The article's three settings, as the running kernel and a running process have them."""


def test_somaxconn_is_the_articles(host):
    assert host.sysctl("net.core.somaxconn") == 2048


def test_a_listening_socket_gets_that_backlog(host):
    script = (
        "import socket,subprocess;s=socket.socket();s.bind(('127.0.0.1',0));s.listen(100000);"
        "print(subprocess.run(['ss','-Hltn','sport = :%d'%s.getsockname()[1]],capture_output=True,text=True).stdout)"
    )
    assert host.check_output(f'python3 -c "{script}"').split()[2] == "2048"


def test_machine_wide_memory_setting_is_left_alone_where_it_is_not_ours(host):
    writable = host.run("test -w /proc/sys/vm/overcommit_memory").rc == 0
    owned = host.file("/etc/sysctl.d/60-ironbench.conf").content_string
    assert ("vm.overcommit_memory" in owned) == writable
    if writable:
        assert host.sysctl("vm.overcommit_memory") == 1


def test_a_process_of_the_slice_has_the_limit_that_the_host_can_give(host, nofile_ceiling):
    shown = host.check_output(
        "systemd-run --quiet --wait --pipe --collect --slice=bench.slice --property=LimitNOFILE=65535 sh -c 'ulimit -n'",
    )
    assert shown == nofile_ceiling


def test_the_slice_runs(host):
    assert host.service("bench.slice").is_running


def test_the_hosts_own_values_are_kept(host):
    assert (
        '"net.core.somaxconn": "4096"' in host.file("/etc/ironbench/host_tuning.original.json").content_string
    )
