# ruff: noqa: INP001 - a script
"""Breaks one thing after the other while a bench of several machines is at work, and says what came of it: ``make faults``.

For each: what was done, which ledger has it with which reason, and whether the plan finished with every run sealed. The
hosts are those of molecule/inventory/multi_host.yml, as site.yml leaves them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "molecule/shared"))
from controller import REPOSITORY, environment
from plans import until

if TYPE_CHECKING:
    from collections.abc import Callable

WORK = REPOSITORY / ".cache/faults"
APP, DATA, LOAD_A, LOAD_B = (f"molecule-multi_host-{name}" for name in ("app", "data", "load-a", "load-b"))
INVENTORY = "molecule/inventory/multi_host.yml"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
FAKED = "/etc/systemd/system/ironbench-placement-.service.d"


def on(host: str, *command: str, check: bool = True) -> str:
    """Run a command in a host's container and return its output."""
    done = subprocess.run(["docker", "exec", host, *command], check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)} on {host}: {done.stderr}")
    return done.stdout.strip()


class Plan:
    """A plan of one run, which is repeated once if an instrument was at fault."""

    def __init__(self, name: str) -> None:
        self.results = WORK / name
        self.log = WORK / f"{name}.log"
        self.results.mkdir()

    def start(self) -> subprocess.Popen[str]:
        variables = {
            "bench_study": str(REPOSITORY / "molecule/multi_host/study"),
            "bench_results_dir": str(self.results),
            "bench_protocol": "faults",
            "bench_variants": ["final"],
            "bench_retries": 1,
        }
        return playbook("playbooks/bench.yml", self.log, "-e", json.dumps(variables))

    def runs(self) -> list[dict]:
        found = [json.loads(path.read_bytes()) for path in self.results.glob("*/runs/*/*/*/run.json")]
        return sorted(found, key=lambda run: run["sealed_ns"])

    def lost(self) -> list[dict]:
        return [json.loads(path.read_bytes()) for path in sorted(self.results.glob("*/lost/*/*/lost.json"))]

    def finished(self) -> bool:
        """Whether the report says that every run is sealed, and nothing of the bundle is damaged."""
        for path in self.results.glob("*/results.json"):
            results = json.loads(path.read_bytes())
            return results["sealed"] == results["total"] and not results["damaged"]
        return False


def playbook(name: str, log: Path, *arguments: str) -> subprocess.Popen[str]:
    with log.open("a") as file:
        return subprocess.Popen(
            ["ansible-playbook", "-i", INVENTORY, name, *arguments],
            cwd=REPOSITORY,
            env=environment(),
            stdout=file,
            stderr=file,
            text=True,
        )


def wait_for_window(process: subprocess.Popen[str]) -> None:
    """Until a second after the appointed start of the next window."""
    listing = "cat /var/lib/ironbench/sessions/*/spec.json"

    def started() -> bool:
        if process.poll() is not None:
            raise SystemExit("The playbook ended before its window began.")
        spec = on(LOAD_B, "sh", "-c", listing, check=False)
        active = on(LOAD_B, "systemctl", "is-active", "ironbench-load-*", check=False)
        if not spec or "active" not in active.split():
            return False
        begin = json.loads(spec)["window_start_ns"]
        return begin + 1_000_000_000 < time.time_ns()

    until(started, "a window")


class Entry(NamedTuple):
    """What a fault must leave behind."""

    ledger: str
    """instrument fault, outcome, or nothing."""
    kind: str
    host: str


class Fault(NamedTuple):
    name: str
    done: str
    """What is done, in words."""
    do: Callable[[], None]
    """Done a second into the window."""
    leaves: Entry
    """Where the finding is to be: in a sealed run, or with a lost session."""
    undo: Callable[[], None] = lambda: None


def kill(host: str, unit: str, signal: str = "KILL") -> Callable[[], None]:
    return lambda: on(host, "systemctl", "kill", "--kill-whom=main", f"--signal={signal}", unit) and None


def restart(host: str) -> Callable[[], None]:
    return lambda: (
        subprocess.run(["docker", "restart", "--time=20", host], check=True, capture_output=True) and None
    )


