"""The typed records that every part of ironbench reads and writes.

Times are nanoseconds of CLOCK_REALTIME (``*_ns``) unless a name says otherwise, durations are
seconds (``*_s``) or milliseconds (``*_ms``), CPU work is milliseconds of one CPU (``cpu_ms``).
A record that goes to disk carries ``schema``; a reader refuses a number that it does not know.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = 1

Arrivals = Literal["even", "poisson", "wrk2-phase"]
"""When requests are due: one by one at equal distances; one by one with exponential distances; or each
connection at equal distances of its own, all within a few ms of each other, as wrk2's are."""

Placement = Literal["as_landed", "balanced"]
"""Which of the app's workers the connections belong to: as they came to lie, or reconnected until every
worker has its share."""

Backend = Literal["ironbench", "wrk2"]
"""What makes the load: the built-in generator, or wrk2."""

Factor = Literal[
    "variant", "request", "rate", "connections", "threads", "arrivals", "placement", "backend", "repetition"
]
"""What the sides of an experiment may differ by; ``repetition`` is nothing but having been measured again."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all records: immutable; an unknown field is refused.

    Subclasses repeat ``kw_only``, which is not inherited, and ``frozen``, for type checkers.
    """


# --- study: what is measured -------------------------------------------------------------------


class Expectation(Record, frozen=True, kw_only=True):
    """What a correct answer looks like; the gate and every response are held against it."""

    status: int
    json_keys: list[str] = []
    """Keys that the JSON object in the body must have (gate only)."""
    cookies: list[str] = []
    """Cookies that the response must set (gate only)."""


class RequestTemplate(Record, frozen=True, kw_only=True):
    """One request as data.

    Strings may hold ``{unique}`` (never the same twice, across connections, runs and sessions) and
    ``{user.FIELD}`` (a field of the seeded user whose turn it is, round robin). At most one of
    ``json`` and ``form`` is given.
    """

    method: Literal["GET", "POST", "PATCH"]
    path: str
    headers: dict[str, str] = {}
    cookies: dict[str, str] = {}
    json: dict[str, str] | None = None
    form: dict[str, str] | None = None
    expect: Expectation


class Load(Record, frozen=True, kw_only=True):
    """Open-loop load: ``rate`` requests per second over ``connections``, split over ``threads``.

    Each thread has an equal share of the connections and of the schedule, as wrk2's -t and -c have it.
    """

    rate: float
    connections: int
    threads: int
    arrivals: Arrivals
    placement: Placement = "as_landed"
    backend: Backend = "ironbench"


class Background(Record, frozen=True, kw_only=True):
    """A second load beside an experiment's own, in the same window and from the same generator.

    It has connections, arrivals, gate, counts and histograms of its own, and walks over the same users.
    """

    request: RequestTemplate
    load: Load


class LoadChange(Record, frozen=True, kw_only=True):
    """What a cell has otherwise than its experiment's load; None: as there."""

    rate: float | None = None
    connections: int | None = None
    threads: int | None = None
    arrivals: Arrivals | None = None
    placement: Placement | None = None
    backend: Backend | None = None


class ExperimentCell(Record, frozen=True, kw_only=True):
    """One side of an experiment whose factor is not, or not only, the variant."""

    variant: str
    """The levers that the app runs with."""
    request: RequestTemplate | None = None
    """None: the experiment's."""
    load: LoadChange = LoadChange()


class Search(Record, frozen=True, kw_only=True):
    """A search for the highest rate that keeps P99 under a bound, made before the window of each session.

    ``from_rate`` and ``to_rate`` are tried first, then the geometric middle of the highest rate that was kept
    and the lowest that was not. The window is then measured at the highest rate that was kept, or where none
    was at ``from_rate``.
    """

    p99_ms: float
    from_rate: float
    to_rate: float
    steps: int
    """Rates to try at most."""
    step_s: float
    """Length of each, after ``warmup_s`` of warm-up."""
    warmup_s: float = 0.5


class Experiment(Record, frozen=True, kw_only=True):
    title: str
    request: RequestTemplate
    load: Load
    background: Background | None = None
    """What else the app has to do meanwhile; ``request`` and ``load`` are the foreground then, whose latency
    is the experiment's."""
    variants: list[str] = []
    """Names of the sides: variants of the app, or of ``cells``. A study gives one of the two; of cells it is
    filled in when the study is read, and has those that a plan chose."""
    cells: dict[str, ExperimentCell] = {}
    """What the sides are, where they are not variants of the app that get the same load."""
    factor: Factor | list[Factor] = "variant"
    """What differs between the sides: one thing, or several that are crossed. Sides are compared that differ
    in one of them."""
    users: int = 0
    """Users to seed before each session; the request's ``{user.FIELD}`` walks over them."""
    fresh_state: bool = True
    """False: database and cache are left as they are before a session, for requests that never ask them."""
    slow_callbacks: bool = False
    """True: the variants report what blocks their event loop (asyncio's debug mode) and that log is kept."""
    search: Search | None = None
    requests_file: str | None = None
    """Path on the load generator's host of the requests to send instead of ``request`` (JSON lines, see
    ``ironbench.load.stream``); ``request`` is then the gate's alone."""
    expect_saturation: bool = False


class Protocol(Record, frozen=True, kw_only=True):
    """How much and in which order."""

    blocks: int
    warmup_s: float
    window_s: float
    a_a: bool = False
    """True: each block holds the variant that the others are compared with twice. What the two sessions differ
    by is the noise floor of this host."""


class QueryPlanTest(Record, frozen=True, kw_only=True):
    """One query under settings of the planner, in clusters that are made for it and thrown away after it.

    The table and the query are those of ``ironbench.query_plan.table``.
    """

    title: str
    rows: int
    selected: int
    """Rows that the query selects."""
    executions: int
    """Of each setting, in each configuration and state."""
    settings: dict[str, dict[str, str]]
    """Parameters of the session by the setting's name. The first one is what the others are compared with."""
    configurations: dict[str, dict[str, str]]
    """Parameters of the whole cluster by the configuration's name; those not named keep PostgreSQL's defaults."""


class NamedFunction(Record, frozen=True, kw_only=True):
    """What a study calls a function: the samples that have one of its frames anywhere in their stack."""

    title: str
    frames: str
    """Regular expression, searched for in each frame as ``name (package/file.py)``."""
    without: str = ""
    """Samples that have such a frame too do not count."""
    times: int = 1
    """How often a request does it: the share is divided by it."""


class FlameGraph(Record, frozen=True, kw_only=True):
    """What one flame graph is recorded of: a load at which py-spy looks at the app's one worker."""

    hz: int
    """Samples per second and thread."""
    experiment: str = ""
    """Of the study, whose request and users are taken; empty: ``request`` and ``users`` are given here."""
    request: RequestTemplate | None = None
    users: int = 0
    load: Load
    variants: list[str]


class FlameDifference(Record, frozen=True, kw_only=True):
    """Two variants of one flame graph to be drawn as one."""

    graph: str
    before: str
    after: str


class FlameGraphs(Record, frozen=True, kw_only=True):
    """The flame graphs of a study."""

    recordings: int
    """Of each graph and variant, each in a session of its own."""
    seconds: int
    """Of each mode in a recording, and as long without py-spy."""
    waiting: str
    """Regular expression of the innermost frame of a thread that has nothing to do; with ``--idle`` such samples
    do not count."""
    graphs: dict[str, FlameGraph]
    functions: dict[str, NamedFunction]
    differences: list[FlameDifference] = []


