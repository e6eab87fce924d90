"""Failing traces beside an alert: there when they can be had, and never in its way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.model.details import Details
from controller.model.notice import Notice
from controller.releases.examples import AGAIN_S, Examples
from tests.controller.traces.recorded import Recorded, a_request

ABOUT: Details = {
    "target": "catalog",
    "version": "v2",
    "stable": "v1",
    "canary_failed": 30,
    "slower_than_s": None,
}
NOTICE = Notice("rel-1.rolled_back", "ops", "release.rolled_back", "rel-1", "t", "it failed", 1_010.0, ABOUT)


async def shop() -> Recorded:
    traces = Recorded()
    for number in range(5):
        await traces.put(a_request(number + 1, "v2", error="Boom", start_ms=number))
    return traces


async def test_an_alert_names_failing_requests() -> None:
    """The newest three, in the text for people and in the details for programs."""
    found = await Examples(traces=await shop(), monotonic=lambda: 0.0).beside(NOTICE)

    assert found.text == "it failed; failing requests: cor-5, cor-4, cor-3"
    assert found.details["failing_trace_1"] == f"{5:032x}"
    assert found.details["failing_correlation_id_3"] == "cor-3"
    assert {**found.details, **NOTICE.details} == dict(found.details)
    assert replace(found, text=NOTICE.text, details=NOTICE.details) == NOTICE


@pytest.mark.parametrize("about", [{"canary_failed": 0}, {"target": None}, {"version": 5}, {"version": "v9"}])
async def test_an_alert_about_something_else_stays_as_it_is(about: Details) -> None:
    """Nothing failed, nobody is named, or nothing is found."""
    notice = replace(NOTICE, details={**ABOUT, **about})

    assert await Examples(traces=await shop(), monotonic=lambda: 0.0).beside(notice) == notice


async def test_slow_requests_are_named_when_latency_was_judged() -> None:
    """Nothing failed, but these took longer than the bound."""
    traces = Recorded()
    await traces.put([*a_request(1, "v2", ms=300), *a_request(2, "v2", ms=10)])
    notice = replace(NOTICE, details={**ABOUT, "slower_than_s": 0.25})

    found = await Examples(traces=traces, monotonic=lambda: 0.0).beside(notice)

    assert found.text.endswith("failing requests: cor-1")


async def test_a_store_that_hangs_costs_one_short_wait_and_then_none() -> None:
    """The alert goes without; the next ones do not ask for a minute."""
    traces = await shop()
    traces.is_hung = True
    now_s = 0.0
    examples = Examples(traces=traces, monotonic=lambda: now_s, patience_s=0.1)
    assert await examples.beside(NOTICE) is NOTICE
    traces.is_hung = False

    soon = await examples.beside(NOTICE)
    now_s = AGAIN_S
    later = await examples.beside(NOTICE)

    assert soon is NOTICE
    assert "cor-5" in later.text
