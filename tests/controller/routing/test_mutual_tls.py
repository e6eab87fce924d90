"""Envoys on other hosts: nobody gets a stream without a certificate, and nobody believes a router without one."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.cli.main import run
from controller.errors import ConfigurationError
from controller.routing.envoy import tls
from controller.routing.envoy.bootstrap import envoy_arguments
from controller.routing.envoy.tls import Connections, Listener, check
from controller.routing.envoy.uplink import Uplink
from controller.routing.remote import RemoteKeeper
from tests.controller.routing.certificates import Authority, Certified
from tests.controller.routing.edge import (
    Edge,
    RouterProcess,
    Upstream,
    accepted,
    applied,
    free_port,
    planned,
    serving,
    shop,
    until,
)
from tests.controller.routing.keeping import KEY, HandClock, asking

pytestmark = pytest.mark.process  # OpenSSL makes the certificates


@pytest.fixture
def authority(short_folder: Path) -> Authority:
    """Who signs for router and Envoys."""
    return Authority(short_folder, "ca")


@pytest.fixture
def listener(short_folder: Path, authority: Authority) -> Listener:
    """The router's side."""
    router = authority.sign("router", "DNS:localhost,IP:127.0.0.1")
    return Listener("127.0.0.1", free_port(), router.certificate, router.key, authority.certificate)


def _uplink(listener: Listener, shown: Certified, host: str = "127.0.0.1") -> Uplink:
    return Uplink(host, listener.port, shown.certificate, shown.key, listener.client_ca)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_envoy_with_a_certificate_gets_everything(
    edge: Edge, authority: Authority, listener: Listener, host: str
) -> None:
    """By address or by name: targets, shares and renewals come over TLS, and the log names the certificate."""
    edge.uplink = _uplink(listener, authority.sign("edge-1.internal"), host)
    async with (
        serving(Upstream("v1"), Upstream("v2")) as (v1, v2),
        planned(edge, listener=listener, ttl_s=1.0) as plane,
    ):
        await plane.start(dict)
        await plane.declare([shop(v1, v2)])
        with capture_logs() as lines:
            edge.start()
            await accepted(plane)
            await edge.answers(200)
        served = await edge.split(40)

    assert served == {"v1": 40}
    (connected,) = [line for line in lines if line["event"] == "proxy_connected"]
    assert (connected["node"], connected["via"]) == ("edge-1", "edge-1.internal")
    assert plane.events()["unproved"] == 0


async def test_a_stranger_stays_on_what_it_booted_with(
    edge: Edge, authority: Authority, listener: Listener, short_folder: Path
) -> None:
    """A certificate of another authority gets no stream: Envoy serves from its file, and the router counts and says it."""
    stranger = Authority(short_folder, "other").sign("edge-9.internal")
    edge.uplink = _uplink(listener, stranger)
    async with serving(Upstream("v1"), Upstream("v2")) as (v1, v2), planned(edge, listener=listener) as plane:
        await plane.start(dict)
        await plane.declare([shop(v1, v2)])
        with capture_logs() as lines:
            edge.start()
            booted = await edge.answers(200)
            await until(lambda: plane.events()["unproved"] > 0)
        nodes = plane.nodes()

    assert booted.version == "v1"
    assert nodes == ()
    assert [line["event"] for line in lines].count("proxy_not_let_in") == 1
    assert not [line for line in lines if line["event"] == "proxy_connected"]


@pytest.mark.long
async def test_an_envoy_believes_only_the_router(
    edge: Edge, authority: Authority, listener: Listener
) -> None:
    """A certificate of the same authority that is made for somebody else is no router: Envoy sends it nothing."""
    impostor = authority.sign("edge-2.internal")
    edge.uplink = _uplink(listener, authority.sign("edge-1.internal"))
    posing = replace(listener, certificate=impostor.certificate, key=impostor.key)
    async with serving(Upstream("v1")) as (v1,), planned(edge, listener=posing) as plane:
        await plane.start(dict)
        await plane.declare([shop(v1)])
        edge.start()
        await edge.answers(200)
        await until(lambda: plane.events()["unproved"] > 0)

    assert plane.nodes() == ()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_and_no_certificate_are_refused(
    edge: Edge, authority: Authority, listener: Listener
) -> None:
    """TLS 1.1 ends in the handshake; without a certificate no byte comes through, in 1.2 and in 1.3."""
    shown, old, usual = authority.sign("edge-1.internal"), ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2
    async with planned(edge, listener=listener) as plane:
        await plane.start(dict)
        outcomes = {
            "with": await _shake(listener, shown),
            "with, 1.2": await _shake(listener, shown, newest=usual),
            "with, 1.1": await _shake(listener, shown, newest=old),
            "without, 1.2": await _shake(listener, None, newest=usual),
            "without, 1.3": await _shake(listener, None),
        }
    lax = await _lax_server(listener)
    control = await _shake(listener, shown, newest=old)
    lax.close()

    assert control  # our side does speak 1.1, so it was the router that would not
    assert [name for name, is_through in outcomes.items() if is_through] == ["with", "with, 1.2"]


