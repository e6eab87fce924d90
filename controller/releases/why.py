"""Use case: why a release ended or stands as it does: verdict, failing traces, what they share, what the version changed.

Before it: a release's id. After it: `GET /v1/releases/{id}/why`, `serinus explain`, the demo. The verdict comes from the
ledger and is always there; the rest comes from the trace store within `PATIENCE_S`, or is said to be unavailable. The
target's name is looked for as `service.name`, the arms as `service.version`, in the time of the release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from controller.analysis.changing import sentences
from controller.analysis.differing import Difference, of_failures
from controller.errors import SerinusError
from controller.model.insight import Share, TracePage, VersionDifference
from controller.model.release import Release
from controller.model.searching import Page, Range, Search
from controller.model.trace import TraceSummary
from controller.observability import logger
from controller.releases.examples import LATE_S, failing
from controller.releases.questions import explain, require
from controller.store.port import Store
from controller.traces.port import TraceStore

log = logger(__name__)

PATIENCE_S = 2.0
"""For all questions together, which are asked at once: 0.3 to 0.6 s beside the whole demo at 300 requests/s on 2 cores."""
SHOWN = 5


class Traces(StrEnum):
    """What the trace store gave."""

    OK = "ok"
    PARTLY = "partly"
    """Some answers did not come in time."""
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Why:
    """Everything that explains a release.

    Args:
        sentence: Of the verdict, as alert and API say it.
        traces: Whether the rest is there.
        blamed: Which spans are shown as examples.
        examples: The newest traces with such a span.
        differences: Attribute values that tell the canary's failing spans from stable's and from its own good ones.
        changed: What changed from stable to canary; None when it is not known.
        changes: The same in sentences, as far as it is worth telling.
    """

    release: Release
    sentence: str
    traces: Traces
    blamed: Search
    examples: tuple[TraceSummary, ...] = ()
    differences: tuple[Difference, ...] = ()
    changed: VersionDifference | None = None
    changes: tuple[str, ...] = ()


class Explaining:
    """Explains releases.

    Args:
        store: The ledger.
        traces: Asked for the rest.
        clock: Seconds since 1970 (UTC): how far a running release has come.
        patience_s: Longest wait for the trace store.
    """

    def __init__(
        self,
        *,
        store: Store,
        traces: TraceStore,
        clock: Callable[[], float],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._store = store
        self._traces = traces
        self._clock = clock
        self._patience_s = patience_s

    async def why(self, release_id: str) -> Why:
        """Explain one release.

        Raises:
            NotFound: No such release.
            StoreUnavailable: The ledger does not answer.
        """
        release = await require(self._store, release_id)
        order, verdict = release.order, release.verdict
        until_s = release.ended_at if release.ended_at is not None else self._clock()
        within = Range(round(order.created_at * 1e9), round((max(until_s, order.created_at) + LATE_S) * 1e9))
        blamed = failing(
            order.target.name,
            order.version,
            within,
            slower_than_s=verdict.slower_than_s if verdict else None,
        )
        found = await self._ask(blamed, order.target.stable)
        page: TracePage | None = found.get("examples")
        changed: VersionDifference | None = found.get("changed")
        stable: tuple[Share, ...] = found.get("stable", ())
        own: tuple[Share, ...] = found.get("own", ())
        missing = QUESTIONS - len(found)
        return Why(
            release=release,
            sentence=explain(release),
            traces=Traces.OK if not missing else Traces.PARTLY if found else Traces.UNAVAILABLE,
            blamed=blamed,
            examples=page.traces if page else (),
            # Without the canary's own good spans nobody knows what only tells one version from the other.
            differences=of_failures(stable, own) if "own" in found else (),
            changed=changed,
            changes=sentences(changed) if changed else (),
        )

    async def _ask(self, blamed: Search, stable: str) -> Mapping[str, Any]:
        """Ask everything at once; return what came in time."""
        served = replace(blamed, kind="server")  # one span a request: spans of one request fail together
        canary = Search(service=blamed.service, version=blamed.version, kind="server", within=blamed.within)
        return await self._in_time(
            {
                "examples": self._traces.search(blamed, Page(limit=SHOWN)),
                "stable": self._traces.shares(served, replace(canary, version=stable)),
                "own": self._traces.shares(served, canary),
                "changed": self._traces.difference(blamed.service, stable, blamed.version, blamed.within),
            }
        )

    async def _in_time(self, questions: Mapping[str, Awaitable[Any]]) -> Mapping[str, Any]:
        tasks = {name: asyncio.ensure_future(question) for name, question in questions.items()}
        try:
            await asyncio.wait(tasks.values(), timeout=self._patience_s)
        finally:
            for task in tasks.values():
                task.cancel()
        found: dict[str, Any] = {}
        for name, task in tasks.items():
            if not task.done() or task.cancelled():
                log.warning("traces_too_slow", question=name)
                continue
            error = task.exception()
            if error is None:
                found[name] = task.result()
            elif isinstance(error, SerinusError):
                log.warning("traces_not_asked", question=name, reason=error.message)
            else:
                raise error
        return found


QUESTIONS = 4
"""Asked of the trace store for one explanation."""
