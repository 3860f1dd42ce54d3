"""Filters for what Jinja cannot say, or what several roles must say alike. Standard library only."""

from __future__ import annotations

import base64
import difflib
import hashlib
import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleFilterError

if TYPE_CHECKING:
    from collections.abc import Iterable

BENCH_GROUPS = ("app", "database", "cache", "load_generators")
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


OWNER_GROUPS = {"app": "app", "database": "database", "cache": "cache", "load_generators": "load_generator"}
"""Whose CPUs a host of a group must have; a host of several machines needs no others."""


def layout_findings(layout: object, groups: Iterable[str] = BENCH_GROUPS) -> list[str]:
    """What is wrong with the core_layout of a host of these groups, one sentence each; empty when nothing is."""
    if not isinstance(layout, dict) or "name" not in layout:
        return [
            f"core_layout must name the layout and the CPUs of {', '.join(LAYOUT_OWNERS)}: see inventory/fx8320."
        ]
    known = {"name", "packed", *LAYOUT_OWNERS}
    owners = [OWNER_GROUPS[group] for group in BENCH_GROUPS if group in groups] + ["housekeeping"]
    findings = [f"core_layout has no '{owner}': give it CPUs." for owner in owners if not layout.get(owner)]
    findings += [
        f"core_layout knows no '{key}': use {', '.join(sorted(known))}."
        for key in sorted(layout.keys() - known)
    ]
    if findings:
        return findings
    cpus: dict[str, set[int]] = {}
    for owner in LAYOUT_OWNERS:
        try:
            cpus[owner] = set(cpu_list(layout.get(owner, "")))
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
        if set(cpu_list(layout.get(owner, ""))) - there
    ]


LISTENERS = {
    "app": {"auth_app_address": "the app"},
    "database": {"postgresql_address": "PostgreSQL", "pgbouncer_address": "PgBouncer"},
    "cache": {"valkey_address": "Valkey"},
}
"""By group, the variables that name what its services listen at."""
REACHES = {
    "auth_app_database_address": ("app", "database", "pgbouncer_address"),
    "auth_app_cache_address": ("app", "cache", "valkey_address"),
}
"""Variable -> the group that has it, and the group and the variable of the peer that it names."""


def peer_findings(hosts: dict[str, dict[str, Any]]) -> list[str]:
    """What is wrong with the addresses of a bench's hosts, one sentence each; empty when nothing is.

    ``hosts`` has, by name, ``groups`` and the hosts' values of the variables of LISTENERS and REACHES,
    ``pgbouncer_clients``, ``bench_address`` and ``bench_base_url``.
    """
    used = {group for host in hosts.values() for group in host["groups"] if group in BENCH_GROUPS}
    # Hosts that have everything are benches of their own, however many an inventory has.
    alone = all(used <= set(host["groups"]) for host in hosts.values())
    findings = [
        f"{variable} of {name} {wrong}: give the private address at which its peers reach {what} there."
        for name, host in hosts.items()
        for variable, what in _listeners(host, alone=alone).items()
        if (wrong := _address_fault(host.get(variable), loopback=alone or variable == "postgresql_address"))
    ]
    return findings if findings or alone else _reach_findings(hosts)


def _listeners(host: dict[str, Any], *, alone: bool) -> dict[str, str]:
    """What listens at the addresses of a host, by variable."""
    found = {
        variable: what for group in host["groups"] for variable, what in LISTENERS.get(group, {}).items()
    }
    return found if alone else found | {"bench_address": "the bench"}


