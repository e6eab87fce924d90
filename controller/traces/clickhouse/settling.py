"""Settles edges: joins buckets of time that have been quiet for a moment, so that nobody has to when asking.

Before it: `store`, which nudges after every batch. After it: `edge10_v1` and `settled10_v1` (`edge_schema` says how they
are read). A bucket may be settled any number of times; when two do it at once, or one dies half way, nothing is wrong.

A mark is made when an insert begins and seen when it ends. A bucket is only settled when its last mark is older than
`QUIET_S`: an insert that takes longer, beside a settling that begins in its midst, would leave its edges out until the
next mark.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from controller import observability
from controller.errors import TracesUnavailable
from controller.traces.clickhouse.crew import Crew
from controller.traces.clickhouse.hops import ENDS, Stretch, callers_near, hops, started

QUIET_S = 5.0
EVERY_S = 5.0
"""Between two rounds, seconds, beside `QUIET_S`, so that a bucket under way is not joined over and over."""
MOST_SPANS = 500_000
"""Spans of one join; a bucket with more is joined alone."""
MOST_STRETCHES = 100
UNSETTLED = """
    SELECT toUnixTimestamp(m.bucket) AS at, m.own AS own, m.near AS near, m.last AS last
    FROM (
        SELECT bucket, sum(own) AS own, sum(near) AS near, max(last) AS last FROM mark10_v1
        WHERE {range} GROUP BY bucket HAVING own > 0
    ) AS m
    LEFT JOIN (
        SELECT bucket, argMax(near, generation) AS near FROM settled10_v1 WHERE {range} GROUP BY bucket
    ) AS d ON m.bucket = d.bucket
    WHERE m.near != d.near"""

log = observability.logger(__name__)


def stretches(buckets: Sequence[int]) -> tuple[Stretch, ...]:
    """Return the stretches of time that buckets (seconds since 1970, sorted) make; one for all when there are many."""
    found: list[Stretch] = []
    for at in buckets:
        if found and at - found[-1][1] <= 10:
            found[-1] = (found[-1][0], at)
        else:
            found.append((at, at))
    return tuple(found) if len(found) <= MOST_STRETCHES else ((found[0][0], found[-1][1]),)


async def settle(crew: Crew, *, quiet_s: float = QUIET_S, most_spans: int = MOST_SPANS) -> int:
    """Settle the oldest buckets that are quiet, up to a number of spans, one bucket at least; returns how many buckets.

    Raises:
        TracesUnavailable: The engine did not take it. Nothing is lost: the buckets stay unsettled.
    """
    unsettled = UNSETTLED.format(range="1")
    rows = await crew.ask(
        f"SELECT at, own, near, (SELECT max(generation) FROM settled10_v1) FROM ({unsettled}) WHERE last <= now64(6) - toIntervalMillisecond({int(quiet_s * 1000)}) "
        "ORDER BY at LIMIT 1000"
    )
    chosen: list[tuple[int, int]] = []
    spans = 0
    for at, own, near, _ in rows:
        spans += int(own)
        if chosen and (spans > most_spans or at - chosen[-1][0] > 600):
            break
        chosen.append((int(at), int(near)))
    if not chosen:
        return 0
    # A clock that was set back must not make a generation that is older than what it replaces.
    generation = max(time.time_ns(), int(rows[0][3]) + 1)
    found = stretches([at for at, _ in chosen])
    wanted = ", ".join(str(at) for at, _ in chosen)
    columns = f"bucket, {ENDS}, calls, failed, buckets, exemplar, failed_exemplar"
    joined = hops(started(found), callers_near(found))
    await crew.read(
        lambda connection: connection.fetch(
            f"INSERT INTO edge10_v1 (generation, {columns}) SELECT {generation}, {columns} FROM ({joined}) "
            f"WHERE toUnixTimestamp(bucket) IN ({wanted})"
        )
    )
    done = ", ".join(f"({at}, {generation}, {near})" for at, near in chosen)
    await crew.read(
        lambda connection: connection.fetch(
            f"INSERT INTO settled10_v1 (bucket, generation, near) VALUES {done}"
        )
    )
    return len(chosen)


class Settling:
    """Settles in the background, when it is nudged, at most one round at a time.

    Args:
        crew: Does the work, on a reader's thread.
        every_s: From a nudge to the round, beside `quiet_s`, seconds.
        quiet_s: How long a bucket must have been quiet, seconds.
    """

    def __init__(self, crew: Crew, *, every_s: float = EVERY_S, quiet_s: float = QUIET_S) -> None:
        self._crew = crew
        self._quiet_s = quiet_s
        self._most_spans = MOST_SPANS
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._is_wanted = False

    def nudge(self) -> None:
        """Say that there may be something to settle. Never blocks; on the event loop."""
        self._is_wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while self._is_wanted:
            self._is_wanted = False
            # What a nudge is about is quiet by then, unless more comes; then there is another nudge.
            await asyncio.sleep(self._every_s + self._quiet_s)
            try:
                while await settle(self._crew, quiet_s=self._quiet_s, most_spans=self._most_spans):
                    self._most_spans = min(MOST_SPANS, self._most_spans * 2)
            except TracesUnavailable as error:
                # On a busy machine a join takes longer than a question may: the next round takes smaller bites.
                self._most_spans = max(1, self._most_spans // 4)
                self._is_wanted = True
                log.warning("edges_not_settled", reason=error.message)
