"""Failing traces beside a decision: which to look for, and a few of them for an alert when they can be had in time.

Before it: a notice on its way out (`workflows.deliveries`), or `why`. After it: the trace store. The judge and the
transaction that writes an outcome never ask: traces are found when an alert leaves, so they can delay no rollback. An
alert waits for them at most `PATIENCE_S`, and not at all for a while after the store was too slow once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from controller.errors import SerinusError
from controller.model.notice import Notice
from controller.model.searching import Page, Range, Search
from controller.observability import logger
from controller.traces.port import TraceStore

log = logger(__name__)

PATIENCE_S = 1.0
AGAIN_S = 60.0
"""How long a store that was too slow is not asked again."""
LOOKED_BACK_S = 3_600.0
LATE_S = 2.0
"""Spans that began so long after the decision still belong to it: clocks differ."""
SHOWN = 3


class Examples:
    """Adds failing traces to alerts.

    Args:
        traces: Asked for the newest failing traces.
        monotonic: Seconds that never go back.
        patience_s: Longest wait for an answer.
    """

    def __init__(
        self, *, traces: TraceStore, monotonic: Callable[[], float], patience_s: float = PATIENCE_S
    ) -> None:
        self._traces = traces
        self._monotonic = monotonic
        self._patience_s = patience_s
        self._not_before_s = float("-inf")

    async def beside(self, notice: Notice) -> Notice:
        """Return the notice with up to three failing traces in its details and their ids in its text. Never raises."""
        search = _of(notice)
        if search is None or self._monotonic() < self._not_before_s:
            return notice
        try:
            async with asyncio.timeout(self._patience_s):
                found = await self._traces.search(search, Page(limit=SHOWN))
        except (SerinusError, TimeoutError) as error:
            self._not_before_s = self._monotonic() + AGAIN_S
            log.warning("examples_not_found", notice=notice.id, reason=str(error) or "too slow")
            return notice
        if not found.traces:
            return notice
        details: dict[str, str] = {}
        for number, one in enumerate(found.traces, start=1):
            details[f"failing_trace_{number}"] = one.trace_id
            if one.correlation_id:
                details[f"failing_correlation_id_{number}"] = one.correlation_id
        named = ", ".join(one.correlation_id or f"trace {one.trace_id}" for one in found.traces)
        return replace(
            notice, text=f"{notice.text}; failing requests: {named}", details={**notice.details, **details}
        )


def failing(service: str, version: str, within: Range, *, slower_than_s: float | None = None) -> Search:
    """Return the search for what a verdict blames: failed spans of a version, or those above a bound of duration."""
    if slower_than_s is None:
        return Search(service=service, version=version, status="error", within=within)
    return Search(
        service=service, version=version, kind="server", min_ns=round(slower_than_s * 1e9), within=within
    )


def _of(notice: Notice) -> Search | None:
    """Return what to look for; None when the notice is not about failures of a version."""
    service, version = (_text(notice.details, name) for name in ("target", "version"))
    if not service or not version or not notice.details.get("canary_failed"):
        return None
    bound_s = notice.details.get("slower_than_s")
    slower_than_s = float(bound_s) if isinstance(bound_s, int | float) and bound_s > 0 else None
    within = Range(
        max(0, round((notice.at - LOOKED_BACK_S) * 1e9)), max(1, round((notice.at + LATE_S) * 1e9))
    )
    return failing(service, version, within, slower_than_s=slower_than_s)


def _text(details: Mapping[str, object], name: str) -> str:
    found = details.get(name)
    return found if isinstance(found, str) else ""