def _reach_findings(hosts: dict[str, dict[str, Any]]) -> list[str]:
    """Addresses of several hosts that do not fit each other."""

    def first(group: str) -> str:
        return next((name for name, host in hosts.items() if group in host["groups"]), "")

    missing = [group for group in BENCH_GROUPS if not first(group)]
    if missing:
        return [f"The inventory has no host in the group {group}: a bench needs one." for group in missing]
    findings = []
    for variable, (group, peer_group, peer_variable) in REACHES.items():
        here, there = first(group), first(peer_group)
        mine, theirs = hosts[here][variable], hosts[there][peer_variable]
        if mine != theirs:
            findings.append(
                f"{variable} of {here} is {mine}, and {peer_variable} of {there} is {theirs}: give both the private "
                f"address of {there}."
            )
    app, database = first("app"), first("database")
    address, clients = hosts[app]["auth_app_address"], hosts[database]["pgbouncer_clients"]
    if address not in clients:
        findings.append(
            f"pgbouncer_clients of {database} is {', '.join(clients)}, and the app's host {app} has {address}: add that."
        )
    findings += [
        f"bench_base_url of {name} is {host['bench_base_url']}, and auth_app_address of {app} is {address}: name the same."
        for name, host in hosts.items()
        if urlsplit(host["bench_base_url"]).hostname != address
    ]
    if hosts[app]["bench_address"] != address:
        findings.append(
            f"bench_address of {app} is {hosts[app]['bench_address']}, and auth_app_address is {address}: give both the "
            "same."
        )
    return findings


def _address_fault(address: object, *, loopback: bool) -> str:
    """Why services cannot listen at an address, as the end of a sentence; empty where they can."""
    if not address:
        return "is missing"
    try:
        parsed = ipaddress.ip_address(str(address))
    except ValueError:
        return f"is '{address}', which is no IP address"
    if parsed.is_unspecified:
        return f"is {address}, which is every address that the host has"
    if parsed.is_loopback and not loopback:
        return f"is {address}, which other hosts cannot reach"
    if parsed.is_global or parsed.is_multicast:
        return f"is {address}, which is a public address"
    return ""


CLOUD_ALWAYS = ("cloud_provider", "cloud_state", "cloud_id")
CLOUD_PRESENT = ("cloud_type", "cloud_zone", "cloud_price", "cloud_ssh_from")
CLOUD_DEFAULTED = (
    "cloud_machines",
    "cloud_debian",
    "cloud_architecture",
    "cloud_ttl_hours",
    "cloud_self_delete",
    "cloud_yes",
    "cloud_wait_s",
    "cloud_poll_s",
)
CLOUD_MACHINES = (1, 3)
CLOUD_TTL_MOST_H = 168


def cloud_findings(given: dict[str, Any]) -> list[str]:
    """What is wrong with the variables of playbooks/cloud.yml, one sentence each; empty when nothing is."""
    known = (*CLOUD_ALWAYS, *CLOUD_PRESENT, *CLOUD_DEFAULTED)
    findings = []
    for name in sorted(given.keys() - set(known)):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else "see docs/how-to/cloud.md."
        findings.append(f"playbooks/cloud.yml has no variable {name}: {hint}")
    if given.get("cloud_state") not in ("present", "absent"):
        findings.append(f"cloud_state is '{given.get('cloud_state')}': set it to present or absent.")
    if given.get("cloud_provider") not in ("aws", "hetzner"):
        findings.append(f"cloud_provider is '{given.get('cloud_provider', '')}': set it to aws or hetzner.")
    name = str(given.get("cloud_id", ""))
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", name):
        findings.append(f"cloud_id is '{name}': give 1 to 32 of a-z, 0-9 and - (not at an end).")
    present = given.get("cloud_state") == "present"
    needed = CLOUD_PRESENT if present else ("cloud_zone",) if given.get("cloud_provider") == "aws" else ()
    findings += [
        f"{name} is missing: {CLOUD_WHAT[name]}." for name in needed if given.get(name) in (None, "")
    ]
    return findings or (_cloud_values(given) if present else [])


