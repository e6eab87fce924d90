"""The guard of everything that leaves: what it refuses, where it connects, and how little it lets a receiver do."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.egress import Answer, Egress, Reach, reach
from controller.errors import ConfigurationError, EgressRefused, Unavailable

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[int]:
    """A raw TCP server on loopback; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


def says(*parts: bytes, heard: list[bytes] | None = None) -> Script:
    """A script that reads a request's head, then writes the parts."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(head)
        for part in parts:
            writer.write(part)

    return script


def answers(
    *addresses: str, asked: list[str] | None = None
) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A resolver that knows one answer."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        if asked is not None:
            asked.append(host)
        return addresses

    return resolve


async def get(
    egress: Egress,
    url: str,
    *,
    deadline_s: float = 5.0,
    max_bytes: int = 1_000,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One GET with usual bounds."""
    return await egress.request("GET", url, deadline_s=deadline_s, max_bytes=max_bytes, headers=headers)


REFUSED_URLS = [
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://127.0.0.1/",
    "http://[::1]/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://0/",
    "http://127.1/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://00000177.0.0.1/",
    "http://127.0.0.1./",
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "http://127\u30020\u30020\u30021/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:7f00:1::]/",
    "http://[2606:4700::5efe:7f00:1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25lo]/",
    "http://[fe80::1%lo]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://good@127.0.0.1/",
    "http://user:pass@good.test/",
    "http://127.0.0.1#@good.test/",
    "http://good.test#fragment",
    "http://good.test\\@127.0.0.1/",
    "http://127.0.0.1\\@good.test/",
    "http://good.test/\\..\\x",
    "http://good.test:80@127.0.0.1/",
    "http://good.test%2f@127.0.0.1/",
    "http://127.0.0.1%00.good.test/",
    "http://good.test:22/",
    "http://good.test:25/",
    "http://good.test:6443/",
    "https://good.test:80/",
    "http://good.test:443/",
    "http://good.test:0/",
    "http://good.test:99999/",
    "http://good.test:/",
    "http://good.test:+80/",
    "http://good.test:\u0668\u0660/",
    "file:///etc/passwd",
    "gopher://good.test/",
    "ftp://good.test/",
    "unix:///run/docker.sock",
    "http+unix://%2frun%2fdocker.sock/",
    "javascript:alert(1)",
    "//good.test/",
    "good.test/",
    "http:good.test/",
    "http:/good.test/",
    "http:///good.test/",
    "http://",
    "",
    " http://good.test/",
    "http://good.test/ ",
    "http://good.test/\n",
    "http://good.test/a b",
    "http://good.test/\r\nX: y",
    "http://good.test\t/",
    "http://good.test/caf\u00e9",
    "http://b\u00fccher.test/",
    "http://-good.test/",
    "http://good-.test/",
    "http://good..test/",
    "http://.good.test/",
    "http://[good.test]/",
    "http://[::1/",
    "http://::1/",
    "http://" + "a" * 64 + ".test/",
    "http://" + "a." * 127 + "test/",
    "http://good.test/" + "a" * 3_000,
]


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_egress_refuses_address(url: str) -> None:
    """An address that leads inside, or that two clients could read differently, is refused without a connection."""
    egress = Egress(resolver=answers("8.8.8.8"))

    with pytest.raises(EgressRefused) as refusal:
        await get(egress, url)

    assert not url or url not in refusal.value.message


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("8.8.8.8", "127.0.0.1"),
        ("127.0.0.1", "8.8.8.8"),
        ("8.8.8.8",) * 20 + ("169.254.169.254",),
        ("8.8.8.8", "::ffff:10.0.0.1"),
        ("2606:4700::1111", "64:ff9b::a9fe:a9fe"),
        ("fe80::1%eth0",),
        ("not an address",),
        ("8.8.8.8", ""),
    ],
)
async def test_egress_checks_every_address_of_a_name(addresses: tuple[str, ...]) -> None:
    """One address that is not public refuses the whole name, wherever in the answer it stands."""
    with pytest.raises(EgressRefused):
        await get(Egress(resolver=answers(*addresses)), "https://good.test/")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "224.0.0.1", "fd00:ec2::254", "0.0.0.0", "2002:a9fe:a9fe::"]
)
async def test_egress_never_reaches_metadata(address: str) -> None:
    """An entry of the allow list opens loopback and private networks, and nothing beyond them."""
    egress = Egress(["good.test:80"], resolver=answers(address))

    with pytest.raises(EgressRefused):
        await get(egress, "http://good.test/")


async def test_egress_connects_to_the_address_that_was_checked() -> None:
    """A name is resolved once, its Host is kept, and a resolver that would answer differently next is not asked."""
    asked: list[str] = []
    heard: list[bytes] = []
    async with server(says(OK, heard=heard)) as port:
        egress = Egress([f"hook.test:{port}"], resolver=answers("127.0.0.1", asked=asked))

        answer = await get(egress, f"http://HOOK.test:{port}/a?b=c%20d")

    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"hi", "text/html")
    assert asked == ["hook.test"]
    lines = heard[0].split(b"\r\n")
    assert lines[0] == b"GET /a?b=c%20d HTTP/1.1"
    assert f"Host: hook.test:{port}".encode() in lines


