"""The study is checked before anything is planned, and the article's study passes."""

import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from ironbench.errors import IronbenchError
from ironbench.study import load_study, select, study_digest

from .made import background, experiment, replace, study

REPOSITORY = Path(__file__).parents[2]
IRON_TRACK = REPOSITORY / "studies" / "iron_track"


def written(tmp_path, made):
    (tmp_path / "experiments.yml").write_bytes(msgspec.yaml.encode(made))
    return tmp_path


def test_article_study_is_valid():
    made = load_study(IRON_TRACK)
    assert made.default == ["signup", "signin", "me"]
    assert list(made.experiments)[:4] == ["signup", "signin", "me", "mixed-inline-or-pool"]
    assert made.baseline == "baseline"


def test_the_study_of_the_tests_on_hosts_is_valid():
    assert load_study(REPOSITORY / "molecule/site/study").protocols.keys() == {"tiny", "kill"}


@pytest.mark.parametrize("protocol", ["quick", "rigorous"])
def test_article_windows_hold_whole_bursts(protocol):
    made = load_study(IRON_TRACK)
    loads = [one.load for one in made.experiments.values() if one.load.arrivals == "wrk2-phase"]
    assert len(loads) > 3
    for load in loads:
        bursts = made.protocols[protocol].window_s * load.rate / load.connections
        assert bursts == pytest.approx(round(bursts))


def test_every_variant_of_the_article_study_is_one_of_the_app():
    told = subprocess.run(["auth-app", "variants", "--json"], check=True, capture_output=True).stdout
    wanted = {
        experiment.cells[name].variant if experiment.cells else name
        for experiment in load_study(IRON_TRACK).experiments.values()
        for name in experiment.variants
    }
    assert wanted <= json.loads(told).keys()


def test_round_trip(tmp_path):
    assert load_study(written(tmp_path, study())) == study()


@pytest.mark.parametrize(
    ("protocol", "experiments", "variants", "sentence"),
    [
        ("slow", [], [], "study made has no protocol 'slow'; it has quick, short."),
        ("quick", ["ping"], [], "study made has no experiment 'ping'; it has signin, me, all."),
        ("quick", [], ["fast"], "study made has no variant 'fast'; it has baseline, optimization-1, final."),
    ],
)
def test_unknown_names_in_one_sentence(protocol, experiments, variants, sentence):
    with pytest.raises(IronbenchError) as raised:
        select(study(), protocol, experiments, variants)
    assert str(raised.value) == sentence


def test_experiment_without_chosen_variant():
    made = study(experiments={"a": experiment(variants=["x"]), "b": experiment(variants=["y"])})
    with pytest.raises(IronbenchError, match="experiment b has none of the chosen variants; it has y"):
        select(made, "quick", [], ["x"])


def test_variants_keep_the_study_order():
    _, chosen = select(study(), "quick", ["me"], ["final", "baseline"])
    assert list(chosen) == ["me"]
    assert chosen["me"].variants == ["baseline", "final"]


BAD = {
    "schema 99": study(schema=99),
    "at least one protocol": study(protocols={}),
    "name 'Sign.in'": study(experiments={"Sign.in": experiment()}),
    "blocks >= 1": study(protocols={"quick": replace(study().protocols["quick"], blocks=0)}),
    "each named once": study(experiments={"a": experiment(variants=["x", "x"])}),
    "rate > 0": study(experiments={"a": experiment(rate=0.0)}),
    "both json and form": study(
        experiments={"a": experiment(request=replace(experiment().request, json={"a": "b"}))}
    ),
    "must start with /": study(
        experiments={"a": experiment(request=replace(experiment().request, path="x"))}
    ),
    "seeds no users": study(experiments={"a": experiment(users=0)}),
    "divide evenly": study(experiments={"a": experiment(load=replace(experiment().load, connections=3))}),
    "a cannot run protocol quick: 2 s at 0.1 requests per second are too short for a burst": study(
        experiments={"a": experiment(rate=0.1)}
    ),
}


def mixed(*, beside_load=None, beside_request=None, **changes):
    """Make a study of one experiment with a background, both with changes."""
    made = background()
    beside = replace(
        made,
        load=replace(made.load, **beside_load or {}),
        request=replace(made.request, **beside_request or {}),
    )
    return study(experiments={"a": experiment(background=beside, **changes)})


def by_wrk2(*, window_s=8.0, **load):
    """Make a study of one experiment that wrk2 is to run."""
    load = replace(experiment().load, backend="wrk2", **load)
    protocols = {"quick": replace(study().protocols["quick"], window_s=window_s)}
    return study(protocols=protocols, experiments={"a": experiment(load=load)})


BAD |= {
    "a has a background that needs rate > 0": mixed(beside_load={"rate": 0.0}),
    "a has a background that needs connections that divide evenly": mixed(beside_load={"connections": 3}),
    "a has a background that gives both json and form": mixed(beside_request={"form": {"a": "b"}}),
    "a has a background that has path 'x'": mixed(beside_request={"path": "x"}),
    "a has a background that uses {user.FIELD} but seeds no users": mixed(
        beside_request={"json": {"email": "{user.email}"}}, request=background().request, users=0
    ),
    "a cannot run protocol quick: backend must be ironbench in both": mixed(beside_load={"backend": "wrk2"}),
    "equally long, and with whole bursts of wrk2-phase they last 8.000 and 8.400 s": mixed(
        beside_load={"arrivals": "wrk2-phase", "rate": 5.0, "connections": 6}
    ),
    "2 s at 0.2 requests per second are too short for a request": mixed(beside_load={"rate": 0.2}),
    "with the backend wrk2 load.arrivals must be wrk2-phase": by_wrk2(arrivals="even"),
    "with the backend wrk2 load.rate must be a whole number": by_wrk2(rate=2.5),
    "with the backend wrk2 load.placement must be as_landed": by_wrk2(placement="balanced"),
    "protocol quick: with the backend wrk2 window_s must be whole seconds": by_wrk2(window_s=8.5),
}


def test_what_the_bad_ones_are_made_from_is_good(tmp_path):
    for made in (mixed(), by_wrk2()):
        assert load_study(written(tmp_path, made)) == made


@pytest.mark.parametrize("what", BAD)
def test_contradictions_are_refused(tmp_path, what):
    with pytest.raises(IronbenchError, match=re.escape(what)):
        load_study(written(tmp_path, BAD[what]))


def test_directory_without_study(tmp_path):
    with pytest.raises(IronbenchError, match=r"has no readable experiments\.yml"):
        load_study(tmp_path)


def test_unknown_field_is_refused(tmp_path):
    (tmp_path / "experiments.yml").write_text("schema: 1\nnaem: x\n")
    with pytest.raises(IronbenchError, match="is not a study"):
        load_study(tmp_path)


def test_digest_tells_studies_apart():
    assert study_digest(study()) == study_digest(study())
    assert study_digest(study()) != study_digest(study(title="Other"))
