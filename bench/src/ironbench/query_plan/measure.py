"""On a database host: the table, and the executions of the query in their order."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from ironbench.plan import shuffled
from ironbench.query_plan import cluster as clusters
from ironbench.query_plan.explain import (
    execution_script,
    read_executions,
    read_shown,
    set_parameters,
    shown_script,
)
from ironbench.query_plan.table import DDL, INDEX, INDEXES, QUERY, TABLE, copy_lines
from ironbench.records import SCHEMA, QueryPlanCase, QueryPlanRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ironbench.query_plan.cluster import Cluster
    from ironbench.records import CacheState, Host, QueryExecution, QueryPlanOrder

WARM_UP = 2
"""Executions of each setting that do not count, where everything is to be cached."""
PARAMETERS = (
    "shared_buffers",
    "effective_cache_size",
    "work_mem",
    "seq_page_cost",
    "random_page_cost",
    "default_statistics_target",
    "effective_io_concurrency",
    "jit",
    "max_parallel_workers_per_gather",
)
"""What decides plans; a setting overrides it for its session."""


def measure(host: Host, order: QueryPlanOrder) -> QueryPlanRecord:
    """Make a cluster and the table, run every execution, and take everything away again."""
    started_ns = time.time_ns()
    cluster = clusters.make_cluster(host)
    try:
        began = time.monotonic()
        cluster.start({})
        cluster.copy(DDL, TABLE, copy_lines(order.test, order.seed))
        cluster.psql(f"{INDEXES}\nVACUUM (ANALYZE) {TABLE};\nCHECKPOINT;\n")
        load_s = time.monotonic() - began
        version = cluster.psql("SELECT version();").strip()
        heap, index = (_pages(cluster, name) for name in (TABLE, INDEX))
        cases = [case for name in order.test.configurations for case in _configuration(cluster, order, name)]
    finally:
        clusters.remove()
    return QueryPlanRecord(
        schema=SCHEMA,
        order=order,
        host=host.name,
        postgresql=version,
        cpus=cluster.cpus,
        started_ns=started_ns,
        load_s=round(load_s, 1),
        heap_pages=heap,
        index_pages=index,
        cases=cases,
    )


def random_blocks(order: QueryPlanOrder, case: str) -> list[tuple[int, str]]:
    """Return block and setting of each execution: random within a block, the same for the same seed."""
    return [
        (block, setting)
        for block in range(1, order.test.executions + 1)
        for setting in shuffled(order.seed, f"{order.name}/{case}/{block}", order.test.settings)
    ]


def _configuration(cluster: Cluster, order: QueryPlanOrder, name: str) -> Iterator[QueryPlanCase]:
    test = order.test
    given = test.configurations[name]
    cluster.stop()
    cluster.start(given)
    # Statistics are of default_statistics_target.
    cluster.psql(f"ANALYZE {TABLE};\nCHECKPOINT;\n")
    names = ", ".join(f"'{parameter}'" for parameter in PARAMETERS)
    told = cluster.psql(
        "SELECT json_object_agg(name, current_setting(name) ORDER BY name) FROM pg_settings "  # noqa: S608
        f"WHERE name IN ({names});"
    )
    parameters = json.loads(told)

    def case(state: CacheState, executions: list[QueryExecution], shown: bool) -> QueryPlanCase:
        plans = {
            setting: read_shown(cluster.psql(shown_script(values)))
            for setting, values in (test.settings.items() if shown else ())
        }
        return QueryPlanCase(
            configuration=name, state=state, parameters=parameters, plans=plans, executions=executions
        )

    yield case("cached", _cached(cluster, order, random_blocks(order, f"{name}/cached")), shown=True)
    yield case("published-order", _published_order(cluster, order), shown=False)
    yield case("cold", _cold(cluster, order, random_blocks(order, f"{name}/cold"), given), shown=False)


def _cached(cluster: Cluster, order: QueryPlanOrder, due: list[tuple[int, str]]) -> list[QueryExecution]:
    """Run all in one session, after executions that fill its caches."""
    warm_up = list(order.test.settings) * WARM_UP
    names = [*warm_up, *(setting for _, setting in due)]
    printed = cluster.psql(execution_script([order.test.settings[name] for name in names]))
    return read_executions(printed, due, skipped=len(warm_up))


def _published_order(cluster: Cluster, order: QueryPlanOrder) -> list[QueryExecution]:
    """Run each block in a session of its own, the settings in the study's order."""
    found = []
    for block in range(1, order.test.executions + 1):
        printed = cluster.psql(execution_script(order.test.settings.values()))
        found += read_executions(printed, [(block, setting) for setting in order.test.settings])
    return found


def _cold(
    cluster: Cluster, order: QueryPlanOrder, due: list[tuple[int, str]], given: dict[str, str]
) -> list[QueryExecution]:
    """Run each execution in a server that has just started, over files that the kernel has let go of."""
    paths = cluster.psql(
        "".join(f"SELECT pg_relation_filepath('{name}');\n" for name in (TABLE, INDEX))
    ).split()
    found = []
    for block, setting in due:
        cluster.stop()
        forget([file for path in paths for file in cluster.files(path)])
        cluster.start(given)
        values = order.test.settings[setting]
        # Planning reads catalogs, and pages of the index but not of the table: that is not what is asked about.
        plan = f"{set_parameters(values)}EXPLAIN {QUERY};\n"
        found += read_executions(cluster.psql(execution_script([values], first=plan)), [(block, setting)])
    return found


def forget(files: Sequence[Path]) -> None:
    """Let the kernel drop its copies of these files' pages, and of no others (posix_fadvise(2)).

    Pages that are not on the disk yet cannot be dropped, so they are written first. What the disk itself or a
    machine around this one keeps stays.
    """
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _pages(cluster: Cluster, relation: str) -> int:
    return int(cluster.psql(f"SELECT pg_relation_size('{relation}') / current_setting('block_size')::int;"))