async def test_egress_checks_a_rebound_name_again() -> None:
    """A name that was fine for one request is checked anew for the next, and refused when it moved inside."""
    moving = [["127.0.0.1"], ["169.254.169.254"]]

    async def resolve(host: str, port: int) -> Sequence[str]:
        return moving.pop(0)

    async with server(says(OK)) as port:
        egress = Egress([f"hook.test:{port}"], resolver=resolve)
        first = await get(egress, f"http://hook.test:{port}/")
        with pytest.raises(EgressRefused):
            await get(egress, f"http://hook.test:{port}/")

    assert first.status == 200


async def test_egress_entry_opens_exactly_one_place() -> None:
    """An entry opens its host as written with its port: not the neighbour port, not another name of the host."""
    async with server(says(OK)) as port, server(says(OK)) as other:
        egress = Egress([f"127.0.0.1:{port}"])

        answer = await get(egress, f"http://127.0.0.1:{port}")
        for url in (
            f"http://127.0.0.1:{other}/",
            f"http://localhost:{port}/",
            f"http://[::ffff:127.0.0.1]:{port}/",
        ):
            with pytest.raises(EgressRefused):
                await get(egress, url)

    assert answer.status == 200


async def test_egress_tries_the_next_address() -> None:
    """An address where nobody listens does not hide the one that answers."""
    async with server(says(OK)) as port:
        egress = Egress([f"hook.test:{port}"], resolver=answers("127.0.0.9", "127.0.0.1"))

        answer = await get(egress, f"http://hook.test:{port}/")

    assert answer.status == 200


@pytest.mark.parametrize(
    "entry", ["", "host", "host:", ":80", "host:0", "host:70000", "http://host:80", "127.1:80", "::1:80"]
)
def test_egress_refuses_malformed_entry(entry: str) -> None:
    """An entry that is not host:port is a mistake of the settings, said at the start."""
    with pytest.raises(ConfigurationError):
        Egress([entry])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_egress_follows_no_redirect(status: int) -> None:
    """A redirect is an answer like any other; its place is never asked."""
    heard: list[bytes] = []
    async with server(says(OK, heard=heard)) as inside:
        reply = (
            f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{inside}/\r\nContent-Length: 0\r\n\r\n"
        )
        async with server(says(reply.encode())) as port:
            answer = await get(
                Egress([f"127.0.0.1:{port}", f"127.0.0.1:{inside}"]),
                f"http://127.0.0.1:{port}/",
                headers={"Authorization": "Bearer s3cret"},
            )

    assert (answer.status, heard) == (status, [])


async def test_egress_ignores_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment sees nothing. Patched: the environment is what is tested."""
    heard: list[bytes] = []
    async with server(says(OK, heard=heard)) as proxy, server(says(OK)) as port:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        answer = await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/")

    assert (answer.status, heard) == (200, [])


async def test_egress_ends_an_endless_body() -> None:
    """A body without end is cut at the cap, long before the deadline."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()

    async with server(endless) as port:
        with pytest.raises(Unavailable, match="more than 1000 bytes"):
            await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/", deadline_s=30)


async def test_egress_takes_a_body_up_to_the_cap() -> None:
    """A body of exactly the cap is an answer; one byte more is not."""

    def sized(size: int) -> Script:
        return says(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode(), b"x" * size)

    async with server(sized(1_000)) as port:
        answer = await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/")
    async with server(sized(1_001)) as port:
        with pytest.raises(Unavailable):
            await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/")

    assert len(answer.body) == 1_000


async def test_egress_never_inflates() -> None:
    """A gzip bomb stays what it is on the wire, and nobody asked for it."""
    bomb = gzip.compress(b"\0" * 900_000)
    heard: list[bytes] = []
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with server(says(head, bomb, heard=heard)) as port:
        answer = await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/")

    assert answer.body == bomb
    assert b"Accept-Encoding: identity" in heard[0].split(b"\r\n")


@pytest.mark.parametrize(
    "start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"], ids=["drips a head", "drips a body"]
)
async def test_egress_deadline_holds_against_a_drip(start: bytes) -> None:
    """A receiver that sends a byte now and then cannot stretch the deadline, in the head or in the body."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(start)
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 400:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    began = asyncio.get_running_loop().time()
    async with server(drip) as port:
        with pytest.raises(Unavailable, match=r"within 0\.2 s"):
            await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/", deadline_s=0.2)

    assert asyncio.get_running_loop().time() - began < 2


async def test_egress_deadline_holds_against_silence() -> None:
    """A receiver that takes the connection and says nothing, and a resolver that hangs, both end at the deadline."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def hangs(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    async with server(silent) as port:
        with pytest.raises(Unavailable):
            await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/", deadline_s=0.1)
    with pytest.raises(Unavailable):
        await get(Egress(resolver=hangs), "https://good.test/", deadline_s=0.1)


