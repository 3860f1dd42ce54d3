"""Flame graphs without py-spy: stacks, shares, drawings, verdicts, and recordings in their bundle."""

import gzip
import io
import json
import re
import tarfile
from xml.etree import ElementTree as ET

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.claims import check_claims
from ironbench.errors import IronbenchError
from ironbench.flame import files
from ironbench.flame.layout import layout
from ironbench.flame.plan import make_flame_plan, make_recording, next_recording
from ironbench.flame.stacks import folded, has, merge, parse, share, speedscope, working
from ironbench.records import (
    SCHEMA,
    Claim,
    Claims,
    Collected,
    FlameDifference,
    FlameGraph,
    FlameGraphs,
    Load,
    NamedFunction,
    Recorded,
    Results,
    Segment,
    ShareOf,
)
from ironbench.report import compute, write_report
from ironbench.report.flame_graphs import in_room
from ironbench.study import check_study

from .made import load_result, plan, replace, reseal, study

RAW = """main (a.py:1);sign (codec.py:7);prepare_key (jwt.py:343) 60
main (a.py:1);sign (codec.py:8) 10
main (a.py:2);verify_secret (argon2/low_level.py:9) 10
main (a.py:3) 20
"""
SIGN = NamedFunction(title="signing", frames=r"^sign \(")
KEY = NamedFunction(title="key", frames=r"^prepare_key \(")
ARGON2 = NamedFunction(title="hash", frames=r"^verify_secret \(argon2/")

SPEC = FlameGraphs(
    recordings=6,
    seconds=2,
    waiting=r"^wait \(",
    graphs={
        "signin": FlameGraph(
            hz=100,
            experiment="signin",
            load=Load(rate=2.0, connections=4, threads=1, arrivals="wrk2-phase"),
            variants=["baseline", "final"],
        )
    },
    functions={"sign": SIGN, "key": KEY, "argon2": ARGON2},
    differences=[FlameDifference(graph="signin", before="baseline", after="final")],
)
STUDY = study(flame_graphs=SPEC)


# --- stacks ------------------------------------------------------------------------------------


def test_stacks_are_counted_by_function_and_not_by_line():
    stacks = parse(RAW, "raw")
    assert stacks == {
        ("main (a.py)", "sign (codec.py)", "prepare_key (jwt.py)"): 60,
        ("main (a.py)", "sign (codec.py)"): 10,
        ("main (a.py)", "verify_secret (argon2/low_level.py)"): 10,
        ("main (a.py)",): 20,
    }
    assert parse(folded(stacks), "again") == stacks
    assert merge([stacks, stacks]) == {stack: 2 * count for stack, count in stacks.items()}


def test_a_thread_outside_of_any_function_is_kept():
    assert parse(" 6\nmain (a.py:1) 2\n", "raw") == {("(no frame)",): 6, ("main (a.py)",): 2}


def test_what_is_no_stack_is_named():
    with pytest.raises(IronbenchError, match="raw, line 2, is no stack"):
        parse("main (a.py:1) 3\nError: no such process\n", "raw")


def test_shares_are_inclusive():
    stacks = parse(RAW, "raw")
    assert share(stacks, SIGN) == pytest.approx(70)
    assert share(stacks, KEY) == pytest.approx(60)
    assert share(stacks, replace(SIGN, times=2)) == pytest.approx(35)
    assert share(stacks, replace(SIGN, without=r"^prepare_key")) == pytest.approx(10)
    assert share(parse("", "none"), SIGN) is None


def test_a_function_that_calls_itself_counts_once():
    assert has(("sign (a)", "sign (a)"), SIGN)
    assert share(parse("sign (a:1);sign (a:2) 3\nmain (a:1) 1\n", "raw"), SIGN) == pytest.approx(75)


def test_threads_with_nothing_to_do_are_left_out():
    stacks = parse("run (a:1);wait (threading:1) 90\nrun (a:1);wait (x:1);sign (c:1) 10\n", "raw")
    assert working(stacks, SPEC.waiting) == {("run (a)", "wait (x)", "sign (c)"): 10}