class Study(Record, frozen=True, kw_only=True):
    schema: int
    name: str
    title: str
    source: str
    baseline: str = "baseline"
    """The variant that effects are measured against; an experiment without it starts at its first."""
    default: list[str] = []
    """Experiments of a plan that names none; empty: all."""
    protocols: dict[str, Protocol]
    experiments: dict[str, Experiment]
    query_plans: dict[str, QueryPlanTest] = {}
    flame_graphs: FlameGraphs | None = None


# --- plan: what comes when ---------------------------------------------------------------------


def side_name(variant: str, *, again: bool) -> str:
    """Name what a session stands for in a comparison: its variant, or the variant's second session."""
    return f"{variant}.again" if again else variant


class PlannedRun(Record, frozen=True, kw_only=True):
    """One run of a plan; ``position`` counts from 1 over the whole plan."""

    position: int
    experiment: str
    block: int
    variant: str
    attempt: int = 1
    """2 and more: a repetition of a block that had an instrument fault."""
    number: int = 1
    """Of the measured runs of one session, from 1; only protocol ``article`` has several. 0 is its sar
    run: that one gives the CPU figures, and its latency does not count."""
    again: bool = False
    """The second session of the same variant in its block: what the two differ by is the noise floor (A/A)."""

    @property
    def side(self) -> str:
        """What the run stands for in a comparison: its variant, or the variant's second session."""
        return side_name(self.variant, again=self.again)

    @property
    def label(self) -> str:
        """Name of the run within its block."""
        name = self.side
        if self.number != 1:
            name += f".run{self.number}" if self.number else ".sar"
        return name if self.attempt == 1 else f"{name}.retry{self.attempt - 1}"

    @property
    def key(self) -> str:
        """Name of the run in paths and unit names, unique within a plan."""
        return f"{self.experiment}.{self.block:02d}.{self.label}"


class Plan(Record, frozen=True, kw_only=True):
    """The ordered runs, made from study, protocol and seed; the same three give the same plan."""

    schema: int
    id: str
    study: str
    protocol: str
    seed: int
    baseline: str
    """The variant that effects are measured against."""
    experiments: dict[str, Experiment]
    """The chosen experiments as they stood when the plan was made."""
    warmup_s: float
    window_s: float
    retries: int
    runs: list[PlannedRun]
    seed_given: bool = False
    """True: whoever made the plan gave the seed. False: it was drawn, or an earlier ironbench made the plan."""


# --- host: where it runs -----------------------------------------------------------------------


class CoreLayout(Record, frozen=True, kw_only=True):
    """Which CPUs belong to whom, as kernel CPU lists ("0-1", "2,4"). The inventory's one datum.

    Empty: whom this host has nothing of.
    """

    name: str
    app: str = ""
    database: str = ""
    cache: str = ""
    load_generator: str = ""
    housekeeping: str
    packed: bool = False
    """True: services share CPUs with each other or with the load generator; no verdict on latency."""


class Service(Record, frozen=True, kw_only=True):
    """A measured service of a host."""

    name: Literal["app", "postgresql", "pgbouncer", "valkey"]
    unit: str
    """systemd unit; ``{variant}`` stands for the variant."""
    cpus: str
    slice: str = ""
    """Of systemd, in which the service's container is alone; the unit then runs the container engine's client, and both
    are named alike. Empty: the unit's processes are the service."""
    settings: list[str] = []
    """Argv that prints the settings that the running service works with: one JSON object, or a line each of name, tab
    and value. Empty: it has none to tell."""
    settings_login: dict[str, str] = {}
    """What that command logs in with, for it must not be on a command line: environment variable -> file, for root alone,
    that holds its value."""


class HostCommands(Record, frozen=True, kw_only=True):
    """The app's own commands, argv with ``{variant}`` and ``{users}``; run on the app's host only.

    ``prepare`` empties PostgreSQL and Valkey, seeds roles and users, runs ANALYZE and CHECKPOINT,
    and prints one JSON object a user.
    """

    prepare: list[str]
    one_worker: dict[str, str] = {}
    """Environment of the app's unit with which it has one worker."""
    describe: list[str] = []
    """Prints what the app is: one JSON object of texts and of objects of texts, of which ``variant`` holds what is of
    this variant alone. No secrets. Empty: nothing tells."""


class Host(Record, frozen=True, kw_only=True):
    """A host as the role ``bench`` describes it in /etc/ironbench/host.json."""

    schema: int
    name: str
    groups: list[str]
    """Of app, database, cache, load_generators."""
    layout: CoreLayout
    services: list[Service]
    commands: HostCommands | None
    base_url: str
    health_path: str
    state_dir: str
    slice: str
    placement_port: int = 0
    """Of the placement service, for generators that cannot ask the kernel of the app's machine; 0: there is none."""
    load_user: str = ""
    """Whom the load generator runs as; empty: root, as on a host that an earlier role described."""
    keep_awake: bool = False
    """In a session no CPU of the machine halts; see ironbench.host.awake."""
    address: str = ""
    """Where the other hosts of the bench reach this one; empty where it is alone."""
    peers: dict[str, str] = {}
    """The other hosts of the bench: address by name."""
    machine: dict[str, str] = {}
    """Of a rented host, what its inventory tells of it: provider, type, id, zone, image, price_per_hour."""


# --- session: one run as it is handed to the hosts ---------------------------------------------


SpyMode = Literal["none", "published", "idle", "native"]
"""How py-spy looks: not at all; as published, at threads that it takes for busy; at all threads (``--idle``); or with
the stacks of native code too (``--native``)."""


class Recording(Record, frozen=True, kw_only=True):
    """What py-spy is to do in the window of a session that is not scored."""

    hz: int
    seconds: int
    """Of each mode."""
    modes: list[SpyMode]
    """In the order of doing."""


QUIET_AFTER_S = 1.2
"""From the moment when the window has drained until the gate is asked again: a whole second in which nobody asks for
anything, wherever the sampler's tenths of a second lie. What the services still do then, they put off."""


class Session(Record, frozen=True, kw_only=True):
    """What the hosts need to know of one run; every ``ironbench host`` command reads it from stdin."""

    schema: int
    plan: str
    run: PlannedRun
    experiment: Experiment
    seed: int
    warmup_s: float
    idle_s: float
    window_s: float
    timeout_s: float
    drain_s: float
    expected_s: float
    """From the generator's start to the end of its window, when nothing is wrong."""
    placement_token: str = ""
    """What the placement service of the app's host is asked with; drawn anew whenever the session is handed out,
    and in no bundle."""
    recording: Recording | None = None
    """Given: the app has one worker, on the first of its CPUs, and ``ironbench host record`` profiles it."""

    @property
    def variant(self) -> str:
        """The variant that the app runs as."""
        cell = self.experiment.cells.get(self.run.variant)
        return self.run.variant if cell is None else cell.variant

    @property
    def longest_s(self) -> float:
        """The same with the longest drains, after the warm-up, after the window, and after each step of a search.

        And with the gate that is asked again, which may have to wait for its answer.
        """
        search = self.experiment.search
        drains_s = 2 * self.drain_s * (1 + (search.steps if search else 0))
        return self.expected_s + drains_s + QUIET_AFTER_S + self.timeout_s


