"""Reads the counters of every Envoy on this host through its admin socket, once a second, for everybody.

Before it: Envoys on the same host. After it: `counting` adds up, `plane` answers from what was read last and never
blocks. Only the standard library: this is the smallest process of all.

Two pages a second: `/clusters` in JSON has the hosts, `/stats` as text the retries and latency histograms of what was
used. Text, because the same histograms in JSON are four times as long (200 clusters: 0.16 MB in 8 ms, 0.65 MB in 20).
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from socket import SO_PEERCRED, SOL_SOCKET
from typing import Any
from urllib.parse import quote

from controller.model.look import History, Reading, SourceState
from controller.model.target import Target, TargetKey
from controller.observability import logger
from controller.routing.envoy import latency
from controller.routing.envoy.counting import HostCount, Ledger, RawReading
from controller.routing.envoy.resources import cluster_name, shielded
from controller.routing.past import Past
from controller.routing.shelf import Shelf

READ_EVERY_S = 1.0
KEEP_EVERY_S = 30.0
"""How much of its past a router that is killed may lose, seconds."""
ANSWER_WITHIN_S = 1.0
RETRIED_WITHIN_S = 0.04
"""Between the pages: the longest back-off of a retry (`retries`: 30 ms for the second) and some more."""
STALE_AFTER_S = 3.0
DOWN_AFTER_S = 10.0
LONGEST_ANSWER = 32 * 1024 * 1024
"""Bytes; about 60 000 hosts. A longer answer counts as none."""
RETRIES = "upstream_rq_retry"
_WANTED = quote(f"^cluster[.].*[.]({RETRIES}|{latency.STATISTIC})$", safe="")
STATS = f"/stats?usedonly&histogram_buckets=disjoint&filter={_WANTED}"

log = logger(__name__)


class AdminError(Exception):
    """The admin interface did not answer, or answered what cannot be read."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the admin interface, and the id of the process that gave it."""

    pid: int
    body: bytes


async def get(socket: Path, path: str) -> Page:
    """Fetch one page of the admin interface.

    Raises:
        AdminError: No answer within a second, another status than 200, or a body that is too long or broken.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=LONGEST_ANSWER)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
                pid = _pid(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.read(LONGEST_ANSWER)
                while chunk := await reader.read(LONGEST_ANSWER):
                    body += chunk
                    if len(body) > LONGEST_ANSWER:
                        raise AdminError("the answer is too long")
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise AdminError(f"no answer on {socket.name}: {type(error).__name__}") from error
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise AdminError("another status than 200")
    return Page(pid, _unchunked(head, body))


def _pid(writer: asyncio.StreamWriter) -> int:
    """Ask the kernel who listens at the other end: the one sure sign of another Envoy process."""
    raw = writer.get_extra_info("socket").getsockopt(SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[0])


def _unchunked(head: bytes, body: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    whole = bytearray()
    while body:
        size, _, body = body.partition(b"\r\n")
        try:
            length = int(size, 16)
        except ValueError as error:
            raise AdminError("a broken chunk") from error
        whole += body[:length]
        body = body[length + 2 :]
    return bytes(whole)


def parse(clusters: Page, stats: Page) -> RawReading:
    """Turn two admin pages into one reading.

    Args:
        clusters: `/clusters?format=json`.
        stats: `STATS`, read after `clusters`: see `counting`.

    Raises:
        AdminError: A page is not what Envoy sends, or the two come from different processes.
    """
    if stats.pid != clusters.pid:
        raise AdminError("Envoy restarted between two pages")
    try:
        retries, latencies = _statistics(stats.body.decode())
        served = [
            one for one in json.loads(clusters.body).get("cluster_statuses", []) if one.get("added_via_api")
        ]
        hosts = {one["name"]: _hosts(one) for one in served}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AdminError(f"a page that cannot be read: {error!r}"[:200]) from error
    return RawReading(process=clusters.pid, hosts=hosts, retries=retries, latencies=latencies)


def _statistics(text: str) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Read retries and latencies by cluster. A histogram with other buckets than ours is left out.

    Latencies of a shield are those of its canary, whose first tries they hold. Its retries are not: what the canary
    failed stays failed though another answered.
    """
    retries: dict[str, int] = {}
    latencies: dict[str, tuple[int, ...]] = {}
    for line in filter(None, text.split("\n")):
        name, _, value = line.partition(": ")
        cluster, _, statistic = name.removeprefix("cluster.").rpartition(".")
        if statistic == RETRIES:
            retries[cluster] = int(value)
        elif statistic == latency.STATISTIC:
            if (buckets := latency.read(value)) is not None:
                _add(latencies, shielded(cluster), buckets)
        else:
            raise ValueError("a line that was not asked for")
    return retries, latencies


def _add(latencies: dict[str, tuple[int, ...]], cluster: str, buckets: tuple[int, ...]) -> None:
    """Add to a cluster's latencies: a canary has those of its shield and those of requests that go to it directly."""
    before = latencies.get(cluster)
    latencies[cluster] = buckets if before is None else tuple(map(sum, zip(before, buckets, strict=True)))


def _hosts(cluster: dict[str, Any]) -> dict[str, HostCount]:
    found = {}
    for host in cluster.get("host_statuses", []):
        place = host["address"]["socket_address"]
        values = {one["name"]: int(one.get("value", 0)) for one in host["stats"]}
        found[f"{place['address']}:{place['port_value']}"] = HostCount(
            success=values["rq_success"],
            error=values["rq_error"],
            in_flight=values["rq_active"],
            is_ejected=bool(host.get("health_status", {}).get("failed_outlier_check")),
        )
    return found


