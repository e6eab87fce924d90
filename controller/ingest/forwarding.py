"""What was kept goes on to another collector, if one is named: never slower for it, never more memory than its queue.

Before it: `intake`, after the store has kept a body. After it: OTLP/HTTP of the other collector, through the guarded way
out. Bodies of one signal are joined (two export requests behind each other are one) up to 4 MiB. 429, 502, 503, 504 and
silence are tried again with growing pauses; anything else is final. What finds no room, and what could not be delivered
for five minutes, is dropped and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic

from controller import observability
from controller.egress import Answer, Egress
from controller.errors import EgressRefused, Unavailable
from controller.ingest.bodies import PROTOBUF
from controller.ingest.counts import Metrics
from controller.model.telemetry import Signal

MOST_JOINED = 4 * 1024 * 1024
"""Bytes; what the OpenTelemetry collector takes over gRPC by default, and well below what it takes over HTTP."""
TOO_LATE_S = 300.0
DEADLINE_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_LONGEST_ANSWER = 64 * 1024

log = observability.logger(__name__)


class Forwarder:
    """Sends bodies to another collector from a queue.

    Args:
        url: Its base address, such as `http://collector:4318`; the paths of OTLP are added.
        egress: The way out.
        queue_bytes: Most bytes that wait.
        metrics: Counts what becomes of them.
        sleep: Waits between attempts, seconds.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        url: str,
        *,
        egress: Egress,
        queue_bytes: int,
        metrics: Metrics,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._url = url.rstrip("/")
        self._egress = egress
        self._queue_bytes = queue_bytes
        self._counted = metrics.forwarded
        self._sleep = sleep
        self._clock = clock
        self._queue: deque[tuple[Signal, bytes]] = deque()
        self._held_bytes = 0
        self._offered = asyncio.Event()
        self._is_silent = False
        metrics.watch("serinus_otlp_forward_queue_bytes", "Bytes that wait.", lambda: self._held_bytes)

    def offer(self, signal: Signal, body: bytes) -> None:
        """Take a body if there is room. Never blocks."""
        if self._held_bytes + len(body) > self._queue_bytes:
            self._counted.labels("dropped").inc(len(body))
            return
        self._queue.append((signal, body))
        self._held_bytes += len(body)
        self._offered.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            while self._queue:
                signal, bodies = self._next()
                size = sum(map(len, bodies))
                outcome = await self._deliver(signal, b"".join(bodies))
                self._held_bytes -= size
                self._counted.labels(outcome).inc(size)

    def _next(self) -> tuple[Signal, list[bytes]]:
        signal, first = self._queue.popleft()
        bodies, size = [first], len(first)
        while self._queue and self._queue[0][0] is signal and size + len(self._queue[0][1]) <= MOST_JOINED:
            bodies.append(self._queue.popleft()[1])
            size += len(bodies[-1])
        return signal, bodies

    async def _deliver(self, signal: Signal, body: bytes) -> str:
        give_up = self._clock() + TOO_LATE_S
        for pause_s in _pauses():
            told = await self._post(signal, body)
            if isinstance(told, Answer) and told.status not in _TRY_AGAIN:
                return self._ended(told.status)
            if not self._is_silent:
                self._is_silent = True
                log.warning("forwarding_delayed", reason=told if isinstance(told, str) else told.status)
            wait_s = max(pause_s, _asked_for(told))
            if self._clock() + wait_s > give_up:
                break
            await self._sleep(wait_s)
        log.warning("forwarding_dropped", signal=signal.value, size_bytes=len(body))
        return "dropped"

    async def _post(self, signal: Signal, body: bytes) -> Answer | str:
        try:
            return await self._egress.request(
                "POST",
                f"{self._url}/v1/{signal.value}",
                headers={"Content-Type": PROTOBUF},
                body=body,
                deadline_s=DEADLINE_S,
                max_bytes=_LONGEST_ANSWER,
            )
        except Unavailable as error:
            return error.message
        except EgressRefused as error:
            # A name may lead to somewhere else a minute later; a rule does not change, and dropping is what is left.
            return error.message

    def _ended(self, status: int) -> str:
        if self._is_silent:
            self._is_silent = False
            log.info("forwarding_resumed")
        if 200 <= status < 300:
            return "sent"
        log.warning("forwarding_refused", status=status)
        return "refused"


def _pauses() -> Iterator[float]:
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _asked_for(told: Answer | str) -> float:
    """Seconds of Retry-After, within reason; 0 when it names none."""
    text = told.headers.get("retry-after", "") if isinstance(told, Answer) else ""
    return min(float(text), LONGEST_PAUSE_S) if text.isdecimal() and text.isascii() else 0.0