class Affinity(Record, frozen=True, kw_only=True):
    """Effective CPUs of one process (all its threads), read from /proc."""

    service: str
    pid: int
    wanted: str
    effective: str
    ok: bool


class UnitState(Record, frozen=True, kw_only=True):
    """A service's unit as systemd and /proc show it at one moment."""

    service: str
    unit: str
    active: str
    """systemd's ActiveState."""
    result: str
    """systemd's Result: success, exit-code, signal, core-dump, oom-kill, ..."""
    invocation: str
    main_pid: int
    restarts: int
    pids: list[int]
    cgroup: str
    nofile_soft: int
    nofile_hard: int
    affinity: list[Affinity]
    killed: bool = False
    """Whether the unit's main process was ended by SIGKILL since the snapshot before."""


class Snapshot(Record, frozen=True, kw_only=True):
    """State of one host just before the generator starts, or just after it ended."""

    schema: int
    ns: int
    monotonic_ns: int
    """ns - monotonic_ns is constant unless the clock was stepped."""
    units: list[UnitState]
    throttled: dict[str, int]
    """Thermal throttle counts by CPU; empty where the kernel does not tell."""
    observers: dict[str, str]
    """Observer's unit -> ActiveState."""
    quiet: QuietNow | None = None
    """None: no plan held the host then, or an earlier ironbench looked at it."""


class QuietNow(Record, frozen=True, kw_only=True):
    """Whether the rest of a host is kept off the bench's CPUs at one moment, read back."""

    wanted: bool
    again: str = ""
    """Why it had to be done again before the session; empty: it had lasted."""
    invocation: str = ""
    """Of the unit with whose end it ends; empty: it is not in force."""
    undone: list[str] = []
    """Which of the steps that had been taken no longer hold."""


class QuietStep(Record, frozen=True, kw_only=True):
    """One thing that was to be kept off the bench's CPUs."""

    wanted: str
    effective: str
    """Read back."""
    ok: bool
    reason: str = ""
    """Why it is not as wanted."""


class Quiet(Record, frozen=True, kw_only=True):
    """What was done to a host for the time of a plan."""

    housekeeping: str
    shared: list[int]
    """CPUs that are the bench's too, by the layout: nothing is kept off those."""
    steps: dict[str, QuietStep]
    """By unit, and of ``interrupts``."""


class Hold(Record, frozen=True, kw_only=True):
    """For whom a host is held: a plan, and the controller that leads it."""

    schema: int
    plan: str
    bundle: str
    """The plan's directory on the controller."""
    controller: str
    """Its host name."""
    user: str
    quiet: bool = False
    """Whether the rest of the host is kept off the bench's CPUs meanwhile."""
    app: bool = True
    """Whether the plan stops and starts the app."""
    longest_s: float = 0.0
    """What the plan's longest step may take in which it gives the host no sign of life."""


class Measured(Record, frozen=True, kw_only=True):
    """measured.json: what a host ran in a session, read back from what runs (``ironbench.measured``)."""

    schema: int
    facts: dict[str, str]
    """Short values, and SHA-256 of settings, by name."""
    settings: dict[str, dict[str, str]] = {}
    """What such a digest is of, by the fact's name; without secrets."""


class ClockReading(Record, frozen=True, kw_only=True):
    """Another host's clock, as a generator's host saw it at one moment."""

    peer: str
    offset_ms: float
    """That clock less ours."""
    bound_ms: float
    """How far the offset may be from what was read: half of the quickest round trip."""
    unknown: str = ""
    """Why it could not be read, as half a sentence; else empty."""


class Clocks(Record, frozen=True, kw_only=True):
    """clocks.json: the clocks of all other hosts just before a load and just after."""

    schema: int
    before: list[ClockReading]
    after: list[ClockReading] = []


class LoadShare(Record, frozen=True, kw_only=True):
    """What a generator is told when the app, or another generator, is on another machine."""

    schema: int
    session: Session
    users: str
    """The seeded users as the app's host has them, a JSON object a line. They hold passwords and tokens."""
    generators: list[str]
    """All of them, by their hosts' names; each makes its share of the load."""
    window_start_ns: int | None
    """As LoadSpec has it."""


class Image(Record, frozen=True, kw_only=True):
    """The image that a service's container runs."""

    reference: str
    """As the inventory asks for it: name, tag, and digest where one is pinned."""
    id: str
    digests: list[str]
    """By which a registry knows it; none of an image that was built or loaded on the host."""
    version: str
    """What the program in the container says of itself."""


class HostFacts(Record, frozen=True, kw_only=True):
    """What ``ironbench host describe`` tells for the bundle; None or empty where the host does not tell."""

    schema: int
    name: str
    cpu_model: str
    cpu_count: int
    topology: list[dict[str, str]]
    """By CPU that is online: what ``ironbench.host.topology.rows`` tells; bundles of before it know less."""
    kernel: str
    kernel_config: dict[str, str]
    """The options that decide how CPU time is counted (HZ, tick and interrupt accounting)."""
    os: str
    memory_mib: int
    virtualization: str
    governors: dict[str, str]
    boost: str | None
    packages: dict[str, str]
    python: str
    ironbench: str
    layout: CoreLayout
    somaxconn: int
    overcommit_memory: int
    nofile: dict[str, tuple[int, int]]
    """Service -> (soft, hard) of its main process, of the services that run: not the app, before a plan."""
    cgroup_version: str
    """"v2", "hybrid", or "v1" (no unified hierarchy: no run is possible)."""
    cpuset: bool
    """True: AllowedCPUs= takes effect."""
    kept_awake: Literal["no", "yes", "not controllable here"] = "no"
    """Whether CPUs are kept from halting in a session."""
    quiet: Quiet | None = None
    """In force when the plan began; None: nothing was done."""
    images: dict[str, Image] = {}
    """By service, of those that run in a container."""
    machine: dict[str, str] = {}
    """As Host.machine."""
    nominal_mhz: float | None = None
    services: list[str] = []
    """Which of the measured services are this host's."""


# --- run: what came out ------------------------------------------------------------------------


class Latency(Record, frozen=True, kw_only=True):
    """Summary of one histogram, milliseconds. ``count`` samples; zeros when there are none.

    With ``censored`` above 0 the mean is a lower bound, and what ``ironbench.metrics.latency_figure`` does not
    return is not known.
    """

    count: int
    mean: float
    stdev: float
    p50: float
    p75: float
    p90: float
    p99: float
    p999: float
    max: float
    censored: int = 0
    """Of ``count``: requests that were given up. They took at least what is in the histogram."""


class Second(Record, frozen=True, kw_only=True):
    """Latency of the requests that were due in one second of the window, in milliseconds.

    Those that were given up have the time after which they were; of other errors and of what was never sent there
    is none. Zeros when there are none. Percentiles are of the durations themselves, to the microsecond.
    """

    count: int
    mean: float
    p50: float
    p99: float
    max: float


class Gate(Record, frozen=True, kw_only=True):
    """The answer to one request outside of the window, held against the experiment's expectation."""

    ok: bool
    status: int
    detail: str
    """Empty when ok, else one sentence."""
    body_bytes: int
    json_type: str = ""
    """What the body is: ``object``, ``array``, ``string``, ``number``, ``boolean``, ``null``, or ``none`` where it is
    not JSON. Empty: nobody looked."""


