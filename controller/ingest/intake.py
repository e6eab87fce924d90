"""The way of every body, whatever brought it: bounded, checked, kept, passed on.

Before it: the receivers (`over_http`, `over_grpc`). After it: the trace store, and `forwarding` when another collector
wants the same. A span counts as received when the store has taken it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from controller.errors import SerinusError, TracesUnavailable
from controller.ingest.batching import LINGER_S, Batcher
from controller.ingest.bodies import PROTOBUF, BodyRefused
from controller.ingest.counts import Metrics
from controller.ingest.forwarding import Forwarder
from controller.ingest.otlp import Batch, accept
from controller.model.telemetry import Signal
from controller.traces.port import TraceStore

RETRY_AFTER_S = 1
"""What a sender is told when there is no room: whole seconds, as HTTP wants."""
_SMALL = 256 * 1024
"""Bytes. Bodies up to this size are parsed at once (about 1.5 ms: 2.3 us a span of 500 bytes); larger ones on a thread, so that others are answered."""


class Overloaded(TracesUnavailable):
    """Too many bytes are under way; the same body is welcome a second later."""


class Held:
    """The bytes of one body that count against the room of all."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def grow(self, size: int) -> None:
        """Say how large the body is by now.

        Raises:
            Overloaded: All together are too large.
        """
        self._room.left -= size - self.size
        self.size = size
        if self._room.left < 0:
            raise Overloaded("too many bytes are under way; try again")


class Room:
    """How many bytes may be under way over all requests.

    Args:
        size: Bytes.
    """

    def __init__(self, size: int) -> None:
        self.left = size

    @contextmanager
    def hold(self) -> Iterator[Held]:
        """Count a body as long as the block runs."""
        held = Held(self)
        try:
            yield held
        finally:
            self.left += held.size


class Intake:
    """Takes bodies.

    Args:
        store: Keeps them.
        max_body_bytes: Largest unpacked body; four of them may be under way at once.
        forwarder: Gets what the store has kept.
        linger_s: How long a body waits for company, seconds; None for the store's sake alone (0 in memory).
    """

    def __init__(
        self,
        store: TraceStore,
        *,
        max_body_bytes: int,
        forwarder: Forwarder | None = None,
        linger_s: float | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.metrics = metrics or Metrics(store)
        self.max_body_bytes = max_body_bytes
        self.room = Room(4 * max_body_bytes)
        self._store = store
        self._forwarder = forwarder
        if linger_s is None:
            linger_s = LINGER_S if store.capabilities().is_durable else 0.0
        self._batchers = {signal: Batcher(self._keeper_of(signal), linger_s=linger_s) for signal in Signal}
        self._parsing = asyncio.Semaphore(1)

    async def take(self, body: bytes, content_type: str, signal: Signal) -> Batch:
        """Return when what is good of a body is kept.

        Raises:
            BodyRefused: It does not parse, or the store cannot read it.
            TracesUnavailable: The store cannot take it now; nothing of it is kept.
        """
        batch = await self._accept(body, content_type, signal)
        if batch.body:
            await self._keep(signal, batch)
            if self._forwarder is not None:
                self._forwarder.offer(signal, batch.body)
        items = self.metrics.items
        items.labels(signal.value, "accepted").inc(batch.items)
        if batch.rejected:
            items.labels(signal.value, "rejected").inc(batch.rejected)
        if batch.clipped:
            items.labels(signal.value, "clipped").inc(batch.clipped)
        self.metrics.bytes.labels(signal.value).inc(len(batch.body))
        return batch

    async def aclose(self) -> None:
        """Return when everything that was taken is kept or refused."""
        for batcher in self._batchers.values():
            await batcher.aclose()

    async def _keep(self, signal: Signal, batch: Batch) -> None:
        try:
            await self._batchers[signal].add(batch.body, batch.items)
        except SerinusError as error:
            if error.retryable:
                raise
            raise BodyRefused(error.message, status=400) from error

    async def _accept(self, body: bytes, content_type: str, signal: Signal) -> Batch:
        if len(body) <= _SMALL and content_type == PROTOBUF:
            return accept(body, content_type, signal)
        async with self._parsing:
            return await asyncio.to_thread(accept, body, content_type, signal)

    def _keeper_of(self, signal: Signal) -> Callable[[Sequence[bytes]], Awaitable[None]]:
        if signal is Signal.TRACES:
            return self._store.ingest

        async def keep(bodies: Sequence[bytes]) -> None:
            await self._store.ingest_other(signal, bodies)

        return keep
