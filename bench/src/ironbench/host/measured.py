"""What this host measures with, read back from what runs: the services' settings, the app, the host itself.

The core knows no service by name: the host's description has a command for each that prints its settings.
"""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import NOT_JSON, encode_record, write_atomic
from ironbench.host import containers, facts, proc, system, topology
from ironbench.load.wrk2 import PROGRAM as WRK2
from ironbench.measured import FILE, digest, host_settings, host_values, variant_fact
from ironbench.records import SCHEMA, Measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.host.place import Place
    from ironbench.records import Service

UNIT_PROPERTIES = (
    *("AllowedCPUs", "AllowedMemoryNodes", "CPUAffinity", "CPUQuotaPerSecUSec", "CPUSchedulingPolicy"),
    *("CPUSchedulingPriority", "CPUWeight", "IOSchedulingClass", "IOWeight", "LimitNOFILE", "LimitNPROC"),
    *("MemoryHigh", "MemoryMax", "MemoryMin", "MemorySwapMax", "Nice", "OOMScoreAdjust", "Slice", "TasksMax"),
)
"""Of systemd.exec(5) and systemd.resource-control(5): what decides how much of the host a unit gets."""
NEW_EACH_START = re.compile(
    r"(CREDENTIALS|LISTEN|MEMORY_PRESSURE|MONITOR|NOTIFY|TRIGGER|WATCHDOG)_\w+"
    r"|FDSTORE|INVOCATION_ID|JOURNAL_STREAM|MAINPID|SYSTEMD_EXEC_PID"
)
"""Variables that systemd gives to each start of a unit anew (systemd.exec(5))."""
SECRET = re.compile(
    r"pass(word|wd|phrase|$)|requirepass|secret|token|credential|conninfo|auth$", re.IGNORECASE
)
"""Names of settings whose value may be a secret: neither the value nor a digest of it leaves the host."""
NO_SECRET = ("password_encryption",)
_HEX_SHOWN = 16


def write(place: Place) -> None:
    """Keep in the session's directory what its services and the app are, once they run."""
    write_atomic(place.directory / FILE, encode_record(read(place)))


def read(place: Place) -> Measured:
    """Return the facts of this moment.

    Raises IronbenchError when a service does not tell its settings, or the app what it is.
    """
    told = {
        "cpu_model": topology.cpu_model(),
        "topology": topology.rows(),
        "kernel": facts.kernel(),
        "kernel_config": facts.kernel_config(),
        "os": facts.release(),
        "memory_mib": facts.memory_mib(),
        "governors": facts.governors(),
        "boost": facts.boost(),
    }
    values = host_values(told) | {
        "ironbench wheel": f"{version('ironbench')} {package_digest(Path(__file__).parents[1])[:_HEX_SHOWN]}",
        "kept awake": "yes" if place.host.keep_awake else "no",
    }
    if "load_generators" in place.host.groups and WRK2.exists():
        values["wrk2 program"] = _file_digest(WRK2)
    layout = msgspec.structs.replace(place.host.layout, name="")  # a label
    settings = host_settings(told) | {"core layout": _texts(msgspec.to_builtins(layout))}
    for service in place.host.services:
        _add_service(place, service, values, settings)
    return Measured(
        schema=SCHEMA,
        facts=values | {name: digest(one) for name, one in settings.items()},
        settings=settings,
    )