class PlacementService(Record, frozen=True, kw_only=True):
    """How to ask the app's host, at base_url's address, which worker a connection belongs to."""

    port: int
    token: str


class LoadSpec(Record, frozen=True, kw_only=True):
    """What one generator process is to do (``ironbench load --spec``)."""

    schema: int
    run: str
    """Becomes part of every ``{unique}``."""
    base_url: str
    request: RequestTemplate
    load: Load
    seed: int
    warmup_s: float
    window_s: float
    idle_s: float
    """Quiet time between the drained warm-up and the window, at least; the window then starts
    50 ms after a whole second of CLOCK_REALTIME, on the boundary of sar's samples."""
    timeout_s: float
    """Of one request, from the moment when it is sent."""
    drain_s: float
    """How long requests in flight at the window's end may take."""
    users_file: str | None
    requests_file: str | None = None
    """JSON lines of requests to send in turn instead of ``request``, which is then the gate's alone."""
    background: Background | None = None
    """A second load from processes of its own; both have the same warm-up, quiet time and window."""
    placement_service: PlacementService | None = None
    """None: the app is on this machine, whose kernel knows."""
    generator: int = 0
    """Number of this generator among those that share the load."""
    generators: int = 1
    """How many share it: each has an equal share of the threads, and so of connections and requests. What is sent,
    and when, is the same whatever their number."""
    window_start_ns: int | None = None
    """When all of them start the window; one that is not ready by then starts later. None: as soon as it is."""
    search: Search | None = None
    processes: int | None = None
    """Processes that share the threads of ``load`` among them. None: one a thread, but no more than the
    generator has CPUs (half of them with a background): beyond, they would only wait for each other. The
    schedule is the same whatever it is."""


class Landing(Record, frozen=True, kw_only=True):
    """Which workers of the app the generator's connections belonged to."""

    workers: dict[str, int]
    """Connections by the worker's PID at the window's start; a worker without one has 0."""
    workers_after: dict[str, int]
    """The same when the window had drained: reconnecting may have moved some."""
    reconnects: int
    """Connections opened anew before the warm-up to balance them."""
    unknown: str
    """Why ``workers`` or ``workers_after`` is empty, as one sentence; else empty."""


class LoadResult(Record, frozen=True, kw_only=True):
    """What the generator saw in the window.

    ``scheduled`` requests were due in the window; ``sent`` went out before its end; ``unsent`` were
    still waiting for a connection then (the backlog of a saturated system); ``completed`` were
    answered, in the window or while draining, whatever the status; ``expected`` of them with the expected one.
    ``achieved_rps`` = completed / window_s: with nothing left unsent it equals the offered rate exactly.

    A run with a background has two of these. All times of the clock are those of the run and equal in
    both: the first send of either, and when both had drained, since the services' CPU time of the two
    cannot be told apart. All else is each load's own, but for ``cpu_share``.
    """

    schema: int
    backend: str
    offered_rps: float
    achieved_rps: float
    scheduled: int
    sent: int
    completed: int
    unsent: int
    window_s: float
    idle_from_ns: int
    idle_until_ns: int
    first_send_ns: int
    window_end_ns: int
    drained_ns: int
    latency: Latency
    """From the intended send time (corrected for coordinated omission), of the completed requests and of those with
    the error ``timeout``, which are its ``censored`` ones."""
    service_time: Latency
    """From the actual send time, of the completed requests."""
    own_send_lag: Latency
    """The generator was late although a connection was free: an instrument matter."""
    system_send_lag: Latency
    """The send waited because every connection it may use was busy: the system under test."""
    statuses: dict[str, int]
    unexpected_status: int
    errors: dict[str, int]
    """By kind: connect, reset, closed, timeout, protocol."""
    reconnects: int
    gate: Gate
    """Before the warm-up."""
    warmup_requests: int
    cpu_ms: float
    """CPU time of the generator's processes from first send to drained."""
    cpu_share: float
    """CPU time over the same time, of one CPU: that of the busiest process, which cannot exceed 1, or the
    sum over the CPUs that all processes share, the other load's too, whichever is nearer to its limit."""
    local_ports: list[int]
    """By connection; empty for a Unix socket."""
    threads: int = 1
    processes: int = 1
    """Operating system processes that the threads were dealt to."""
    timer_lag: Latency | None = None
    """How late the generator's timer ran, at every due time and each 10 ms between them. A generator that
    stands still while nothing is due reads answers late, which shows here and in no send lag."""
    timeouts: Latency | None = None
    """Of the requests with the error ``timeout`` alone, from the intended send time until they were given up:
    what they took at least."""
    seconds: list[Second] | None = None
    """By second of the window, the last one shorter if the window ends within it; None where the backend
    does not tell."""
    landing: Landing | None = None
    alarms: list[Finding] = []
    """The generator's own warnings that it, or the system, was saturated."""
    gate_after: Gate | None = None
    """The gate's request once more, after the window had drained and a quiet time; no figure holds it. None: there
    was no load, or an earlier ironbench measured."""
    bodies_sampled: int = 0
    """Answers of the window with the expected status whose bodies and cookies were held against the expectation; 0
    where the backend does not look."""
    bodies_wrong: int = 0
    """Of those, the ones that did not meet it."""
    body_detail: str = ""
    """What was wrong with the first of them, as one sentence."""

    @property
    def expected(self) -> int:
        """Requests that were answered with the expected status: what a cost per request is divided by."""
        return self.completed - self.unexpected_status

    @property
    def expected_rps(self) -> float:
        """The part of ``achieved_rps`` that has the expected status: the rate that reports show."""
        if not self.unexpected_status:
            return self.achieved_rps
        return self.achieved_rps * self.expected / self.completed


class ServiceCpu(Record, frozen=True, kw_only=True):
    """CPU work of one cgroup between first send and drained."""

    service: str
    cgroup: str
    cpus: str
    total_ms: float
    idle_ms_per_s: float
    """Rate in the quiet time just before the window."""
    net_ms: float
    """total_ms less idle_ms_per_s over the same time."""
    per_request_ms: float
    """net_ms over the requests that were answered with the expected status, in a run with a background those of
    both loads; 0, and no figure of any report, when none was."""
    late_ms: float = 0.0
    """Work in the quiet second after the window had drained: what was put off until then, and a second's idle work."""
    host: str = ""
    """Filled in when the run is sealed."""


class CoreUse(Record, frozen=True, kw_only=True):
    """sar's view of one CPU over its samples in the window, per cent of the time."""

    cpu: int
    usr: float
    sys: float
    iowait: float
    irq: float
    soft: float
    steal: float
    idle: float
    busy: float
    """usr + nice + sys + irq + soft + guest + gnice."""
    usr_whole_record: float
    """%usr over all of sar's samples, load or not: the article's reading."""
    host: str = ""
    """Filled in when the run is sealed."""


class SarColumn(Record, frozen=True, kw_only=True):
    """One of sar's columns over its samples in the window, and over all of them: the article's reading."""

    mean: float
    max: float
    mean_whole_record: float
    max_whole_record: float


class SystemUse(Record, frozen=True, kw_only=True):
    """sar's view of one host's scheduler; None where its record lacks the column."""

    samples: int
    """In the window."""
    runq_sz: SarColumn | None
    """Tasks that ran or waited for a CPU at the end of each sample."""
    cswch_per_s: SarColumn | None
    """Context switches."""
    proc_per_s: SarColumn | None = None
    """Tasks that were created, threads included."""
    host: str = ""
    """Filled in when the run is sealed."""


