"""Pure bookkeeping of Envoy's counters: raw readings in, totals that only grow out.

Before it: `admin` reads every Envoy. After it: the plane's `counters`, and `past` for `history`. Envoy counts per address
and begins again from zero when it restarts or when an address leaves and comes back; here differences are added up, so
that a total never goes down. Each Envoy has its own raw values; the totals are of all of them, and one that is silent
stands still.

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

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from controller.model.look import Arm, Instance
from controller.model.target import TargetKey
from controller.model.wealth import Tally
from controller.routing.envoy.latency import BUCKETS
from controller.routing.envoy.resources import target_of
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
        targets: Whom it is about: a cluster of theirs that is not in it is not there. None: everybody.
    """

    process: int
    hosts: Mapping[str, Mapping[str, HostCount]]
    retries: Mapping[str, int]
    latencies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    targets: frozenset[TargetKey] | None = None


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
class _Part:
    """What one Envoy says of one cluster; hosts by address."""

    hosts: dict[str, _Host] = field(default_factory=dict)
    retries: _Counter = field(default_factory=_Counter)
    raw_buckets: tuple[int, ...] = (0,) * BUCKETS


@dataclass(slots=True)
class _Cluster:
    parts: dict[str, _Part] = field(default_factory=dict)
    """By proxy."""
    gone: Tally = field(default_factory=Tally)
    """Attempts at addresses that left."""
    total: int = 0
    failed: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    read_at_s: float = 0.0
    """When a proxy told of it last."""

    def part(self, proxy: str) -> _Part:
        return self.parts.setdefault(proxy, _Part())

    def hosts(self) -> Iterator[tuple[str, _Host]]:
        for part in self.parts.values():
            yield from part.hosts.items()


class Ledger:
    """Totals of every cluster over all proxies, restarts and changes of hosts.

    Args:
        past: Is told what was served between two readings.
    """

    def __init__(self, past: Past | None = None) -> None:
        self._past = past or Past()
        self._clusters: dict[str, _Cluster] = {}
        self._of_target: dict[TargetKey, list[str]] = {}
        """Names of clusters."""
        self._processes: dict[str, int] = {}

    def add(self, readings: Mapping[str, RawReading], at_s: float, now: float) -> None:
        """Take one round in. What a proxy says first of a cluster has no known beginning: it counts, but is no past.

        Args:
            readings: What each proxy said that answered, by the proxy's name; all about the same targets.
            at_s: When, seconds on the reader's clock.
            now: The same in seconds since 1970; it may jump.
        """
        for proxy, reading in readings.items():
            if self._processes.get(proxy) != reading.process:
                self._processes[proxy] = reading.process
                self._begin_again(proxy)
            for name in self._known(reading) - reading.hosts.keys():
                _add_hosts(self._clusters[name], proxy, {})
        for name in dict.fromkeys(name for reading in readings.values() for name in reading.hosts):
            cluster = self._cluster(name)
            told = {proxy: one for proxy, one in readings.items() if name in one.hosts}
            first = {proxy: one for proxy, one in told.items() if proxy not in cluster.parts}
            if first:
                _advance(cluster, name, first)
                _sum_up(cluster)
            if len(first) < len(told):
                served, timed = _advance(
                    cluster, name, {proxy: one for proxy, one in told.items() if proxy not in first}
                )
                took_s = at_s - cluster.read_at_s
                self._past.of(name).add(now, took_s, _sum_up(cluster), served, timed)
            cluster.read_at_s = at_s

    def _known(self, reading: RawReading) -> Set[str]:
        """Return the clusters that it would tell if they were still there."""
        if reading.targets is None:
            return self._clusters.keys()
        return {name for target in reading.targets for name in self._of_target.get(target, ())}

    def _cluster(self, name: str) -> _Cluster:
        known = self._clusters.get(name)
        if known is None:
            known = self._clusters[name] = _Cluster()
            self._of_target.setdefault(target_of(name), []).append(name)
        return known

    def _begin_again(self, proxy: str) -> None:
        for cluster in self._clusters.values():
            if proxy not in cluster.parts:
                continue
            part = cluster.part(proxy)
            part.retries.raw = 0
            part.raw_buckets = (0,) * BUCKETS
            for host in part.hosts.values():
                host.success.raw = host.error.raw = 0

    def arm(self, cluster_name: str) -> Arm | None:
        """Return the totals of one cluster, or None before it was ever read."""
        cluster = self._clusters.get(cluster_name)
        if cluster is None:
            return None
        instances = _instances(cluster)
        return Arm(
            total=cluster.total,
            failed=cluster.failed,
            in_flight=sum(one.in_flight for one in instances),
            # Dead looks quiet, not bad: with nobody left to ask, the arm says so itself.
            ready=not instances or any(one.ready for one in instances),
            instances=instances,
            buckets=tuple(cluster.buckets),
        )


