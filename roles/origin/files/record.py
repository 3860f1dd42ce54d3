"""Writes down what this host has before the bench changes it, and which role is about to. Standard library only.

Arguments: the record's file, the role. What the host has is looked at once: only the first record is of a host without
the bench. The file appears whole or not at all.
"""  # noqa: INP001 - a script, run by whatever python a host has

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path


def lines(*argv: str) -> "list[list[str]]":
    """Run a command and return the words of each line of its stdout."""
    done = subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return [line.split() for line in done.stdout.splitlines() if line.strip()]


def packages() -> "dict[str, dict]":
    """Every installed package: its version, and whether apt installed it for the sake of another one."""
    auto = {words[0] for words in lines("apt-mark", "showauto")}
    rows = lines("dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package} ${Version}\n")
    return {
        name: {"version": version, "auto": name in auto}
        for status, name, version in (row for row in rows if len(row) == 3)
        if status == "installed"
    }


def units() -> "dict[str, dict]":
    """Every unit file: whether systemd starts it at boot, and whether it is active."""
    active = {
        words[0]
        for words in lines("systemctl", "list-units", "--all", "--plain", "--no-legend", "--state=active")
    }
    files = lines("systemctl", "list-unit-files", "--no-legend", "--no-pager")
    return {
        name: {"enabled": state, "active": name in active} for name, state, *_ in files if "@." not in name
    }


def look() -> dict:
    return {
        "schema": 1,
        "roles": [],
        "packages": packages(),
        "units": units(),
        "users": sorted(user.pw_name for user in pwd.getpwall()),
        "groups": sorted(group.gr_name for group in grp.getgrall()),
        "clusters": sorted(
            "/".join(path.parts[-2:]) for path in Path("/etc/postgresql").glob("*/*") if path.is_dir()
        ),
    }


def main() -> None:
    target, role = Path(sys.argv[1]), sys.argv[2]
    record = json.loads(target.read_text()) if target.exists() else look()
    record["roles"].append(role)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    with temporary.open("w") as file:
        json.dump(record, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target)


main()
