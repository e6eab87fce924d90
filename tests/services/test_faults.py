"""What a version shows: faults are exact, repeatable and strictly read."""

from __future__ import annotations

import pytest

from services.catalog.app import VERSIONS
from services.faults import Faults, Injector
from services.instance import instance_of


async def failures(faults: Faults, n: int) -> list[bool]:
    injector = Injector(faults)
    return [await injector.strike() for _ in range(n)]


async def test_good_version_never_fails() -> None:
    """Without faults, nothing fails."""
    assert not any(await failures(Faults(), 1000))


async def test_error_rate_is_met_and_repeatable() -> None:
    """The demo's bad version fails about every fifth request, and the same ones each time."""
    first, second = [await failures(VERSIONS["v3"], 2000) for _ in range(2)]

    assert 340 <= sum(first) <= 460
    assert first == second
    assert first != await failures(Faults(error_rate=0.2, seed=4), 2000)


async def test_crash_comes_at_its_request() -> None:
    """The process dies in the middle of the n-th request, not before."""
    deaths: list[int] = []
    injector = Injector(Faults(crash_after_n=3), crash=lambda: deaths.append(1))

    seen = []
    for _ in range(4):
        await injector.strike()
        seen.append(len(deaths))

    assert seen == [0, 0, 1, 1]


def test_version_can_stay_unready() -> None:
    """Readiness is a fault of its own."""
    assert Injector(Faults()).is_ready
    assert not Injector(Faults(not_ready=True)).is_ready


@pytest.mark.parametrize(
    ("mapping", "name"),
    [
        ({"error_rate": 1.1}, "error_rate"),
        ({"error_rate": float("nan")}, "error_rate"),
        ({"error_rate": "0.2"}, "error_rate"),
        ({"error_rate": True}, "error_rate"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"latency_ms": float("inf")}, "latency_ms"),
        ({"crash_after_n": 0}, "crash_after_n"),
        ({"crash_after_n": 1.5}, "crash_after_n"),
        ({"not_ready": 1}, "not_ready"),
        ({"seed": "x"}, "seed"),
        ({"error_rat": 0.1}, "error_rat"),
    ],
)
def test_wrong_faults_are_named(mapping: dict[str, object], name: str) -> None:
    """A value that does not fit, or a name that is not known, is an error that says which."""
    with pytest.raises(ValueError, match=name):
        Faults.of(mapping)


def test_options_become_an_instance() -> None:
    """Plain options and faults of one order end up in their places."""
    instance = instance_of(
        "catalog", "v9", 9000, {"otlp_url": "http://127.0.0.1:1", "error_rate": 0.5, "seed": 9}
    )

    assert (instance.otlp_url, instance.faults) == ("http://127.0.0.1:1", Faults(error_rate=0.5, seed=9))
    assert instance_of("catalog", "v1", 0, {}).faults is None


@pytest.mark.parametrize(
    ("port", "options", "name"),
    [
        (-1, {}, "port"),
        (65_536, {}, "port"),
        (1, {"edge_url": 7}, "edge_url"),
        (1, {"colour": "red"}, "colour"),
    ],
)
def test_wrong_options_are_named(port: int, options: dict[str, object], name: str) -> None:
    """An order that makes no sense never becomes a process."""
    with pytest.raises(ValueError, match=name):
        instance_of("catalog", "v1", port, options)