def burn() -> None:
    on(
        DATA,
        *("systemd-run", "--quiet", "--collect", "--property=CPUAffinity=0", "--property=RuntimeMaxSec=8"),
        *("sh", "-c", "while :; do :; done"),
    )


def cut_ssh() -> None:
    """End the sessions of sshd on a generator's host; sshd itself goes on."""
    for pid in on(LOAD_A, "pgrep", "sshd-session", check=False).split():
        on(LOAD_A, "kill", "-9", pid, check=False)


FAULTS = [
    Fault(
        "postgresql", "PostgreSQL's postmaster killed (SIGKILL)", kill(DATA, "postgresql@17-bench"),
        Entry("instrument fault", "service-killed", DATA),
    ),
    Fault(
        "valkey", "Valkey killed (SIGKILL)", kill(DATA, "valkey-server"),
        Entry("instrument fault", "service-killed", DATA),
    ),
    Fault(
        "app-killed", "the app killed (SIGKILL)", kill(APP, "auth-app@final"),
        Entry("instrument fault", "service-killed", APP),
    ),
    Fault(
        "app-crashed", "the app crashes (SIGSEGV)", kill(APP, "auth-app@final", "SEGV"),
        Entry("outcome", "crash", APP),
    ),
    Fault(
        "generator", "one of two generators killed (SIGKILL)", kill(LOAD_B, "ironbench-load-*"),
        Entry("instrument fault", "generator-died", LOAD_B),
    ),
    Fault(
        "foreign", "a foreign process burns the database's CPU for 8 s", burn,
        Entry("instrument fault", "foreign-cpu", DATA),
    ),
    Fault(
        "reboot-data", "the database's host rebooted", restart(DATA),
        Entry("instrument fault", "service-interrupted", DATA),
    ),
    Fault(
        "reboot-generator", "a generator's host rebooted", restart(LOAD_B),
        Entry("instrument fault", "session-lost", LOAD_B),
    ),
    Fault("ssh", "ssh to a generator's host cut", cut_ssh, Entry("nothing", "", LOAD_A)),
]  # fmt: skip


class Row(NamedTuple):
    done: str
    ledger: str
    reason: str
    plan: str
    ok: bool


def ledger_of(plan: Plan, kind: str, host: str) -> tuple[str, str]:
    """Which ledger has an entry of the kind for the host, and what it says."""
    entries = [
        *(("instrument fault", fault) for run in plan.runs() for fault in run["instrument_faults"]),
        *(("instrument fault", fault) for lost in plan.lost() for fault in lost["instrument_faults"]),
        *(("outcome", outcome) for run in plan.runs() for outcome in run["outcomes"]),
    ]
    for ledger, entry in entries:
        if (entry["kind"], entry["host"]) == (kind, host):
            return ledger, f"{kind}, {host.removeprefix('molecule-multi_host-')}: {entry['detail']}"
    kinds = dict.fromkeys(f"{ledger} {entry['kind']}" for ledger, entry in entries)
    return "nothing", f"no {kind} (there is: {', '.join(kinds) or 'nothing'})" if kind else "nothing to say"


def ended(plan: Plan, status: int, runs: str = "") -> tuple[str, bool]:
    lost = len(plan.lost())
    text = (
        f"{len(plan.runs())} sealed, {lost} lost and measured again" if lost else f"{len(plan.runs())} sealed"
    )
    fine = status == 0 and plan.finished()
    return f"{'finished' if fine else 'NOT FINISHED'}{runs}: {text}", fine


def during_a_run(fault: Fault) -> Row:
    plan = Plan(fault.name)
    process = plan.start()
    wait_for_window(process)
    fault.do()
    status = process.wait(600)
    fault.undo()
    ledger, reason = ledger_of(plan, fault.leaves.kind, fault.leaves.host)
    text, fine = ended(plan, status)
    if fault.leaves.ledger == "nothing":
        fine = fine and not plan.lost()
    return Row(fault.done, ledger, reason, text, fine and ledger == fault.leaves.ledger)