def test_speedscope_holds_every_sample():
    told = speedscope(parse(RAW, "raw"), "x")
    (profile,) = told["profiles"]
    assert profile["endValue"] == sum(profile["weights"]) == 100
    names = [frame["name"] for frame in told["shared"]["frames"]]
    back = {
        tuple(names[i] for i in sample): weight
        for sample, weight in zip(profile["samples"], profile["weights"], strict=True)
    }
    assert back == parse(RAW, "raw")


# --- layout ------------------------------------------------------------------------------------


def test_frames_lie_on_what_called_them():
    frames = {frame.name: frame for frame in layout(parse(RAW, "raw"), None, 0.0)}
    assert (frames["all"].start, frames["all"].width, frames["all"].before) == (0, 1, 100)
    sign, key = frames["sign (codec.py)"], frames["prepare_key (jwt.py)"]
    assert (sign.depth, sign.width) == (2, 0.7)
    assert (key.depth, key.width, key.start) == (3, 0.6, sign.start)
    assert key.after is None
    assert "prepare_key (jwt.py)" not in {f.name for f in layout(parse(RAW, "raw"), None, 0.65)}
    assert layout({}, None, 0.0) == []


def test_what_only_one_side_has_stays_visible_in_a_difference():
    before = {("main", "sign", "prepare_key"): 60.0, ("main", "hash"): 10.0}
    after = {("main", "sign"): 5.0, ("main", "hash"): 12.0, ("main", "pool"): 3.0}
    frames = {frame.name: frame for frame in layout(before, after, 0.0)}
    assert (frames["prepare_key"].before, frames["prepare_key"].after) == (60, 0)
    assert (frames["pool"].before, frames["pool"].after) == (0, 3)
    whole = 60 + 12 + 3
    assert frames["all"].width == 1
    assert frames["prepare_key"].width == pytest.approx(60 / whole, abs=1e-6)
    # Children never reach beyond what called them.
    assert frames["hash"].start + frames["hash"].width <= 1


# --- plan --------------------------------------------------------------------------------------


def make(seed=3, **changes):
    return make_flame_plan(STUDY, "made", seed=seed, graphs=[], variants=[], **changes)


def test_plan_has_every_variant_in_every_block_in_the_order_of_the_seed():
    made = make()
    assert made == make()
    assert made.runs != make(seed=4).runs
    assert [run.position for run in made.runs] == list(range(1, 13))
    for block in range(1, 7):
        assert {run.variant for run in made.runs if run.block == block} == {"baseline", "final"}
    assert len(make(recordings=2).runs) == 4
    assert {
        run.variant for run in make_flame_plan(STUDY, "x", seed=1, graphs=["signin"], variants=["final"]).runs
    } == {"final"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"graphs": ["me"], "variants": []}, "has no flame graph 'me'; it has signin"),
        ({"graphs": [], "variants": ["x"]}, "has the variant 'x'; there are baseline, final"),
    ],
)
def test_unknown_names_are_refused(given, sentence):
    with pytest.raises(IronbenchError, match=sentence):
        make_flame_plan(STUDY, "made", seed=1, **given)


def test_session_has_room_for_every_mode():
    made = make()
    session = make_recording(made, made.runs[0])
    assert session.recording is not None
    assert sorted(session.recording.modes) == ["idle", "native", "none", "published"]
    assert session.window_s > 4 * SPEC.seconds
    assert session.experiment.load.rate == 2
    assert session.experiment.users == 1
    recordings = [make_recording(made, run).recording for run in made.runs]
    orders = {tuple(one.modes) for one in recordings if one is not None}
    assert len(orders) > 3


# --- a bundle ----------------------------------------------------------------------------------

OF = ShareOf(graph="signin", variant="baseline", function="sign")
CLAIM = Claim(
    id="sign", says="x", source="y", kind="share", published={"low": 66, "high": 66}, tolerance=0.25,
    share=OF,
)  # fmt: skip
NONE = replace(
    CLAIM, id="none", published={"low": 0, "high": 0}, tolerance=None, points=0.5,
    share=ShareOf(graph="signin", variant="final", function="key"),
)  # fmt: skip
S = 10**9
FINAL = "main (a.py:1);sign (codec.py:8) 5\nmain (a.py:3) 95\n"


