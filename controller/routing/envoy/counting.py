"""Pure bookkeeping of Envoy's counters: raw readings in, totals that only grow out.

Before it: `admin` reads one Envoy. After it: the plane's `counters`, and `past` for `history`. Envoy counts per address and begins
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
* Envoy counts the error at once and the retry when it begins, after its back-off. So retries are read that much later
  than the hosts. What was retried in between is taken out early, and the next reading makes up for it.
* A caller that went away before the answer leaves no trace in either: it is no evidence.
* Latencies (`latency`) are cumulative over restarts as the counters are. They are of requests, not of attempts: a
  request that a retry rescued is one value, a request that nobody answered is none.
* Under an aggregate cluster (canary first, then a rescue; `5xx` and `reset` repeated) the host counters of the canary
  still hold each of its attempts once: 60 requests with 10 500s, 10 503s and 10 resets were 30 successes and 30
  errors there, 30 successes at the rescue, and 30 retries and 60 latencies of the aggregate.
* So our own retries repeat nothing that was answered, and what they repeat is taken out: one failure of a service is
  counted once (M = 1, `MetricCapabilities.largest_group`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.model.look import Arm, Instance
from controller.model.wealth import Tally
from controller.routing.envoy.latency import BUCKETS
from controller.routing.past import Past


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
        latencies: By cluster name: requests by how long they took, in the buckets of `latency`. A cluster that served
            nothing has none.
    """

    process: int
    hosts: Mapping[str, Mapping[str, HostCount]]
    retries: Mapping[str, int]
    latencies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class _Counter:
    """A counter that survives restarts of whoever counts."""

    total: int = 0
    raw: int = 0

    def advance(self, raw: int) -> int:
        """Take a new value; returns what was added."""
        more = raw - self.raw if raw >= self.raw else raw
        self.total += more
        self.raw = raw
        return more


@dataclass(slots=True)
class _Host:
    success: _Counter = field(default_factory=_Counter)
    error: _Counter = field(default_factory=_Counter)
    in_flight: int = 0
    is_ejected: bool = False


@dataclass(slots=True)
class _Cluster:
    hosts: dict[str, _Host] = field(default_factory=dict)
    gone: Tally = field(default_factory=Tally)
    """Attempts at addresses that left."""
    retries: _Counter = field(default_factory=_Counter)
    total: int = 0
    failed: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    raw_buckets: tuple[int, ...] = (0,) * BUCKETS


class Ledger:
    """Totals of every cluster over restarts and changes of hosts.

    Args:
        past: Is told what was served between two readings.
    """

    def __init__(self, past: Past | None = None) -> None:
        self._past = past or Past()
        self._clusters: dict[str, _Cluster] = {}
        self._process = 0
        self._read_at_s: float | None = None

    def add(self, reading: RawReading, at_s: float, now: float) -> None:
        """Take one reading in. What the first one says has no known beginning: it counts, but it is no past.

        Args:
            reading: What Envoy said.
            at_s: When, seconds on the reader's clock.
            now: The same in seconds since 1970; it may jump.
        """
        if reading.process != self._process:
            self._process = reading.process
            self._begin_again()
        took_s = None if self._read_at_s is None else at_s - self._read_at_s
        self._read_at_s = at_s
        for name, hosts in reading.hosts.items():
            cluster = self._clusters.setdefault(name, _Cluster())
            served = _add_hosts(cluster, hosts)
            # What is not in the answer was not used since it was made; if it was made anew, it shows when it is used.
            cluster.retries.advance(reading.retries.get(name, cluster.retries.raw))
            counted = _sum_up(cluster)
            timed = _add_buckets(cluster, reading.latencies.get(name, cluster.raw_buckets))
            if took_s is not None:
                self._past.of(name).add(now, took_s, counted, served, timed)
        for name in self._clusters.keys() - reading.hosts.keys():
            _add_hosts(self._clusters[name], {})

    def _begin_again(self) -> None:
        for cluster in self._clusters.values():
            cluster.retries.raw = 0
            cluster.raw_buckets = (0,) * BUCKETS
            for host in cluster.hosts.values():
                host.success.raw = host.error.raw = 0

    def arm(self, cluster_name: str) -> Arm | None:
        """Return the totals of one cluster, or None before it was ever read."""
        cluster = self._clusters.get(cluster_name)
        if cluster is None:
            return None
        return Arm(
            total=cluster.total,
            failed=cluster.failed,
            in_flight=sum(host.in_flight for host in cluster.hosts.values()),
            # Dead looks quiet, not bad: with nobody left to ask, the arm says so itself.
            ready=not cluster.hosts or not all(host.is_ejected for host in cluster.hosts.values()),
            instances=tuple(
                Instance(
                    id=address,
                    total=host.success.total + host.error.total,
                    failed=host.error.total,
                    in_flight=host.in_flight,
                    ready=not host.is_ejected,
                )
                for address, host in cluster.hosts.items()
            ),
            buckets=tuple(cluster.buckets),
        )


def _add_hosts(cluster: _Cluster, hosts: Mapping[str, HostCount]) -> dict[str, Tally]:
    """Advance what is there and sum up what left; returns the new attempts by address."""
    served = {}
    for address, count in hosts.items():
        host = cluster.hosts.setdefault(address, _Host())
        success, error = host.success.advance(count.success), host.error.advance(count.error)
        host.in_flight, host.is_ejected = count.in_flight, count.is_ejected
        if success or error:
            served[address] = Tally(success + error, error)
    for address in cluster.hosts.keys() - hosts.keys():
        left = cluster.hosts.pop(address)
        cluster.gone += Tally(left.success.total + left.error.total, left.error.total)
    return served


def _add_buckets(cluster: _Cluster, raw: tuple[int, ...]) -> Sequence[int]:
    """Add what is new; returns it, empty when nothing is."""
    if raw == cluster.raw_buckets:
        return ()
    pairs = list(zip(raw, cluster.raw_buckets, strict=True))
    # One bucket that went down: Envoy made the histogram anew, so all of them began again.
    more = raw if any(new < old for new, old in pairs) else tuple(new - old for new, old in pairs)
    cluster.raw_buckets = raw
    cluster.buckets = [total + one for total, one in zip(cluster.buckets, more, strict=True)]
    return more


def _sum_up(cluster: _Cluster) -> Tally:
    """Bring hosts and retries together; returns what is new.

    Retries are read a back-off after the hosts, so a difference can be too small, never too large: a total waits for the
    next reading rather than going down, and nothing counts as failed that did not fail.
    """
    retries, before = cluster.retries.total, Tally(cluster.total, cluster.failed)
    tries = sum(
        (host.success.total + host.error.total for host in cluster.hosts.values()), cluster.gone.total
    )
    errors = sum((host.error.total for host in cluster.hosts.values()), cluster.gone.failed)
    cluster.total = max(cluster.total, tries - retries)
    cluster.failed = max(cluster.failed, errors - retries)
    return Tally(cluster.total - before.total, cluster.failed - before.failed)
