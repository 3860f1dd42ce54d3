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
