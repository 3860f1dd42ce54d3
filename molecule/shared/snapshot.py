"""Prints, as JSON, what a host is: everything that the roles could have changed. Standard library only, changes nothing.

Sections of flat facts: files (type, mode, owner, digest), users, groups, units (at boot, now), packages (version, apt's
mark), sysctls, ports. ``difference`` compares two; LEFT is what changes by itself, or by apt's passing.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
from pathlib import Path

TREES = (
    "/etc",
    "/opt",
    "/run/ironbench",
    "/run/systemd/system",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/usr/lib/systemd",
    "/usr/local",
    "/var/lib",
    "/var/spool/cron",
)
UNIT_KINDS = ("service", "socket", "timer", "slice", "path", "mount", "target")
LEFT = {
    "files": {
        r"/var/lib/apt/(lists|periodic|extended_states).*": "apt's lists, and its marks, which are compared as packages",
        r"/var/lib/dpkg/.*": "dpkg's database, which is compared as packages",
        r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?": "compared as users and groups; NAME- is the copy from before the last edit",
        r"/var/lib/ucf/(hashfile|registry)\.\d": "ucf's copies of the last versions of two files, which are compared themselves",
        r"/etc/ld\.so\.cache": "ldconfig's cache, written anew when a library comes or goes",
        r"/etc/default/locale": "Debian 13's tmpfiles.d makes it at every boot, and a purge of the package locales takes it",
        r"/run/systemd/transient": "systemd's, from the first systemd-run on; what is in it is compared",
    },
    "sysctls": {
        r"fs\.(dentry-state|file-nr|inode-nr|inode-state|quota\..*)": "the kernel's counters",
        r"kernel\.(random\.(uuid|boot_id|entropy_avail)|ns_last_pid|pty\.nr)": "the kernel's counters",
    },
}
"""Section -> pattern of a name -> why a difference there is none."""


def words(*argv: str) -> list[list[str]]:
    done = subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return [line.split() for line in done.stdout.splitlines() if line.strip()]


def file_fact(path: Path) -> str:
    found = path.lstat()
    what = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
    if stat.S_ISLNK(found.st_mode):
        return f"{what} -> {path.readlink()}"
    if stat.S_ISREG(found.st_mode):
        return f"{what} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return what


def files() -> dict[str, str]:
    paths = [Path(tree) for tree in TREES if Path(tree).exists()]
    for tree in TREES:
        for directory, inner, names in os.walk(tree):
            paths += [Path(directory, name) for name in inner + names]
    return {str(path): file_fact(path) for path in paths}


def units() -> dict[str, str]:
    at_boot = {row[0]: row[1] for row in words("systemctl", "list-unit-files", "--no-legend", "--no-pager")}
    kinds = f"--type={','.join(UNIT_KINDS)}"
    now = {
        row[0]: row[2] for row in words("systemctl", "list-units", "--all", "--plain", "--no-legend", kinds)
    }
    return {
        name: f"{at_boot.get(name, 'no file')}, {now.get(name, 'inactive')}"
        for name in at_boot.keys() | {name for name, state in now.items() if state != "inactive"}
    }


def packages() -> dict[str, str]:
    auto = {row[0] for row in words("apt-mark", "showauto")}
    rows = words("dpkg-query", "--show", "--showformat", "${Package} ${Version} ${db:Status-Status}\n")
    return {row[0]: f"{' '.join(row[1:])}, {'auto' if row[0] in auto else 'manual'}" for row in rows}


def sysctls() -> dict[str, str]:
    done = subprocess.run(["sysctl", "--all"], check=False, capture_output=True, text=True)
    return {
        name.strip(): value.strip()
        for name, _, value in (line.partition("=") for line in done.stdout.splitlines())
    }


def ports() -> dict[str, str]:
    return {
        row[3]: row[0] for row in words("ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp")
    }


def take() -> dict[str, dict[str, str]]:
    return {
        "files": files(),
        "users": {user.pw_name: ":".join(map(str, user)) for user in pwd.getpwall()},
        "groups": {group.gr_name: f"{group.gr_gid} {group.gr_mem}" for group in grp.getgrall()},
        "units": units(),
        "packages": packages(),
        "sysctls": sysctls(),
        "ports": ports(),
    }


def difference(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """What is not as before, by section and name, without what LEFT explains; {} when nothing is."""
    found = {
        section: [
            f"{name}: {old.get(name, 'not there')} -> {new.get(name, 'not there')}"
            for old, new in [(before[section], after[section])]
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
            and not any(re.fullmatch(pattern, name) for pattern in LEFT.get(section, ()))
        ]
        for section in before
    }
    return {section: names for section, names in found.items() if names}


if __name__ == "__main__":
    print(json.dumps(take()))
