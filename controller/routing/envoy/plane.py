"""The data plane `envoy`: targets and shares become xDS, counters come back through the admin socket.

Before it: the lease keeper, which owns every decision. After it: `snapshot` and `layer` (bytes), `xds` (streams) and
`admin` (counts). The plane remembers targets, never a share: whenever bytes are built it asks for the unexpired ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from controller.errors import DataPlaneRefused
from controller.model.lease import Node
from controller.model.look import History, Reading
from controller.model.target import Target, TargetKey
from controller.routing.envoy.bootfile import BootFiles
from controller.routing.envoy.layer import layer
from controller.routing.envoy.reader import CounterReader
from controller.routing.envoy.right_of_way import RightOfWay
from controller.routing.envoy.runtime import RuntimeWatch
from controller.routing.envoy.session import Session, Wanted
from controller.routing.envoy.snapshot import Builder
from controller.routing.envoy.tls import Listener
from controller.routing.envoy.xds import XdsServer
from controller.routing.port import DataPlane, PlaneCapabilities, Shares
from controller.routing.shelf import Shelf

ACKNOWLEDGE_WITHIN_S = 2.0
"""Longest wait for the proxies in a declaration or a push."""
RENEW_EVERY_S = 1.0
"""Longest pause between two renewals, however long a layer lives: a refused one is how a lapse is noticed."""
CAPABILITIES = PlaneCapabilities(acknowledges=True, expires=True, counts=True, finest_share=1, narrows=True)


class EnvoyPlane(DataPlane):
    """Applies targets and shares to every Envoy that connects.

    Args:
        xds_socket: Where Envoys ask for their configuration.
        admin_socket: Where the counters of the Envoy on this host are read.
        more_admin_sockets: The same of further Envoys on it; their counts are added up.
        layer_ttl_s: How long an Envoy keeps shares without a renewal, seconds; renewed each third of it.
        history: File that keeps what was served over restarts; None keeps nothing.
        boot: The files of the Envoy on this host, for its next start; None keeps none.
        listener: Where Envoys on other hosts ask, with mutual TLS; None listens on the socket alone.
    """

    def __init__(
        self,
        *,
        xds_socket: Path,
        admin_socket: Path,
        layer_ttl_s: float,
        history: Path | None = None,
        boot: BootFiles | None = None,
        more_admin_sockets: Sequence[Path] = (),
        listener: Listener | None = None,
    ) -> None:
        self._boot = boot
        self._builder = Builder()
        self._layer_ttl_s = layer_ttl_s
        self._targets: tuple[Target, ...] = ()
        self._shares: Callable[[], Mapping[TargetKey, Shares]] = dict
        self._built: tuple[tuple[Target, ...], Mapping[TargetKey, Shares], Wanted] | None = None
        self._renewed_at_s = 0.0
        self._expects_until_s = 0.0
        """Until then a proxy may still serve shares of the router before this one, though none is connected yet."""
        self._changed = asyncio.Event()
        self._xds = XdsServer(
            socket=xds_socket, listener=listener, wanted=self._wanted, on_change=self._changed.set
        )
        self._way = RightOfWay()
        shelf = None if history is None else Shelf(history)
        sockets = (admin_socket, *more_admin_sockets)
        self._reader = CounterReader(
            sockets=sockets,
            clock=time.monotonic,
            shelf=shelf,
            shared=lambda: self._shares().keys(),
            way=self._way,
        )
        self._watch = RuntimeWatch(
            sockets=sockets, roster=self._xds.roster, wanted=self._wanted, wake=self._xds.wake
        )

    async def start(self, shares: Callable[[], Mapping[TargetKey, Shares]]) -> None:
        """Listen for Envoys and begin to read counters."""
        self._shares = shares
        if shares():
            self._expects_until_s = _now_s() + self._layer_ttl_s
        await self._xds.start()
        self._reader.start()
        self._watch.start()

    async def declare(self, targets: Sequence[Target]) -> None:
        """Replace the set of targets; a refused one is taken back, and what was good before is served again."""
        wanted = tuple(targets)
        for _ in self._builder.steps(wanted, self._shares()):
            await asyncio.sleep(0)  # renewals and shares go out meanwhile
        if missing := self._builder.missing(self._builder.build(wanted, self._shares())):
            raise DataPlaneRefused(f"a route names a cluster that is not there: {min(missing)}")
        before, self._targets = self._targets, wanted
        known = {target.key for target in before} & {target.key for target in targets}
        if len(known) < len(before):
            # Before the proxies hear of it, or the route in the file would answer for what is gone.
            await self._keep_for_boot(tuple(target for target in before if target.key in known))
        self._xds.wake()
        await self._settled()
        if refusals := self._refusals():
            self._targets = before
            self._xds.wake()
            await self._settled()
            await self._keep_for_boot(before)
            raise DataPlaneRefused(
                f"the proxy refused the configuration and keeps the last good one: {refusals[0]}"
            )
        self._reader.declared(self._targets)
        await self._keep_for_boot(self._targets)

    async def push(self) -> None:
        """Send the shares as they are now.

        Just after a restart with live leases it also waits for the first Envoy to come back: it still has them.
        """
        with self._way.push():
            self._xds.wake()
            await self._settled(expects=_now_s() < self._expects_until_s)

    async def renew(self) -> None:
        """Extend the layer's life at every Envoy, at most each quarter of it; more calls do nothing.

        An Envoy that has let go of it refuses, is said to have lapsed, and gets the whole layer again.
        """
        self._xds.count_unproved()
        now_s = _now_s()
        if now_s - self._renewed_at_s >= min(self._layer_ttl_s / 4, RENEW_EVERY_S):
            self._renewed_at_s = now_s
            self._xds.wake(renew=True)

    def nodes(self) -> tuple[Node, ...]:
        """Return every connected Envoy."""
        return tuple(map(self._node, self._xds.sessions()))

    def _node(self, session: Session) -> Node:
        node = replace(session.as_node(), lapses=self._xds.roster.lapses[session.node])
        doubt = self._watch.doubts.get(session.node, "")
        return replace(node, acknowledged=False, refusal=node.refusal or doubt) if doubt else node

    def events(self) -> Mapping[str, int]:
        """Count what happened at the Envoys since the start."""
        return self._xds.roster.events

    def answering(self) -> Mapping[str, bool]:
        """Say by admin socket whether its Envoy told its counts the last time it was asked."""
        return self._reader.answering()

    async def fresh(self, target: Target) -> Reading:
        """Return counters that are at most two seconds old while Envoy answers, and read them every second from now on."""
        await self._reader.look(target)
        return self._reader.reading(target)

    def counters(self, target: Target) -> Reading:
        """Return the newest counters by version; of a target that nobody looked at they can be half a minute old."""
        return self._reader.reading(target)

    def history(self, target: Target, version: str, window_s: float) -> History:
        """Return what a version served in the newest `window_s` seconds, or in the shorter time that is known."""
        return self._reader.history(target, version, window_s)

    def capabilities(self) -> PlaneCapabilities:
        """Say what Envoy can do: everything, down to 0.01 %."""
        return CAPABILITIES

    async def aclose(self) -> None:
        """Stop serving; Envoys return to stable when the layer's time is up."""
        await self._watch.aclose()
        await self._reader.aclose()
        await self._xds.aclose()

    def _wanted(self) -> Wanted:
        shares = self._shares()
        if self._built is None or self._built[0] is not self._targets or self._built[1] != shares:
            made = self._builder.build(self._targets, shares)
            wanted = Wanted(made, layer(shares), not shares, self._layer_ttl_s)
            self._built = (self._targets, dict(shares), wanted)
        return self._built[2]

    async def _keep_for_boot(self, targets: Sequence[Target]) -> None:
        if self._boot is not None:
            await self._boot.write(targets)

    def _refusals(self) -> tuple[str, ...]:
        return tuple(
            f"{session.node}: {text}" for session in self._xds.sessions() for text in session.refusals()
        )

    async def _settled(self, *, expects: bool = False) -> None:
        try:
            async with asyncio.timeout(ACKNOWLEDGE_WITHIN_S):
                while not self._is_settled(expects):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return  # `nodes` says who is late

    def _is_settled(self, expects: bool) -> bool:
        sessions = self._xds.sessions()
        return all(session.is_settled() for session in sessions) and (bool(sessions) or not expects)


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
