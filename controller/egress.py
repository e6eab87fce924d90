"""The one guarded way out: every HTTP request to an address that a user or a policy wrote goes through here.

Somebody who may name a webhook must not be able to reach what only this host can reach. So the address is read
strictly, its name is resolved once, all its addresses are checked, and the connection goes to a checked address while
Host and SNI keep the name. No redirect is followed, no proxy is taken from the environment, nothing is decompressed,
and one deadline and one byte cap hold for the whole exchange. Before it come the adapters (webhook, later metric
sources); after it the network.

Each request opens its own connection: a kept one would have been checked for an earlier request. No message repeats
the address, because paths and queries of webhooks are secrets.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpcore

from controller.errors import ConfigurationError, EgressRefused, Unavailable

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host name and port to the texts of its IP addresses; raises OSError when there are none."""

METHODS = ("GET", "POST", "PUT")
PORTS = {"http": 80, "https": 443}
"""Without an entry on the allow list only the scheme's own port is reached: no SSH, no mail, no database."""
MOST_ADDRESSES = 8
"""How many addresses of one name are tried; the others are checked all the same."""
LONGEST_URL = 2048
"""Characters."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = rf"(?P<host>(?:{_LABEL})(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])"
_PRINTABLE = r'[!"$-\[\]-~]'  # ASCII without blanks, # and \, which clients read differently
_URL = re.compile(
    rf"(?P<scheme>(?i:https?))://{_HOST}(?::(?P<port>[0-9]{{1,5}}))?(?P<target>[/?]{_PRINTABLE}*)?"
)
_ENTRY = re.compile(rf"{_HOST}:(?P<port>[0-9]{{1,5}})")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)")
_OURS = (
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "te",
    "upgrade",
    "trailer",
)
"""Headers that decide where a request goes or where it ends; a caller may not set them."""


class Reach(IntEnum):
    """Who can be behind an address, from harmless to never."""

    PUBLIC = 0
    LOCAL = 1
    """This host or a private network: only with an entry on the allow list."""
    NEVER = 2
    """Metadata of clouds, link-local, multicast, reserved: not even with an entry."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; any status, redirects included.

    Args:
        status: HTTP status.
        headers: By lower-case name; of a repeated one, the last.
        body: As it came on the wire, "" when none was asked for.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    scheme: str
    host: str
    port: int
    target: str