class LoopBlocks(Record, frozen=True, kw_only=True):
    """What blocked the event loops of the app's workers in the window, by asyncio's debug log: wall-clock time."""

    callbacks: int
    """Callbacks that took longer than the app's threshold."""
    total_ms: float
    per_request_ms: float
    """total_ms over the requests that were answered with the expected status; 0, and no figure of any report, when
    none was."""
    durations_ms: list[float]
    """Of each, ascending, to the millisecond."""
    host: str = ""
    """Filled in when the run is sealed."""


class SearchStep(Record, frozen=True, kw_only=True):
    """One rate of a search."""

    rate: float
    achieved_rps: float
    requests: int
    """That have a latency."""
    p99_ms: float
    own_send_lag_p99_ms: float
    """The generator's own lateness: of the size of ``p99_ms`` it is what was measured."""
    kept: bool
    why_not: str = ""
    """Empty when kept."""


class SearchResult(Record, frozen=True, kw_only=True):
    """What a search found: the highest rate is at least ``highest_rps`` and below ``lowest_rps``."""

    schema: int
    p99_ms: float
    """The bound."""
    steps: list[SearchStep]
    """In the order in which they were tried."""
    highest_rps: float | None
    """Highest rate that was kept; None: not even the first."""
    lowest_rps: float | None
    """Lowest rate that was not; None: all were."""


class CpuCheck(Record, frozen=True, kw_only=True):
    """Two instruments on the same CPUs in the same time: cgroup counters against sar."""

    cpus: str
    cgroup_ms: float
    sar_ms: float
    difference: float
    """cgroup_ms / sar_ms - 1."""
    sampling_error: float
    """Standard error of ``difference`` by sar's sampling at ticks alone, at the longest tick (10 ms)."""
    nonidle_ms: float
    """The same CPUs by the exact instrument of the two in /proc/stat: elapsed time less idle, iowait and
    steal. It sees work that sar's ticks miss."""
    foreign_ms: float
    """Of that, what no cgroup of these CPUs did, gross: work that was there before the window counts."""
    host: str = ""
    """Filled in when the run is sealed."""


class Finding(Record, frozen=True, kw_only=True):
    """An entry of one of the two ledgers."""

    kind: str
    detail: str
    host: str = ""
    value: float | None = None
    threshold: float | None = None


class Run(Record, frozen=True, kw_only=True):
    """run.json: one sealed run."""

    schema: int
    plan: str
    run: PlannedRun
    started_ns: int
    sealed_ns: int
    load: LoadResult
    background: LoadResult | None = None
    """Of the experiment's background, if it has one; its histograms are in raw/HOST/load/background/."""
    cpu: list[ServiceCpu]
    cores: list[CoreUse]
    system: list[SystemUse] = []
    """By host; empty where sar was not asked for it."""
    loop_blocks: LoopBlocks | None = None
    """None where the experiment does not ask for it."""
    search: SearchResult | None = None
    """None where the experiment has none."""
    cpu_check: list[CpuCheck]
    affinity: list[Affinity]
    layout: dict[str, CoreLayout]
    """By host."""
    mhz: dict[str, float]
    """Mean clock of the bench CPUs in the window, by host; absent where the kernel does not tell."""
    instrument_faults: list[Finding]
    outcomes: list[Finding]
    ironbench_version: str
    quiet: dict[str, QuietNow] = {}
    """By host, before the load; a host is absent where its snapshot does not tell."""
    measured: dict[str, dict[str, str]] = {}
    """Facts of what was measured, by host and name: as Measured.facts. Empty where an earlier ironbench sealed it."""
    declared: dict[str, str] = {}
    """SHA-256, when it was sealed, of the bundle's files that say what is asked and claimed; empty likewise."""
    files: dict[str, int] = {}
    """Bytes of the other files of the run's directory when it was sealed, by path; empty where an earlier
    ironbench sealed it."""
    digests: dict[str, str] = {}
    """SHA-256 of the same files in hex; empty where an earlier ironbench sealed it. That of run.json itself is in
    the bundle's seals.jsonl."""


# --- bundle: what a plan leaves behind ---------------------------------------------------------


class Git(Record, frozen=True, kw_only=True):
    """The working tree that the study was read from."""

    commit: str
    dirty: bool
    """True: tracked files were changed or untracked ones lay there."""


class Imported(Record, frozen=True, kw_only=True):
    """Where the logs of an imported bundle come from, in their importer's words."""

    source: str
    revision: str
    licence: str


class Manifest(Record, frozen=True, kw_only=True):
    """manifest.json: where a bundle comes from."""

    schema: int
    id: str
    created: str
    """UTC, as 2026-01-31T12:00:00Z."""
    ironbench_version: str
    git: Git | None
    study: str
    study_digest: str
    """SHA-256 of the study's record, so that comments and spacing do not count."""
    protocol: str
    imported: Imported | None = None
    """None: ironbench measured the runs itself."""


class Collected(Record, frozen=True, kw_only=True):
    """What a host hands in of one session, from ``ironbench host collect`` to ``ironbench seal``."""

    schema: int
    host: str
    key: str
    """Of the run."""
    plan: str = ""
    """Empty: an earlier ironbench packed it."""
    generator_exit: int | None
    """Exit status, or less the number of the signal; None on a host that generates no load."""
    started_ns: int
    """When the host began to prepare the session."""
    archive: bytes
    """Its raw outputs, a tar.gz."""


class Pending(Record, frozen=True, kw_only=True):
    """What comes next in a bundle."""

    done: bool
    session: Session | None
    after: Session | None = None
    """The session that follows it whatever its outcome; None where that is not known yet."""
    progress: str
    sealed: int
    total: int
    """Planned runs with the repetitions that are due so far."""
    ended: str = ""
    """Why no more of the plan can be sealed although it is not done, half a sentence; empty while it can go on."""


class Attempt(Record, frozen=True, kw_only=True):
    """attempts/KEY/NUMBER.json: a session that was handed out to the hosts, written before its load could begin.

    An attempt with neither a sealed run nor a lost session was interrupted. Its load may have begun or not: nobody
    was left to tell.
    """

    schema: int
    plan: str
    run: PlannedRun
    number: int
    """How often the session was handed out by then."""
    begun_ns: int


class Lost(Record, frozen=True, kw_only=True):
    """lost.json: a session that came to nothing, because something of the bench failed before there was a result.

    Its run stays pending and is measured anew.
    """

    schema: int
    plan: str
    run: PlannedRun
    number: int
    """How many sessions of the run were lost by then."""
    lost_ns: int
    instrument_faults: list[Finding]
    ironbench_version: str


