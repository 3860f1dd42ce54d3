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
"""When requests are due: one by one at equal distances; one by one with exponential distances;
or all connections together, as wrk2's threads fire theirs."""

Placement = Literal["as_landed", "balanced"]
"""Which of the app's workers the connections belong to: as they came to lie, or reconnected until every
worker has its share."""

Backend = Literal["ironbench", "wrk2"]
"""What makes the load: the built-in generator, or wrk2."""


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


class Experiment(Record, frozen=True, kw_only=True):
    title: str
    request: RequestTemplate
    load: Load
    variants: list[str]
    factor: Literal["variant"] = "variant"
    """The one thing that differs between the compared runs."""
    users: int = 0
    """Users to seed before each session; the request's ``{user.FIELD}`` walks over them."""
    requests_file: str | None = None
    """Path on the load generator's host of the requests to send instead of ``request`` (JSON lines, see
    ``ironbench.load.stream``); ``request`` is then the gate's alone."""
    expect_saturation: bool = False


class Protocol(Record, frozen=True, kw_only=True):
    """How much and in which order."""

    blocks: int
    warmup_s: float
    window_s: float
    verdicts: bool
    """False: the report says that this protocol allows no verdict."""


class Study(Record, frozen=True, kw_only=True):
    schema: int
    name: str
    title: str
    source: str
    baseline: str = "baseline"
    """The variant that effects are measured against; an experiment without it starts at its first."""
    protocols: dict[str, Protocol]
    experiments: dict[str, Experiment]


# --- plan: what comes when ---------------------------------------------------------------------


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

    @property
    def label(self) -> str:
        """Name of the run within its block."""
        name = self.variant
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
    verdicts: bool
    retries: int
    runs: list[PlannedRun]


# --- host: where it runs -----------------------------------------------------------------------


class CoreLayout(Record, frozen=True, kw_only=True):
    """Which CPUs belong to whom, as kernel CPU lists ("0-1", "2,4"). The inventory's one datum."""

    name: str
    app: str
    database: str
    cache: str
    load_generator: str
    housekeeping: str
    packed: bool = False
    """True: services share CPUs with each other or with the load generator; no verdict on latency."""


class Service(Record, frozen=True, kw_only=True):
    """A measured service of a host."""

    name: Literal["app", "postgresql", "pgbouncer", "valkey"]
    unit: str
    """systemd unit; ``{variant}`` stands for the variant."""
    cpus: str


class HostCommands(Record, frozen=True, kw_only=True):
    """The app's own commands, argv with ``{variant}`` and ``{users}``; run on the app's host only.

    ``prepare`` empties PostgreSQL and Valkey, seeds roles and users, runs ANALYZE and CHECKPOINT,
    and prints one JSON object a user.
    """

    prepare: list[str]


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


# --- session: one run as it is handed to the hosts ---------------------------------------------


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

    @property
    def longest_s(self) -> float:
        """The same with the longest drains, after the warm-up and after the window."""
        return self.expected_s + 2 * self.drain_s


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


class HostFacts(Record, frozen=True, kw_only=True):
    """What ``ironbench host describe`` tells for the bundle; None or empty where the host does not tell."""

    schema: int
    name: str
    cpu_model: str
    cpu_count: int
    topology: list[dict[str, str]]
    """By CPU: cpu, core_id, package_id, thread_siblings."""
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
    """Service -> (soft, hard) of its main process, of the services that run."""
    cgroup_version: str
    """"v2", "hybrid", or "v1" (no unified hierarchy: no run is possible)."""
    cpuset: bool
    """True: AllowedCPUs= takes effect."""


# --- run: what came out ------------------------------------------------------------------------


class Latency(Record, frozen=True, kw_only=True):
    """Summary of one histogram, milliseconds. ``count`` samples; zeros when there are none."""

    count: int
    mean: float
    stdev: float
    p50: float
    p75: float
    p90: float
    p99: float
    p999: float
    max: float


