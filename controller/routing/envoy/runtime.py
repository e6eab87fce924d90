"""Asks the Envoys on this host, once a second while a lease is live, whether they have the shares that they accepted.

Before it: `session` knows what an Envoy accepted; after that the stream is silent about it: a layer that ran out, or
that somebody's runtime overrides, looks like one that is there. After it: `roster` says it, `session` sends the layer
again, and `plane` shows the doubt until a look finds everything in place.

Only what was accepted before the look and is still wanted after it is compared, so a change on its way is never doubted.

A whole runtime of 1 000 shares takes Envoy's main thread 40 ms and us 12. So it is fetched once a change and while there
is a doubt: Envoy counts how often it loaded its runtime, a lapse and an override included, and while that number stands
still, what was found good is good.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller.observability import logger
from controller.routing.envoy.admin import AdminError, Page, get
from controller.routing.envoy.proto import discovery_pb2
from controller.routing.envoy.resources import LAYER, Wire
from controller.routing.envoy.roster import Roster
from controller.routing.envoy.session import Session, Wanted

LOOK_EVERY_S = 1.0
LOADS = "/stats?filter=^runtime[.]load_success$"
NUMERATOR = re.compile(r'"numerator".*?number_value: *(\d+)', re.DOTALL)
"""In the debug text of a share; a text without it is not compared."""

log = logger(__name__)


def shares_of(layer: Wire) -> dict[str, int]:
    """Return the runtime keys of a layer with their shares in basis points."""
    fields = discovery_pb2.Runtime.FromString(layer.body.value).layer.fields
    return {key: int(value.struct_value.fields["numerator"].number_value) for key, value in fields.items()}


def doubt(expected: Mapping[str, int], page: bytes) -> str:
    """Say what is wrong with an Envoy's runtime, in words; "" when everything is in place.

    Args:
        expected: Shares by runtime key (`shares_of`).
        page: `/runtime` of the admin interface.

    Raises:
        AdminError: The page is not what Envoy sends.
    """
    try:
        found = json.loads(page)
        place = found["layers"].index(LAYER) if LAYER in found["layers"] else None
        entries: dict[str, Any] = found["entries"]
        for key, share in expected.items():
            entry = entries.get(key, {})
            ours = "" if place is None or not entry else str(entry["layer_values"][place])
            number = NUMERATOR.search(ours)
            if not ours or (number and int(number[1]) != share):
                return f"its runtime has no share under {key}"
            if entry["final_value"] != ours:
                return f"another layer of its runtime overrides {key}"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise AdminError(f"a page that cannot be read: {error!r}"[:200]) from error
    return ""


class RuntimeWatch:
    """Looks at every Envoy on this host.

    Args:
        sockets: The admin sockets, one an Envoy.
        roster: Who is connected.
        wanted: Returns what every proxy should have at this moment.
        wake: Lets the streams send what is due.
    """

    def __init__(
        self,
        *,
        sockets: Sequence[Path],
        roster: Roster,
        wanted: Callable[[], Wanted],
        wake: Callable[[], None],
    ) -> None:
        self._sockets = tuple(sockets)
        self._roster = roster
        self._wanted = wanted
        self._wake = wake
        self._names: dict[Path, tuple[int, str]] = {}
        """By socket: the process that listens there, and the node id that it gives itself."""
        self._good: dict[Path, tuple[Page, str]] = {}
        """By socket: the page of loads with which a layer of this version was found in place."""
        self._task: asyncio.Task[None] | None = None
        self.doubts: dict[str, str] = {}
        """By node: what the last look found wrong."""

    def start(self) -> None:
        """Begin to look in the background."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Stop looking. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def look(self) -> None:
        """Look at every Envoy once, all at the same time. One that does not answer is left to `admin` to say."""
        if self._wanted().layer_is_empty:
            self.doubts.clear()
            return
        self.doubts = {node: found for node, found in self.doubts.items() if self._roster.of(node)}
        seen: dict[Session, list[str]] = {}
        for one in await asyncio.gather(*map(self._look, self._sockets)):
            if one is not None:
                seen.setdefault(one[0], []).append(one[1])
        for session, found in seen.items():
            # Two Envoys of one name: only one of them is connected, and nobody can tell which.
            self._say(session, "" if "" in found else found[0])

    async def _look(self, socket: Path) -> tuple[Session, str] | None:
        """Return whose socket it is and what is wrong; None when nothing can be said."""
        before = {session: session.exchange() for session in self._roster.sessions()}
        layer = self._wanted().layer
        with suppress(AdminError):
            loads = await get(socket, LOADS)
            is_good = bool(loads.body.strip()) and self._good.get(socket) == (loads, layer.version)
            page = loads if is_good else await get(socket, "/runtime")
            session = self._roster.of(await self._name(socket, page))
            if session is None or session.exchange() is None or before.get(session) != session.exchange():
                return None
            found = "" if is_good else doubt(shares_of(layer), page.body)
            if not found:
                self._good[socket] = (loads, layer.version)
            return session, found
        return None

    def _say(self, session: Session, found: str) -> None:
        node = session.node
        if not found:
            if self.doubts.pop(node, ""):
                log.info("layer_found_at_proxy", node=node)
            return
        is_news, self.doubts[node] = self.doubts.get(node) != found, found
        if is_news:
            session.lose(found)
        else:
            session.send_again()
        self._wake()

    async def _name(self, socket: Path, page: Page) -> str:
        known = self._names.get(socket)
        if known is None or known[0] != page.pid:
            info = await get(socket, "/server_info")
            try:
                known = (info.pid, str(json.loads(info.body)["node"]["id"]))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise AdminError("a page that cannot be read") from error
            self._names[socket] = known
        return known[1]

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # the edge of this task: a watch that ended would be silent for ever
                log.exception("runtime_watch_broke")
            await asyncio.sleep(LOOK_EVERY_S)
