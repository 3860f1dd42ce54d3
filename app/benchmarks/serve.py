"""Becomes one of the servers that are no variant: ``python -m benchmarks.serve NAME PORT``."""

import os
import sys

from auth_app.servers import FACTORY, Listener, uvicorn

from .argon2_loop import serve

FACTORIES = {
    "handwritten-final": "benchmarks.handwritten_final:create_app",
    "ping": "benchmarks.ping_reference:create_app",
}


def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])
    if name == "argon2":
        serve(port)
    # The same options as the variants have, whatever they are.
    command = uvicorn(Listener(host="127.0.0.1", port=port, workers=1, backlog=2048))
    command = [FACTORIES[name] if part == FACTORY else part for part in command]
    os.execv(command[0], command)  # noqa: S606  (no shell is wanted)


if __name__ == "__main__":
    main()
