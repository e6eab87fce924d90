"""Who gets which port: `controller.embedded.ports`."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.embedded.ports import Ports, is_free
from controller.errors import ConfigurationError

FREE = range(31_000, 31_040)


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """A folder of reservations of the test's own."""
    folder = tmp_path / "locks"
    folder.mkdir()
    return folder


@pytest.fixture
def busy() -> Iterator[int]:
    """A loopback port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_preferred_port_is_taken_when_it_is_free(tmp_path: Path, locks: Path) -> None:
    """A free preferred port is the one that is used."""
    preferred = next(port for port in FREE if is_free(port))
    ports = Ports(memory=tmp_path / "ports.json", locks=locks)

    taken = ports.take("api", preferred)

    assert taken == preferred
    ports.close()


def test_a_busy_port_is_passed_over(tmp_path: Path, locks: Path, busy: int) -> None:
    """A port on which somebody listens is never given out."""
    ports = Ports(memory=tmp_path / "ports.json", locks=locks, free=FREE)

    taken = ports.take("api", busy)

    assert taken != busy
    assert taken in FREE
    ports.close()


def test_two_stacks_at_once_never_share_a_port(tmp_path: Path, locks: Path) -> None:
    """A reservation holds before anybody listens, so that two starts at the same moment part ways."""
    one = Ports(memory=tmp_path / "one.json", locks=locks, free=FREE)
    two = Ports(memory=tmp_path / "two.json", locks=locks, free=FREE)

    first = {name: one.take(name, FREE.start) for name in ("api", "envoy", "temporal")}
    second = {name: two.take(name, FREE.start) for name in ("api", "envoy", "temporal")}

    assert len({*first.values(), *second.values()}) == 6
    one.close()
    two.close()


def test_the_next_run_gets_the_same_ports(tmp_path: Path, locks: Path) -> None:
    """A port of the last run is taken again, before the preferred one, when it is free."""
    one = Ports(memory=tmp_path / "ports.json", locks=locks, free=FREE)
    before = one.take("catalog.v2")
    one.close()

    again = Ports(memory=tmp_path / "ports.json", locks=locks, free=range(31_050, 31_060))
    after = again.take("catalog.v2", preferred=31_049)

    assert after == before
    again.close()


def test_one_name_keeps_one_port_within_a_run(tmp_path: Path, locks: Path) -> None:
    """Asking twice for a part gives the same port."""
    ports = Ports(memory=tmp_path / "ports.json", locks=locks, free=FREE)

    first, second = ports.take("api"), ports.take("api")

    assert first == second
    ports.close()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"api": "x", "envoy": 0, "temporal": 700000}'])
def test_a_spoilt_memory_is_no_memory(tmp_path: Path, locks: Path, text: str) -> None:
    """A torn or foreign file never stops a start."""
    (tmp_path / "ports.json").write_text(text)
    ports = Ports(memory=tmp_path / "ports.json", locks=locks, free=FREE)

    taken = ports.take("api")

    assert taken in FREE
    assert json.loads((tmp_path / "ports.json").read_text()) == {"api": taken}
    ports.close()


def test_no_free_port_is_said(tmp_path: Path, locks: Path, busy: int) -> None:
    """When nothing is free the error names the part and the range."""
    ports = Ports(memory=tmp_path / "ports.json", locks=locks, free=range(busy, busy + 1))

    with pytest.raises(ConfigurationError, match="no free port for envoy"):
        ports.take("envoy")