async def test_egress_without_body_returns_at_the_head() -> None:
    """With a cap of 0 the answer is there as soon as its head is; a body that never comes holds nobody."""

    async def headless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with server(headless) as port:
        answer = await get(
            Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/", deadline_s=10, max_bytes=0
        )

    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    ],
)
async def test_egress_garbage_is_unavailable(garbage: bytes) -> None:
    """What is not HTTP is said as an error of ours, never as one of the library's."""
    async with server(says(garbage)) as port:
        with pytest.raises(Unavailable):
            await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/")


async def test_egress_nobody_there_is_unavailable() -> None:
    """A refused connection and a name without an address can heal; both are said as unavailable."""

    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("no such host")

    async with server(says(OK)) as port:
        pass
    with pytest.raises(Unavailable):
        await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/")
    with pytest.raises(Unavailable):
        await get(Egress(resolver=nobody), "https://good.test/")
    with pytest.raises(Unavailable):
        await get(Egress(resolver=answers()), "https://good.test/")


async def test_egress_tls_keeps_the_name() -> None:
    """Over TLS the server name is the address's host, though the connection goes to an IP address."""
    hello: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.append(await reader.read(4096))
        writer.write(b"this is not TLS")

    async with server(listen) as port:
        egress = Egress(
            [f"hook.test:{port}"], resolver=answers("127.0.0.1"), tls=ssl.create_default_context()
        )
        with pytest.raises(Unavailable):
            await get(egress, f"https://hook.test:{port}/secret-path")

    assert b"hook.test" in hello[0]
    assert b"secret-path" not in hello[0]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "other.test"},
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Proxy-Authorization": "x"},
        {"X-Bad": "a\r\nX-More: s3cret"},
        {"X Bad": "s3cret"},
        {"X-Bad": "s3cret\x00"},
    ],
)
async def test_egress_refuses_headers_that_steer(headers: dict[str, str]) -> None:
    """A caller can neither redirect a request by its headers nor smuggle a second one; the error shows no value."""
    heard: list[bytes] = []
    async with server(says(OK, heard=heard)) as port:
        with pytest.raises(EgressRefused) as refusal:
            await get(Egress([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/", headers=headers)

    assert heard == []
    assert "s3cret" not in f"{refusal.value}{refusal.value.__cause__}"


async def test_egress_refuses_other_methods() -> None:
    """CONNECT and inventions are refused."""
    for method in ("CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\n"):
        with pytest.raises(EgressRefused):
            await Egress().request(method, "https://good.test/", deadline_s=1, max_bytes=0)


async def test_egress_posts_the_body_as_it_is() -> None:
    """What is posted arrives byte for byte, with its length."""
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        got.append(await reader.readexactly(300_000))
        writer.write(OK)

    body = bytes(range(250)) * 1_200
    async with server(take) as port:
        url = f"http://127.0.0.1:{port}/"
        await Egress([f"127.0.0.1:{port}"]).request("POST", url, body=body, deadline_s=5, max_bytes=100)

    assert got == [body]


@given(st.ip_addresses(v=4))
def test_egress_ipv4_inside_ipv6_is_never_better(inside: IPv4Address) -> None:
    """However an IPv4 address is wrapped into IPv6, its reach is never taken for a more harmless one."""
    number = int(inside)
    prefixes = {"mapped": 0xFFFF << 32, "nat64": 0x64FF9B << 96, "6to4": 0x2002 << 112, "compatible": 0}
    wrapped = {
        name: prefix | (number << 80 if name == "6to4" else number) for name, prefix in prefixes.items()
    }
    teredo = (0x20010000 << 96) | (0x08080808 << 64) | (number ^ 0xFFFF_FFFF)

    found = {reach(str(IPv6Address(each))) for each in (*wrapped.values(), teredo)}

    assert min(found) >= reach(str(inside))


@given(st.ip_addresses())
def test_egress_reach_agrees_with_python_about_public(address: IPv4Address | IPv6Address) -> None:
    """What we let through is never what Python's own tables call private, loopback, multicast or reserved."""
    if reach(str(address)) is Reach.PUBLIC:
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        seen = mapped or address
        bad = (seen.is_loopback, seen.is_link_local, seen.is_multicast, seen.is_unspecified)
        assert not any(bad)
        assert not (isinstance(seen, IPv4Address) and (seen.is_private or seen.is_reserved))


@given(st.text(max_size=60))
async def test_egress_any_text_is_refused_or_unavailable(text: str) -> None:
    """No address whatever makes the guard fail in a way that is not its own."""

    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("no such host")

    for url in (text, f"http://{text}", f"https://{text}/", f"http://good.test{text}"):
        with pytest.raises((EgressRefused, Unavailable)):
            await get(Egress(resolver=nobody), url)