def package_digest(package: Path) -> str:
    """SHA-256 of the files of an installed package, compiled ones left out."""
    files = (path for path in sorted(package.rglob("*")) if path.is_file() and path.suffix != ".pyc")
    listed = "\n".join(f"{path.relative_to(package)} {_file_digest(path)}" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _add_service(
    place: Place, service: Service, values: dict[str, str], settings: dict[str, dict[str, str]]
) -> None:
    unit = place.service_unit(service)
    shown = system.run(["systemctl", "show", f"--property={','.join(UNIT_PROPERTIES)}", "--", unit])
    settings[f"{service.name} unit"] = dict(
        line.split("=", 1) for line in sorted(shown.splitlines()) if "=" in line
    )
    state = system.show(unit)
    process = Path("/proc", str(containers.main_pid(service, state)))
    values[f"{service.name} program"] = _file_digest(process / "exe")
    if service.settings:
        printed = _printed(service)
        settings[f"{service.name} settings"] = _without_secrets(printed)
    if service.name == "app":
        _add_app(place, process, state["ControlGroup"], values, settings)
    else:
        settings[f"{service.name} command"] = {"argv": _argv(process)}


def _add_app(
    place: Place,
    process: Path,
    cgroup: str,
    values: dict[str, str],
    settings: dict[str, dict[str, str]],
) -> None:
    variant = place.session.variant
    of_variant = {"argv": _argv(process)}
    settings["app environment"] = _environment(process, variant)
    values["app workers"] = str(len(proc.workers(proc.unified_mount() / cgroup.lstrip("/"))))
    commands = place.host.commands
    if commands is not None and commands.describe:
        argv = [argument.replace("{variant}", variant) for argument in commands.describe]
        for name, told in _objects(argv, "what the app is").items():
            if name == "variant":
                of_variant |= told if isinstance(told, dict) else {"variant": told}
            elif isinstance(told, dict):
                settings[f"app {name}"] = told
            else:
                values[f"app {name}"] = told
    settings[variant_fact(variant)] = of_variant


def _argv(process: Path) -> str:
    return " ".join(process.joinpath("cmdline").read_text(errors="replace").rstrip("\0").split("\0"))


def _environment(process: Path, variant: str) -> dict[str, str]:
    """Digest each variable's value, which may be a secret; the variant's own name is the same for all variants."""
    pairs = process.joinpath("environ").read_text(errors="replace").rstrip("\0").split("\0")
    found = {}
    for name, _, value in sorted(pair.partition("=") for pair in pairs):
        if not NEW_EACH_START.fullmatch(name):
            found[name] = "{variant}" if value == variant else _short(value)
    return _without_secrets(found)


def _short(value: str) -> str:
    return value if value.isdigit() else hashlib.sha256(value.encode()).hexdigest()[:_HEX_SHOWN]


def _objects(argv: Sequence[str], what: str) -> dict[str, str | dict[str, str]]:
    text = _run(argv, what)
    try:
        return msgspec.json.decode(text, type=dict[str, str | dict[str, str]])
    except NOT_JSON as error:
        raise IronbenchError(f"{argv[0]} must print one JSON object of texts for {what}: {error}.") from error


def _printed(service: Service) -> dict[str, str]:
    """Run the command that prints a service's settings: a JSON object, or a line each of name, tab and value."""
    argv, what = service.settings, f"the settings of {service.name}"
    try:
        login = {name: Path(file).read_text().strip() for name, file in service.settings_login.items()}
    except OSError as error:
        raise IronbenchError(
            f"cannot read {what} back: {error.filename}: {error.strerror}; run site.yml again."
        ) from error
    text = _run(argv, what, login)
    if text.lstrip().startswith("{"):
        try:
            return _texts(msgspec.json.decode(text, type=dict))
        except NOT_JSON as error:
            raise IronbenchError(f"{argv[0]} must print one JSON object for {what}: {error}.") from error
    found = dict(line.split("\t")[:2] for line in text.splitlines() if "\t" in line)
    if not found:
        raise IronbenchError(
            f"{argv[0]} printed neither a JSON object nor lines of name, tab and value for {what}; mend its `settings` in "
            "the host's description."
        )
    return found


def _run(argv: Sequence[str], what: str, login: dict[str, str] | None = None) -> str:
    try:
        return system.run(argv, environment=login)
    except IronbenchError as error:
        raise IronbenchError(f"cannot read {what} back; run site.yml again ({error})") from error


def _texts(told: dict) -> dict[str, str]:
    return {str(name): str(value) for name, value in told.items()}


def _without_secrets(settings: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name in NO_SECRET or not SECRET.search(name)}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
