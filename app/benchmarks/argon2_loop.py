"""Bare Argon2id in a plain loop, with the app's parameters and one lane.

Serves one connection after another: a line ``hash 6`` hashes a password six times, ``verify 6``
verifies one, ``kept-hash 6`` and ``kept-verify 6`` do so in memory that is kept, as ``beyond`` does;
and a line ``done`` comes back.
"""

import socket

from argon2 import PasswordHasher
from auth_app.kept_memory import KeptMemoryHasher
from auth_app.wiring import MEMORY_COST_KIB, TIME_COST

PASSWORD = "Secret_12"  # noqa: S105  (of nobody)


def serve(port: int) -> None:
    hasher = PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_COST_KIB, parallelism=1)
    kept = KeptMemoryHasher(time_cost=TIME_COST, memory_cost=MEMORY_COST_KIB, parallelism=1)
    stored = hasher.hash(PASSWORD)
    tasks = {
        "hash": lambda: hasher.hash(PASSWORD),
        "verify": lambda: hasher.verify(stored, PASSWORD),
        "kept-hash": lambda: kept.hash(PASSWORD),
        "kept-verify": lambda: kept.verify(PASSWORD, stored),
    }
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            connection, _ = listening.accept()
            with connection, connection.makefile("rw") as lines:
                for line in lines:
                    task, times = line.split()
                    for _ in range(int(times)):
                        tasks[task]()
                    lines.write("done\n")
                    lines.flush()
