"""Keeping leases alive: one batch a worker and second, and only for judges that are really judging.

A judge vouches for its lease after each look. A lease whose judge has not vouched lately is left out of the batch and
runs out by itself: a hung judge loses its share like a dead one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from controller.errors import RouterUnavailable
from controller.judging.clock import Clock
from controller.model.lease import Closure, Lease, Renewal, Standing
from controller.observability import logger
from controller.routing.port import LeaseKeeper

log = logger(__name__)


@dataclass(slots=True)
class Holding:
    """One lease in the hands of one judge.

    Args:
        lease: As it was granted.
        vouched_s: When the judge last vouched for it, boot clock.
        standing: What the keeper last answered.
        closure: Set when the standing is CLOSED.
        news: Set when the standing became anything but RENEWED.
    """

    lease: Lease
    vouched_s: float
    standing: Standing = Standing.RENEWED
    closure: Closure | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Renewals:
    """Renews the holdings of one worker.

    Args:
        keeper: Who keeps the leases.
        clock: The worker's clock.
        every_s: Time between two batches, seconds.
        patience_s: How long after the last vouching a lease is still renewed, seconds.
    """

    def __init__(
        self, *, keeper: LeaseKeeper, clock: Clock, every_s: float = 1.0, patience_s: float = 3.0
    ) -> None:
        self._keeper = keeper
        self._clock = clock
        self._every_s = every_s
        self._patience_s = patience_s
        self._holdings: list[Holding] = []

    def hold(self, lease: Lease) -> Holding:
        """Begin to renew a lease that has just been granted."""
        holding = Holding(lease, vouched_s=self._clock.boot_s())
        self._holdings.append(holding)
        return holding

    def vouch(self, holding: Holding) -> None:
        """Say that the judge of this lease has just looked."""
        holding.vouched_s = self._clock.boot_s()

    def drop(self, holding: Holding) -> None:
        """Stop renewing. The lease runs out by itself unless somebody closes it or takes over. Idempotent."""
        if holding in self._holdings:
            self._holdings.remove(holding)

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await self._clock.sleep(self._every_s)
            await self.tick()

    async def tick(self) -> None:
        """Renew one batch. A keeper that does not answer is logged; the leases run out if it stays so."""
        oldest = self._clock.boot_s() - self._patience_s
        batch = [holding for holding in self._holdings if holding.vouched_s >= oldest]
        if not batch:
            return
        renewals = [Renewal(held.lease.target, held.lease.release, held.lease.epoch) for held in batch]
        try:
            answers = await self._keeper.renew(renewals)
        except RouterUnavailable as error:
            log.warning("renewal_failed", leases=len(batch), reason=error.message)
            return
        for held, answer in zip(batch, answers, strict=True):
            held.standing = answer.standing
            held.closure = answer.closure
            if answer.standing is not Standing.RENEWED:
                self.drop(held)
                held.news.set()
