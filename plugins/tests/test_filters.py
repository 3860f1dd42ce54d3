"""The filters, against what the kernel, RFC 7677 and a person would say."""

import base64
import hmac
import importlib.util
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ironbench.layout.advice import advise
from ironbench.layout.cli import text
from ironbench.layout.topology import understand

_spec = importlib.util.spec_from_file_location("filters", Path(__file__).parents[1] / "filter/ironbench.py")
assert _spec is not None
assert _spec.loader is not None
filters = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(filters)

LAYOUT = {
    "name": "eight",
    "app": "0-1",
    "database": "2-3",
    "cache": "4-5",
    "load_generator": "6-7",
    "housekeeping": "4-5",
}


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", [0]), ("0-2,5", [0, 1, 2, 5]), (3, [3]), ("", []), ("7,1", [7, 1])],
)
def test_cpu_list(text, cpus):
    assert filters.cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["2-1", "a", "0,,1", "0-", "0,0", "0-2,1", "-1", True])
def test_what_is_no_cpu_list_is_refused_in_one_sentence(text):
    with pytest.raises(AnsibleFilterError) as refused:
        filters.cpu_list(text)
    assert str(refused.value).rstrip(".").count(". ") == 0


def test_scram_verifier_of_rfc_7677():
    """The RFC's example: user "user", password "pencil", this salt, 4096 iterations.

    ServerSignature = HMAC(ServerKey, AuthMessage) is published there, so ServerKey can be checked.
    """
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    verifier = filters.scram_verifier("pencil", salt.decode("latin-1"), encoding="latin-1")
    keys = verifier.split("$")[2]
    message = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    server_key = base64.b64decode(keys.split(":")[1])
    signature = base64.b64encode(hmac.digest(server_key, message.encode(), "sha256")).decode()
    assert signature == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_articles_layout_has_no_fault():
    assert filters.layout_findings(LAYOUT) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"app": "0-2"}, "CPU 2 to app and to database"),
        ({"load_generator": "0,7"}, "CPU 0 to app and to load_generator"),
        ({"housekeeping": "0"}, "CPU 0 to app and to housekeeping"),
        ({"cache": ""}, "no 'cache'"),
        ({"gpu": "1"}, "knows no 'gpu'"),
        ({"app": "x"}, "core_layout.app"),
    ],
)
def test_a_faulty_layout_is_named(change, words):
    (finding,) = filters.layout_findings(LAYOUT | change)
    assert words in finding


def test_no_layout_at_all():
    assert len(filters.layout_findings(None)) == 1


def test_a_packed_layout_may_share():
    assert filters.layout_findings(dict.fromkeys(LAYOUT, "0") | {"name": "one", "packed": True}) == []


def test_missing_cpus():
    assert filters.missing_cpus(LAYOUT, "0-7") == []
    (finding,) = filters.missing_cpus(LAYOUT, "0-6")
    assert "load_generator the CPUs 6-7" in finding


def test_unknown_variables_name_the_near_one():
    specs = {"bench": ["bench_protocol"], "bench_service": ["bench_service_unit"]}
    names = ["bench_protocol", "bench_service_unit", "bench_protokol", "other"]
    (finding,) = filters.unknown_variables(names, specs)
    assert finding == "The role bench has no variable bench_protokol: did you mean bench_protocol?"


def test_postgresql_of_a_debian():
    assert [filters.debian_postgresql(release) for release in ("12", "13")] == ["15", "17"]
    with pytest.raises(AnsibleFilterError, match="Debian 11 is not known: use 12 or 13"):
        filters.debian_postgresql("11")


@pytest.mark.parametrize("cpus", range(1, 13))
def test_what_ironbench_layout_prints_passes_the_preflight(cpus):
    advice = advise(understand("a machine", [{"cpu": str(cpu)} for cpu in range(cpus)]))
    layout = yaml.safe_load(text(advice))["core_layout"]
    assert filters.layout_findings(layout) == []
    assert filters.missing_cpus(layout, f"0-{cpus - 1}") == []


# --- several hosts -----------------------------------------------------------------------------

