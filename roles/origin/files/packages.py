"""Prints, as JSON, what of some packages the bench brought to this host. Standard library only, changes nothing.

Arguments: the record, then the packages that a role installs by name; without any, ``remove`` has what apt installed
for the sake of some that are gone, and keeps because another package could make do with it.
  brought      those of them that are installed and not in the record
  remove       brought, and what apt installed for their sake alone and is not in the record either
  needed_by    brought, if other packages would go with them: what would go, and nothing is in ``remove`` then
  auto         those of them that the record has as installed for another package's sake, and that are not so now
  interrupted  dpkg was stopped in the middle of its work
"""  # noqa: INP001 - a script, run by whatever python a host has

import json
import subprocess
import sys
from pathlib import Path

# What came for the bench goes also where another package would recommend it: it was not there before either.
ORPHANS = (
    "-oAPT::AutoRemove::RecommendsImportant=false",
    "-oAPT::AutoRemove::SuggestsImportant=false",
    "--auto-remove",
)


def words(*argv: str) -> "set[str]":
    return set(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split())


def removed(options: "tuple[str, ...]", names: "list[str]") -> "set[str]":
    """What apt would remove with these packages."""
    argv = ["apt-get", "--simulate", "--yes", *options, "purge", *names]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return {
        line.split()[1].split(":")[0]
        for line in done.stdout.splitlines()
        if line.startswith(("Purg ", "Remv "))
    }


def kept_for_nobody(names: "set[str]") -> "list[str]":
    """Those that can go without taking any other along."""
    takes = {name: removed((), [name]) for name in names}
    kept = set(names)
    while needed := {name for name in kept if not takes[name] <= kept}:
        kept -= needed
    return sorted(kept)


def main() -> None:
    before = json.loads(Path(sys.argv[1]).read_text())["packages"]
    shown = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Want} ${db:Status-Status} ${Package}\n"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # With the ones that an interrupted apt left half done.
    present = {
        name
        for want, status, name in map(str.split, shown.splitlines())
        if status not in ("not-installed", "config-files")
    }
    auto_now = words("apt-mark", "showauto")
    names = [name for name in sys.argv[2:] if name in present]
    brought = [name for name in names if name not in before]
    answer = {
        "brought": brought,
        "remove": [],
        "needed_by": [],
        "auto": [name for name in names if before.get(name, {}).get("auto") and name not in auto_now],
        "interrupted": bool(subprocess.run(["dpkg", "--audit"], check=True, capture_output=True).stdout),
    }
    if not sys.argv[2:]:
        answer["remove"] = kept_for_nobody((present & auto_now) - before.keys())
    # What apt would do can be asked only of a whole system.
    if brought and not answer["interrupted"]:
        others = removed((), brought) - set(brought)
        needed_by = {name for name in others if name in before or name not in auto_now}
        if needed_by:
            answer["needed_by"] = sorted(needed_by)
        else:
            orphans = removed(ORPHANS, brought)
            answer["remove"] = sorted(name for name in orphans if name not in before)
    print(json.dumps(answer))


main()