class SideCounts(Record, frozen=True, kw_only=True):
    """How often the sessions of one side of an experiment were begun, and what became of them.

    A user, a host or a service that wants a verdict can bring each of these about, so they are held between sides.
    """

    experiment: str
    variant: str
    again: bool = False
    """The variant's second session in each block (A/A)."""
    planned: int
    """Runs of the plan, without repetitions."""
    counted: int
    """Sealed runs whose figures count. In a plan that is complete, ``planned - counted`` runs have no figures even after
    the repetitions that were allowed."""
    left_out: int
    """Sealed runs whose figures do not count: of this side or of another one of the block, an instrument was at fault."""
    faulty: int
    """Sealed runs with an instrument fault of their own."""
    repeated: int
    """Sealed runs of a block's repetition, whichever side the block was repeated for."""
    caused: int
    """Repetitions of a block for which a run of this side had an instrument fault; one repetition counts for each side
    that had one."""
    lost: int
    """Sessions that came to nothing, and whose reason is kept."""
    interrupted: int
    """Attempts with neither a sealed run nor a lost session: the command was ended in between, or refused what the hosts
    handed in. One that was ended between two sessions has one too, so it is at most so many loads. The attempt
    that may be under way is none."""

    @property
    def side(self) -> str:
        """As of a planned run."""
        return side_name(self.variant, again=self.again)


class Sealed(Record, frozen=True, kw_only=True):
    """What the end of a session answers: the figures, the two ledgers, and what comes next."""

    line: str
    lost: bool = False
    """True: nothing was sealed, and the run is the next one again."""
    done: bool
    session: Session | None
    after: Session | None = None
    progress: str
    sealed: int
    total: int
    faults: list[Finding]
    outcomes: list[Finding]


# --- evidence: claims, effects, verdicts ---------------------------------------------------------

ClaimKind = Literal["direction", "ratio", "share", "mechanism", "record"]
"""What a claim says: one side is lower (or higher, or the same); by which factor; which share of the whole a
named function has; that something happens or does not; or arithmetic over the published logs alone."""

Call = Literal["lower", "higher", "equivalent", "undecided", "too few runs"]
"""What an effect shows: its interval lies wholly below or above 1 and its value beyond the margin; wholly inside
the margin; neither; or there are too few blocks for an interval."""

VerdictWord = Literal["holds here", "does not hold here", "undecided", "not testable here"]


class Comparison(Record, frozen=True, kw_only=True):
    """One variant against another, in one metric of one experiment."""

    experiment: str
    metric: str
    """A name of ``ironbench.metrics``."""
    variant: str
    against: str


class ShareOf(Record, frozen=True, kw_only=True):
    """Whose share of which flame graph a claim is about."""

    graph: str
    variant: str
    function: str


class Claim(Record, frozen=True, kw_only=True):
    """One published statement as data."""

    id: str
    says: str
    """The statement in one sentence, with the published figures."""
    source: str
    """Where the publication has it, as ``signin, table, row P90``."""
    kind: ClaimKind
    published: dict[str, float] = {}
    """Published figures by name, in the metric's unit."""
    comparison: Comparison | None = None
    """What is measured for it; its metric is the one that decides."""
    expects: Literal["lower", "higher", "same"] | None = None
    """``direction`` and ``mechanism``: the variant's figure against the other's."""
    ratio: float | None = None
    """``ratio``: the published figure of the variant over that of the other."""
    tolerance: float | None = None
    """``ratio`` and ``share``: how far the figure here may be from the published one, as a part of it."""
    share: ShareOf | None = None
    """``share``: what is looked at, as py-spy looked as published; ``published`` has ``low`` and ``high``, per cent."""
    points: float | None = None
    """``share``: how far it may be outside of the published range, in points, where a part of it says nothing."""
    rule: str = ""
    """``record``: name of the rule in ``ironbench.published`` that judges it."""
    arguments: dict[str, str] = {}
    """``record``: what the rule is applied to."""
    not_testable: str = ""
    """Why no bundle can decide it, as one sentence; else empty."""


class Claims(Record, frozen=True, kw_only=True):
    """claims.yml of a study."""

    schema: int
    claims: list[Claim]


class Effect(Record, frozen=True, kw_only=True):
    """A comparison's outcome: the factor between the two sides over paired blocks."""

    comparison: Comparison
    value: float | None
    """Median over blocks of the ratio within a block; None without a block that has both."""
    low: float | None
    high: float | None
    """Ends of the interval; None with too few blocks."""
    coverage: float | None
    blocks: int
    p: float | None
    """Two-sided, of the exact sign-flip test; None with too few blocks."""
    p_holm: float | None = None
    """The same after Holm's correction over the study's claims; None where no claim rests on it."""
    family: int = 0
    """Comparisons that the correction ran over."""
    margin: float
    """Differences up to this are none, as a factor beyond 1: 0.02 is from 1/1.02 to 1.02."""
    call: Call
    packed: bool = False
    """Measured on a packed layout: no verdict if the metric is a latency."""
    withheld: list[str] = []
    """Why the figures allow no verdict, whatever they say, each half a sentence; ``call`` is then no call."""
    per_block: dict[int, float] = {}
    """Ratio by block."""
    left_out: dict[int, str] = {}
    """Why a block has no ratio, by block."""


class Conduct(Record, frozen=True, kw_only=True):
    """What one side of an experiment did with the requests of its counted runs, background included."""

    experiment: str
    side: str
    requests: int
    """That were due."""
    failed: dict[str, int]
    """Of them, by what became of them: ``unexpected status``, a kind of error, ``unsent``."""
    bodies_sampled: int = 0
    bodies_wrong: int = 0
    crashes: int = 0
    """Runs in which the service ended by itself."""
    gates: int = 0
    """Runs after which the service no longer answered as the experiment expects."""
    withheld: list[str] = []
    """Why no comparison with this side allows a verdict, each half a sentence; empty when all is well."""


class Noise(Record, frozen=True, kw_only=True):
    """A/A: a variant against itself in one metric of one experiment."""

    effect: Effect
    floor: float | None
    """The farther end of the interval, as a factor beyond 1; None with too few blocks."""


class Verdict(Record, frozen=True, kw_only=True):
    """What a bundle says of one claim."""

    claim: Claim
    word: VerdictWord
    reason: str
    """One sentence."""
    effect: Effect | None = None


class PublishedSeries(Record, frozen=True, kw_only=True):
    """One column of a published table: the mean latency that it shows, and the runs in its raw logs, in ms."""

    test: str
    variant: str
    date: str
    kernel: str
    response_bytes: int | None
    """None where the logs at hand do not tell."""
    published_ms: float | None
    """None: in no table."""
    runs_ms: list[float]
    """Of each measured run, the first one first; with fewer than ``stats.MIN_BLOCKS`` too few for a verdict."""
    mean_ms: float
    """Of all of them."""
    cv: float | None
    """Their standard deviation as a part of their mean; None of one run."""
    run: int | None
    """Number, from 1, of the run that the published figure is; None: it is none of them."""
    equal_figures: int
    """How many of the published mean, P90, P99, StdDev and Max are that run's."""
    is_mean: bool
    """The published figure is the mean of all runs."""


# --- query plans -------------------------------------------------------------------------------

CacheState = Literal["cached", "cold", "published-order"]
"""Where the table's pages are when the query runs: all in shared buffers, in a session that has run it before;
neither there nor in the kernel's cache; or in shared buffers, in a new session each time that runs the settings in
the study's order, as the article's one session did."""


class QueryPlanOrder(Record, frozen=True, kw_only=True):
    """What a database host is asked to measure."""

    schema: int
    name: str
    test: QueryPlanTest
    seed: int
    """Of the table's rows and of the order of the executions."""


