"""``auth-app serve``: the two servers, what they need, and asyncio's debug mode in a worker."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from auth_app.settings import Settings, load_settings
from away import forwarding, free_ports, settings_of_nothing
from harness import DEADLINE_S, cli, running, wait_until, write_settings
from redis import Redis

UVICORN = (
    "uvicorn --factory auth_app.asgi:create_app --host 127.0.0.1 --port {port} --workers 2 --backlog 2048"
    " --loop uvloop --http httptools --timeout-graceful-shutdown 5 --no-access-log --log-level warning"
)
"""The article's command line, and a bound on how long it takes to stop."""


@pytest.fixture
def nothing(settings: Settings, tmp_path: Path) -> Path:
    return settings_of_nothing(tmp_path, settings)


def command_line(pid: int) -> str:
    """Command and arguments, without the interpreter and the command's directory."""
    _, script, *arguments = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    return " ".join([Path(script).name, *arguments])


def children(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_serve_becomes_uvicorn_as_the_article_started_it(nothing: Path):
    with running("final", nothing) as app:
        assert command_line(app.process.pid) == UVICORN.format(port=app.port)


@pytest.mark.parametrize("variant", ["final", "final-granian"])
def test_both_workers_answer_and_sigterm_ends_all(
    variant: str, nothing: Path, capsys: pytest.CaptureFixture[str]
):
    with running(variant, nothing) as app:
        server = command_line(app.process.pid).split()[0]
        assert server == ("granian" if variant == "final-granian" else "uvicorn")
        with app.both_workers() as clients:
            assert {client.get(f"{app.url}/ping").content for client in clients} == {b"OK"}
        workers = children(app.process.pid)
        assert len(workers) >= 2
    assert app.process.returncode == 0
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in workers), "all of them are gone")
    assert "Traceback" not in capsys.readouterr().err


def test_granian_can_be_stopped_while_it_starts(nothing: Path):
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "auth_app.cli", "serve"),
            *("--variant", "final-granian", "--port", str(*free_ports(1))),
        ],
        env=os.environ | {"AUTH_APP_SETTINGS": str(nothing)},
    )
    wait_until(lambda: len(children(process.pid)) >= 2, "granian starts its workers")
    workers = children(process.pid)
    process.terminate()
    assert process.wait(timeout=DEADLINE_S) == 0
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in workers), "all of them are gone")


def test_an_unknown_variant_starts_nothing(nothing: Path):
    done = cli("serve", "--variant", "fastest", settings=nothing, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("auth-app: there is no variant 'fastest': choose one of ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "variant", ["baseline", "optimization-1", "final", "beyond", "final-persistent-pool"]
)
def test_a_worker_serves_with_no_service_running(
    variant: str, nothing: Path, capsys: pytest.CaptureFixture[str]
):
    with running(variant, nothing) as app:
        assert httpx.get(f"{app.url}/ping").content == b"OK"
        assert httpx.get(f"{app.url}/serialization-msgspec").status_code == 200
        unavailable = httpx.post(
            f"{app.url}/api/v1/access/signin", data={"username": "a@example.com", "password": "x"}
        )
        assert (unavailable.status_code, unavailable.json()) == (503, {"detail": "Service unavailable"})
        assert app.get_me("no-token").status_code in (401, 503)
    assert app.process.returncode == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("variant", ["baseline", "final", "beyond"])
def test_services_may_come_later(variant: str, database: Settings, tmp_path: Path):
    first, second = free_ports(2)
    ports = {
        first: (database.database.host, database.database.port),
        second: (database.cache.host, database.cache.port),
    }
    valkey = Redis(
        database.cache.host, database.cache.port, database.cache.database, **database.cache.login()
    )
    with running(variant, settings_of_nothing(tmp_path, database, database=first, cache=second)) as app:
        assert httpx.get(f"{app.url}/health").status_code == 503
        tracking = valkey.info("clients")["tracking_clients"]
        with forwarding(ports):
            wait_until(lambda: httpx.get(f"{app.url}/health").status_code == 200, "the app sees its services")
            session = app.new_session()
            assert app.get_me(session.access).status_code == 200
            if "cashews-client-side" in (app.levers.user_cache, app.levers.token_cache):
                # Without it a worker would ask Valkey for each token for the rest of its life.
                wait_until(
                    lambda: valkey.info("clients")["tracking_clients"] == tracking + 2,
                    "both workers listen to Valkey",
                )


@pytest.mark.parametrize("variant", ["baseline", "baseline-asyncio-debug"])
def test_debug_mode_names_what_blocks_the_event_loop(variant: str, nothing: Path):
    # A body that takes longer than 0.1 s to parse, on any machine.
    body = b'{"email": [' + b"0," * 12_000_000 + b"0]}"
    taken = write_settings(nothing, load_settings(nothing), limits={"body_bytes": len(body)})
    with running(variant, taken) as app:
        assert (
            httpx.post(
                f"{app.url}/api/v1/access/signup",
                content=body,
                timeout=60,
                headers={"content-type": "application/json"},
            ).status_code
            == 422
        )
        took = r"Executing <Task .+> took (\d+\.\d{3}) seconds"
        if variant == "baseline":
            assert not re.search(took, app.output().decode())
        else:
            wait_until(lambda: bool(re.search(took, app.output().decode())), "a warning about the callback")
            durations = [float(each) for each in re.findall(took, app.output().decode())]
            assert max(durations) >= 0.1
            assert min(durations) >= 0.001
