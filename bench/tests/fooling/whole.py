"""A whole plan of one experiment, sealed run by run from raw outputs that a test makes up, and what comes of it."""

from ironbench import bundle as bundles
from ironbench.plan import make_plan, make_session
from ironbench.records import SCHEMA, Claim, ClaimKind, Claims, Comparison, Protocol
from ironbench.report import compute

from tests.made import due, experiment, study, write_raw

CPU = Comparison(experiment="signin", metric="app_cpu_ms", variant="final", against="baseline")
LATENCY = Comparison(experiment="signin", metric="latency_mean", variant="final", against="baseline")


def claim(name, comparison, kind: ClaimKind = "direction", **fields):
    return Claim(id=name, says=f"{name}.", source="made up", kind=kind, comparison=comparison, **fields)


CLAIMS = Claims(
    schema=SCHEMA,
    claims=[
        claim("cheaper", CPU, expects="lower"),
        claim("as-cheap", CPU, expects="same"),
        claim("a-quarter-off", CPU, "ratio", ratio=0.75, tolerance=0.1),
        claim("faster", LATENCY, expects="lower"),
    ],
)


def measured(
    tmp_path, of_run, *, bundle=None, blocks=10, runs=None, retries=1, a_a=False, seed=None, **changes
):
    """Seal ``runs`` runs of a plan, or all that is left of it, and return its bundle and results.

    ``of_run`` gives ``write_raw`` what is special of a planned run.
    """
    bundle = bundle or _planned(tmp_path, blocks, retries, a_a=a_a, seed=seed, **changes)
    plan = bundles.read_plan(bundle)
    done = 0
    while (runs is None or done < runs) and (run := due(bundle)):
        session = make_session(plan, run)
        bundles.note_attempt(bundle, session)
        bundles.seal(bundle, write_raw(tmp_path / "raw" / run.key, session, **of_run(run)), started_ns=None)
        done += 1
    return bundle, compute(bundle)


def _planned(tmp_path, blocks, retries, *, a_a, seed, **changes):
    made = experiment(variants=["baseline", "final"], **changes)
    of = study(
        experiments={"signin": made},
        protocols={"whole": Protocol(blocks=blocks, warmup_s=2, window_s=8, a_a=a_a)},
    )
    plan = make_plan(
        of,
        "whole",
        plan_id="whole",
        seed=7 if seed is None else seed,
        seed_given=seed is not None,
        retries=retries,
        experiments=[],
        variants=[],
    )
    return bundles.create(tmp_path / "results", plan, of, tmp_path, claims=CLAIMS)


def words(results):
    """Return the verdicts by claim."""
    return {verdict.claim.id: verdict.word for verdict in results.claims}


def reason(results, name):
    return next(verdict.reason for verdict in results.claims if verdict.claim.id == name)


def calls(results, comparison=CPU):
    return next(effect.call for effect in results.effects if effect.comparison == comparison)
