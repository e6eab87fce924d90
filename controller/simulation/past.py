"""What stable has served before a release, as the metric source would remember it: the same versions, the same chance.

Before it: `traffic` has made the versions. After it: `controller.analysis.beginning` freezes from it what a real release
would freeze: base rate, luck of instances, dispersion, and the latency ladder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from random import Random

from controller.model.look import History
from controller.model.wealth import Tally
from controller.simulation.draws import multinomial, poisson
from controller.simulation.latency import BOUNDS_S, Latency, Slowness, parts_above
from controller.simulation.scene import Scene
from controller.simulation.serving import Version, paused

MINUTE_S = 60.0
MOST_MINUTES = 60


def history(scene: Scene, stable: Version, random: Random) -> History:
    """Draw the history of a release's stable version.

    Args:
        scene: The world.
        stable: The version whose instances go on to serve in the release.
        random: Where chance comes from.
    """
    is_plain = scene.fleet is None and scene.latency is None
    minutes = 0 if is_plain else min(int(scene.history_s // MINUTE_S), MOST_MINUTES)
    rates = [min(scene.stable_rate * factor, 1.0) for factor in stable.factors]
    before = poisson(random, scene.per_s * (scene.history_s - minutes * MINUTE_S))
    older = stable.served(before, rates)
    rows = [stable.served(poisson(random, scene.per_s * MINUTE_S), rates) for _ in range(minutes)]
    known = _whole([*older, *(_whole(row) for row in rows)])
    return History(
        window_s=scene.history_s,
        total=known.total,
        failed=known.failed,
        minutes=() if scene.fleet is None else tuple(map(tuple, rows)),
        earlier=_earlier(scene, random),
        bounds_s=() if scene.latency is None else BOUNDS_S,
        bucket_minutes=() if scene.latency is None else _buckets(scene.latency, rows, random),
    )


def _earlier(scene: Scene, random: Random) -> tuple[Tally, ...]:
    """Draw what is remembered of earlier versions' instances: an hour of each."""
    if scene.fleet is None:
        return ()
    found: list[Tally] = []
    for _ in range(scene.fleet.generations):
        version = Version(
            "", size=scene.fleet.stable, unlike=scene.fleet.unlike, group=scene.group, random=random
        )
        rates = [min(scene.stable_rate * factor, 1.0) for factor in version.factors]
        found += version.served(poisson(random, scene.per_s * MOST_MINUTES * MINUTE_S), rates)
    return tuple(found)


def _buckets(
    latency: Latency, rows: Sequence[Sequence[Tally]], random: Random
) -> tuple[tuple[int, ...], ...]:
    """Draw how long the requests of each minute took."""
    usual = _parts(latency, 0.0)
    later = _parts(latency, latency.pauses.for_s if latency.pauses is not None else 0.0)
    found = []
    for row in rows:
        total = _whole(row).total
        hit = paused(random, latency, total, processes=len(row), span_s=MINUTE_S)
        both = zip(multinomial(random, total - hit, usual), multinomial(random, hit, later), strict=True)
        found.append(tuple(one + more for one, more in both))
    return tuple(found)


def _parts(latency: Latency, later_s: float) -> list[float]:
    """Return the part of requests in each bucket."""
    above = [1.0, *parts_above(latency, BOUNDS_S, Slowness(), there=0.0, later_s=later_s), 0.0]
    return [high - low for high, low in pairwise(above)]


def _whole(tallies: Iterable[Tally]) -> Tally:
    return sum(tallies, Tally())