@dataclass(slots=True)
class _Source:
    """One admin socket: when it was last read, and whether it answered the last time."""

    socket: Path
    read_at_s: float = -math.inf
    is_answering: bool = True


class CounterReader:
    """Keeps the newest counters of all Envoys, added up.

    Args:
        sockets: The admin sockets, one an Envoy.
        clock: Seconds, monotonic: how old a reading is.
        shelf: Keeps what was served over restarts; None keeps nothing.
        wall_clock: Seconds since 1970: when something was served.
    """

    def __init__(
        self,
        *,
        sockets: Sequence[Path],
        clock: Callable[[], float],
        shelf: Shelf | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = tuple(_Source(socket) for socket in sockets)
        self._clock = clock
        self._wall_clock = wall_clock
        self._generation = secrets.token_hex(8)
        self._shelf = shelf
        self._past = Past() if shelf is None else shelf.open(wall_clock())
        self._kept_at_s = clock()
        self._keeping: asyncio.Task[None] | None = None
        self._ledger = Ledger(self._past)
        self._stable: dict[TargetKey, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read in the background."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop reading and keep what was served. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._shelf is not None:
            if self._keeping is not None:
                await self._keeping
            await self._shelf.save(self._past, self._wall_clock())
            await self._shelf.aclose()
            self._shelf = None

    def _keep(self) -> None:
        """Begin to write what changed, when it is time and the disk is not busy with the last time."""
        is_time = self._clock() - self._kept_at_s >= KEEP_EVERY_S
        if self._shelf is not None and is_time and (self._keeping is None or self._keeping.done()):
            self._kept_at_s = self._clock()
            self._keeping = asyncio.create_task(self._shelf.save(self._past, self._wall_clock()))

    async def read(self) -> None:
        """Read every Envoy once, all at the same time. One that does not answer is said and stands still."""
        answers = await asyncio.gather(*(self._read(source) for source in self._sources))
        now_s, readings = self._clock(), {}
        for source, answer in zip(self._sources, answers, strict=True):
            self._say(source, answer if isinstance(answer, AdminError) else None)
            if isinstance(answer, RawReading):
                source.read_at_s = now_s
                readings[str(source.socket)] = answer
        if readings:
            self._ledger.add(readings, now_s, self._wall_clock())

    @staticmethod
    async def _read(source: _Source) -> RawReading | AdminError:
        try:
            clusters = await get(source.socket, "/clusters?format=json")
            await asyncio.sleep(RETRIED_WITHIN_S)
            return parse(clusters, await get(source.socket, STATS))
        except AdminError as error:
            return error

    async def _run(self) -> None:
        while True:
            started_s = self._clock()
            try:
                await self.read()
                self._keep()
            except Exception:  # the edge of this task: a reader that ended would be silent for ever
                log.exception("counter_reader_broke")
            await asyncio.sleep(max(0.05, READ_EVERY_S - (self._clock() - started_s)))

    def _say(self, source: _Source, error: AdminError | None) -> None:
        """Log the first failure and the first success after it, not each one."""
        if source.is_answering != (error is None):
            source.is_answering = error is None
            if error is None:
                log.info("counters_answered", proxy=str(source.socket))
            else:
                log.warning("counters_failed", proxy=str(source.socket), error=str(error))

    def answering(self) -> dict[str, bool]:
        """Say by admin socket whether its Envoy answered the last time; one that was never asked does."""
        return {str(source.socket): source.is_answering for source in self._sources}

    def reading(self, target: Target) -> Reading:
        """Return the newest counters of a target's versions."""
        ages_s = [self._clock() - source.read_at_s for source in self._sources]
        arms = {version: self._ledger.arm(cluster_name(target.key, version)) for version in target.versions}
        return Reading(
            generation=self._generation,
            source=_state(ages_s),
            age_s=min(max(ages_s), 1e9),
            arms={version: arm for version, arm in arms.items() if arm is not None},
            bounds_s=latency.BOUNDS_S,
        )

    def declared(self, targets: Sequence[Target]) -> None:
        """Take in which targets there are: a version that is not stable any more is remembered as an earlier one."""
        for target in targets:
            before = self._stable.get(target.key, target.stable)
            if before != target.stable:
                self._past.retire(target.key, before, cluster_name(target.key, before))
        self._stable = {target.key: target.stable for target in targets}
        self._past.keep_targets(self._stable)

    def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what a version served in the newest `window_s` seconds, or in the shorter time that is known."""
        known = self._past.versions.get(cluster_name(target.key, version))
        if known is None:
            return History(
                window_s=0.0, total=0, failed=0, earlier=self._past.earlier_than(target.key, version)
            )
        found = known.history(window_s, self._wall_clock(), latency.BOUNDS_S)
        return replace(found, earlier=self._past.earlier_than(target.key, version))


def _state(ages_s: Sequence[float]) -> SourceState:
    """One silent Envoy makes all counts doubtful; they are gone when none answers any more."""
    if min(ages_s) > DOWN_AFTER_S:
        return SourceState.DOWN
    return SourceState.STALE if max(ages_s) > STALE_AFTER_S else SourceState.OK
