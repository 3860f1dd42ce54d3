#!/usr/bin/python3
"""Prints as JSON what the main process of a container really has: CPUs, open files, its cgroup's slice. Argument: its name."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path


def main() -> None:
    argv = ["docker", "inspect", "--format", "{{.State.Pid}}", sys.argv[1]]
    pid = int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    process = Path("/proc", str(pid))
    limits = re.search(r"^Max open files +(\S+)", (process / "limits").read_text(), re.MULTILINE)
    # Of the hierarchies the unified one, which is last.
    cgroup = (process / "cgroup").read_text().splitlines()[-1].split(":", 2)[2]
    print(
        json.dumps(
            {
                "cpus": sorted(os.sched_getaffinity(pid)),
                "nofile": limits[1] if limits else "not told",
                "slice": Path(cgroup).parent.name,
            }
        )
    )


main()