def clock_of_one_host() -> Row:
    """Fake the clock of the process that tells a host's; containers have the machine's, which is not to be stepped."""
    on(DATA, "apt-get", "install", "--yes", "--no-install-recommends", "libfaketime")
    on(DATA, "mkdir", "-p", FAKED)
    drop_in = f'[Service]\\nEnvironment=LD_PRELOAD={FAKETIME} "FAKETIME=+0.5s"\\n'
    on(DATA, "sh", "-c", f"printf '{drop_in}' > {FAKED}/faults.conf")
    on(DATA, "systemctl", "daemon-reload")
    plan = Plan("clock")
    status = plan.start().wait(600)
    on(DATA, "rm", "-r", FAKED)
    on(DATA, "systemctl", "daemon-reload")
    ledger, reason = ledger_of(plan, "clock-offset", DATA)
    text, fine = ended(plan, status)
    return Row(
        "the clock that the database's host tells is 0.5 s ahead (libfaketime, that process alone)",
        ledger, reason, text, fine and ledger == "instrument fault",
    )  # fmt: skip


def full_disk() -> Row:
    """Fill the results' file system before a run is sealed, and make room before the plan goes on."""
    plan = Plan("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(plan.results)], check=True)
    try:
        process = plan.start()
        wait_for_window(process)
        with contextlib.suppress(OSError), (plan.results / ".filler").open("wb") as file:
            while file.write(bytes(1024)):
                file.flush()
        refused = process.wait(600)
        found = re.search(r"\S+ cannot be written \([^)]*\);[^.]*\.", " ".join(plan.log.read_text().split()))
        said = found[0] if found else "nothing"
        left = list(plan.results.glob("*/.sealing"))
        (plan.results / ".filler").unlink()
        status = plan.start().wait(600)
        text, fine = ended(plan, status, " after room was made")
        ok = fine and refused != 0 and said != "nothing" and not left
        return Row("the results' disk is full", "nothing (the run is not sealed)", said, text, ok)
    finally:
        shutil.copytree(plan.results, WORK / "disk-kept", dirs_exist_ok=True)
        subprocess.run(["umount", str(plan.results)], check=True)


def cut_during_site() -> Row:
    """Cut ssh while pip installs, and run the same command again."""
    log = WORK / "site.log"
    on(LOAD_A, "rm", "-rf", "/opt/ironbench")
    process = playbook("site.yml", log)
    until(lambda: on(LOAD_A, "pgrep", "-f", "bin/pip", check=False) or process.poll() is not None, "pip", 300)
    cut_ssh()
    cut = process.wait(600)
    again = playbook("site.yml", log).wait(600)
    mark = log.stat().st_size
    nothing = playbook("site.yml", log).wait(600)
    recap = log.read_text()[mark:]
    unchanged = recap.count("changed=0 ") == 4
    ok = cut != 0 and again == 0 and nothing == 0 and unchanged
    said = f"first unreachable (status {cut}), again {'ok' if again == 0 else f'status {again}'}"
    return Row(
        "ssh cut during site.yml, while pip installs", "nothing", said,
        f"{'finished' if ok else 'NOT FINISHED'}: a third time changes {'nothing' if unchanged else 'SOMETHING'}", ok,
    )  # fmt: skip


def show(row: Row) -> None:
    print(f"{'ok    ' if row.ok else 'FAILED'} {row.done}")
    for name, text in (("ledger", row.ledger), ("reason", row.reason), ("plan", row.plan)):
        print(textwrap.fill(text, 110, initial_indent=f"       {name:<7} ", subsequent_indent=" " * 15))
    sys.stdout.flush()


def main() -> None:
    others: dict[str, Callable[[], Row]] = {
        "site": cut_during_site,
        "disk": full_disk,
        "clock": clock_of_one_host,
    }
    names = [*(fault.name for fault in FAULTS), *others]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(names)} (default: all)")
    wanted = parser.parse_args().faults or names
    if unknown := set(wanted) - set(names):
        raise SystemExit(f"There is no fault {', '.join(sorted(unknown))}; choose among {', '.join(names)}.")
    if os.geteuid():
        raise SystemExit("The hosts are containers of root's engine: run this as root.")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    failed = []
    for name in wanted:
        fault = next((fault for fault in FAULTS if fault.name == name), None)
        row = during_a_run(fault) if fault else others[name]()
        show(row)
        if not row.ok:
            failed.append(name)
    if failed:
        raise SystemExit(
            f"{len(failed)} of {len(wanted)} did not come out as they must: {', '.join(failed)}."
        )


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