class QueryExecution(Record, frozen=True, kw_only=True):
    """One execution of the query under EXPLAIN (ANALYZE, BUFFERS)."""

    setting: str
    block: int
    """Each block has one execution of every setting."""
    scan: str
    """The plan's nodes from the top, as ``Bitmap Heap Scan > Bitmap Index Scan``."""
    rows: int
    planning_ms: float
    execution_ms: float
    hit: int
    """Pages of 8 KiB found in shared buffers."""
    read: int
    """Pages that were not: from the kernel's cache or from the disk."""
    disk_bytes: int | None
    """What the kernel fetched from the block device for the backend meanwhile; None where it does not tell."""


class ShownPlan(Record, frozen=True, kw_only=True):
    """A plan as PostgreSQL prints it, from an execution that is not among the measured ones."""

    text: list[str]
    raw: list[dict]
    """The same query's EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)."""


class QueryPlanCase(Record, frozen=True, kw_only=True):
    """All executions in one configuration and one state of the caches, in the order of doing."""

    configuration: str
    state: CacheState
    parameters: dict[str, str]
    """What the cluster says of the parameters that decide plans."""
    plans: dict[str, ShownPlan]
    """By setting; empty where the case before has the same."""
    executions: list[QueryExecution]


class QueryPlanRecord(Record, frozen=True, kw_only=True):
    """query_plans/HOST.json of a bundle: what one host measured."""

    schema: int
    order: QueryPlanOrder
    host: str
    postgresql: str
    """Its version, as ``SELECT version()`` tells."""
    cpus: str
    """CPUs that the cluster was confined to; empty: all."""
    started_ns: int
    load_s: float
    """What making the table took: generator, COPY, index, VACUUM."""
    heap_pages: int
    index_pages: int
    cases: list[QueryPlanCase]


class QueryPlanFigures(Record, frozen=True, kw_only=True):
    """One setting in one case."""

    case: str
    """Name of test, configuration and state, as claims have it in ``experiment``."""
    setting: str
    scans: dict[str, int]
    """Executions by the plan they had."""
    executions: int
    execution_ms: float
    """Median."""
    low: float | None
    high: float | None
    """Ends of its interval of 95 %; None with too few executions."""
    planning_ms: float
    """Median, as are the next three."""
    hit: float
    read: float
    disk_bytes: float | None


class QueryPlanSummary(Record, frozen=True, kw_only=True):
    """What the report says of one host's query plans."""

    record: QueryPlanRecord
    figures: list[QueryPlanFigures]
    effects: list[Effect]
    """Each setting against the first one, by case."""


# --- flame graphs ------------------------------------------------------------------------------


class FlamePlan(Record, frozen=True, kw_only=True):
    """flamegraphs/plan.json of a bundle: the recordings in their order, and all that they are judged by."""

    schema: int
    id: str
    """Of the bundle."""
    seed: int
    spec: FlameGraphs
    """The chosen graphs, as they stood when the plan was made."""
    experiments: dict[str, Experiment]
    """What each graph's generator does."""
    runs: list[PlannedRun]
    """``experiment`` is the graph's name."""


class Segment(Record, frozen=True, kw_only=True):
    """One mode of a recording."""

    mode: SpyMode
    from_ns: int
    """When py-spy began to take samples."""
    until_ns: int
    samples: int
    """In its stacks; 0 without py-spy."""
    app_cpu_ms: float
    """Of the app's cgroup."""
    ended_cpu_ms: float
    """Of that, of threads that began or ended meanwhile: py-spy sees none of Argon2's lanes, which are such."""
    spy_cpu_ms: float
    requests: int | None = None
    """Answered meanwhile; None until the recording is sealed."""
    complaint: str = ""
    """Why there are no samples, if py-spy failed."""


class Recorded(Record, frozen=True, kw_only=True):
    """recording.json: what py-spy saw of one session's worker."""

    schema: int
    plan: str
    run: PlannedRun
    host: str
    py_spy: str
    """Its version."""
    pids: list[int]
    """The app's workers; the supervisor is none."""
    hz: int
    app_cpus: str
    spy_cpus: str
    segments: list[Segment]
    offered_rps: float = 0.0
    achieved_rps: float = 0.0
    errors: int = 0
    """Of the window, unexpected statuses and wrong bodies among them; these four are known when the recording is
    sealed."""
    conduct: Conduct | None = None
    measured: dict[str, dict[str, str]] = {}
    """As Run.measured."""


class FlamePending(Record, frozen=True, kw_only=True):
    """Which recording comes next."""

    bundle: str
    session: Session | None
    progress: str
    sealed: int
    total: int


class Share(Record, frozen=True, kw_only=True):
    """A named function's part of the samples of one graph, variant and mode, in per cent."""

    graph: str
    variant: str
    mode: SpyMode
    function: str
    value: float
    """Median over the recordings."""
    low: float | None
    high: float | None
    """Ends of its interval; None with too few recordings."""
    recordings: int
    samples: int
    """Of all recordings together."""
    withheld: list[str] = []
    """Why it allows no verdict, each half a sentence."""


class SpyCost(Record, frozen=True, kw_only=True):
    """What py-spy does to the app that it looks at, from the same sessions with and without it."""

    graph: str
    variant: str
    mode: SpyMode
    without_ms: float
    with_ms: float
    """CPU of the app per request; medians over the recordings."""
    value: float
    """Median of their ratio within a recording."""
    low: float | None
    high: float | None
    spy_share: float
    """CPU of py-spy itself, as a part of one CPU."""
    ended_share: float
    """Part of the app's CPU time in threads that py-spy cannot see."""
    recordings: int


class Frame(Record, frozen=True, kw_only=True):
    """One box of a drawn flame graph; positions and widths are parts of the whole."""

    depth: int
    """0: all stacks together."""
    start: float
    width: float
    name: str
    before: float
    """In the drawing's unit; of a graph that is no difference all there is."""
    after: float | None = None
    """Of a difference."""


class FlameDrawing(Record, frozen=True, kw_only=True):
    """A flame graph, or the difference between two, as it is drawn."""

    name: str
    """Of its files in the bundle's directory flamegraphs/, without what they end with."""
    graph: str
    title: str
    unit: Literal["samples", "ms per request"]
    frames: list[Frame]
    """Those wide enough to be seen in the report."""


class FlameSummary(Record, frozen=True, kw_only=True):
    """What the report says of a bundle's flame graphs."""

    plan: FlamePlan
    sealed: int
    interrupted: dict[str, int] = {}
    """Recordings that were begun and not sealed, by graph and variant; a command that was ended between two recordings
    has one too, and the recording that may be under way is none."""
    shares: list[Share]
    costs: list[SpyCost]
    drawings: list[FlameDrawing]


# --- results: what the report says -------------------------------------------------------------


class Cell(Record, frozen=True, kw_only=True):
    """One figure of a scorecard; ``low`` and ``high`` are its range over the sessions."""

    value: float | None
    """None: nothing to show, and ``note`` says why."""
    low: float | None = None
    high: float | None = None
    note: str = ""


class Delta(Record, frozen=True, kw_only=True):
    """Last variant against the first: ``relative`` in per cent of the first, or points alone."""

    absolute: float
    """In the row's unit; points where that is per cent."""
    relative: float | None
    """None where the row's unit is per cent or the first is zero."""


class Row(Record, frozen=True, kw_only=True):
    name: str
    unit: Literal["ms", "%", "rps", "count", "CPU-ms", "CPU-ms/s", "1/s"]
    cells: dict[str, Cell]
    """By variant."""
    delta: Delta | None


