"""Filters for what Jinja cannot say, or what several roles must say alike. Standard library only."""

from __future__ import annotations

import base64
import difflib
import hashlib
import hmac
import re
from typing import Any

from ansible.errors import AnsibleFilterError

SCRAM_ITERATIONS = 4096  # PostgreSQL's default scram_iterations


def cpu_list(text: object) -> list[int]:
    """The CPUs of a kernel CPU list: "0-2,5" -> [0, 1, 2, 5]; empty text -> [].

    Raises:
        AnsibleFilterError: the text is no CPU list, or it names a CPU twice.

    """
    cpus: list[int] = []
    for part in str(text).split(",") if str(text) else []:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise AnsibleFilterError(
                f'\'{text}\' is no list of CPUs: write numbers and ranges, such as "0-1" or "2,4-5".',
            )
        cpus += range(first, last + 1)
    if len(set(cpus)) != len(cpus):
        raise AnsibleFilterError(f"'{text}' names a CPU twice: name each one once.")
    return cpus


def scram_verifier(password: str, salt: str, encoding: str = "ascii") -> str:
    """PostgreSQL's SCRAM-SHA-256 verifier of an ASCII password (RFC 5802, RFC 7677).

    The same password and salt give the same verifier, so PostgreSQL and PgBouncer can hold one and
    a second converge changes nothing.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt.encode(encoding), SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt.encode(encoding), stored_key, server_key))
    return "SCRAM-SHA-256${}:{}${}:{}".format(SCRAM_ITERATIONS, *parts)


DEBIAN_POSTGRESQL = {"12": "15", "13": "17"}
"""Each Debian has one PostgreSQL."""


def debian_postgresql(release: str) -> str:
    """The major version of PostgreSQL that a Debian release ("12", "13") has.

    Raises:
        AnsibleFilterError: not a release that the roles know.

    """
    if release not in DEBIAN_POSTGRESQL:
        raise AnsibleFilterError(f"Debian {release} is not known: use {' or '.join(DEBIAN_POSTGRESQL)}.")
    return DEBIAN_POSTGRESQL[release]


LAYOUT_OWNERS = ("app", "database", "cache", "load_generator", "housekeeping")
LAYOUT_SHARES = ({"cache", "housekeeping"},)
"""Who may share CPUs on a layout that is not packed: the article's eight cores are all taken."""


def layout_findings(layout: object) -> list[str]:
    """What is wrong with an inventory's core_layout, one sentence each; empty when nothing is."""
    if not isinstance(layout, dict) or "name" not in layout:
        return [
            f"core_layout must name the layout and the CPUs of {', '.join(LAYOUT_OWNERS)}: see inventory/fx8320."
        ]
    known = {"name", "packed", *LAYOUT_OWNERS}
    findings = [
        f"core_layout has no '{owner}': give it CPUs." for owner in LAYOUT_OWNERS if not layout.get(owner)
    ]
    findings += [
        f"core_layout knows no '{key}': use {', '.join(sorted(known))}."
        for key in sorted(layout.keys() - known)
    ]
    if findings:
        return findings
    cpus: dict[str, set[int]] = {}
    for owner in LAYOUT_OWNERS:
        try:
            cpus[owner] = set(cpu_list(layout[owner]))
        except AnsibleFilterError as error:
            return [f"core_layout.{owner}: {error}"]
    if layout.get("packed"):
        return []
    return [
        f"core_layout gives CPU {cpu} to {first} and to {second}: give it to one of them, or set packed: true, "
        "which allows no verdict on latency."
        for index, first in enumerate(LAYOUT_OWNERS)
        for second in LAYOUT_OWNERS[index + 1 :]
        if {first, second} not in LAYOUT_SHARES
        for cpu in sorted(cpus[first] & cpus[second])
    ]


def missing_cpus(layout: dict[str, str], online: str) -> list[str]:
    """The owners of a layout whose CPUs are not among the online ones, one sentence each."""
    there = set(cpu_list(online))
    return [
        f"core_layout gives {owner} the CPUs {layout[owner]}, but this host has {online}: "
        "choose among them, or use a packed layout (inventory/sandbox)."
        for owner in LAYOUT_OWNERS
        if set(cpu_list(layout[owner])) - there
    ]


def unknown_variables(names: list[str], specs: dict[str, list[str]]) -> list[str]:
    """Variables with a role's prefix that the role does not have, one sentence each.

    ``specs`` maps a role to its variables. The longest prefix decides whose variable it is.
    """
    findings = []
    for name in names:
        roles = [role for role in specs if name.startswith(f"{role}_")]
        role = max(roles, key=len, default=None)
        if role is None or name in specs[role]:
            continue
        near = difflib.get_close_matches(name, specs[role], 1)
        hint = f"did you mean {near[0]}?" if near else f"see roles/{role}/README.md."
        findings.append(f"The role {role} has no variable {name}: {hint}")
    return findings


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "cpu_list": cpu_list,
            "debian_postgresql": debian_postgresql,
            "layout_findings": layout_findings,
            "missing_cpus": missing_cpus,
            "scram_verifier": scram_verifier,
            "unknown_variables": unknown_variables,
        }