def _instances(cluster: _Cluster) -> tuple[Instance, ...]:
    """Sum up by address; an instance is ready while one proxy can reach it."""
    found: dict[str, list[_Host]] = {}
    for address, host in cluster.hosts():
        found.setdefault(address, []).append(host)
    return tuple(
        Instance(
            id=address,
            total=sum(host.success.total + host.error.total for host in hosts),
            failed=sum(host.error.total for host in hosts),
            in_flight=sum(host.in_flight for host in hosts),
            ready=not all(host.is_ejected for host in hosts),
        )
        for address, hosts in found.items()
    )


def _advance(
    cluster: _Cluster, name: str, readings: Mapping[str, RawReading]
) -> tuple[dict[str, Tally], Sequence[int]]:
    """Take in what proxies say of one cluster; returns the new attempts by address and the new latencies."""
    served: dict[str, Tally] = {}
    timed: Sequence[int] = ()
    for proxy, reading in readings.items():
        part = cluster.part(proxy)
        for address, tally in _add_hosts(cluster, proxy, reading.hosts[name]).items():
            served[address] = served.get(address, Tally()) + tally
        # What is not in the answer was not used since it was made; if it was made anew, it shows when used.
        part.retries.advance(reading.retries.get(name, part.retries.raw))
        more = _add_buckets(cluster, part, reading.latencies.get(name, part.raw_buckets))
        timed = [sum(pair) for pair in zip(timed, more, strict=True)] if timed and more else timed or more
    return served, timed


def _add_hosts(cluster: _Cluster, proxy: str, hosts: Mapping[str, HostCount]) -> dict[str, Tally]:
    """Advance what is there and sum up what left; returns the new attempts by address."""
    served, part = {}, cluster.part(proxy)
    for address, count in hosts.items():
        host = part.hosts.setdefault(address, _Host())
        success, error = host.success.advance(count.success), host.error.advance(count.error)
        host.in_flight, host.is_ejected = count.in_flight, count.is_ejected
        if success or error:
            served[address] = Tally(success + error, error)
    for address in part.hosts.keys() - hosts.keys():
        left = part.hosts.pop(address)
        cluster.gone += Tally(left.success.total + left.error.total, left.error.total)
    return served


def _add_buckets(cluster: _Cluster, part: _Part, raw: tuple[int, ...]) -> Sequence[int]:
    """Add what is new; returns it, empty when nothing is."""
    if raw == part.raw_buckets:
        return ()
    pairs = list(zip(raw, part.raw_buckets, strict=True))
    # One bucket that went down: Envoy made the histogram anew, so all of them began again.
    more = raw if any(new < old for new, old in pairs) else tuple(new - old for new, old in pairs)
    part.raw_buckets = raw
    cluster.buckets = [total + one for total, one in zip(cluster.buckets, more, strict=True)]
    return more


def _sum_up(cluster: _Cluster) -> Tally:
    """Bring hosts and retries together; returns what is new.

    Retries are read a back-off after the hosts, so a difference can be too small, never too large: a total waits for the
    next reading rather than going down, and nothing counts as failed that did not fail.
    """
    retries, before = 0, Tally(cluster.total, cluster.failed)
    tries, errors = cluster.gone.total, cluster.gone.failed
    for part in cluster.parts.values():
        retries += part.retries.total
        for host in part.hosts.values():
            tries += host.success.total + host.error.total
            errors += host.error.total
    cluster.total = max(cluster.total, tries - retries)
    cluster.failed = max(cluster.failed, errors - retries)
    return Tally(cluster.total - before.total, cluster.failed - before.failed)
