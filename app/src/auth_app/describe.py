"""What this installation is: its own files, what is installed beside it, the settings, and a variant's levers."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import msgspec

from auth_app.settings import Settings
from auth_app.variants import Levers

_UNSTABLE = (".pyc", "/direct_url.json", "/INSTALLER", "/RECORD", "/REQUESTED")
"""What an installer writes of the way in which it installed."""


def describe(settings: Settings, levers: Levers) -> dict[str, str | dict[str, str]]:
    """Return what decides how a variant behaves, without passwords and keys."""
    own = Path(__file__).parent
    return {
        "wheel": _digest(
            f"{path.relative_to(own)} {_digest(path.read_bytes())}"
            for path in sorted(own.rglob("*"))
            if path.is_file() and path.suffix != ".pyc"
        ),
        "lock": {one.name: f"{one.version} {_recorded(one)[:16]}" for one in distributions()},
        "settings": _flat("", msgspec.to_builtins(settings)),
        "variant": _flat("", msgspec.to_builtins(levers)),
    }


def _recorded(distribution: Distribution) -> str:
    """Digest the files that were installed, by the list that their installer left."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    # Those outside of the packages' directory are scripts, which name the interpreter's path.
    return _digest(
        sorted(
            line for line in lines if not line.startswith("..") and not line.split(",")[0].endswith(_UNSTABLE)
        )
    )


def _digest(of: bytes | Iterable[str]) -> str:
    content = of if isinstance(of, bytes) else "\n".join(of).encode()
    return hashlib.sha256(content).hexdigest()


def _flat(prefix: str, value: dict[str, object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, inner in value.items():
        found |= (
            _flat(f"{prefix}{name}.", inner) if isinstance(inner, dict) else {f"{prefix}{name}": str(inner)}
        )
    return found