CLOUD_WHAT = {
    "cloud_type": "name the provider's machine type, such as cpx31 or c7i.xlarge",
    "cloud_zone": "name Hetzner's location, such as fsn1, or AWS's availability zone, such as eu-central-1a",
    "cloud_price": "give what one machine costs an hour, as a number; the estimate is made from it",
    "cloud_ssh_from": "give the public address that this controller has, such as 203.0.113.7/32; ssh is open to it alone",
}


def _cloud_values(given: dict[str, Any]) -> list[str]:
    findings = []
    for name, most in (("cloud_price", float("inf")), ("cloud_ttl_hours", CLOUD_TTL_MOST_H)):
        try:
            right = 0 < float(given[name]) <= most
        except (TypeError, ValueError):
            right = False
        if not right:
            limit = "" if most == float("inf") else f", {most} at most"
            findings.append(f"{name} is '{given[name]}': give a number above 0{limit}.")
    if str(given["cloud_machines"]) not in map(str, CLOUD_MACHINES):
        findings.append(f"cloud_machines is '{given['cloud_machines']}': a bench has 1 machine or 3.")
    if str(given["cloud_debian"]) not in DEBIAN_POSTGRESQL:
        findings.append(f"cloud_debian is '{given['cloud_debian']}': use {' or '.join(DEBIAN_POSTGRESQL)}.")
    for network in str(given["cloud_ssh_from"]).split(","):
        try:
            everybody = ipaddress.IPv4Network(network).prefixlen == 0
        except ValueError as error:
            findings.append(
                f"cloud_ssh_from: {error}: give addresses such as 203.0.113.7/32 (IPv4), with commas between them."
            )
        else:
            if everybody:
                findings.append(
                    f"cloud_ssh_from is {network}, which is everybody: give this controller's address."
                )
    return findings


def cloud_said(result: dict[str, Any]) -> str:
    """What a failed task said, as the end of a sentence."""
    failed = [one for one in result.get("results") or [] if one.get("failed")] or [result]
    texts = (str(failed[0].get(name) or "").strip() for name in ("stderr", "msg", "stdout"))
    text = next((text for text in texts if text), "no reason was given")
    last = text.splitlines()[-1] if failed[0].get("stderr") else " ".join(text.split())
    # What Ansible says before it says what happened.
    return re.sub(r"^(?:(?:Task|Module|Action) failed: )+", "", last).strip().rstrip(".")


def cloud_reason(said: str, meanings: list[dict[str, str]]) -> str:
    """What it means that a provider said so: the first meaning whose pattern is found, and else what it said."""
    found = (one["means"] for one in meanings if re.search(one["found"].strip(), said, re.IGNORECASE))
    means = next(found, "")
    return f"{means} (it said: {said})" if means else said


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


def step_failures(hostvars: Any, hosts: list[str], steps: list[str]) -> list[dict[str, str]]:
    """Which of some registered commands failed, or did not reach their host: host and detail of each.

    A step that a host has not registered, or has skipped, has not failed.
    """
    failures = []
    for host in hosts:
        for step in steps:
            result = hostvars[host].get(step) or {}
            unreachable = result.get("unreachable", False)
            if unreachable or result.get("rc", 0) != 0 or (result.get("failed") and "rc" not in result):
                said = [result.get("stderr"), result.get("stdout"), result.get("msg")]
                lines = next((text.strip() for text in said if text and text.strip()), "no reason was given")
                detail = lines.splitlines()[0].removeprefix("ironbench: ")
                failures.append(
                    {"host": host, "detail": f"it was not reached: {detail}" if unreachable else detail}
                )
    return failures


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "cloud_findings": cloud_findings,
            "cloud_reason": cloud_reason,
            "cloud_said": cloud_said,
            "cpu_list": cpu_list,
            "debian_postgresql": debian_postgresql,
            "layout_findings": layout_findings,
            "missing_cpus": missing_cpus,
            "peer_findings": peer_findings,
            "scram_verifier": scram_verifier,
            "step_failures": step_failures,
            "unknown_variables": unknown_variables,
        }