class Egress:
    """Sends single HTTP requests to places that the guard allows.

    Args:
        allow: `host:port` entries, written as in the address (IPv6 in brackets): these may be on loopback or in a
            private network, and may use any port.
        resolver: Instead of the system's, for tests.
        tls: Instead of one that trusts the system's certificates.

    Raises:
        ConfigurationError: An entry is not `host:port`.
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = frozenset(_entry(text) for text in allow)
        self._resolve = resolver or _system_resolver
        self._tls = tls

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        deadline_s: float,
        max_bytes: int,
    ) -> Answer:
        """Send one request and read its answer. Never repeats anything.

        Args:
            method: GET, POST or PUT.
            url: http or https, ASCII, without user name and fragment.
            headers: Beside those that the transport sets itself.
            body: Sent as it is.
            deadline_s: For everything together, name resolution included, seconds.
            max_bytes: Longest body; 0 returns as soon as the status and headers are there, and reads no body.

        Raises:
            EgressRefused: The guard does not allow the address, the method or a header; trying again cannot help.
            Unavailable: Nobody answered in time, or not with HTTP, or with too much.
        """
        place = _parse(url)
        if method not in METHODS:
            raise EgressRefused(f"expected one of the methods {', '.join(METHODS)}")
        try:
            async with asyncio.timeout(deadline_s):
                addresses = await self._addresses(place)
                return await self._exchange(
                    place, addresses, method, _headers(place, headers or {}), body, deadline_s, max_bytes
                )
        except TimeoutError as error:
            raise Unavailable(f"the receiver did not finish within {deadline_s:g} s") from error
        except httpcore.LocalProtocolError:
            # Not "from error": its text repeats the header, which may be a password.
            raise EgressRefused("a header of the request is not one that HTTP allows") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise Unavailable(f"the receiver did not answer: {type(error).__name__}") from error

    async def _addresses(self, place: _Place) -> tuple[str, ...]:
        is_allowed = (place.host, place.port) in self._allowed
        if not is_allowed and place.port != PORTS[place.scheme]:
            raise EgressRefused(
                "the port is not the scheme's own; put host:port on the allow list to reach it"
            )
        literal = _literal(place.host)
        try:
            found = (literal,) if literal else tuple(await self._resolve(place.host, place.port))
        except (OSError, UnicodeError) as error:
            raise Unavailable("the receiver's host name has no address") from error
        if not found:
            raise Unavailable("the receiver's host name has no address")
        # One address that is not allowed refuses the name: it would be the one that the next look-up answers.
        if max(reach(text) for text in found) > (Reach.LOCAL if is_allowed else Reach.PUBLIC):
            raise EgressRefused(
                "the address leads to this host, a private network or a reserved range; "
                "loopback and private ones need host:port on the allow list"
            )
        return found[:MOST_ADDRESSES]

    async def _exchange(
        self,
        place: _Place,
        addresses: Sequence[str],
        method: str,
        headers: list[tuple[str, str]],
        body: bytes,
        deadline_s: float,
        max_bytes: int,
    ) -> Answer:
        if place.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
        backend = _CheckedBackend(addresses, each_s=deadline_s / len(addresses))
        url = httpcore.URL(
            scheme=place.scheme, host=place.host.strip("[]"), port=place.port, target=place.target
        )
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
            pool.stream(method, url, headers=headers, content=body) as response,
        ):
            chunks = response.aiter_stream() if max_bytes else None
            return Answer(
                status=response.status,
                headers={
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                },
                body=b"" if chunks is None else await _capped(chunks, max_bytes),
            )


def reach(text: str) -> Reach:
    """Say who can be behind an IP address, IPv4 inside IPv6 included; NEVER for what is not an address."""
    try:
        address = ip_address(text)
    except ValueError:
        return Reach.NEVER
    if isinstance(address, IPv4Address):
        return _alone(address)
    return max(_alone(address), *map(_alone, _inside(address)), Reach.PUBLIC)


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


# The registries of special addresses (https://www.iana.org/assignments/iana-ipv4-special-registry and
# .../iana-ipv6-special-registry), and where clouds answer with credentials. Python's own is_global and is_private
# know neither the IPv4 inside IPv6 nor multicast.
_LOCAL = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"
)
_METADATA = _networks("100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128")
_NEVER_V4 = _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
_UNICAST_V6 = _networks("2000::/3")
_NEVER_V6 = _networks("2001::/23", "2001:db8::/32", "3fff::/20")
_CARRIERS = _networks("::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "2001::/32")
"""IPv4-mapped, NAT64, 6to4 and Teredo: as good or bad as the IPv4 addresses inside."""


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


def _alone(address: IPv4Address | IPv6Address) -> Reach:
    if _is_in(address, _METADATA):
        return Reach.NEVER
    if _is_in(address, _LOCAL):
        return Reach.LOCAL
    if isinstance(address, IPv4Address):
        return Reach.NEVER if _is_in(address, _NEVER_V4) else Reach.PUBLIC
    if _is_in(address, _CARRIERS):
        return Reach.PUBLIC
    is_public = _is_in(address, _UNICAST_V6) and not _is_in(address, _NEVER_V6)
    # A scope (fe80::1%eth0) names one of our own interfaces.
    return Reach.PUBLIC if is_public and address.scope_id is None else Reach.NEVER


def _inside(address: IPv6Address) -> list[IPv4Address]:
    low = IPv4Address(int(address) & 0xFFFF_FFFF)
    found = [address.sixtofour, *(address.teredo or ())]
    if _is_in(address, _CARRIERS[:2]):
        found.append(low)
    if (int(address) >> 32) & 0xFDFF_FFFF == 0x0000_5EFE:  # ISATAP, RFC 5214 section 6.1
        found.append(low)
    return [each for each in found if each is not None]


def _parse(url: str) -> _Place:
    found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
    if found is None:
        raise EgressRefused(
            "expected an address like https://host/path: http or https, printable ASCII, "
            f"no user name, no fragment, at most {LONGEST_URL} characters"
        )
    scheme, target = found["scheme"].lower(), found["target"] or "/"
    port = int(found["port"]) if found["port"] else PORTS[scheme]
    if target.startswith("?"):
        target = "/" + target
    return _Place(scheme, _host(found["host"]), _port(port), target)


def _host(text: str) -> str:
    host = text.lower()
    if len(host) > 253:
        raise EgressRefused("expected a host name of at most 253 characters")
    # 127.1, 0x7f000001, 2130706433 and 0177.0.0.1 are all loopback to the system's resolver.
    if host.startswith("[") or _NUMERIC.fullmatch(host):
        try:
            ip_address(host.strip("[]"))
        except ValueError:
            raise EgressRefused("expected an IP address in its usual form, such as 192.0.2.1") from None
    return host


def _port(port: int) -> int:
    if not 1 <= port <= 65_535:
        raise EgressRefused("expected a port from 1 to 65535")
    return port


def _entry(text: str) -> tuple[str, int]:
    found = _ENTRY.fullmatch(text)
    try:
        if found:
            return _host(found["host"]), _port(int(found["port"]))
    except EgressRefused as error:
        raise ConfigurationError(f"an allow list of the guard: {error.message}") from error
    raise ConfigurationError("an allow list of the guard: expected host:port entries, IPv6 in brackets")


def _literal(host: str) -> str | None:
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return None


def _headers(place: _Place, given: Mapping[str, str]) -> list[tuple[str, str]]:
    if any(name.lower() in _OURS or name.lower().startswith("proxy-") for name in given):
        raise EgressRefused("a header of the request is one that only the transport may set")
    is_usual = place.port == PORTS[place.scheme]
    return [
        ("Host", place.host if is_usual else f"{place.host}:{place.port}"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        ("User-Agent", "serinus"),
        *given.items(),
    ]


async def _capped(chunks: AsyncIterable[bytes], max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise Unavailable(f"the receiver answered with more than {max_bytes} bytes")
    return bytes(body)


async def _system_resolver(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for _, _, _, _, place in found))


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever name it is given; httpcore keeps the name for SNI."""

    def __init__(self, addresses: Sequence[str], *, each_s: float) -> None:
        self._addresses = addresses
        self._each_s = each_s
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Try the addresses one after the other, each for its part of the deadline."""
        lost: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout=self._each_s, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                lost = error
        raise lost

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore does so only between repeats, of which there are none."""
        await self._network.sleep(seconds)
