"""An Envoy that has no shares though a lease is live: noticed within 2 s, named, and healed."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from controller.errors import RouterUnavailable
from controller.model.lease import Observation
from controller.routing.book import IN_MEMORY, Book
from controller.routing.envoy.admin import AdminError
from controller.routing.envoy.layer import layer, runtime_key
from controller.routing.envoy.runtime import doubt, shares_of
from controller.routing.exposition import RouterCollector
from controller.routing.keeper import Keeper
from controller.routing.port import Shares
from controller.routing.process import boot_clock
from controller.routing.remote import RemoteKeeper
from tests.controller.routing.edge import (
    Edge,
    RouterProcess,
    Upstream,
    applied,
    planned,
    serving,
    set_up,
    shop,
    until,
)
from tests.controller.routing.keeping import KEY, asking

NOTICED_WITHIN_S = 2.0
SHARE = runtime_key(KEY, "rel-1")
WANTED = {SHARE: 1_234}


def _page(
    ours: str = "numerator", number: int = 1_234, final: str = "", layers: tuple[str, ...] = ("lease",)
) -> bytes:
    """Return a page of Envoy's runtime, as 1.40 prints a share."""
    text = f'fields {{ key: "{ours}"\n value {{ number_value: {number} }} }}' if ours else ""
    entry = {"layer_values": [text], "final_value": final or text}
    return json.dumps({"layers": layers, "entries": {SHARE: entry}}).encode()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (_page(), ""),
        (_page(number=1_235), "no share under"),
        (_page(ours=""), "no share under"),
        (_page(final="0"), "overrides"),
        (_page(layers=()), "no share under"),
        (b'{"layers": ["lease"], "entries": {}}', "no share under"),
        (_page(ours="printed in another way"), ""),
    ],
)
def test_a_runtime_is_compared_with_what_was_accepted(page: bytes, words: str) -> None:
    """A share that is gone, another one or overridden is said with its key; a text of another form is not judged."""
    found = doubt(WANTED, page)

    assert words in found
    assert bool(found) == bool(words)
    assert not found or SHARE in found


@pytest.mark.parametrize(
    "page", [b"", b"[]", b'{"layers": 1, "entries": {}}', b'{"layers": [], "entries": []}']
)
def test_a_page_that_is_none_is_no_doubt(page: bytes) -> None:
    """What cannot be read is an error of the admin interface, never a lapse."""
    with pytest.raises(AdminError):
        doubt(WANTED, page)


def test_a_layer_is_read_back_as_it_was_built() -> None:
    """The expected keys and shares are those of the layer that was sent."""
    assert shares_of(layer({KEY: Shares("v2", "rel-1", 1_234)})) == WANTED


def _events(keeper: Keeper) -> dict[str, float]:
    families = {one.name: one for one in RouterCollector(keeper).collect()}
    lapsed = families["serinus_router_proxy_events"].samples
    named = families["serinus_router_proxy_lapses"].samples
    return {
        **{sample.labels["event"]: sample.value for sample in lapsed},
        **{sample.labels["proxy"]: sample.value for sample in named},
    }


@pytest.mark.process
@pytest.mark.long
async def test_a_layer_that_runs_out_in_silence_is_noticed(edge: Edge) -> None:
    """Renewals stop and nobody asks Envoy to refuse one: its own runtime says it, and it gets the layer again."""
    async with (
        serving(Upstream("v1"), Upstream("v2")) as (v1, v2),
        planned(edge, ttl_s=1.0, is_renewed=False) as plane,
    ):
        hand = await set_up(edge, plane, shop(v1, v2))
        with capture_logs() as lines:
            await hand.set(plane, 10_000)
            began_s = time.monotonic()
            await until(lambda: plane.nodes()[0].lapses == 1)
            noticed_s = time.monotonic() - began_s
            while (await edge.ask())[0].version == "v1":
                await asyncio.sleep(0.02)
            healed_s = time.monotonic() - began_s

    assert 0.8 <= noticed_s <= healed_s <= 1.0 + NOTICED_WITHIN_S
    said = next(line for line in lines if line["event"] == "layer_lost_at_proxy")
    assert (said["node"], SHARE in said["why"]) == ("edge-1", True)


@pytest.mark.process
async def test_a_share_that_is_overridden_is_named_until_it_is_back(edge: Edge) -> None:
    """Somebody switches the canary off in Envoy's own runtime: `observe` says so within 2 s, and when it is over."""
    edge.has_admin_layer = True
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge) as plane:
        keeper = Keeper(plane=plane, book=Book.open(IN_MEMORY), boot_clock=boot_clock, wall_clock=time.time)
        await keeper.start()
        await keeper.declare(shop(v1, v2))
        edge.start()
        await applied(keeper, KEY)
        await keeper.grant(asking(share=10_000, term_s=60.0))
        await edge.modify_runtime(SHARE, "0")
        began_s = time.monotonic()
        overridden = await edge.split(40)
        await until(lambda: bool(plane.nodes()[0].refusal))
        took_s = time.monotonic() - began_s
        await asyncio.sleep(1.2)
        seen, events = await keeper.observe(KEY), _events(keeper)
        await edge.modify_runtime(SHARE, "")
        back = await applied(keeper, KEY)
        served = await edge.split(40)
        await keeper.aclose()

    assert (overridden, served) == ({"v1": 40}, {"v2": 40})
    assert took_s <= NOTICED_WITHIN_S
    assert (seen.is_applied, SHARE in seen.nodes[0].refusal) == (False, True)
    assert (events["lapsed"], events["edge-1"]) == (1, 1)
    assert (back.nodes[0].refusal, back.nodes[0].lapses, back.lease is None) == ("", 1, False)


@pytest.mark.process
async def test_an_envoy_that_lapsed_while_the_router_was_frozen_is_named(edge: Edge) -> None:
    """SIGSTOP of the router longer than the layer lives: within 2 s of waking it names Envoy and the share is back."""
    router, keeper = RouterProcess(edge, ttl_s=1.0), RemoteKeeper(edge.folder / "router.sock")
    async with serving(Upstream("v1"), Upstream("v2")) as upstreams:
        try:
            router.start()
            edge.start()
            await until(router.socket.exists)
            await keeper.declare(shop(*upstreams))
            await applied(keeper, KEY)
            await keeper.grant(asking(share=10_000, term_s=60.0))
            router.send(signal.SIGSTOP)
            while (await edge.ask())[0].version == "v2":
                await asyncio.sleep(0.02)
            router.send(signal.SIGCONT)
            woken_s = time.monotonic()
            seen = await _lapsed(keeper)
            while (await edge.ask())[0].version == "v1":
                await asyncio.sleep(0.02)
            took_s = time.monotonic() - woken_s
        finally:
            router.kill()
            edge.kill()
            await keeper.aclose()

    assert took_s <= NOTICED_WITHIN_S
    assert (seen.nodes[0].id, seen.nodes[0].lapses, seen.epoch) == ("edge-1", 1, 1)
    assert "layer_lost_at_proxy" in router.log


async def _lapsed(keeper: RemoteKeeper) -> Observation:
    async with asyncio.timeout(10):
        while True:
            with suppress(RouterUnavailable):
                seen = await keeper.observe(KEY)
                if seen.nodes and seen.nodes[0].lapses:
                    return seen
            await asyncio.sleep(0.02)