async def _lax_server(listener: Listener) -> asyncio.Server:
    """Listen on the same port with the same certificate, for every version and every client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.load_cert_chain(listener.certificate, listener.key)

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    return await asyncio.start_server(greet, listener.host, listener.port, ssl=context)


async def _shake(
    listener: Listener, shown: Certified | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> bool:
    """Connect and read; true when the other end says anything (the router: its HTTP/2 settings)."""
    context = ssl.create_default_context(cafile=str(listener.client_ca))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
    context.set_alpn_protocols(["h2"])
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=context)
            said = await reader.read(1)
            writer.close()
            return bool(said)
    except OSError:  # ssl.SSLError is one
        return False


async def test_a_renewed_certificate_is_taken_without_a_restart(
    edge: Edge, authority: Authority, listener: Listener
) -> None:
    """New files are used for the next connection; broken ones are said, and the old ones stay."""
    shown = authority.sign("edge-1.internal")
    async with planned(edge, listener=listener) as plane:
        await plane.start(dict)
        first = await _serial(listener, shown)
        authority.sign("router", "DNS:localhost,IP:127.0.0.1")
        second = await _serial(listener, shown)
        listener.certificate.write_text("no certificate")
        with capture_logs() as lines:
            third = await _serial(listener, shown)

    assert first != second
    assert second == third
    assert "certificates_not_usable" in [line["event"] for line in lines]


async def _serial(listener: Listener, shown: Certified) -> str:
    context = ssl.create_default_context(cafile=str(listener.client_ca))
    context.load_cert_chain(shown.certificate, shown.key)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=context)
    found = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return str(found)


@pytest.mark.parametrize(
    ("breaks", "field", "words"),
    [
        (lambda one: one.key.chmod(0o644), "KEY", "can be used by others"),
        (lambda one: one.key.unlink(), "KEY", "No such file"),
        (lambda one: one.certificate.unlink(), "CERTIFICATE", "No such file"),
        (lambda one: one.certificate.write_text("x"), "CERTIFICATE", "PEM"),
        (lambda one: one.key.write_text("secret"), "CERTIFICATE", "PEM"),
        (lambda one: one.client_ca.write_text("x"), "CLIENT_CA", "PEM"),
    ],
    ids=["open key", "no key", "no certificate", "bad certificate", "bad key", "bad authority"],
)
def test_files_that_do_not_fit_are_named(
    listener: Listener, breaks: Callable[[Listener], object], field: str, words: str
) -> None:
    """One line with the setting and what to do, and never what stands in the file."""
    breaks(listener)

    with pytest.raises(ConfigurationError) as caught:
        check(listener)

    assert caught.value.message.startswith(f"SERINUS_ROUTER__XDS__{field}: ")
    assert words in caught.value.message
    assert "secret" not in caught.value.message


def test_a_key_that_only_the_group_may_read_is_taken(listener: Listener) -> None:
    """That is how secrets are mounted for a service."""
    listener.key.chmod(0o640)

    check(listener)


def test_a_connection_without_a_stream_is_counted_once() -> None:
    """A stream takes its connection away, a second one on it takes no other; the rest is given up after 2 s."""
    clock = HandClock()
    connections = Connections(clock.boot_s)
    for _ in range(3):
        connections.began()
    for peer in ("ipv4:10.0.0.1:5", "ipv4:10.0.0.1:5"):
        connections.proved(peer)
    early = connections.unproved()
    clock.now_s += tls.UNPROVED_AFTER_S

    with capture_logs() as lines:
        found = [connections.unproved(), connections.unproved()]
        connections.began()
        clock.now_s += tls.UNPROVED_AFTER_S
        found.append(connections.unproved())
        clock.now_s += tls.TELL_EVERY_S
        found.append(connections.unproved())

    assert (early, found) == (0, [2, 0, 1, 0])
    assert [line["connections"] for line in lines] == [2, 1]


async def test_the_printed_bootstrap_works_against_a_router_process(
    edge: Edge,
    authority: Authority,
    listener: Listener,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Settings, router and `serinus router bootstrap` together: an Envoy without the socket gets a share."""
    names = {"PORT": listener.port, "CERTIFICATE": listener.certificate, "KEY": listener.key}
    more = {f"SERINUS_ROUTER__XDS__{name}": str(value) for name, value in names.items()}
    more["SERINUS_ROUTER__XDS__CLIENT_CA"] = str(listener.client_ca)
    router, keeper = RouterProcess(edge, more=more), RemoteKeeper(edge.folder / "router.sock")
    monkeypatch.setenv("SERINUS_STATE_DIR", str(edge.folder / "state"))
    shown = authority.sign("edge-7.internal")
    async with serving(Upstream("v1"), Upstream("v2")) as upstreams:
        try:
            router.start()
            await until(router.socket.exists)
            await keeper.declare(shop(*upstreams))
            code = await asyncio.to_thread(run, _command(edge, listener, shown))
            config = edge.folder / "remote.json"
            config.write_text(capsys.readouterr().out)
            with (edge.folder / "envoy.log").open("ab") as log:
                edge.process = subprocess.Popen(envoy_arguments(config), stdout=log, stderr=log)
            seen = await applied(keeper, KEY)
            await keeper.grant(asking(share=10_000, term_s=60.0))
            await edge.answers(200)
            served = await edge.split(40)
        finally:
            router.kill()
            edge.kill()
            await keeper.aclose()

    assert code == 0
    assert str(edge.xds) not in json.dumps(json.loads(config.read_text())["static_resources"]["clusters"][0])
    assert [node.id for node in seen.nodes] == ["edge-7"]
    assert served == {"v2": 40}


def _command(edge: Edge, listener: Listener, shown: Certified) -> list[str]:
    files = (
        "--certificate",
        str(shown.certificate),
        "--key",
        str(shown.key),
        "--ca",
        str(listener.client_ca),
    )
    return [
        *("router", "bootstrap", "--node-id", "edge-7", "--listen", f"127.0.0.1:{edge.port}"),
        *("--xds", f"127.0.0.1:{listener.port}", *files),
        *("--admin-socket", str(edge.admin), "--access-log", str(edge.access_log)),
    ]
