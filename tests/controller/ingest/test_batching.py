"""Bodies of many senders in one insert: who waits for what, and what one bad body does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from controller.errors import InvalidInput, TracesUnavailable
from controller.ingest.batching import LONGEST_REST_S, Batcher, rested_at_s


class Inserts:
    """Keeps batches, each when it is told to; a body `bad` spoils its batch."""

    def __init__(self, *, open_: bool = True) -> None:
        self.batches: list[list[bytes]] = []
        self.gate = asyncio.Event()
        if open_:
            self.gate.set()

    async def keep(self, bodies: Sequence[bytes]) -> None:
        await self.gate.wait()
        if b"bad" in bodies:
            raise InvalidInput("one of them does not parse", field="body")
        if b"unlucky" in bodies:
            raise TracesUnavailable("the disk is full")
        self.batches.append(list(bodies))


async def all_of(batcher: Batcher, bodies: Sequence[bytes], items: int = 1) -> list[BaseException | None]:
    return await asyncio.gather(*(batcher.add(body, items) for body in bodies), return_exceptions=True)


async def test_what_comes_together_is_kept_together() -> None:
    """Ten bodies within the linger are one insert, in their order, and everybody is told when it is done."""
    inserts = Inserts()
    bodies = [bytes([number]) for number in range(10)]

    assert await all_of(Batcher(inserts.keep, linger_s=0.01), bodies) == [None] * 10
    assert inserts.batches == [bodies]


def test_store_rests_for_longer_than_an_insert_took() -> None:
    """Three times as long, and never so long that a span would be seen late."""
    assert rested_at_s(10.0, 10.1) == pytest.approx(10.4)
    assert rested_at_s(10.0, 15.0) == 15.0 + LONGEST_REST_S


async def test_full_batch_does_not_linger() -> None:
    """As soon as there is enough for one insert, it begins."""
    inserts = Inserts()
    batcher = Batcher(inserts.keep, linger_s=3600, most_items=10)

    assert await asyncio.wait_for(all_of(batcher, [b"a", b"b"], items=5), 5) == [None, None]
    assert inserts.batches == [[b"a", b"b"]]


async def test_batches_are_bounded_by_items_and_by_bytes() -> None:
    """A batch ends before the body that would make it too large; a body that is too large alone goes alone."""
    by_items, by_bytes = Inserts(), Inserts()

    await all_of(Batcher(by_items.keep, linger_s=0, most_items=10), [b"a", b"b", b"c"], items=4)
    await all_of(Batcher(by_bytes.keep, linger_s=0, most_bytes=4), [b"aa", b"bb", b"c", b"ddddd", b"e"])

    assert by_items.batches == [[b"a", b"b"], [b"c"]]
    assert by_bytes.batches == [[b"aa", b"bb"], [b"c"], [b"ddddd"], [b"e"]]


async def test_what_comes_during_an_insert_is_the_next_batch() -> None:
    """One insert at a time: the store is never asked twice at once."""
    inserts = Inserts(open_=False)
    batcher = Batcher(inserts.keep, linger_s=0)
    first = asyncio.create_task(batcher.add(b"first", 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(batcher.add(body, 1)) for body in (b"second", b"third")]
    await asyncio.sleep(0)

    inserts.gate.set()
    await asyncio.gather(first, *later)

    assert inserts.batches == [[b"first"], [b"second", b"third"]]


async def test_bad_body_is_refused_alone() -> None:
    """The others of its batch are kept, each once."""
    inserts = Inserts()

    found = await all_of(Batcher(inserts.keep, linger_s=0), [b"a", b"bad", b"b"])

    assert [type(one) for one in found] == [type(None), InvalidInput, type(None)]
    assert inserts.batches == [[b"a"], [b"b"]]


async def test_store_that_fails_is_told_to_all_and_used_again() -> None:
    """Nothing of the batch is kept; the next batch is tried as if nothing had been."""
    inserts = Inserts()
    batcher = Batcher(inserts.keep, linger_s=0)

    found = await all_of(batcher, [b"a", b"unlucky"])
    await batcher.add(b"again", 1)

    assert [type(one) for one in found] == [TracesUnavailable] * 2
    assert inserts.batches == [[b"again"]]


async def test_sender_that_goes_away_harms_nobody() -> None:
    """Its body is kept all the same, and so are those of the others."""
    inserts = Inserts(open_=False)
    batcher = Batcher(inserts.keep, linger_s=0)
    gone, stays = (asyncio.create_task(batcher.add(body, 1)) for body in (b"gone", b"stays"))
    await asyncio.sleep(0)

    gone.cancel()
    inserts.gate.set()
    await stays

    assert gone.cancelled()
    assert inserts.batches == [[b"gone", b"stays"]]


async def test_closing_waits_for_what_is_under_way() -> None:
    """Whatever was taken before the end is kept or refused, without waiting out the linger."""
    inserts = Inserts()
    batcher = Batcher(inserts.keep, linger_s=3600)
    adding = asyncio.create_task(batcher.add(b"last", 1))
    await asyncio.sleep(0)

    await asyncio.wait_for(batcher.aclose(), 5)

    await asyncio.wait_for(adding, 5)
    assert inserts.batches == [[b"last"]]


async def test_error_that_nobody_expects_reaches_the_sender() -> None:
    """A bug of a store does not leave its senders waiting for ever."""

    async def broken(bodies: Sequence[bytes]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Batcher(broken, linger_s=0).add(b"x", 1)
