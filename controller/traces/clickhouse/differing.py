"""What changed from one version of a service to another; the rules are `controller.traces.differing`'s.

Before it: `store`. After it: `red10_v1` for operations, `spans_v1` for errors and calls.
"""

from __future__ import annotations

from controller.model.insight import VersionDifference
from controller.model.searching import Range
from controller.traces.adding import SERVED
from controller.traces.clickhouse import literal, rollups
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.hops import LAST_S, ONCE, SUMS, pairs, started, tally_of
from controller.traces.differing import LONGEST_MESSAGE, NUMBER, Version, ranked
from controller.traces.edges import AFTER_NS, BEFORE_NS
from controller.traces.tally import widened

_MOST_ROWS = 20_000
"""Of each part, those with most calls; what is left out could not be among the 200 that are shown, in practice."""
_SIGNATURE = f"""multiIf(error != '', toString(error), trimBoth(replaceRegexpAll(
    leftUTF8(status_message, {LONGEST_MESSAGE}), {literal.quoted(NUMBER)}, '#')) AS said != '', said, 'error')"""


async def difference(crew: Crew, service: str, base: str, other: str, within: Range) -> VersionDifference:
    """Return what changed from one version to another."""
    mine = f"service = {literal.text(service)} AND version IN ({literal.text(base)}, {literal.text(other)})"
    asked = widened(within)
    stretch = (
        min(LAST_S, asked.since_ns // 1_000_000_000),
        min(LAST_S, asked.until_ns // 1_000_000_000 - 10),
    )
    versions = {
        base: Version(operations={}, errors={}, calls={}),
        other: Version(operations={}, errors={}, calls={}),
    }
    await _operations(crew, f"{rollups.buckets(within)} AND {mine}", versions)
    here = f"{started([stretch])} AND {mine}"
    await _errors(crew, here, versions)
    called = started([stretch], before_ns=AFTER_NS, after_ns=BEFORE_NS)
    await _calls(crew, here, called, versions)
    return ranked(service, base, other, versions[base], versions[other])


async def _operations(crew: Crew, where: str, versions: dict[str, Version]) -> None:
    rows = await crew.ask(
        f"""SELECT version, name, {rollups.KIND} AS said, {SUMS} FROM red10_v1 WHERE {where}
        GROUP BY version, name, said ORDER BY sum(calls) DESC, name, said LIMIT {_MOST_ROWS}"""
    )
    for version, name, kind, *sums in rows:
        counted = tally_of(sums)
        versions[version].operations[name, kind] = counted
        versions[version].served += counted.calls if kind in SERVED else 0


async def _errors(crew: Crew, where: str, versions: dict[str, Version]) -> None:
    rows = await crew.ask(
        f"""SELECT version, name, {_SIGNATURE} AS signature, count(), lower(hex(max(trace_id)))
        FROM (SELECT trace_id, span_id, version, name, error, status_message FROM spans_v1
            WHERE {where} AND status = 2 {ONCE})
        GROUP BY version, name, signature ORDER BY count() DESC, name, signature LIMIT {_MOST_ROWS}"""
    )
    for version, name, signature, count, trace_id in rows:
        versions[version].errors[name, signature] = (int(count), trace_id)


async def _calls(crew: Crew, where: str, called: str, versions: dict[str, Version]) -> None:
    """Count calls by what they reached; `where` is of the callers, `called` of the time of the callees."""
    callers = f"{where} AND kind IN (3, 4)"
    # Only spans that could enter from one of them: a child by its parent's id, or a consumer with links to any trace.
    parent = "toFixedString(if(length(parent_span_id) = 8, parent_span_id, ''), 8)"
    near = f"""{called} AND ({parent} IN (SELECT span_id FROM spans_v1 WHERE {callers})
        OR (kind = 5 AND notEmpty(link_spans)))"""
    rows = await crew.ask(
        f"""SELECT version, if(reached.callee != '', reached.callee, peer) AS callee, name, count()
        FROM (SELECT trace_id, span_id, version, name, toString(peer) AS peer FROM spans_v1 WHERE {callers} {ONCE}) AS c
        LEFT JOIN (
            SELECT c.trace_id AS trace_id, c.span_id AS span_id,
                argMin(toString(s.service), (s.start, s.span_id)) AS callee
            {pairs(near, callers, narrow=False)} GROUP BY c.trace_id, c.span_id
        ) AS reached ON c.trace_id = reached.trace_id AND c.span_id = reached.span_id
        GROUP BY version, callee, name ORDER BY count() DESC, callee, name LIMIT {_MOST_ROWS}"""
    )
    for version, callee, name, count in rows:
        versions[version].calls[callee, name] = int(count)
