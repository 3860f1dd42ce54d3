# ruff: noqa: INP001 - a script
"""site.yml beside a plain shell script that makes the same of a host, on throwaway hosts: ``make benchmark-site``.

Prints figures and the targets beside them; asserts nothing. In each round every host is made anew, and the order of
script and site.yml turns. Both install from the same caches, which an untimed round has filled: packages from the
host's archive of downloads, with package lists that count as fresh, wheels from pip's cache (pip still asks its index
for the names). Afterwards the two hosts are compared, so that it is seen whether they are the same. What site.yml's
tasks took is in .cache/benchmark-site/site-HOSTS-TIME.log.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[1]
TOOLS = REPOSITORY / "tools"
PLACE = REPOSITORY / ".cache/benchmark-site"
HOSTS = [f"ironbench-site-{number}" for number in range(1, 5)]
INPUTS = "/opt/benchmark-site"
SHOWN = 20
"""Differences between the two hosts that are told."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--hosts", type=int, default=len(HOSTS), choices=(1, len(HOSTS)), help="1: leave four hosts out"
    )
    args = parser.parse_args()
    several = HOSTS[: args.hosts] if args.hosts > 1 else []
    print(
        f"{len(os.sched_getaffinity(0))} CPUs, on which the controller runs too; load {os.getloadavg()[0]:.1f}. Package "
        "lists count as fresh, packages come from the archive of downloads, wheels from pip's cache, for both."
    )
    try:
        anew(HOSTS[: args.hosts])
        site(HOSTS[: args.hosts])
        print("the caches are filled", flush=True)
        rounds = [round_of(number, several) for number in range(args.rounds)]
    finally:
        playbook("playbooks/sandbox.yml", HOSTS, "sandbox_state=absent")
    tell(rounds)


def round_of(number: int, several: list[str]) -> dict[str, float]:
    """Measure each thing once, in seconds, in an order that turns with the number."""
    figures: dict[str, float] = {}
    states = {}

    def by_script() -> None:
        anew(HOSTS[:1])
        figures["script"] = timed(lambda: script(HOSTS[:1]))
        states["script"] = state(HOSTS[0])

    def by_site() -> None:
        anew(HOSTS[:1])
        figures["first"] = timed(lambda: site(HOSTS[:1]))
        states["site.yml"] = state(HOSTS[0])
        figures["second"] = timed(lambda: figures.update(changed=site(HOSTS[:1])))

    def several_by_script() -> None:
        anew(several)
        figures["script on four"] = timed(lambda: script(several))

    def several_by_site() -> None:
        anew(several)
        figures["four"] = timed(lambda: site(several))

    steps = [by_script, by_site, *([several_by_script, several_by_site] if several else [])]
    for step in steps if number % 2 == 0 else steps[::-1]:
        step()
    changed = figures.pop("changed")
    told = ", ".join(f"{name} {value:.1f} s" for name, value in figures.items())
    print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}: {told}, changed {changed:.0f}", flush=True)
    figures["changed"] = changed
    if number == 0:
        tell_differences(states)
    return figures


def tell_differences(states: dict[str, dict[str, str]]) -> None:
    ours, theirs = states["site.yml"], states["script"]
    differing = [what for what in dict.fromkeys((*ours, *theirs)) if ours.get(what) != theirs.get(what)]
    print(f"the same end: {len(ours)} files, packages, units and settings compared, {len(differing)} differ")
    for what in differing[:SHOWN]:
        print(f"  {what}: site.yml {ours.get(what, 'has none')}; script {theirs.get(what, 'has none')}")


def tell(rounds: list[dict[str, float]]) -> None:
    print(f"medians of {len(rounds)} rounds, and their range:")
    for name, over, target in (
        ("first", "script", 1.35),
        ("four", "first", 1.6),
        ("script on four", "script", None),
    ):
        if all({name, over} <= figures.keys() for figures in rounds):
            ratios = [figures[name] / figures[over] for figures in rounds]
            aim = f" (target: at most {target:.2f})" if target else " (what these CPUs make of four hosts)"
            print(
                f"{name} over {over}: {statistics.median(ratios):.2f} x, {min(ratios):.2f} to {max(ratios):.2f}{aim}"
            )
    seconds = [figures["second"] for figures in rounds]
    print(
        f"second converge: {statistics.median(seconds):.1f} s, {min(seconds):.1f} to {max(seconds):.1f} (target: at most "
        f"25), changed {max(figures['changed'] for figures in rounds):.0f} (target: 0)"
    )


