"""Lets one stream a node in: two Envoys that give themselves the same name cannot be told apart.

Before it: `xds` has read whose a new stream is. After it: the stream is the one of its node, or it is refused.

The rule: whoever is connected and answers stays. The newcomer waits while the other is asked for a sign of life (a
response that Envoy must answer, without any content). If its stream ends meanwhile, or it gives no sign, the newcomer was
the same Envoy after a cut, or the other is dead or frozen: the newcomer takes its place. If it answers, they are two; the
newcomer waits a little longer, for one that is just being replaced, and is then told why it gets nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controller.observability import logger
from controller.routing.envoy.roster import Roster
from controller.routing.envoy.session import Session

ANSWER_WITHIN_S = 2.0
"""Time for a sign of life: above the 0.9 s for which 5 000 services keep Envoy from answering (DECISIONS.md, 32), below the
6 s after which gRPC drops a dead stream."""
PATIENCE_S = 1.0
"""How long the newcomer is kept waiting after it; also keeps it from trying again at once."""
TWIN = "another proxy with this node id is connected and answers; give each its own (serinus router bootstrap --node-id)"

log = logger(__name__)


class Door:
    """Decides who may be a node.

    Args:
        roster: Who is connected.
        wake: Lets the streams send what is due.
        throw_out: Ends a stream that gives no sign of life.
    """

    def __init__(
        self, *, roster: Roster, wake: Callable[[], None], throw_out: Callable[[Session], None]
    ) -> None:
        self._roster = roster
        self._wake = wake
        self._throw_out = throw_out
        self._moved = asyncio.Event()
        self._told: set[str] = set()
        """Nodes of which it was said that they are two."""

    def moved(self) -> None:
        """Take in that a request came or that a stream ended."""
        self._moved.set()

    async def admit(self, node: str, session: Session, *, via: str = "") -> bool:
        """Wait until a stream is the one of its node; False when another one is and stays.

        Args:
            node: What it calls itself.
            session: The stream.
            via: How it came, for the log: the name in its certificate, or the socket.
        """
        while (other := self._roster.of(node)) is not None:
            if await self._answers(node, other):
                if not await self._left(node, other):
                    self._refuse(node, via)
                    return False
            elif self._roster.of(node) is other:
                log.warning("proxy_replaced", node=node, why="it gave no sign of life")
                self._throw_out(other)
        self._told.discard(node)
        self._roster.enter(node, session, via)
        return True

    async def _answers(self, node: str, other: Session) -> bool:
        """Ask for a sign of life; False when there is none, or when the stream is gone."""
        heard = other.heard
        other.greet()
        self._wake()
        await self._until(lambda: other.heard != heard or self._roster.of(node) is not other, ANSWER_WITHIN_S)
        return other.heard != heard and self._roster.of(node) is other

    async def _left(self, node: str, other: Session) -> bool:
        return await self._until(lambda: self._roster.of(node) is not other, PATIENCE_S)

    async def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return condition()
        return True

    def _refuse(self, node: str, via: str) -> None:
        self._roster.events["doubled"] += 1
        if node not in self._told:
            self._told.add(node)
            log.warning("proxy_refused", node=node, via=via, why=TWIN)
