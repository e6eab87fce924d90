"""Pure: Envoy's latency histograms. Which buckets there are, how Envoy is told, how one line of its answer is read.

Before it: `bootstrap` configures them, `admin` asks for them once a second. After it: `counting` adds them up. What was
found on Envoy 1.40 and is kept by tests on the real one:

* `upstream_rq_time` has one value for each request that a service answered (whatever the status), however often we
  tried: from the last byte of the request until the last byte of the answer, our waiting between two tries included.
  A request that nobody answered (no connection, reset, timeout, the user left) has none. So the number of values is
  not the number of requests: whoever needs a rate divides by the buckets' own sum.
* It is charged to the cluster that the route names. Under an aggregate cluster (a shield) that is the aggregate, and
  the value of a rescued request holds both tries: what the user waited. The clusters inside it have none.
* It is counted in whole milliseconds, rounded down. Below 5 ms buckets are therefore one millisecond wide; above, each
  bound is at most 1.2 times the one before it.
* Envoy sorts values into bins of two significant digits, and counts a bin into every bucket whose bound is not below
  the bin's lower edge. A bound on an edge would count a whole bin too many (at 100 ms: up to 110). So Envoy gets bounds
  half a millisecond below ours, and a bucket holds exactly what took less than its bound and not less than the last.
* The histograms of all threads are merged when statistics are flushed (each second), so they are up to a second older
  than the counters. `B1.5(2,30)` says 2 in the last second and 30 since the process began; we read the 30.
"""

from __future__ import annotations

import re
from typing import Any

STATISTIC = "upstream_rq_time"
_STEPS = (12, 14, 16, 19, 22, 26, 31, 37, 44, 52, 62, 74, 88, 100)
"""One decade with two significant digits, each at most 1.2 times the one before."""
BOUNDS_MS = (
    *range(1, 11),
    *_STEPS,
    *(10 * step for step in _STEPS),
    *(100 * step for step in _STEPS),
    *(1_000 * step for step in _STEPS[:11]),
)
"""1 ms to 62 s: twice the longest time that a route gives a request."""
BOUNDS_S = tuple(bound / 1_000 for bound in BOUNDS_MS)
BUCKETS = len(BOUNDS_S) + 1
"""The last one holds everything above the last bound."""
_ASKED = (*(bound - 0.5 for bound in BOUNDS_MS), 1e9)
_LABELS = [f"{bound:g}" for bound in _ASKED]
_BUCKET = re.compile(r"B([0-9.e+]+)\([0-9]+,([0-9]+)\)")


def bucket_settings() -> list[dict[str, Any]]:
    """Return `stats_config.histogram_bucket_settings` of Envoy's bootstrap."""
    return [{"match": {"suffix": STATISTIC}, "buckets": list(_ASKED)}]


def pattern() -> str:
    """Return the regular expression of the histograms that shall exist.

    Envoy also keeps the same for internal and for external callers apart, which doubles the cost and is left out. Its
    expressions know no negation, so the ends that are allowed are spelt out letter by letter. (So a version that is
    called `x.internal` has no latencies.)
    """
    return rf"^cluster\..*(?:{_other_than('.internal', '.external')})\.{STATISTIC}$"


def _other_than(*endings: str) -> str:
    """Spell out every ending but these: a letter that differs, before what is the same."""
    known = {ending[place:] for ending in endings for place in range(1, len(ending) + 1)} | {""}
    parts = []
    for same in sorted(known - set(endings)):
        before = "".join(sorted({end[-len(same) - 1] for end in endings if end.endswith(same)}))
        parts.append(f"[^{before}]{same}")
    return "|".join(parts)


def read(values: str) -> tuple[int, ...] | None:
    """Read the buckets of one line (`B0.5(0,7) B1.5(2,30) ...`).

    Returns:
        Requests by bucket since the process began; None when Envoy was started with other buckets than ours.
    """
    found = _BUCKET.findall(values)
    if [label for label, _ in found] != _LABELS:
        return None
    return tuple(int(count) for _, count in found)
