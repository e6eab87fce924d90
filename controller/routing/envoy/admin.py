"""Asks one Envoy's admin socket for the counters of some targets, and reads its answers.

Before it: `reader`, once a second. After it: `counting` adds up. Only the standard library: this is the smallest process
of all.

Two questions a reading: `/clusters` in JSON has the hosts; `/stats` as text, once for counters and once for histograms,
the retries and latencies of what was used. Text, because the same histograms in JSON are four times as long (200
clusters: 0.16 MB in 8 ms, 0.65 MB in 20). By type, because all types together take Envoy a third longer. Envoy answers in
its main thread, which also takes pushes: so it is asked for the targets that somebody needs, never for all.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import SO_PEERCRED, SOL_SOCKET
from typing import Any
from urllib.parse import quote

from controller.model.target import TargetKey
from controller.routing.envoy import latency
from controller.routing.envoy.counting import HostCount, RawReading
from controller.routing.envoy.resources import SHIELD, shielded

ANSWER_WITHIN_S = 1.0
LONGEST_ANSWER = 32 * 1024 * 1024
"""Bytes; about 60 000 hosts. A longer answer counts as none."""
LONGEST_QUESTION = 45_000
"""Characters of the names in it."""
TARGETS_A_PAGE = 100
"""To read their hosts takes 10 ms, in which no push goes out."""
RETRIES = "upstream_rq_retry"


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


def questions(targets: Iterable[TargetKey]) -> Iterator[tuple[TargetKey, ...]]:
    """Part targets into those that one question can name: Envoy takes 60 KiB."""
    named: list[TargetKey] = []
    length = 0
    for target in targets:
        length += len(target) + len("%7C%5C.")
        if length > LONGEST_QUESTION:
            yield tuple(named)
            named, length = [], len(target)
        named.append(target)
    if named:
        yield tuple(named)


def pages(targets: Sequence[TargetKey]) -> Iterator[Sequence[TargetKey]]:
    """Part the targets of one question into those of one page of hosts each."""
    return (targets[at : at + TARGETS_A_PAGE] for at in range(0, len(targets), TARGETS_A_PAGE))


def hosts_of(targets: Collection[TargetKey]) -> str:
    """Return the path of the page with the hosts of all versions of these targets."""
    return f"/clusters?format=json&filter={_escaped(f'^{_any(targets)}/')}"


def statistics_of(targets: Collection[TargetKey]) -> tuple[str, str]:
    """Return the paths of the pages with the retries, and with the latencies, of all versions of these targets."""
    begin = f"^cluster[.](?:{SHIELD})?{_any(targets)}/.*[.]"
    return (
        f"/stats?usedonly&type=Counters&filter={_escaped(f'{begin}{RETRIES}$')}",
        f"/stats?usedonly&type=Histograms&histogram_buckets=disjoint"
        f"&filter={_escaped(f'{begin}{latency.STATISTIC}$')}",
    )


def _any(targets: Collection[TargetKey]) -> str:
    return f"(?:{'|'.join(re.escape(key) for key in targets)})"


def _escaped(expression: str) -> str:
    return quote(expression, safe="")


def parse(
    hosts: Sequence[tuple[Collection[TargetKey] | None, Page]], statistics: Sequence[Page]
) -> list[RawReading]:
    """Turn the pages of one question into readings, one for each page of hosts.

    Args:
        hosts: Pages of `hosts_of`, each with its targets; None when it was asked for all.
        statistics: Pages of `statistics_of` them all, read after the hosts: see `counting`.

    Raises:
        AdminError: A page is not what Envoy sends, or they come from different processes.
    """
    if len({page.pid for page in (*statistics, *(page for _, page in hosts))}) > 1:
        raise AdminError("Envoy restarted between two pages")
    try:
        retries, latencies = _statistics("\n".join(page.body.decode() for page in statistics))
        return [
            RawReading(
                page.pid, _served(page), retries, latencies, None if targets is None else frozenset(targets)
            )
            for targets, page in hosts
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AdminError(f"a page that cannot be read: {error!r}"[:200]) from error


def _served(page: Page) -> dict[str, dict[str, HostCount]]:
    """Read hosts by cluster, the clusters from our bootstrap left out."""
    found = json.loads(page.body).get("cluster_statuses", [])
    return {one["name"]: _hosts(one) for one in found if one.get("added_via_api")}


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
