"""How exact a split is on a real Envoy, over so many requests that a small error would show.

The versions answer out of a second Envoy and the callers pipeline, so that 20 000 requests take two seconds.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from controller.model.share import BasisPoints
from controller.model.target import Target
from controller.model.traffic import Mirror
from tests.bench.routing.backends import versions
from tests.controller.routing.edge import HOST, Edge, Upstream, planned, serving, set_up

pytestmark = pytest.mark.process

CALLERS = 8
AT_ONCE = 200
"""Requests that one caller sends before it reads the answers."""
ANSWER = re.compile(rb"\r\n\r\n(v[0-9])")
FOUR_SIGMA = math.erfc(4 / math.sqrt(2)) / 2
"""The part of a normal distribution above four standard deviations."""
PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_text())["vectors"]
NOT_OURS = {"gw-weight-tcproute": "the edge splits HTTP requests; it has no routes for bare TCP connections"}


@pytest.fixture
def places(short_folder: Path) -> Iterator[dict[str, str]]:
    """Two versions that answer their names at once; their addresses."""
    with versions(short_folder) as found:
        yield found


async def _ask(edge: Edge, requests: int, *, callers: int = CALLERS) -> Counter[str]:
    """Send requests over several connections, some at once; returns how many each version answered."""
    found: Counter[str] = Counter()

    async def call(share: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        for start in range(0, share, AT_ONCE):
            asked = min(AT_ONCE, share - start)
            writer.write(b"GET / HTTP/1.1\r\nhost: %b\r\n\r\n" % HOST.encode() * asked)
            answered = b""
            while (answers := Counter(ANSWER.findall(answered))).total() < asked:
                answered += await reader.read(64 * 1024)
            assert answered.count(b"HTTP/1.1 200 ") == asked
            found.update({version.decode(): number for version, number in answers.items()})
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(call(requests // callers) for _ in range(callers)))
    assert found.total() == requests
    return found


def _bounds(requests: int, part: float) -> tuple[int, int]:
    """Return between what a binomial number stays as often as a normal one within four standard deviations."""
    ways = (
        math.lgamma(requests + 1) - math.lgamma(hits + 1) - math.lgamma(requests - hits + 1)
        for hits in range(requests + 1)
    )
    chances = [
        math.exp(way + hits * math.log(part) + (requests - hits) * math.log1p(-part))
        for hits, way in enumerate(ways)
    ]
    below = list(accumulate(chances))
    low = next(hits for hits, chance in enumerate(below) if chance > FOUR_SIGMA)
    return low, next(hits for hits, chance in enumerate(below) if 1 - chance < FOUR_SIGMA)


def _target(places: Mapping[str, str], **more: tuple[str, ...]) -> Target:
    return Target("catalog", "v1", {name: (one,) for name, one in places.items()} | more)


async def test_the_split_is_exact_over_20_000_requests(edge: Edge, places: dict[str, str]) -> None:
    """0.1, 1 and 50 % are within four standard deviations of the binomial; without a share nobody meets the canary."""
    seen = {}
    async with planned(edge) as plane:
        hand = await set_up(edge, plane, _target(places))
        for share in (10, 100, 5_000):
            await hand.set(plane, share)
            seen[share] = (await _ask(edge, 20_000))["v2"]
        await hand.set(plane, 0)
        without = await _ask(edge, 4_000)

    assert without == {"v1": 4_000}
    for share, hits in seen.items():
        low, high = _bounds(20_000, share / 10_000)
        assert low <= hits <= high, f"{hits} of 20 000 at {share} basis points"


async def test_a_mirror_copies_its_part_within_three_sigma(edge: Edge, places: dict[str, str]) -> None:
    """10 % of 10 000 requests are copied. One repeat: three standard deviations are passed by luck 1 time of 370."""
    shadow = Upstream("v2")
    async with serving(shadow), planned(edge) as plane:
        target = _target(places, v2=(shadow.address,))
        await set_up(edge, plane, replace(target, mirror=Mirror("v2", BasisPoints(1_000))))
        off = await _copies(edge, shadow) - 1_000
        if abs(off) > 90:
            off = await _copies(edge, shadow) - 1_000

    assert abs(off) <= 90


async def _copies(edge: Edge, shadow: Upstream) -> int:
    before = shadow.total
    assert await _ask(edge, 10_000) == {"v1": 10_000}
    known = -1
    while known != shadow.total:
        known = shadow.total
        await asyncio.sleep(0.1)
    return known - before


@pytest.mark.parametrize(
    "vector", [one for one in PUBLISHED if one["id"] not in NOT_OURS], ids=lambda vector: vector["id"]
)
async def test_published_weights_hold(edge: Edge, places: dict[str, str], vector: dict[str, Any]) -> None:
    """The weights, tolerance and tries of a public suite: stable, a canary, and a version that must get nothing."""
    given, expected = vector["input"], vector["expected"]
    idle = Upstream("v3")
    async with serving(idle), planned(edge) as plane:
        hand = await set_up(edge, plane, _target(places, v3=(idle.address,)))
        await hand.set(plane, 100 * given["weights"][1])
        for _ in range(given["max_tries"]):
            found = await _ask(edge, given["requests"], callers=given["concurrency"])
            parts = [found[version] / given["requests"] for version in ("v1", "v2", "v3")]
            if parts == pytest.approx(expected["share"], abs=expected["abs_tolerance"]):
                break

    assert parts == pytest.approx(expected["share"], abs=expected["abs_tolerance"])
    assert idle.total == 0


def test_every_published_pair_is_kept_or_said_not_to_apply() -> None:
    """What is left out is left out by name, with the reason."""
    kinds = {one["id"]: one["input"]["route"] for one in PUBLISHED}

    assert kinds == {"gw-weight-httproute": "HTTPRoute", "gw-weight-tcproute": "TCPRoute"}
    assert set(NOT_OURS) == {name for name, kind in kinds.items() if kind != "HTTPRoute"}
