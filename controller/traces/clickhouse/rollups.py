"""Services, operations and rates from `red10_v1`; the rules are `controller.traces.adding`'s.

Before it: `store`. After it: the rollup that grows while batches come in. A batch that a client sent twice counts twice
here, unlike everywhere else: the rollup cannot know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from controller.model.insight import OperationRow, RateRow, ServiceRow
from controller.model.searching import LATEST_NS, Range
from controller.model.trace import KINDS
from controller.traces.adding import MOST_CELLS, MOST_OPERATIONS, check_cells, check_step
from controller.traces.clickhouse import literal
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.hops import LAST_S, SUMS, tally_of
from controller.traces.tally import widened

KIND = f"arrayElement([{', '.join(map(literal.quoted, KINDS))}], kind + 1)"
"""SQL for the name of a kind."""


def buckets(within: Range) -> str:
    """Return the condition on `bucket` that it is in the widened range."""
    asked = widened(within)
    first_s = min(LAST_S, asked.since_ns // 1_000_000_000)
    until_s = -(-asked.until_ns // 1_000_000_000)
    upper = f" AND bucket < toDateTime({until_s}, 'UTC')" if until_s <= LAST_S else ""
    return f"bucket >= toDateTime({first_s}, 'UTC'){upper}"


async def services(crew: Crew, within: Range) -> tuple[ServiceRow, ...]:
    """Return every version of every service, by name and version."""
    rows = await crew.ask(
        f"""SELECT service, version, kind IN (2, 5) AS serves, toUnixTimestamp64Nano(max(last_start)), {SUMS}
        FROM red10_v1 WHERE {buckets(within)} GROUP BY service, version, serves ORDER BY service, version, serves"""
    )
    return service_rows(rows)


def service_rows(rows: Iterable[Sequence[Any]]) -> tuple[ServiceRow, ...]:
    """Read rows of service, version, whether these spans serve, the latest start, and `SUMS`; in this order."""
    found: dict[tuple[str, str], ServiceRow] = {}
    for service, version, _, last_ns, *sums in rows:
        # Those that serve come second and take the place of the others.
        before = found.get((service, version))
        last = max(int(last_ns), before.last_seen_ns if before else 0)
        found[service, version] = ServiceRow(service, version, tally_of(sums).red(), last)
    return tuple(found.values())


async def operations(crew: Crew, service: str, within: Range) -> tuple[OperationRow, ...]:
    """Return the operations of a service, most calls first."""
    rows = await crew.ask(
        f"""SELECT version, name, {KIND} AS said, {SUMS} FROM red10_v1
        WHERE {buckets(within)} AND service = {literal.text(service)} GROUP BY version, name, said
        ORDER BY sum(calls) DESC, name, version, said LIMIT {MOST_OPERATIONS}"""
    )
    return tuple(
        OperationRow(service, version, name, kind, tally_of(sums).red())
        for version, name, kind, *sums in rows
    )


async def rates(crew: Crew, service: str, within: Range, every_s: int) -> tuple[RateRow, ...]:
    """Return counters per bucket of time, by time."""
    step_ns = check_step(every_s) * 1_000_000_000
    reach = Range(within.since_ns, min(LATEST_NS, within.until_ns + step_ns))
    only = f" AND service = {literal.text(service)}" if service else ""
    begin = f"intDiv(toUnixTimestamp(bucket), {every_s}) * {every_s}"
    rows = await crew.ask(
        f"""SELECT {begin} AS at, service, version, name, {KIND} AS said, release, {SUMS} FROM red10_v1
        WHERE {buckets(reach)} AND kind IN (2, 5){only}
            AND at * 1000000000 >= {within.since_ns} AND at * 1000000000 < {within.until_ns}
        GROUP BY at, service, version, name, said, release
        ORDER BY at, service, version, name, said, release LIMIT {MOST_CELLS + 1}"""
    )
    check_cells(len(rows))
    found = []
    for at, name_, version, operation, kind, release, *sums in rows:
        counted = tally_of(sums)
        found.append(
            RateRow(
                int(at) * 1_000_000_000,
                name_,
                version,
                operation,
                kind,
                release,
                counted.calls,
                counted.failed,
                tuple(counted.buckets),
                counted.exemplar,
            )
        )
    return tuple(found)
