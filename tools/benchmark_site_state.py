# ruff: noqa: INP001 - a script
"""Prints as JSON what site.yml, or the script it is held against, made of this host: for `make benchmark-site`.

Standard library only. Keys say what it is, values what it is like; comments, secrets and the names of the virtualenvs'
own directories are left out, since they may differ.
"""

import hashlib
import json
import os
import pwd
import re
import subprocess
from pathlib import Path

OWNED = (
    "/etc/auth-app",
    "/etc/ironbench",
    "/etc/pgbouncer",
    "/etc/postgresql",
    "/etc/postgresql-common/createcluster.d",
    "/etc/security/limits.d",
    "/etc/sysctl.d",
    "/etc/systemd/system",
    "/etc/valkey",
)
SECRET = ("/etc/auth-app/keys", "/etc/auth-app/database-password", "/etc/pgbouncer/ironbench-userlist.txt")
UNITS = (
    "postgresql@17-bench.service",
    "pgbouncer.service",
    "valkey-server.service",
    "auth-app@baseline.service",
    "bench.slice",
)
VENVS = ("/opt/auth-app/venv", "/opt/ironbench/venv")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def files() -> "dict[str, str]":
    found = {}
    for top in OWNED:
        for path in sorted(Path(top).rglob("*")):
            status = path.lstat()
            owner = f"{status.st_mode:o} {pwd.getpwuid(status.st_uid).pw_name} {status.st_gid}"
            if path.is_symlink():
                what = str(path.readlink())
            elif path.is_dir() or str(path).startswith(SECRET):
                what = ""
            else:
                text = path.read_text()
                if path.suffix == ".json":
                    text = json.dumps(json.loads(text), sort_keys=True)
                lines = [line for line in text.splitlines() if line and line[0] not in "#;"]
                what = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
            found[f"file {path}"] = f"{owner} {what}".strip()
    return found


def packages() -> "dict[str, str]":
    lines = output(
        "dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${db:Status-Abbrev}\n"
    ).splitlines()
    return {f"package {line.split()[0]}": " ".join(line.split()[1:]) for line in lines}


def virtualenvs() -> "dict[str, str]":
    found = {}
    for venv in VENVS:
        for line in output(f"{venv}/bin/python", "-m", "pip", "freeze", "--all").splitlines():
            name = re.split(r"==| @ ", line)[0]
            found[f"{venv} {name}"] = line.split("==")[-1] if "==" in line else "the wheel"
    return found


def units() -> "dict[str, str]":
    found = {}
    for unit in UNITS:
        shown = output("systemctl", "show", "--property=ActiveState,Slice,MainPID,UnitFileState", unit)
        told = dict(line.split("=", 1) for line in shown.splitlines())
        pid = int(told.pop("MainPID", "0"))
        if pid:
            limits = Path(f"/proc/{pid}/limits").read_text()
            told["nofile"] = " ".join(re.findall(r"Max open files +(\S+) +(\S+)", limits)[0])
            told["cpus"] = str(sorted(os.sched_getaffinity(pid)))
        found[f"unit {unit}"] = str(told)
    return found


def settings() -> "dict[str, str]":
    query = "SELECT name, setting FROM pg_settings WHERE source NOT IN ('default', 'override', 'client')"
    command = (
        "psql",
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--username=postgres",
        f"--command={query}",
    )
    return {
        "net.core.somaxconn": Path("/proc/sys/net/core/somaxconn").read_text().strip(),
        **{f"postgresql {line.split('|')[0]}": line.split("|")[1] for line in output(*command).splitlines()},
    }


print(json.dumps({**files(), **packages(), **virtualenvs(), **units(), **settings()}))
