"""Reads one Envoy's counters through its admin socket, once a second, for everybody.

Before it: Envoy on the same host. After it: `counting` adds up, `plane` answers from what was read last and never
blocks. Only the standard library: this is the smallest process of all.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import SO_PEERCRED, SOL_SOCKET
from typing import Any
from urllib.parse import quote

from controller.model.look import History, Reading, SourceState
from controller.model.target import Target
from controller.observability import logger
from controller.routing.envoy.counting import HostCount, Ledger, RawReading
from controller.routing.envoy.resources import cluster_name

READ_EVERY_S = 1.0
ANSWER_WITHIN_S = 1.0
STALE_AFTER_S = 3.0
DOWN_AFTER_S = 10.0
LONGEST_ANSWER = 32 * 1024 * 1024
"""Bytes; about 60 000 hosts. A longer answer counts as none."""
RETRIES = "upstream_rq_retry"
STATS = f"/stats?format=json&filter={quote(f'^cluster[.].*[.]{RETRIES}$', safe='')}"

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
        stats: `/stats?format=json` with the retries, read after `clusters`: see `counting`.

    Raises:
        AdminError: A page is not what Envoy sends, or the two come from different processes.
    """
    if stats.pid != clusters.pid:
        raise AdminError("Envoy restarted between two pages")
    try:
        retries = {
            one["name"].removeprefix("cluster.").removesuffix(f".{RETRIES}"): int(one["value"])
            for one in json.loads(stats.body)["stats"]
            if "name" in one
        }
        served = [
            one for one in json.loads(clusters.body).get("cluster_statuses", []) if one.get("added_via_api")
        ]
        hosts = {one["name"]: _hosts(one) for one in served}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AdminError(f"a page that cannot be read: {error!r}"[:200]) from error
    return RawReading(process=clusters.pid, hosts=hosts, retries=retries)


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


class CounterReader:
    """Keeps the newest counters of one Envoy.

    Args:
        socket: The admin socket.
        clock: Seconds, monotonic.
    """

    def __init__(self, *, socket: Path, clock: Callable[[], float]) -> None:
        self._socket = socket
        self._clock = clock
        self._generation = secrets.token_hex(8)
        self._ledger = Ledger()
        self._read_at_s: float | None = None
        self._is_answering = True
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read in the background."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop reading. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def read(self) -> None:
        """Read once.

        Raises:
            AdminError: Nothing usable came.
        """
        clusters = await get(self._socket, "/clusters?format=json")
        raw = parse(clusters, await get(self._socket, STATS))
        self._read_at_s = self._clock()
        self._ledger.add(raw, self._read_at_s)

    async def _run(self) -> None:
        while True:
            started_s = self._clock()
            try:
                await self.read()
                self._say(None)
            except AdminError as error:
                self._say(error)
            except Exception:  # the edge of this task: a reader that ended would be silent for ever
                log.exception("counter_reader_broke")
            await asyncio.sleep(max(0.05, READ_EVERY_S - (self._clock() - started_s)))

    def _say(self, error: AdminError | None) -> None:
        """Log the first failure and the first success after it, not each one."""
        if self._is_answering != (error is None):
            self._is_answering = error is None
            if error is None:
                log.info("counters_answered")
            else:
                log.warning("counters_failed", error=str(error))

    def reading(self, target: Target) -> Reading:
        """Return the newest counters of a target's versions."""
        age_s = float("inf") if self._read_at_s is None else self._clock() - self._read_at_s
        arms = {version: self._ledger.arm(cluster_name(target.key, version)) for version in target.versions}
        return Reading(
            generation=self._generation,
            source=_state(age_s),
            age_s=min(age_s, 1e9),
            arms={version: arm for version, arm in arms.items() if arm is not None},
        )

    def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what a version served in the newest `window_s` seconds, or in the shorter time that is known."""
        return self._ledger.history(cluster_name(target.key, version), window_s, self._clock())


def _state(age_s: float) -> SourceState:
    if age_s > DOWN_AFTER_S:
        return SourceState.DOWN
    return SourceState.STALE if age_s > STALE_AFTER_S else SourceState.OK
