"""Filters for what Jinja cannot say: CPU lists and SCRAM verifiers. Standard library only."""

from __future__ import annotations

import base64
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
                f"'{text}' is no list of CPUs: write numbers and ranges, such as \"0-1\" or \"2,4-5\".",
            )
        cpus += range(first, last + 1)
    if len(set(cpus)) != len(cpus):
        raise AnsibleFilterError(f"'{text}' names a CPU twice: name each one once.")
    return cpus


def scram_verifier(password: str, salt: str) -> str:
    """PostgreSQL's SCRAM-SHA-256 verifier of an ASCII password (RFC 5802, RFC 7677).

    The same password and salt give the same verifier, so PostgreSQL and PgBouncer can hold one and
    a second converge changes nothing.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt.encode("ascii"), SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt.encode("ascii"), stored_key, server_key))
    return "SCRAM-SHA-256${}:{}${}:{}".format(SCRAM_ITERATIONS, *parts)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"cpu_list": cpu_list, "scram_verifier": scram_verifier}
