# ruff: noqa: INP001, S311 - a script; the moments are no secret
"""kill -9 of a real plan's playbook at random moments; each time the same command goes on: ``make kill-test``.

A small plan of 1 s windows runs on the hosts of an inventory that site.yml has been run on. Whatever was sealed must
stay as it is; in the end every planned run is sealed once, every kill of a session has left its attempt, the bundle is
whole, and the hosts are left as they were.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / ".cache/kill-test"
SEALED = "[!.]*/runs/*/*/*/run.json"
KILLS = 20
LATEST = 1.5
"""Latest moment of a kill, in times of what the playbook takes on this machine until a run is sealed."""
FIRST_SEAL_DEADLINE_S = 300.0
POLL_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inventory", default="inventory/sandbox")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the moments")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    print(f"{arguments.kills} kills, seed {arguments.seed}", flush=True)
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    variables = {
        "bench_study": str(REPOSITORY / "molecule/site/study"),
        "bench_results_dir": str(RESULTS),
        "bench_protocol": "kill",
        "bench_retries": 0,  # a fault of a noisy machine is none of this test's
    }
    command = [
        "ansible-playbook",
        "-i",
        arguments.inventory,
        "playbooks/bench.yml",
        "-e",
        json.dumps(variables),
    ]
    kept: dict[str, bytes] = {}
    kills, first_s = 1, killed_after_a_seal(command)
    kept = check(kept)
    print(f"kill 1 after {first_s:4.1f} s: {len(kept)} runs are sealed", flush=True)
    while kills < arguments.kills:
        seconds = draw.uniform(0, LATEST * first_s)
        if not killed_after(seconds, command):
            raise SystemExit(f"The plan was through after {kills} kills: give it more blocks.")
        kills += 1
        kept = check(kept)
        print(f"kill {kills} after {seconds:4.1f} s: {len(kept)} runs are sealed", flush=True)
    with (RESULTS / "log").open("a") as log:
        subprocess.run(command, cwd=REPOSITORY, stdout=log, stderr=log, check=True)
    check_end(check(kept), kills)
    check_hosts(arguments.inventory)
    print(f"{kills} kills, and every run was sealed once")


def start(command: list[str]) -> subprocess.Popen:
    with (RESULTS / "log").open("a") as log:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)


def killed_after_a_seal(command: list[str]) -> float:
    """Run the playbook until a run is sealed, kill it with its children, and return how long that took."""
    began = time.monotonic()
    with start(command) as playbook:
        while (
            playbook.poll() is None
            and not sealed_files()
            and time.monotonic() - began < FIRST_SEAL_DEADLINE_S
        ):
            time.sleep(POLL_S)
        if playbook.poll() is None:
            os.killpg(playbook.pid, signal.SIGKILL)
    if not sealed_files():
        raise SystemExit(f"No run was sealed; see {RESULTS / 'log'}.")
    return time.monotonic() - began


def sealed_files() -> list[Path]:
    return list(RESULTS.glob(SEALED))


def killed_after(seconds: float, command: list[str]) -> bool:
    """Run the playbook and kill it, with its children, after so long; say whether that was before its end."""
    with start(command) as playbook:
        try:
            status = playbook.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(playbook.pid, signal.SIGKILL)
            playbook.wait()
            return True
    if status:
        raise SystemExit(f"The playbook failed by itself; see {RESULTS / 'log'}.")
    return False


def check(kept: dict[str, bytes]) -> dict[str, bytes]:
    """See that at most one bundle is there, and that what was sealed before is as it was."""
    bundles = [path.parent for path in RESULTS.glob("[!.]*/plan.json")]
    assert len(bundles) <= 1, f"more than one bundle: {bundles}"
    now = {str(path): path.read_bytes() for path in sealed_files()}
    for path, content in kept.items():
        assert now.get(path) == content, f"{path} was sealed and has changed"
    return now


def check_end(sealed: dict[str, bytes], kills: int) -> None:
    (plan,) = RESULTS.glob("[!.]*/plan.json")
    planned = [
        tuple(run[part] for part in ("experiment", "block", "variant", "again")) for run in runs_of(plan)
    ]
    found = [json.loads(content)["run"] for content in sealed.values()]
    assert sorted(planned) == sorted(
        tuple(run[part] for part in ("experiment", "block", "variant", "again")) for run in found
    ), "every planned run once"
    report = subprocess.run(
        ["ironbench", "report", str(plan.parent), "--json"], capture_output=True, check=True, text=True
    )
    results = json.loads(report.stdout)
    assert (results["sealed"], results["total"], results["damaged"]) == (len(planned), len(planned), [])
    check_attempts(plan.parent, {run_key(path) for path in sealed}, kills)
    left = list(plan.parent.rglob(".*"))
    assert not left, f"left behind: {left}"


def check_attempts(bundle: Path, sealed: set[str], kills: int) -> None:
    """See that each sealed run was handed out before, and that each kill has left one attempt too many at most."""
    found = [json.loads(path.read_bytes()) for path in bundle.glob("attempts/*/*.json")]
    last: dict[str, int] = {}
    for attempt in found:
        key = "/".join(str(attempt["run"][part]) for part in ("experiment", "block", "variant", "again"))
        last[key] = max(attempt["number"], last.get(key, 0))
    assert len(found) == sum(last.values()), "numbered from 1, none doubled"
    assert last.keys() == sealed, "every sealed run was handed out, and no other"
    interrupted = len(found) - len(sealed)
    assert interrupted <= kills, f"{interrupted} interruptions of {kills} kills"
    print(f"{interrupted} of {kills} kills met a session")


def run_key(file: str) -> str:
    run = json.loads(Path(file).read_bytes())["run"]
    return "/".join(str(run[part]) for part in ("experiment", "block", "variant", "again"))


def runs_of(plan: Path) -> list[dict]:
    return json.loads(plan.read_bytes())["runs"]


def check_hosts(inventory: str) -> None:
    units = ["systemctl", "list-units", "--no-legend", "--plain", "'ironbench-*'"]
    done = subprocess.run(
        [
            "ansible",
            "load_generators",
            "-i",
            inventory,
            "--become",
            "-m",
            "ansible.builtin.raw",
            "-a",
            " ".join(units),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    )
    assert "ironbench-" not in done.stdout.replace(">>", "").partition("\n")[2], done.stdout


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s")
