"""Which Envoys are connected, by the name that each gives itself, and what happened to them. No IO.

Before it: `xds` lets streams in and out, `session` and `runtime` tell what is lost. After it: `plane` says it to the
keeper, people read it in the log.
"""

from __future__ import annotations

from collections import Counter

from controller.observability import logger
from controller.routing.envoy.session import Session

log = logger(__name__)


class Roster:
    """The connected Envoys."""

    def __init__(self) -> None:
        self._present: dict[Session, str] = {}
        self._had_shares: set[str] = set()
        """Nodes whose last stream ended with shares at them."""
        self.lapses: Counter[str] = Counter()
        """By node: how often it had no shares though a lease was live, since the start."""
        self.events: Counter[str] = Counter()
        """What happened since the start, by `port.PROXY_EVENTS`."""

    def sessions(self) -> tuple[Session, ...]:
        """Return the streams that have said whose they are."""
        return tuple(self._present)

    def of(self, node: str) -> Session | None:
        """Return the stream of a node, if it is connected."""
        return next((session for session, name in self._present.items() if name == node), None)

    def enter(self, node: str, session: Session, via: str) -> None:
        """Let a stream be the one of its node; `via` says in the log how it came."""
        session.grip.had = node in self._had_shares
        self._present[session] = node
        log.info("proxy_connected", node=node, via=via)

    def leave(self, session: Session) -> None:
        """Forget a stream that ended, if it ever entered."""
        node = self._present.pop(session, None)
        if node is None:
            return
        if session.grip.has or (session.grip.had and not session.grip.lapse):
            self._had_shares.add(node)
        else:
            self._had_shares.discard(node)
        log.info("proxy_disconnected", node=node)

    def lapsed(self, node: str, why: str) -> None:
        """Count and say that a node has no shares though a lease is live."""
        self.lapses[node] += 1
        self.events["lapsed"] += 1
        log.warning("layer_lost_at_proxy", node=node, why=why)
