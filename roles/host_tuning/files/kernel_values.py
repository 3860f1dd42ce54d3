"""What the running kernel has under some names, and giving back what it had. Standard library only.

A name is a sysctl's, or the path of a file in /sys. Runs through systemd-run too, so no dollar sign. KEPT is the file of
the values from before. Verbs:

look KEPT SETTINGS  SETTINGS is a JSON list of {what, name, value}, where name may be a pattern. Prints what is wanted by
                    name, of the names that are there; what has none; the values now; the names that may be written here;
                    what KEPT has; and the open files that this process may have.
due KEPT OWNED...   prints the values from before of those names that still have the value that an owned file gives them.
reset KEPT OWNED... gives those back, and prints them.
"""  # noqa: INP001 - a script, run by whatever python a host has

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path


def path_of(name: str) -> Path:
    return Path(name if name.startswith("/") else "/proc/sys/" + name.replace(".", "/"))


def value_of(name: str) -> "str | None":
    """The value now, None when the kernel has no such file; of ``always [madvise] never`` the selected word."""
    try:
        text = path_of(name).read_text().strip()
    except OSError:
        return None
    selected = re.search(r"\[(\S+)\]", text)
    return selected[1] if selected else text


def in_container() -> bool:
    # Exit status 1 when it is none.
    return subprocess.run(["systemd-detect-virt", "--container", "--quiet"], check=False).returncode == 0


def read_json(path: str) -> "dict[str, str]":
    return json.loads(Path(path).read_text()) if Path(path).exists() else {}


def names_of(setting: "dict[str, str]") -> "list[str]":
    name = setting["name"]
    return sorted(map(str, Path("/").glob(name[1:]))) if name.startswith("/") else [name]


def look(kept: str, text: str) -> dict:
    settings = json.loads(text)
    wanted = {name: str(setting["value"]) for setting in settings for name in names_of(setting)}
    there = {setting["what"] for setting in settings if names_of(setting)}
    container = in_container()
    return {
        "wanted": wanted,
        "absent": sorted({setting["what"] for setting in settings} - there),
        "value": {name: value_of(name) for name in wanted},
        # A container's /sys is the whole machine's, even where it can be written.
        "writable": [
            name
            for name in wanted
            if os.access(path_of(name), os.W_OK) and not (container and name.startswith("/"))
        ],
        "kept": read_json(kept),
        "nofile": str(min(resource.getrlimit(resource.RLIMIT_NOFILE))),
    }


def owned_values(files: "tuple[str, ...]") -> "dict[str, str]":
    """What the owned files (sysctl.d, tmpfiles.d) give to each name."""
    found = {}
    for line in (
        line for file in files if Path(file).exists() for line in Path(file).read_text().splitlines()
    ):
        if line.startswith("w "):
            _, name, _, _, _, _, value = line.split(None, 6)
            found[name] = value
        elif "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found[name.strip()] = value.strip()
    return found


def due(kept: str, *files: str) -> "dict[str, str]":
    ours = owned_values(files)
    return {
        name: before
        for name, before in read_json(kept).items()
        if before is not None and name in ours and value_of(name) == ours[name] != before
    }


def reset(kept: str, *files: str) -> "dict[str, str]":
    values = due(kept, *files)
    for name, before in values.items():
        path_of(name).write_text(before)
    return values


print(json.dumps({"look": look, "due": due, "reset": reset}[sys.argv[1]](*sys.argv[2:])))
