"""What a real Envoy refuses: what was good goes on serving, and people hear of it at once, in the log and in a metric."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from prometheus_client.core import Metric
from structlog.testing import capture_logs

from controller.errors import DataPlaneRefused
from controller.model.target import Target
from controller.model.traffic import Match
from controller.routing.book import IN_MEMORY, Book
from controller.routing.exposition import RouterCollector
from controller.routing.keeper import Keeper
from controller.routing.process import boot_clock
from tests.controller.routing.edge import Edge, Upstream, applied, planned, serving, shop
from tests.controller.routing.keeping import KEY, asking

pytestmark = pytest.mark.process


def _value(keeper: Keeper, family: str, label: str) -> float:
    families: dict[str, Metric] = {one.name: one for one in RouterCollector(keeper).collect()}
    return next(one.value for one in families[family].samples if label in one.labels.values())


async def test_a_refusal_keeps_the_last_good_and_is_said(edge: Edge) -> None:
    """A route that Envoy refuses: the caller and the metric say it within 5 s, and split and leases go on as before."""
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        keeper = Keeper(plane=plane, book=Book.open(IN_MEMORY), boot_clock=boot_clock, wall_clock=time.time)
        await keeper.start()
        await keeper.declare(shop(v1, v2))
        edge.has_default_limits = True
        edge.start()
        await applied(keeper, KEY)
        await keeper.grant(asking(share=10_000, term_s=30.0))
        began_s = time.monotonic()
        with capture_logs() as lines, pytest.raises(DataPlaneRefused, match="edge-1"):
            await keeper.declare(_refused(shop(v1, v2)))
        took_s = time.monotonic() - began_s
        served = await edge.split(20)
        observed = await applied(keeper, KEY)
        refused = _value(keeper, "serinus_router_events", "refused")
        await keeper.aclose()

    assert took_s < 5
    assert served == {"v2": 20}
    assert observed.lease is not None
    assert refused == 1
    assert [line["node"] for line in lines if line["event"] == "configuration_refused"] == ["edge-1"]


def _refused(target: Target) -> Target:
    """Return a target that is fine with our bootstrap: its expression for a cookie is too large for Envoy's default limit."""
    return replace(target, matches=(Match(cookies={"group": "x" * 199}),))