# --- what is measured --------------------------------------------------------------------------


def site(hosts: list[str]) -> int:
    """Run site.yml; return how much it changed."""
    recap = playbook("site.yml", hosts)
    return sum(int(count) for count in re.findall(r"^\S+ +: ok=\d+ +changed=(\d+)", recap, re.MULTILINE))


def script(hosts: list[str]) -> None:
    """Build the wheels and run the script on all hosts at once."""
    for project in ("app", "bench"):
        run("uv", "build", "--quiet", "--wheel", "--out-dir", f"dist/{project}", project)
    with concurrent.futures.ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(run_script, hosts))


def run_script(host: str) -> None:
    layout = yaml.safe_load((REPOSITORY / "inventory/sandbox/group_vars/all.yml").read_text())["core_layout"]
    owners = ("app", "database", "cache", "load_generator", "housekeeping")
    told = [f"NAME={host}", *(f"{owner.upper()}={layout[owner]}" for owner in owners)]
    run("docker", "exec", host, "mkdir", INPUTS)
    for source, name in (
        *(
            (path, path.name)
            for project in ("app", "bench")
            for path in REPOSITORY.glob(f"dist/{project}/*.whl")
        ),
        (REPOSITORY / "app/locks/current.txt", "auth_app.txt"),
        (REPOSITORY / "bench/lock.txt", "ironbench.txt"),
        (TOOLS / "benchmark_site.sh", "make.sh"),
    ):
        run("docker", "cp", str(source), f"{host}:{INPUTS}/{name}")
    run("docker", "exec", "--workdir", INPUTS, host, "env", *told, "bash", "make.sh")


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


# --- hosts -------------------------------------------------------------------------------------


def inventory(hosts: list[str]) -> Path:
    """Write an inventory of sandbox hosts, each a whole bench, with the sandbox's variables; return its path."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (PLACE / "group_vars").symlink_to(REPOSITORY / "inventory/sandbox/group_vars")
    groups = ("app", "database", "cache", "load_generators", "sandbox")
    path = PLACE / f"hosts-{len(hosts)}.yml"
    members = {"hosts": {host: {} for host in hosts}}
    path.write_text(json.dumps({"all": {"children": dict.fromkeys(groups, members)}}))
    return path


def anew(hosts: list[str]) -> None:
    """Have these hosts as they come, and no other, without what makes tasks quicker in a sandbox than on a machine.

    Their package lists count as just fetched.
    """
    playbook("playbooks/sandbox.yml", HOSTS, "sandbox_state=absent")
    playbook("playbooks/sandbox.yml", hosts)
    for host in hosts:
        run("docker", "exec", host, "touch", "/var/lib/apt/lists")
        run("docker", "exec", host, "sh", "-c", "rm /etc/python3.*/sitecustomize.py")


def state(host: str) -> dict[str, str]:
    program = (TOOLS / "benchmark_site_state.py").read_text()
    return json.loads(run("docker", "exec", host, "/usr/bin/python3", "-c", program))


def playbook(name: str, hosts: list[str], variables: str = "") -> str:
    command = ("ansible-playbook", "-i", str(inventory(hosts)), name, "--extra-vars", variables or "{}")
    started = time.time()
    output = run(*command)
    if name == "site.yml":
        (PLACE / f"site-{len(hosts)}-{started:.0f}.log").write_text(output)
    return output


def run(*command: str) -> str:
    """Run a command from the repository; when it fails, say so with the end of its output, and end."""
    environment = os.environ | {
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
    }
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise SystemExit(f"ironbench: {' '.join(command[:6])} failed ({done.returncode}):\n{tail}")
    return done.stdout


if __name__ == "__main__":
    main()
