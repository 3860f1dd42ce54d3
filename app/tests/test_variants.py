"""The variants as data, and who may know of levers."""

import ast
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import auth_app
import pytest
from auth_app.app import create_app
from auth_app.errors import AuthAppError
from auth_app.settings import Settings
from auth_app.variants import (
    BASELINE,
    BEYOND,
    CHANGED,
    FINAL,
    LADDER,
    LEAVE_ONE_OUT,
    NAMED,
    SINGLE,
    VARIANTS,
    Levers,
    levers_of,
)
from auth_app.wiring import CONFLICTS, refuse_conflicts
from msgspec.structs import asdict, replace

SOURCE = Path(auth_app.__file__).parent


def differences(one: Levers, other: Levers) -> list[str]:
    return [name for name, value in asdict(one).items() if asdict(other)[name] != value]


# --- sets of levers ------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_accepted(variant: str):
    refuse_conflicts(levers_of(variant))


def test_all_variants():
    assert list(NAMED) == ["baseline", "optimization-1", "final", "beyond"]
    for each in (NAMED, LADDER, LEAVE_ONE_OUT, SINGLE):
        assert each.items() <= VARIANTS.items()
    # Two sets of levers have two names: the last rung below final is final without the last change, and the study
    # names the rung with one lane of Argon2.
    assert len(set(VARIANTS.values())) == len(VARIANTS) - 2
    assert list(LADDER.values())[-2] in LEAVE_ONE_OUT.values()
    assert SINGLE["optimization-1-one-lane"] in LADDER.values()
    # A unit's instance name and a directory's name.
    assert all(name == name.lower() and name.replace("-", "").isalnum() for name in VARIANTS)


def test_ladder_goes_from_baseline_to_final_one_lever_at_a_time():
    rungs = list(LADDER.values())
    assert (rungs[0], rungs[-1]) == (BASELINE, FINAL)
    assert (LADDER["baseline"], LADDER["final"]) == (BASELINE, FINAL)
    steps = [differences(below, above) for below, above in pairwise(rungs)]
    assert [len(step) for step in steps] == [1] * len(steps)
    assert {lever for step in steps for lever in step} == set(CHANGED)
    assert LADDER["optimization-1"] == NAMED["optimization-1"]


def test_signing_is_two_rungs():
    """The question of the issue: Ed25519, or not parsing the PEM? Beside that no lever has two."""
    values = [levers.tokens for levers in LADDER.values()]
    assert list(dict.fromkeys(values)) == ["pyjwt-rs256-pem", "pyjwt-rs256-key", "joserfc-ed25519"]
    assert len(LADDER) == len(CHANGED) + 2


def test_leave_one_out_takes_one_change_back():
    missing = {name: differences(levers, FINAL) for name, levers in LEAVE_ONE_OUT.items()}
    assert all(len(levers) == 1 for levers in missing.values())
    assert {levers[0] for levers in missing.values()} == set(CHANGED)
    assert all(name.startswith(f"final-but-{lever[0].replace('_', '-')}-") for name, lever in missing.items())
    # Wholly back: for each lever there is the one with baseline's value.
    assert {replace(FINAL, **{lever: getattr(BASELINE, lever)}) for lever in CHANGED} <= set(
        LEAVE_ONE_OUT.values()
    )


# --- combinations that make no sense -------------------------------------------------------------

SENSELESS = [
    (replace(BEYOND, database_pool="none"), "set database_pool=persistent"),
    (replace(BEYOND, hashing="inline"), "set hashing=thread-pool"),
    (replace(BEYOND, refresh_after_insert=True), "set refresh_after_insert=False"),
    (replace(BEYOND, signin_query="selectin"), "set both signin_query and me_query to load-only"),
    (replace(BEYOND, me_query="selectin"), "set both signin_query and me_query to load-only"),
    (replace(BEYOND, compiled_cache=True), "set compiled_cache=False"),
    (replace(BASELINE, hashing_threads=3), "set hashing=thread-pool or hashing_threads=2"),
    (replace(BASELINE, me_handler="direct"), "set response=msgspec"),
]
NO_VALUES = [
    replace(FINAL, argon2_lanes=3),
    replace(FINAL, tokens="hs256"),
    replace(FINAL, server="gunicorn"),
]


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch):
    """Give a set of levers a name for the time of a test."""
    return lambda levers: monkeypatch.setitem(VARIANTS, "odd", levers)


@pytest.mark.parametrize(("levers", "words"), SENSELESS)
def test_senseless_combination_is_refused_in_one_sentence(
    settings: Settings, odd, levers: Levers, words: str
):
    odd(levers)
    with pytest.raises(AuthAppError) as refused:
        create_app(settings, "odd")
    sentence = str(refused.value)
    assert sentence.endswith(f"{words}.")
    assert sentence.count(". ") == 0
    assert "\n" not in sentence


