# ruff: noqa: INP001 - a script
"""Gives the results of a plan on the sandbox, which root wrote, to the one who started it.

``sudo python tools/own_results.py UID:GID DIRECTORY``. It walks by descriptors and changes directories and regular
files of root that have one name, so that nothing that lies in the directory leads it to a file elsewhere: no symbolic
link, on the way or at its end, and no hard link to a file of root, which ``chown -R`` would give away.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def main() -> int:
    """Change the owner of everything that may change it; say what was left out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("owner", metavar="UID:GID")
    parser.add_argument("directory")
    args = parser.parse_args()
    uid, _, gid = args.owner.partition(":")
    try:
        top = os.open(args.directory, _OPEN | os.O_DIRECTORY)
    except OSError as error:
        print(
            f"ironbench: {args.directory} keeps its owner ({error.strerror}); make it a directory and no link to one.",
            file=sys.stderr,
        )
        return 2
    left = _own(top, args.directory, int(uid), int(gid))
    for path in left:
        print(
            f"ironbench: {path!a} keeps its owner: it is a link, a device or has two names.", file=sys.stderr
        )
    return 0


def _own(directory: int, name: str, uid: int, gid: int) -> list[str]:
    """Change the owner of an open directory and of what is in it; return the paths that were left out."""
    left: list[str] = []
    try:
        if os.fstat(directory).st_uid == 0:
            os.fchown(directory, uid, gid)
        for entry in sorted(os.listdir(directory)):
            left += _own_entry(directory, entry, f"{name}/{entry}", uid, gid)
    finally:
        os.close(directory)
    return left


def _own_entry(directory: int, entry: str, path: str, uid: int, gid: int) -> list[str]:
    kind = os.stat(entry, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(kind.st_mode) and not stat.S_ISREG(kind.st_mode):
        return [path]
    try:
        opened = os.open(entry, _OPEN, dir_fd=directory)
    except FileNotFoundError:  # gone meanwhile
        return []
    except OSError:  # a link by now
        return [path]
    now = os.fstat(opened)
    if stat.S_ISDIR(now.st_mode):
        return _own(opened, path, uid, gid)
    try:
        if not stat.S_ISREG(now.st_mode) or (now.st_nlink > 1 and now.st_uid != uid):
            return [path]
        if now.st_uid == 0:
            os.fchown(opened, uid, gid)
    finally:
        os.close(opened)
    return []


if __name__ == "__main__":
    sys.exit(main())