def own_bundle(tmp_path, made, claims=(CLAIM, NONE)):
    alone = replace(plan(), id="made", protocol="flamegraph", experiments={}, runs=[])
    bundle = bundles.create(
        tmp_path / "results", alone, STUDY, tmp_path, claims=Claims(schema=SCHEMA, claims=list(claims))
    )
    files.write_plan(bundle, made)
    return bundle


def handed_in(made, run, *, texts=None, gate=None, end_s=60, done_s=1.0, measured=None):
    """Make what one host hands in of a recording: a mode every 10 s, a request a second."""
    session = make_recording(made, run)
    load = load_result([50_000_000] * 60, first_send_ns=0, window_end_ns=end_s * S, drained_ns=61 * S)
    load = replace(load, gate=gate or load.gate)
    texts = texts or dict.fromkeys(
        ("published", "idle", "native"), RAW if run.variant == "baseline" else FINAL
    )
    assert session.recording is not None
    segments = [
        Segment(
            mode=mode, from_ns=(10 * i + 2) * S, until_ns=(10 * i + 8) * S, samples=100 if mode != "none" else 0,
            app_cpu_ms=600.0 if mode == "none" else 660.0, ended_cpu_ms=60.0, spy_cpu_ms=0.0 if mode == "none" else 300.0,
        )
        for i, mode in enumerate(session.recording.modes)
    ]  # fmt: skip
    recorded = Recorded(
        schema=SCHEMA, plan=made.id, run=run, host="box", py_spy="py-spy 0.4.3", pids=[7], hz=100, app_cpus="0",
        spy_cpus="5", segments=segments,
    )  # fmt: skip
    rows = ["connection,intended_ns,sent_ns,done_ns,outcome"]
    rows += [f"0,0,0,{round((at + 0.5) * done_s * S)},204" for at in range(60)]
    content = {
        "recording.json": msgspec.json.encode(recorded),
        "session.json": msgspec.json.encode(session),
        "load/load.json": msgspec.json.encode(load),
        "load/requests.csv.gz": gzip.compress("\n".join(rows).encode()),
        **{f"{mode}.7.folded": text.encode() for mode, text in texts.items()},
    }
    if measured is not None:
        content["measured.json"] = json.dumps({"schema": 1, "facts": measured}).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, raw in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return [
        Collected(
            schema=SCHEMA, host="box", key=run.key, generator_exit=0, started_ns=0, archive=packed.getvalue()
        )
    ]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Make a bundle with all recordings; return it."""
    made = make()
    bundle = own_bundle(tmp_path_factory.mktemp("flame"), made)
    for run in made.runs:
        files.seal_recording(bundle, handed_in(made, run))
    return bundle


def test_recordings_are_sealed_in_order_with_their_requests(recorded):
    made = files.read_plan(recorded)
    assert made is not None
    found, damaged = files.read_recordings(recorded, made)
    assert [one.run for one in found] == made.runs
    assert damaged == []
    assert {segment.requests for one in found for segment in one.segments} == {6}
    assert next_recording(made, {one.run.key for one in found}) is None
    assert files.read_stacks(recorded, found[0], "published").total() == 100


def test_verdicts_rest_on_the_interval(recorded):
    verdicts = {verdict.claim.id: verdict for verdict in compute(recorded).claims}
    assert verdicts["sign"].word == "holds here"
    assert "sign has 70.0 % (70.0..70.0) of 600 samples of signin, baseline" in verdicts["sign"].reason
    assert verdicts["none"].word == "holds here"
    refuted = replace(CLAIM, share=replace(OF, variant="final"))
    assert verdict_of(recorded, refuted) == "does not hold here"


def verdict_of(bundle, claim):
    from ironbench.flame.summary import judge_share  # noqa: PLC0415
    from ironbench.report.flames import read_flames  # noqa: PLC0415

    flames, _ = read_flames(bundle)
    return judge_share(claim, flames and flames.summary())[0]


def test_too_few_recordings_are_no_verdict(tmp_path):
    made = make(recordings=5)
    bundle = own_bundle(tmp_path, made)
    assert verdict_of(bundle, CLAIM) == "not testable here"
    for run in made.runs:
        files.seal_recording(bundle, handed_in(made, run))
    assert verdict_of(bundle, CLAIM) == "undecided"


def test_bundle_without_flame_graphs(tmp_path):
    bundle = bundles.create(
        tmp_path / "r", plan(), STUDY, tmp_path, claims=Claims(schema=SCHEMA, claims=[CLAIM])
    )
    (verdict,) = compute(bundle).claims
    assert verdict.word == "not testable here"
    assert "this bundle has none" in verdict.reason


def test_cost_is_that_of_the_same_sessions(recorded):
    summary = compute(recorded).flame_graphs
    assert summary is not None
    costs = {(cost.variant, cost.mode): cost for cost in summary.costs}
    cost = costs["baseline", "published"]
    assert (cost.without_ms, cost.with_ms) == (100.0, 110.0)
    assert (cost.value, cost.low) == (pytest.approx(1.1), pytest.approx(1.1))
    assert cost.spy_share == pytest.approx(0.05)
    assert cost.ended_share == pytest.approx(60 / 660)
    assert costs["baseline", "none"].value == pytest.approx(1)


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (45, "RSAAlgorithm.prepare_key (jwt/algorithms.py)"),
        (30, "RSAAlgorithm.prepare_key"),
        (12, "prepare_key"),
        (6, "prepa…"),
    ],
)
def test_a_narrow_frame_keeps_the_name_of_its_function(room, shown):
    assert in_room("RSAAlgorithm.prepare_key (jwt/algorithms.py)", room) == shown


def test_report_draws_every_graph_and_the_difference(recorded):
    results, text = write_report(recorded)
    html = (recorded / "report.html").read_text()
    assert msgspec.json.decode((recorded / "results.json").read_bytes(), type=Results) == results
    assert "Shares of named functions" in text
    for name in (
        "signin.baseline.published",
        "signin.final.idle",
        "signin.final.native",
        "signin.baseline-to-final",
    ):
        drawn = (recorded / "flamegraphs" / f"{name}.svg").read_text()
        root = ET.fromstring(drawn)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "script" not in drawn
    difference = (recorded / "flamegraphs/signin.baseline-to-final.svg").read_text()
    # 60 samples of 10 ms in each recording, over the 6 requests that were answered meanwhile.
    assert "prepare_key (jwt.py): 100.000 to 0.000 ms per request (-100.000)" in difference
    assert "prepare_key (jwt.py)" in html
    told = json.loads((recorded / "flamegraphs/signin.baseline.published.speedscope.json").read_bytes())
    assert told["profiles"][0]["endValue"] == 600
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_same_bytes_every_time(recorded):
    write_report(recorded)
    names = ["report.html", "results.json", "flamegraphs/signin.baseline-to-final.svg"]
    before = [(recorded / name).read_bytes() for name in names]
    write_report(recorded)
    assert [(recorded / name).read_bytes() for name in names] == before


def test_damaged_stacks_are_named_and_the_rest_is_reported(tmp_path):
    made = make(recordings=1)
    bundle = own_bundle(tmp_path, made)
    for run in made.runs:
        files.seal_recording(bundle, handed_in(made, run))
    stacks = bundle / "flamegraphs/signin/01/baseline/published.7.folded"
    stacks.write_text("nonsense\n")
    reseal(bundle, stacks)
    results = compute(bundle)
    assert [damage.detail for damage in results.damaged] == [
        "flamegraphs/signin/01/baseline/published.7.folded, line 1, is no stack with a count; record it again."
    ]
    assert results.flame_graphs is not None
    assert {share.variant for share in results.flame_graphs.shares if share.mode == "published"} == {"final"}


def test_recordings_that_were_begun_and_not_sealed_are_told(tmp_path, run):
    made = make()
    bundle = own_bundle(tmp_path, made)
    for _ in range(3):  # killed twice
        code, out, _ = run("flamegraph", "pending", bundle, "--begin")
        assert (code, json.loads(out)["session"]["run"]["position"]) == (0, 1)
    assert "begun and not sealed" in write_report(bundle)[1], "two of them; the third may be under way"
    files.seal_recording(bundle, handed_in(made, made.runs[0]))
    run("flamegraph", "pending", bundle)
    flames = compute(bundle).flame_graphs
    assert flames is not None
    first = made.runs[0]
    assert flames.interrupted == {f"{first.experiment}, {first.variant}": 2}


# --- what is not sealed ------------------------------------------------------------------------


def test_another_recording_than_the_pending_one_is_not_sealed(tmp_path):
    made = make()
    bundle = own_bundle(tmp_path, made)
    with pytest.raises(IronbenchError, match=f"the pending one is {re.escape(made.runs[0].key)}"):
        files.seal_recording(bundle, handed_in(made, made.runs[1]))
    files.seal_recording(bundle, handed_in(made, made.runs[0]))
    with pytest.raises(IronbenchError, match="was not sealed"):
        files.seal_recording(bundle, handed_in(made, made.runs[0]))
    assert not (bundle / "flamegraphs/.sealing").exists()


def test_recording_beyond_the_load_is_not_sealed(tmp_path):
    made = make()
    bundle = own_bundle(tmp_path, made)
    with pytest.raises(IronbenchError, match=r"outside of the load's window, 3\.0 s after its end"):
        files.seal_recording(bundle, handed_in(made, made.runs[0], end_s=35))


def test_wrong_answers_are_not_profiled(tmp_path):
    made = make()
    bundle = own_bundle(tmp_path, made)
    gate = replace(load_result().gate, ok=False, status=500, detail="status 500, not 204.")
    with pytest.raises(IronbenchError, match="does not answer as expected"):
        files.seal_recording(bundle, handed_in(made, made.runs[0], gate=gate))


def test_plan_is_written_once(tmp_path):
    bundle = own_bundle(tmp_path, make())
    with pytest.raises(IronbenchError, match="is there already"):
        files.write_plan(bundle, make())


# --- study and claims --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"waiting": "("}, "is no regular expression"),
        ({"recordings": 0}, "recordings >= 1"),
        ({"seconds": 0}, "seconds >= 1"),
        ({"functions": {"x": NamedFunction(title="x", frames="")}}, "function x needs frames"),
        (
            {"differences": [], "graphs": {"g": replace(SPEC.graphs["signin"], experiment="none")}},
            "needs a request, or an experiment of",
        ),
        (
            {"graphs": {"signin": replace(SPEC.graphs["signin"], hz=0)}},
            "has 0 Hz and 2 variants; it needs 1 to 1000",
        ),
        (
            {"differences": [FlameDifference(graph="signin", before="x", after="final")]},
            "needs that graph and both",
        ),
    ],
)
def test_bad_flame_graphs_are_refused(change, complaint):
    with pytest.raises(IronbenchError, match=complaint):
        check_study(study(flame_graphs=replace(SPEC, **change)), "here")


@pytest.mark.parametrize(
    ("claim", "complaint"),
    [
        (replace(CLAIM, share=None), "gives no `share`"),
        (replace(CLAIM, tolerance=None), "needs either `tolerance`, a part, or `points`"),
        (replace(CLAIM, points=1.0), "needs either `tolerance`, a part, or `points`"),
        (replace(CLAIM, published={"x": 1}), "gives no low and high"),
        (replace(CLAIM, share=replace(OF, graph="me")), "rests on the flame graph 'me'"),
        (replace(CLAIM, share=replace(OF, variant="beyond")), "rests on the variant 'beyond'"),
        (
            replace(CLAIM, share=replace(OF, function="x")),
            "rests on the function 'x', and there are sign",
        ),
    ],
)
def test_claims_on_shares_name_what_is_there(claim, complaint):
    with pytest.raises(IronbenchError, match=complaint):
        check_claims(Claims(schema=SCHEMA, claims=[claim]), STUDY, "here")