def test_each_conflict_is_among_them():
    said = set()
    for levers, _ in SENSELESS:
        with pytest.raises(AuthAppError) as refused:
            refuse_conflicts(levers)
        said.add(str(refused.value))
    assert said == {f"{sentence}." for _, sentence in CONFLICTS}


@pytest.mark.parametrize("levers", NO_VALUES)
def test_value_that_does_not_exist_is_refused(settings: Settings, odd, levers: Levers):
    odd(levers)
    with pytest.raises(AuthAppError, match="value that does not exist"):
        create_app(settings, "odd")


def test_server_says_it_in_one_line(settings_path: Path):
    program = (
        "from auth_app.variants import BEYOND, VARIANTS; from msgspec.structs import replace;"
        "VARIANTS['odd'] = replace(BEYOND, database_pool='none');"
        "from auth_app.asgi import create_app; create_app()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"AUTH_APP_VARIANT": "odd", "AUTH_APP_SETTINGS": str(settings_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "auth-app: data_access=sql asks through a pool that stays: set database_pool=persistent.\n"
    )


def test_unknown_variant_names_the_others():
    with pytest.raises(AuthAppError, match="choose one of baseline, optimization-1, final, beyond, "):
        levers_of("fast")


# --- only the wiring reads levers ----------------------------------------------------------------


def uses_of_levers(path: Path) -> list[str]:
    """Where a module reads a lever or has ``Levers`` in its hands, as ``line: what``.

    An attribute counts whatever its object is called, if no other record of the app has one of this
    name; so does its name as a string, for ``getattr``. Passing levers on is not reading them, nor is
    saying so in an annotation.
    """
    tree = _WithoutTypes().visit(ast.parse(path.read_text(encoding="utf-8")))
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="auth_app.variants", names=names):
                found += [f"{node.lineno}: import {n.name}" for n in names if n.name not in NO_LEVERS]
            case ast.Name(id="Levers"):
                found.append(f"{node.lineno}: Levers")
            case ast.Import(names=names):
                found += [f"{node.lineno}: import" for n in names if n.name == "auth_app.variants"]
            case ast.Attribute(attr=attr, value=value):
                of_levers = "levers" in ast.unparse(value).lower()
                if attr in LEVER_NAMES and (of_levers or attr not in OTHER_FIELDS):
                    found.append(f"{node.lineno}: .{attr}")
            case ast.Constant(value=str(text)) if text in LEVER_NAMES - OTHER_FIELDS:
                found.append(f"{node.lineno}: {text!r}")
            case ast.Call(func=ast.Name(id="getattr"), args=[first, *_]) if "levers" in ast.unparse(first):
                found.append(f"{node.lineno}: getattr")
    return found


class _WithoutTypes(ast.NodeTransformer):
    """Takes out what only a type checker reads."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


LEVER_NAMES = set(Levers.__struct_fields__)
NO_LEVERS = {"VARIANTS", "levers_of", "Levers"}
"""Names of variants, the way from a name to what the wiring takes, and the type, which counts if used."""
OTHER_FIELDS = {"tokens", "logging", "response", "user_cache", "refresh_after_insert"}
"""Names that other records have too; these count when the object is called levers."""


def test_only_the_wiring_reads_levers():
    modules = sorted(SOURCE.rglob("*.py"))
    assert len(modules) > 30
    readers = {str(path.relative_to(SOURCE)): uses_of_levers(path) for path in modules}
    assert len(readers.pop("wiring.py")) > len(LEVER_NAMES), "the check sees nothing"
    readers.pop("variants.py")
    assert {module: uses for module, uses in readers.items() if uses} == {}


def test_every_lever_is_read_by_the_wiring():
    uses = {use.partition(" .")[2] for use in uses_of_levers(SOURCE / "wiring.py")}
    assert uses >= LEVER_NAMES


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("from auth_app.variants import Levers\nprint(Levers())\n", ["2: Levers"]),
        ("from auth_app.variants import Levers\ndef f(x: Levers) -> Levers:\n    return x\n", []),
        ("from auth_app.variants import FINAL\n", ["1: import FINAL"]),
        ("import auth_app.variants\n", ["1: import"]),
        ("def f(levers):\n    return levers.tokens\n", ["2: .tokens"]),
        ("def f(x):\n    return x.argon2_lanes\n", ["2: .argon2_lanes"]),
        ("def f(levers):\n    return getattr(levers, 'tok' + 'ens')\n", ["2: getattr"]),
        ("def f(x):\n    return getattr(x, 'me_handler')\n", ["2: 'me_handler'"]),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from auth_app.variants import Levers\n",
            [],
        ),
        ("def f(services):\n    return services.tokens\n", []),
        ("from auth_app.variants import levers_of\nwire(levers_of('final'))\n", []),
    ],
)
def test_the_check_can_fail(tmp_path: Path, source: str, uses: list[str]):
    path = tmp_path / "module.py"
    path.write_text(source)
    assert uses_of_levers(path) == uses
