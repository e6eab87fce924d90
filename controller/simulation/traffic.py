"""What happens outside Serinus while a release runs: requests come, two versions serve them, time passes.

Before it: a `Scene`. After it: `world` hands the looks to the real engine, as the judge's loop does with those of a
metric source. What came before the release is drawn by `past` from the same versions.
"""

from __future__ import annotations

from random import Random

from controller.model.look import Arm, Look, SourceState
from controller.model.share import EVERYTHING, NOTHING, BasisPoints
from controller.model.start import Rung
from controller.model.wealth import Tally
from controller.simulation.draws import binomial, poisson
from controller.simulation.latency import Slowness, mean_s
from controller.simulation.scene import Scene
from controller.simulation.serving import Version, above, paused

USUAL = Slowness()


class Traffic:
    """The world of one release.

    Args:
        scene: What it is like.
        random: Where chance comes from.
        stable: Name of the version that serves everybody else.
        canary: Name of the one that is judged.

    Attributes:
        rungs: The bounds at which requests are counted as slow; empty until somebody sets them.
        stable: What it has served, instance by instance.
        canary: Likewise.
        now_s: Seconds since the canary first got traffic.
        met_stable: What users met at stable.
        met_canary: What they met at the canary; a request that hangs is one that failed.
        since_fault: The part of it since the canary's fault began.
    """

    def __init__(self, scene: Scene, random: Random, *, stable: str, canary: str) -> None:
        fleet = scene.fleet
        unlike = fleet.unlike if fleet is not None else 0.0
        self.rungs: tuple[Rung, ...] = ()
        sizes = (None, None) if fleet is None else (fleet.stable, fleet.canary)
        self.stable, self.canary = (
            Version(name, size=size, unlike=unlike, group=scene.group, random=random)
            for name, size in zip((stable, canary), sizes, strict=True)
        )
        self.now_s = 0.0
        self.met_stable = self.met_canary = self.since_fault = Tally()
        self._scene = scene
        self._random = random
        self._hanging = 0
        self._newest = (0, 0)

    def go_on(self, share: BasisPoints, *, audience: float = 1.0) -> None:
        """Let traffic come until the next look; everything is as in the middle of that time.

        Args:
            share: The canary's, of its audience.
            audience: The part of all requests that may meet it, 0 to 1.
        """
        scene, random = self._scene, self._random
        at_s, fault = self.now_s + scene.look_every_s / 2, scene.canary
        total = poisson(random, scene.per_s * scene.look_every_s)
        is_dark = fault.dark_after_s is not None and at_s >= fault.dark_after_s
        canary = binomial(random, total, audience * (NOTHING if is_dark else share) / EVERYTHING)
        hangs = fault.hangs_after_s is not None and at_s >= fault.hangs_after_s
        met = self._hang(canary) if hangs else self.canary.take(canary, self._canary_rates(at_s))
        self.met_stable += self.stable.take(total - canary, self._stable_rates(at_s))
        self.met_canary += met
        self._newest = (total - canary, 0 if hangs else canary)
        self._measure(at_s)
        self.now_s += scene.look_every_s
        if self.now_s > scene.fault_at_s:
            self.since_fault += met

    def look(self, number: int) -> Look:
        """Read the counters, as far as the source answers."""
        scene, is_measured = self._scene, bool(self.rungs) and self._scene.latency is not None
        if scene.is_down(self.now_s):
            return Look(number, self.now_s, SourceState.DOWN, "", Arm(), Arm())
        canary_waits = self._waiting(self._newest[1], there=scene.canary.there(self.now_s)) + self._hanging
        return Look(
            id=number,
            at_s=self.now_s,
            source=SourceState.OK,
            generation="1",
            stable=self.stable.arm(
                is_measured=is_measured, in_flight=self._waiting(self._newest[0], there=0)
            ),
            canary=self.canary.arm(is_measured=is_measured, in_flight=canary_waits),
        )

    def _hang(self, requests: int) -> Tally:
        self._hanging += requests
        return Tally(requests, requests)

    def _stable_rates(self, at_s: float) -> list[float]:
        scene = self._scene
        return [scene.hit(scene.stable_rate * factor, at_s) for factor in self.stable.factors]

    def _canary_rates(self, at_s: float) -> list[float]:
        scene = self._scene
        rate = scene.canary_rate(at_s)
        rates = [scene.hit(rate * factor, at_s) for factor in self.canary.factors]
        if scene.fleet is not None and scene.fleet.bad_rate is not None:
            bad = rate + scene.canary.there(at_s) * (scene.fleet.bad_rate - rate)
            rates[0] = scene.hit(bad, at_s)
        return rates

    def _measure(self, at_s: float) -> None:
        """Count the newest requests above each rung's bound."""
        scene, latency = self._scene, self._scene.latency
        if latency is None or not self.rungs:
            return
        bounds_s = [rung.bound_s for rung in self.rungs]
        there = scene.canary.there(at_s)
        arms = ((self.stable, USUAL, 0.0), (self.canary, scene.canary.slowness, there))
        for total, (version, slowness, how_much) in zip(self._newest, arms, strict=True):
            span_s = scene.look_every_s
            hit = paused(self._random, latency, total, processes=version.processes, span_s=span_s)
            slow = above(
                self._random, latency, bounds_s, total=total, hit=hit, slowness=slowness, there=how_much
            )
            version.measure(total, slow)

    def _waiting(self, newest: int, *, there: float) -> int:
        """Draw how many requests are in flight (Little's law); nobody counts them where latency is not known."""
        latency = self._scene.latency
        if latency is None:
            return 0
        per_s = newest / self._scene.look_every_s
        return poisson(self._random, per_s * mean_s(latency, self._scene.canary.slowness, there=there))