APP, DATA, LOAD = "10.0.0.11", "10.0.0.12", "10.0.0.13"


def bench(**changes):
    """Three hosts as inventory/three_hosts has them; ``changes`` by host."""
    common = {
        "auth_app_address": APP,
        "auth_app_database_address": DATA,
        "auth_app_cache_address": DATA,
        "postgresql_address": "127.0.0.1",
        "pgbouncer_address": DATA,
        "pgbouncer_clients": [APP],
        "valkey_address": DATA,
        "bench_base_url": f"http://{APP}:8000",
    }
    groups = {
        "app1": (APP, ["app"]),
        "data1": (DATA, ["database", "cache"]),
        "load1": (LOAD, ["load_generators"]),
    }
    return {
        name: common | {"bench_address": address, "groups": own} | changes.get(name, {})
        for name, (address, own) in groups.items()
    }


def test_addresses_that_fit_have_no_fault():
    assert filters.peer_findings(bench()) == []
    alone = dict.fromkeys(("auth_app", "postgresql", "pgbouncer", "valkey"), "127.0.0.1")
    own = {f"{role}_address": address for role, address in alone.items()}
    own |= {"groups": list(filters.BENCH_GROUPS)}
    assert filters.peer_findings({"box": own}) == []
    assert filters.peer_findings({"box": own, "other": own}) == [], "two benches of one machine each"


@pytest.mark.parametrize(
    ("host", "change", "words"),
    [
        (
            "data1",
            {"valkey_address": "0.0.0.0"},
            "valkey_address of data1 is 0.0.0.0, which is every address",
        ),
        ("data1", {"pgbouncer_address": "::"}, "pgbouncer_address of data1 is ::, which is every address"),
        ("app1", {"auth_app_address": "8.8.8.8"}, "auth_app_address of app1 is 8.8.8.8, which is a public"),
        ("app1", {"auth_app_address": "app.example"}, "is 'app.example', which is no IP address"),
        ("data1", {"valkey_address": "127.0.0.1"}, "which other hosts cannot reach"),
        ("load1", {"bench_address": ""}, "bench_address of load1 is missing"),
        ("app1", {"auth_app_cache_address": "10.0.0.9"}, "valkey_address of data1 is 10.0.0.12: give both"),
        ("data1", {"pgbouncer_clients": ["10.0.0.9"]}, "has 10.0.0.11: add that"),
        (
            "load1",
            {"bench_base_url": "http://127.0.0.1:8000"},
            "bench_base_url of load1 is http://127.0.0.1:8000",
        ),
        ("app1", {"bench_address": "10.0.0.99"}, "bench_address of app1 is 10.0.0.99"),
        ("load1", {"groups": []}, "no host in the group load_generators"),
    ],
)
def test_addresses_that_cannot_be_are_one_sentence(host, change, words):
    (finding,) = filters.peer_findings(bench(**{host: change}))
    assert words in finding
    assert finding.count(": ") == 1 or "http" in finding


def test_a_host_of_several_needs_the_cpus_of_its_own_groups_only():
    layout = {"name": "load-4", "load_generator": "0-2", "housekeeping": "3"}
    assert filters.layout_findings(layout, ["load_generators", "sandbox"]) == []
    assert "no 'app'" in filters.layout_findings(layout, ["app"])[0]
    assert filters.missing_cpus(layout, "0-3") == []
    assert len(filters.missing_cpus(layout, "0-2")) == 1


def test_which_steps_failed():
    hostvars = {
        "a": {"__started": {"rc": 0, "stdout": "{}"}, "__shared": {"skipped": True, "changed": False}},
        "b": {"__started": {"rc": 2, "stderr": "ironbench: PostgreSQL is away.\nmore", "stdout": ""}},
        "c": {"__started": {"unreachable": True, "msg": "Connection timed out"}},
        "d": {},
    }
    assert filters.step_failures(hostvars, list("abcd"), ["__started", "__shared"]) == [
        {"host": "b", "detail": "PostgreSQL is away."},
        {"host": "c", "detail": "it was not reached: Connection timed out"},
    ]
    assert filters.step_failures(hostvars, ["a", "d"], ["__started", "__shared"]) == []
