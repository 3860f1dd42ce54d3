"""The app as its users meet it: a signup, a signin and a look at oneself, over HTTP."""

import json

import pytest

BASE = "http://127.0.0.1:8000"
CURL = "curl --silent --show-error --max-time 20"


@pytest.fixture
def curl(host):
    if host.run("command -v curl").rc != 0:
        host.check_output("apt-get install --yes --no-install-recommends curl")
    return lambda arguments: host.check_output(f"{CURL} {arguments}")


@pytest.fixture
def variant(request, host):
    """Have another variant run, then baseline again."""
    name = f"auth-app@{request.param}"
    host.check_output(f"systemctl stop auth-app@baseline && systemctl start {name}")
    host.check_output(
        f"timeout 60 sh -c 'until curl --silent --fail --output /dev/null {BASE}/health; do sleep 0.1; done'"
    )
    yield request.param
    host.check_output(f"systemctl stop {name} && systemctl start auth-app@baseline")
    host.check_output(
        f"timeout 60 sh -c 'until curl --silent --fail --output /dev/null {BASE}/health; do sleep 0.1; done'"
    )


def visit(host, curl):
    email = f"molecule-{host.check_output('cat /proc/sys/kernel/random/uuid')}@example.com"
    user = {"name": "Molecule", "email": email, "password": "Str0ng!Pass", "confirm_password": "Str0ng!Pass"}
    made = json.loads(curl(f"--json '{json.dumps(user)}' {BASE}/api/v1/access/signup"))
    assert made["email"] == email
    status = curl(
        f"--cookie-jar /tmp/jar --write-out '%{{http_code}}' --data-urlencode username={email} "
        f"--data-urlencode 'password=Str0ng!Pass' {BASE}/api/v1/access/signin",
    )
    assert status == "204"
    assert json.loads(curl(f"--cookie /tmp/jar {BASE}/api/v1/access/me"))["id"] == made["id"]


def test_a_user_signs_up_signs_in_and_sees_herself(host, curl):
    visit(host, curl)


@pytest.mark.parametrize("variant", ["final", "beyond", "final-granian"], indirect=True)
def test_another_variant_can_be_switched_to(variant, host, curl, unit, layout):
    visit(host, curl)
    app = unit(f"auth-app@{variant}.service")
    assert len(app.pids) >= 3, "a supervisor and two workers"
    assert set(map(frozenset, app.thread_cpus.values())) == {frozenset(layout["app"])}


def test_without_a_token_nobody_is_seen(curl):
    assert curl(f"--output /dev/null --write-out '%{{http_code}}' {BASE}/api/v1/access/me") == "401"


def test_health_and_ping(curl):
    assert curl(f"--output /dev/null --write-out '%{{http_code}}' {BASE}/health") == "200"
    assert curl(f"{BASE}/ping") == "OK"


def test_every_thread_of_every_worker_is_on_the_apps_cpus(unit, layout, nofile_ceiling):
    app = unit("auth-app@baseline.service")
    assert len(app.pids) >= 3, "uvicorn's supervisor and two workers"
    assert set(map(frozenset, app.thread_cpus.values())) == {frozenset(layout["app"])}
    assert app.nofile == [nofile_ceiling, nofile_ceiling]
    assert app.show("Slice") == "bench.slice"


def test_it_does_not_run_as_root(host, unit):
    owners = {host.check_output(f"stat -c %U /proc/{pid}") for pid in unit("auth-app@baseline.service").pids}
    assert owners == {"auth-app"}


def test_an_unknown_variant_says_which_there_are(host):
    assert host.run("systemctl start auth-app@nonsense").failed
    journal = host.check_output("journalctl --no-pager --unit auth-app@nonsense")
    host.run("systemctl stop auth-app@nonsense")
    assert "choose one of baseline, optimization-1, final, beyond, " in journal


def test_secrets_are_readable_by_the_app_only(host):
    for path in (
        "/etc/auth-app/database-password",
        "/etc/auth-app/keys/rsa.pem",
        "/etc/auth-app/keys/ed25519.pem",
    ):
        assert (host.file(path).mode, host.file(path).user) == (0o600, "auth-app")


def test_secrets_are_on_no_command_line(host):
    found = host.run(
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | grep -acFf /etc/auth-app/database-password"
    )
    assert found.stdout.strip() == "0"