class Scorecard(Record, frozen=True, kw_only=True):
    """The figures of one experiment, in the form of the article's tables."""

    experiment: str
    title: str
    background: str = ""
    """What the app had to do meanwhile, in words; empty without a background."""
    variants: list[str]
    first: str
    last: str
    sessions: dict[str, int]
    """Sessions that count, by variant."""
    runs: dict[str, int]
    """Measured runs in them, by variant."""
    requests: dict[str, int]
    """Latency samples merged, by variant."""
    rows: list[Row]


class RunFigures(Record, frozen=True, kw_only=True):
    """One sealed run in the order of measurement."""

    position: int
    key: str
    experiment: str
    block: int
    variant: str
    attempt: int
    number: int
    """0: the sar run of its session."""
    started: str
    """UTC; empty where it is not known."""
    counted: bool
    why_not: str
    """Empty when counted."""
    offered_rps: float
    achieved_rps: float
    latency: Latency
    app_cpu_ms: float | None
    """Per request."""
    sum_cpu_ms: float | None
    """Per request, all measured services."""
    mhz: float | None
    instrument_faults: list[Finding]
    outcomes: list[Finding]
    again: bool = False
    """The second session of its variant in its block."""
    placement: str = ""
    """Connections by worker, the most first, as ``3+1``; ``3+1 to 2+2`` when reconnecting moved some in the
    window; empty where it is not known."""
    figures: dict[str, float] = {}
    """By name of ``ironbench.metrics``; those that the run has."""

    @property
    def side(self) -> str:
        """As PlannedRun.side."""
        return side_name(self.variant, again=self.again)


class Curve(Record, frozen=True, kw_only=True):
    """Latency distribution of one side of an experiment, its counted runs merged by count."""

    experiment: str
    side: str
    count: int
    shares: list[float]
    """Parts of the samples, ascending, the last one 1, or the last before the requests that were given up."""
    ms: list[float]
    """What that part does not exceed."""


class BlockedLoop(Record, frozen=True, kw_only=True):
    """What blocked the event loop in the counted runs of one side, all callbacks together."""

    experiment: str
    side: str
    runs: int
    requests: int
    callbacks: int
    per_request_ms: float | None
    """Median over the runs."""
    quantiles_ms: dict[str, float]
    """Of the single callbacks, by p50, p90, p99 and max; those that have enough of them."""
    from_100_ms: int
    """Callbacks of 100 ms and more, the article's threshold."""
    curve: Curve | None
    """Of the single callbacks; None without any."""


class Searched(Record, frozen=True, kw_only=True):
    """The search of one counted run."""

    experiment: str
    side: str
    block: int
    result: SearchResult
    window: Latency
    """At the rate that was found."""
    packed: bool


class Dependence(Record, frozen=True, kw_only=True):
    """Whether the effect of one factor depends on the level of another, in one metric."""

    experiment: str
    metric: str
    factor: str
    """Whose levels are beside each other, as ``arrivals``."""
    change: str
    """What is compared at each of them, as ``final against baseline``."""
    effects: dict[str, Effect]
    """By level."""
    depends: bool | None
    """Whether the calls differ; None where one of them is open."""


class CoreSeries(Record, frozen=True, kw_only=True):
    """One CPU by second of the window, per cent busy; None where sar has no sample of just that second."""

    host: str
    cpu: int
    owners: list[str]
    """Whose the CPU is by the core layout."""
    busy: list[float | None]
    """In the shown run."""
    median: list[float | None]
    """Over the runs."""


class WithinRun(Record, frozen=True, kw_only=True):
    """What happened within the window of one side's runs: one run, and medians over all."""

    experiment: str
    side: str
    shown: str
    """Key of the run whose headline metric is the median one."""
    runs: int
    """Counted runs of the side."""
    latency: list[Second]
    """In the shown run; empty where the backend does not tell."""
    median_mean_ms: list[float | None]
    """Median over the runs of the mean of that second; None where no run has an answer."""
    cores: list[CoreSeries]
    core_runs: int
    """Runs that ``CoreSeries.median`` is over."""


class Stratum(Record, frozen=True, kw_only=True):
    """Counted runs of one side whose connections lay alike."""

    experiment: str
    side: str
    declared: Placement
    placement: str
    runs: int
    requests: int
    mean_ms: float
    """Over all requests of these runs."""
    app_cpu_ms: float | None
    """Median over the runs, per request."""


class CheckSummary(Record, frozen=True, kw_only=True):
    """cgroup counters against sar over the counted runs, as differences (0.01 is one per cent)."""

    host: str
    cpus: str
    runs: int
    median: float
    low: float
    high: float
    sampling_error: float
    """Median standard error of one run's difference by sar's sampling alone."""


class LeftOutClaims(Record, frozen=True, kw_only=True):
    """Claims of the study that rest on a test and that the plan does not measure."""

    claims: int
    experiments: list[str]
    """Which they rest on."""
    family: int
    """Comparisons that Holm's correction ran over."""
    whole_family: int
    """Over which it would have run with all of them."""


class Results(Record, frozen=True, kw_only=True):
    """results.json: everything that the report shows, computed from the bundle alone."""

    schema: int
    rendered_by: str
    manifest: Manifest
    baseline: str
    seed: int
    seed_given: bool = False
    """As Plan.seed_given."""
    order_bias: list[str] = []
    """Where a given seed puts one side of a comparison first too often for chance, a sentence each."""
    blocks: int
    retries: int
    warmup_s: float
    window_s: float
    window_share: float | None = None
    """Part of the wall time from the first run's start to the last one's sealing that was inside load windows;
    None where the times are not known."""
    sealed: int
    total: int
    scorecards: list[Scorecard]
    runs: list[RunFigures]
    cpu_check: list[CheckSummary]
    lost: dict[str, list[Finding]] = {}
    """Sessions that came to nothing, each with its instrument faults, by the run's key and a number."""
    damaged: list[Finding] = []
    """Files that are not as they were sealed: what they tell is left out of all figures."""
    withheld: list[str] = []
    """Why nothing that was measured allows a verdict, each half a sentence: the plan is not finished, say."""
    conduct: list[Conduct] = []
    counts: list[SideCounts] = []
    noise: list[Noise] = []
    effects: list[Effect] = []
    claims: list[Verdict] = []
    left_out_claims: LeftOutClaims | None = None
    """None where the plan measures all that the claims rest on."""
    published: list[PublishedSeries] = []
    """Of the study's publication, where the bundle carries its logs' figures."""
    curves: list[Curve] = []
    blocked: list[BlockedLoop] = []
    searched: list[Searched] = []
    dependences: list[Dependence] = []
    within: list[WithinRun] = []
    strata: list[Stratum] = []
    query_plans: list[QueryPlanSummary] = []
    """By host; empty where the bundle has none."""
    flame_graphs: FlameSummary | None = None
    layout: dict[str, CoreLayout]
    """By host."""
    environment: dict[str, dict]
    """By host, as the host told it."""
    quiet: list[str] = []
    """Sentences on hosts that were quiet for a part of the plan only; empty: what each told is true of every run."""
    measured: dict[str, dict[str, str]] = {}
    """As Run.measured, of all runs together."""
    reproduce: list[str]
    """Commands."""
