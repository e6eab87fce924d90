"""Settings that depend on each other: what is missing is named with its variable, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import ConfigurationError
from controller.settings import load

WHOLE = {"PORT": "9443", "CERTIFICATE": "/c/router.pem", "KEY": "/c/router.key", "CLIENT_CA": "/c/ca.pem"}


def _xds(values: dict[str, str]) -> dict[str, str]:
    return {f"SERINUS_ROUTER__XDS__{name}": value for name, value in values.items()}


def test_without_a_port_only_the_socket_is_served() -> None:
    """The default needs nothing."""
    assert load({}).router.xds.port is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "127.0.0.1"])
def test_the_whole_group_is_taken(host: str) -> None:
    """Any address, with all four."""
    found = load(_xds({**WHOLE, "HOST": host})).router.xds

    assert (found.host, found.port, found.key) == (host, 9443, Path("/c/router.key"))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("missing", ["CERTIFICATE", "KEY", "CLIENT_CA"])
def test_a_port_without_mutual_tls_is_refused(host: str, missing: str) -> None:
    """On loopback too: a port has no mode that keeps others out."""
    values = {name: value for name, value in WHOLE.items() if name != missing}

    with pytest.raises(ConfigurationError) as caught:
        load(_xds({**values, "HOST": host}))

    assert f"SERINUS_ROUTER__XDS__{missing}: " in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"HOST": "0.0.0.0"}, "CERTIFICATE"),
        ({"KEY": "/c/router.key"}, "KEY"),
        ({**WHOLE, "PORT": "0"}, "PORT"),
        ({**WHOLE, "HOST": "router.internal"}, "HOST"),
        ({**WHOLE, "CA": "/c/ca.pem"}, "CA"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, str], named: str) -> None:
    """Half a group, a bind to a name, a field that does not exist."""
    with pytest.raises(ConfigurationError, match=f"SERINUS_ROUTER__XDS__{named}: "):
        load(_xds(values))
