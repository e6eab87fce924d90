"""Pure bookkeeping of Envoy's counters: raw readings in, totals that only grow out.

Before it: `admin` reads one Envoy. After it: the plane's `counters` and `history`. Envoy counts per address and begins
again from zero when it restarts or when an address leaves and comes back; here differences are added up, so that a
total never goes down.

What counts as what, found on Envoy 1.40 and kept by a test against real services:

* `rq_success` is an attempt that was answered below 500 (gRPC: with a good status); `rq_error` is one that was answered
  500 or above, was reset, timed out, or never got a connection. Each attempt ends in exactly one of them.
* `rq_total` counts only attempts that got a connection, so a dead host would look quiet: it is not used.
  `cx_connect_fail` is already inside `rq_error`: adding it would count twice.
* A retry of ours (same version, only when the service was never reached) is an attempt of its own. Each one belongs to
  an `rq_error` that the user did not see, so requests = success + error - retries and failed = error - retries.
  The retries are counted per version (`upstream_rq_retry`); those of an instance stay in its numbers.
* A caller that went away before the answer leaves no trace in either: it is no evidence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.model.look import Arm, History, Instance

RING_S = 3_600
"""How many one-second samples are kept for `history`."""


@dataclass(frozen=True, slots=True)
class HostCount:
    """What Envoy says of one address: attempts that ended well, attempts that did not, attempts in flight."""

    success: int
    error: int
    in_flight: int
    is_ejected: bool = False
    """It could not be reached several times in a row, and gets no request for a while."""


@dataclass(frozen=True, slots=True)
class RawReading:
    """One reading of one Envoy.

    Args:
        process: Process id of the Envoy; another one counts from zero.
        hosts: By cluster name, then by address.
        retries: By cluster name.
    """

    process: int
    hosts: Mapping[str, Mapping[str, HostCount]]
    retries: Mapping[str, int]


@dataclass(slots=True)
class _Counter:
    """A counter that survives restarts of whoever counts."""

    total: int = 0
    raw: int = 0

    def advance(self, raw: int) -> None:
        self.total += raw - self.raw if raw >= self.raw else raw
        self.raw = raw


@dataclass(slots=True)
class _Host:
    success: _Counter = field(default_factory=_Counter)
    error: _Counter = field(default_factory=_Counter)
    in_flight: int = 0
    is_present: bool = True
    is_ejected: bool = False


@dataclass(slots=True)
class _Cluster:
    hosts: dict[str, _Host] = field(default_factory=dict)
    retries: _Counter = field(default_factory=_Counter)
    total: int = 0
    failed: int = 0
    samples: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=RING_S))
    """When (seconds), total, failed."""


class Ledger:
    """Totals of every cluster over restarts and changes of hosts."""

    def __init__(self) -> None:
        self._clusters: dict[str, _Cluster] = {}
        self._process = 0

    def add(self, reading: RawReading, at_s: float) -> None:
        """Take one reading in.

        Args:
            reading: What Envoy said.
            at_s: When, seconds on the reader's clock.
        """
        if reading.process != self._process:
            self._process = reading.process
            self._begin_again()
        for name, hosts in reading.hosts.items():
            cluster = self._clusters.setdefault(name, _Cluster())
            self._add_hosts(cluster, hosts)
            cluster.retries.advance(reading.retries.get(name, 0))
            _sum_up(cluster, at_s)
        for name in self._clusters.keys() - reading.hosts.keys():
            self._add_hosts(self._clusters[name], {})
            self._clusters[name].retries.raw = 0

    def _begin_again(self) -> None:
        for cluster in self._clusters.values():
            cluster.retries.raw = 0
            for host in cluster.hosts.values():
                host.success.raw = host.error.raw = 0

    def _add_hosts(self, cluster: _Cluster, hosts: Mapping[str, HostCount]) -> None:
        for address, count in hosts.items():
            host = cluster.hosts.setdefault(address, _Host())
            host.success.advance(count.success)
            host.error.advance(count.error)
            host.in_flight, host.is_present = count.in_flight, True
            host.is_ejected = count.is_ejected
        for address in cluster.hosts.keys() - hosts.keys():
            gone = cluster.hosts[address]
            gone.success.raw = gone.error.raw = gone.in_flight = 0
            gone.is_present = False

    def arm(self, cluster_name: str) -> Arm | None:
        """Return the totals of one cluster, or None before it was ever read."""
        cluster = self._clusters.get(cluster_name)
        if cluster is None:
            return None
        present = {address: host for address, host in cluster.hosts.items() if host.is_present}
        return Arm(
            total=cluster.total,
            failed=cluster.failed,
            in_flight=sum(host.in_flight for host in present.values()),
            # Dead looks quiet, not bad: with nobody left to ask, the arm says so itself.
            ready=not present or not all(host.is_ejected for host in present.values()),
            instances=tuple(
                Instance(
                    id=address,
                    total=host.success.total + host.error.total,
                    failed=host.error.total,
                    in_flight=host.in_flight,
                    ready=not host.is_ejected,
                )
                for address, host in present.items()
            ),
        )

    def history(self, cluster_name: str, window_s: float, now_s: float) -> History:
        """Return what a cluster served in the newest `window_s` seconds, or in the shorter time that is known."""
        cluster = self._clusters.get(cluster_name)
        if cluster is None or not cluster.samples or window_s <= 0:
            return History(window_s=0.0, total=0, failed=0)
        newest = cluster.samples[-1]
        since = next((one for one in cluster.samples if one[0] >= now_s - window_s), newest)
        return History(window_s=newest[0] - since[0], total=newest[1] - since[1], failed=newest[2] - since[2])


def _sum_up(cluster: _Cluster, at_s: float) -> None:
    """Bring hosts and retries together.

    Retries are read a moment after the hosts, so a difference can be too small, never too large: a total waits for the
    next reading rather than going down, and nothing counts as failed that did not fail.
    """
    retries = cluster.retries.total
    ended = sum(host.success.total + host.error.total for host in cluster.hosts.values()) - retries
    failed = sum(host.error.total for host in cluster.hosts.values()) - retries
    cluster.total = max(cluster.total, ended)
    cluster.failed = max(cluster.failed, failed)
    cluster.samples.append((at_s, cluster.total, cluster.failed))
