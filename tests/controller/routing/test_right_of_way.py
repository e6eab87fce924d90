"""Pushes go before questions, and questions do not wait for ever."""

from __future__ import annotations

import asyncio

from controller.routing.envoy.right_of_way import RightOfWay


async def test_a_question_waits_for_all_pushes() -> None:
    """One that ends while another begins in the same moment does not let the question through."""
    way, order = RightOfWay(), []

    async def ask() -> None:
        await way.free(10.0)
        order.append("asked")

    with way.push():
        asking = asyncio.create_task(ask())
        await asyncio.sleep(0)
    with way.push():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        order.append("pushed")
    await asking

    assert order == ["pushed", "asked"]


async def test_without_a_push_nobody_waits() -> None:
    """A question goes out at once."""
    await RightOfWay().free(0.0)


async def test_a_push_that_never_ends_holds_up_nobody_for_long() -> None:
    """An Envoy that does not acknowledge is asked all the same."""
    way = RightOfWay()

    with way.push():
        await way.free(0.0)