class Gate(Record, frozen=True, kw_only=True):
    """The answer to one request before the warm-up, held against the experiment's expectation."""

    ok: bool
    status: int
    detail: str
    """Empty when ok, else one sentence."""
    body_bytes: int


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
    processes: int | None = None
    """Processes that share the threads among them. None: one a thread, but no more than the generator
    has CPUs: beyond, they would only wait for each other. The schedule is the same whatever it is."""


class Landing(Record, frozen=True, kw_only=True):
    """Which workers of the app the generator's connections belonged to."""

    workers: dict[str, int]
    """Connections by the worker's PID at the window's start; a worker without one has 0."""
    workers_after: dict[str, int]
    """The same when the window had drained: reconnecting may have moved some."""
    reconnects: int
    """Connections opened anew before the warm-up to balance them."""
    unknown: str
    """Why ``workers`` is empty, as one sentence; else empty."""


class LoadResult(Record, frozen=True, kw_only=True):
    """What the generator saw in the window.

    ``scheduled`` requests were due in the window; ``sent`` went out before its end; ``unsent`` were
    still waiting for a connection then (the backlog of a saturated system); ``completed`` were
    answered, in the window or while draining. ``achieved_rps`` = completed / window_s: with nothing
    left unsent it equals the offered rate exactly.
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
    """From the intended send time (corrected for coordinated omission)."""
    service_time: Latency
    """From the actual send time."""
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
    warmup_requests: int
    cpu_ms: float
    """CPU time of the generator's processes from first send to drained."""
    cpu_share: float
    """CPU time over the same time, of one CPU: that of the busiest process, which cannot exceed 1, or the
    sum over the CPUs that all processes share, whichever is nearer to its limit."""
    local_ports: list[int]
    """By connection; empty for a Unix socket."""
    threads: int = 1
    processes: int = 1
    """Operating system processes that the threads were dealt to."""
    timer_lag: Latency | None = None
    """How late the generator's timer ran, at every due time and each 10 ms between them. A generator that
    stands still while nothing is due reads answers late, which shows here and in no send lag."""
    timeouts: Latency | None = None
    """Of the requests with the error ``timeout``, from the intended send time until they were given up:
    what they took at least. ``latency`` does not hold them."""
    landing: Landing | None = None
    alarms: list[Finding] = []
    """The generator's own warnings that it, or the system, was saturated."""


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
    cpu: list[ServiceCpu]
    cores: list[CoreUse]
    cpu_check: list[CpuCheck]
    affinity: list[Affinity]
    layout: dict[str, CoreLayout]
    """By host."""
    mhz: dict[str, float]
    """Mean clock of the bench CPUs in the window, by host; absent where the kernel does not tell."""
    instrument_faults: list[Finding]
    outcomes: list[Finding]
    ironbench_version: str


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


class Pending(Record, frozen=True, kw_only=True):
    """What comes next in a bundle."""

    done: bool
    session: Session | None
    progress: str
    sealed: int
    total: int
    """Planned runs with the repetitions that are due so far."""


class Sealed(Record, frozen=True, kw_only=True):
    """What sealing a run answers: the figures, the two ledgers, and what comes next."""

    line: str
    done: bool
    session: Session | None
    progress: str
    sealed: int
    total: int
    faults: list[Finding]
    outcomes: list[Finding]


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
    unit: Literal["ms", "%", "rps", "count", "CPU-ms"]
    cells: dict[str, Cell]
    """By variant."""
    delta: Delta | None


class Scorecard(Record, frozen=True, kw_only=True):
    """The figures of one experiment, in the form of the article's tables."""

    experiment: str
    title: str
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


class Results(Record, frozen=True, kw_only=True):
    """results.json: everything that the report shows, computed from the bundle alone."""

    schema: int
    rendered_by: str
    manifest: Manifest
    baseline: str
    seed: int
    blocks: int
    retries: int
    warmup_s: float
    window_s: float
    verdicts: bool
    sealed: int
    total: int
    scorecards: list[Scorecard]
    runs: list[RunFigures]
    cpu_check: list[CheckSummary]
    layout: dict[str, CoreLayout]
    """By host."""
    environment: dict[str, dict]
    """By host, as the host told it."""
    reproduce: list[str]
    """Commands."""
