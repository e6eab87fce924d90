"""A real Envoy in front of services that speak something else: gRPC, WebSocket, long answers, rude callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import grpc
import grpc.aio
import pytest
from aiohttp import web

from controller.model.look import Arm
from controller.model.target import Target
from tests.controller.routing.edge import (
    HOST,
    Edge,
    Upstream,
    free_port,
    planned,
    serving,
    set_up,
    shop,
    until,
)

pytestmark = pytest.mark.process

FAILING = (
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
FINE = (
    grpc.StatusCode.OK,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.ALREADY_EXISTS,
)


@asynccontextmanager
async def _grpc_service(name: bytes) -> AsyncIterator[str]:
    """Answer with the status whose name is asked for; yields the address."""

    async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        code = grpc.StatusCode[request.decode()]
        if code is not grpc.StatusCode.OK:
            await context.abort(code, "as asked")
        return name

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Catalog", {"Get": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=0)


async def _call(edge: Edge, *codes: grpc.StatusCode) -> list[tuple[grpc.StatusCode, bytes]]:
    found = []
    options = [("grpc.default_authority", HOST), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}", options=options) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/shop.Catalog/Get")
        for code in codes:
            try:
                found.append((grpc.StatusCode.OK, await call(code.name.encode())))
            except grpc.aio.AioRpcError as error:
                found.append((error.code(), b""))
    return found


async def test_grpc_counts_by_its_status(edge: Edge) -> None:
    """Both arms over HTTP/2: a status like a 500 is a failure though HTTP says 200; the callers get what was said."""
    async with _grpc_service(b"v1") as one, _grpc_service(b"v2") as two, planned(edge) as plane:
        target = Target("catalog", "v1", {"v1": (one,), "v2": (two,)}, protocol="http2")
        hand = await set_up(edge, plane, target)
        stable = await _call(edge, *FAILING, *FINE)
        await hand.set(plane, 10_000)
        canary = await _call(edge, *FAILING, *FINE, *FINE)
        await until(lambda: plane.counters(target).arms.get("v2", Arm()).total == len(canary))
        arms = plane.counters(target).arms
        counted = {version: (arm.total, arm.failed) for version, arm in arms.items()}
        await until(lambda: len(edge.lines()) == len(FAILING) + len(canary))
        logged = [(line["track"], line["grpc_status"]) for line in edge.lines()]

    assert [code for code, _ in stable] == [*FAILING, *FINE]
    assert [code for code, _ in canary] == [*FAILING, *FINE, *FINE]
    assert (stable[len(FAILING)][1], canary[len(FAILING)][1]) == (b"v1", b"v2")
    assert counted == {"v1": (len(stable), len(FAILING)), "v2": (len(canary), len(FAILING))}
    assert [track for track, _ in logged].count("stable") == len(FAILING)
    assert ("stable", "Unavailable") in logged


async def test_a_dead_grpc_canary_is_shielded(edge: Edge) -> None:
    """A call that never reached the canary is answered by stable; all of gRPC is POST, so nothing else is repeated."""
    async with _grpc_service(b"v1") as one, planned(edge) as plane:
        dead = f"127.0.0.1:{free_port()}"
        target = Target("catalog", "v1", {"v1": (one,), "v2": (dead,)}, protocol="http2")
        hand = await set_up(edge, plane, target)
        await hand.set(plane, 10_000)
        answers = await _call(edge, *[grpc.StatusCode.OK] * 20)
        await until(lambda: plane.counters(target).arms.get("v2", Arm()).failed >= 5)
        arm = plane.counters(target).arms["v2"]

    assert answers == [(grpc.StatusCode.OK, b"v1")] * 20
    assert not arm.ready


@asynccontextmanager
async def _echo(name: str) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{name}: {message.data}")
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


async def test_a_websocket_passes_to_either_version_and_outlives_the_share(edge: Edge) -> None:
    """An upgrade goes through the split like any request; what is open stays open when the share is taken back."""
    async with (
        _echo("v1") as one,
        _echo("v2") as two,
        planned(edge) as plane,
        aiohttp.ClientSession() as client,
    ):
        hand = await set_up(edge, plane, Target("catalog", "v1", {"v1": (one,), "v2": (two,)}))
        url, headers = f"http://127.0.0.1:{edge.port}/", {"Host": HOST}
        heard = []
        async with client.ws_connect(url, headers=headers) as stable:
            await hand.set(plane, 10_000)
            async with client.ws_connect(url, headers=headers) as canary:
                await hand.set(plane, 0)
                for socket in (stable, canary, stable):
                    await socket.send_str("hello")
                    heard.append(await socket.receive_str())

    assert heard == ["v1: hello", "v2: hello", "v1: hello"]


async def test_an_answer_that_takes_too_long_is_cut_where_that_is_wanted(edge: Edge) -> None:
    """The limit is the target's; without one the same answer arrives."""
    slow = asyncio.Event()
    async with serving(Upstream("v1", waits_for=slow)) as (v1,), planned(edge) as plane:
        target = replace(shop(v1), timeout_s=0.3)
        await set_up(edge, plane, target)
        (cut,) = await edge.ask()
        await plane.declare([replace(target, timeout_s=0.0)])
        asking = asyncio.create_task(edge.ask())
        await asyncio.sleep(0.6)
        slow.set()
        (whole,) = await asking

    assert (cut.status, whole.status) == (504, 200)


PATHS = {
    "/a/../b": (200, "/b"),
    "/a//b": (200, "/a/b"),
    "/%2e%2e/b": (200, "/b"),
    "/a/../../b": (200, "/b"),
    "/a%2fb": (307, ""),
}


async def test_paths_reach_the_service_in_one_form(edge: Edge) -> None:
    """Two spellings of one path cannot pass for two; an escaped slash is sent back to be spelled out."""
    met = {}
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        await set_up(edge, plane, shop(v1))
        for path in PATHS:
            v1.path = ""
            (reply,) = await edge.ask(path=path)
            met[path] = (reply.status, v1.path)

    assert met == PATHS


async def test_a_header_that_could_pass_for_another_is_refused(edge: Edge) -> None:
    """`x_user` and `x-user` are one name to many services."""
    async with serving(Upstream("v1")) as (v1,), planned(edge) as plane:
        await set_up(edge, plane, shop(v1))
        (reply,) = await edge.ask(headers=[("x_user", "me")])

    assert (reply.status, v1.total) == (400, 0)
