"""What the edge costs: Envoy's CPU a request beside a plain listener, and a shift when there are many services.

Before it: `run`. After it: numbers. Both listeners run in the same minute, in turns, over the same upstream and for the
same caller, so that the ratio means something on a busy machine; CPU is the kernel's count of each Envoy process.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from controller.model.target import Target
from controller.routing.envoy.bootstrap import envoy_arguments
from controller.routing.envoy.layer import layer
from controller.routing.envoy.routes import virtual_host
from controller.routing.port import Shares
from tests.bench.routing.backends import manager, versions, wait_for
from tests.controller.routing.edge import HOST, Edge, Hand, accepted, free_port, planned, set_up

CALLERS = 16
ROUNDS = 5
TICKS_S = os.sysconf("SC_CLK_TCK")
MOST_LEASES = 200
"""How many releases run at once at most, however many services there are."""
PUSHES = 40
GAP_S = 0.05
"""Before each of them, with all counts being read once a second meanwhile."""
LONGEST_S = 15.0
"""After which, for begins and for steps, there are no more pushes; a percentile of fewer is better than a bench that nobody runs."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Envoy's CPU a request, microseconds, as the median of all rounds; ratios are medians of the rounds' own.

    Args:
        plain: A listener with one route, one cluster and no option of ours.
        ours: Our listener, nobody in a release.
        shared: Our listener while a canary has 10 %.
        ratio: `ours` to `plain`.
        shared_ratio: `shared` to `plain`.
    """

    plain: float
    ours: float
    shared: float
    ratio: float
    shared_ratio: float


@dataclass(frozen=True, slots=True)
class Scale:
    """A shift of one service among many.

    Args:
        services: How many are declared, two versions each.
        leases: How many of them have a share.
        declared_s: From the declaration until Envoy has everything, seconds.
        begun_s: By release: from the push of its first share until Envoy's acknowledgement, seconds. Its virtual host
            changes.
        stepped_s: The same for another share of the same release: only the layer changes.
        size: Of what the first sends, bytes: the layer of all shares and one virtual host.
        cpu_s: Of this process for both, seconds.
        read_part: Of a core, for reading the counts once a second.
        memory: Resident, of Envoy, bytes.
    """

    services: int
    leases: int
    declared_s: float
    begun_s: Sequence[float]
    stepped_s: Sequence[float]
    size: int
    cpu_s: float
    read_part: float
    memory: int


async def cost(folder: Path, *, requests: int) -> Cost:
    """Measure both listeners.

    Args:
        folder: Short, because unix sockets are in it.
        requests: In each round, for each listener.
    """
    edge, port = Edge(folder), free_port()
    with versions(folder) as places:
        plain = _plain(folder / "plain.json", port, places["v1"])
        try:
            async with planned(edge) as plane:
                target = Target("catalog", "v1", {name: (one,) for name, one in places.items()})
                hand = await set_up(edge, plane, target)
                assert edge.process is not None
                await asyncio.to_thread(wait_for, port)
                rounds = []
                for number in range(ROUNDS + 1):
                    taken = [await _cpu_us(plain.pid, port, requests)]
                    for share in (0, 1_000):
                        await hand.set(plane, share)
                        taken.append(await _cpu_us(edge.process.pid, edge.port, requests))
                    if number:  # the first one opens connections and fills caches
                        rounds.append(taken)
        finally:
            plain.kill()
            plain.wait()
    middle = [median(column) for column in zip(*rounds, strict=True)]
    ratios = [median(one[place] / max(one[0], 1e-9) for one in rounds) for place in (1, 2)]
    return Cost(middle[0], middle[1], middle[2], ratios[0], ratios[1])


def _plain(config: Path, port: int, upstream: str) -> subprocess.Popen[bytes]:
    host, _, upstream_port = upstream.partition(":")
    endpoint = {"address": {"socket_address": {"address": host, "port_value": int(upstream_port)}}}
    cluster = {
        "name": "v1",
        "load_assignment": {"cluster_name": "v1", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "v1"}}]
    listener = {
        "name": "plain",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager("plain", routes)}]}],
    }
    settings: dict[str, Any] = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    config.write_text(json.dumps(settings))
    return subprocess.Popen(envoy_arguments(config, log_level="error"))


async def _cpu_us(pid: int, port: int, requests: int) -> float:
    before = _cpu_s(pid)
    await asyncio.to_thread(_call, port, requests)
    return 1e6 * (_cpu_s(pid) - before) / requests


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def _call(port: int, requests: int) -> None:
    """Ask over kept connections, one request at a time on each."""
    asked = b"GET / HTTP/1.1\r\nhost: %b\r\n\r\n" % HOST.encode()
    callers = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(CALLERS)]
    for _ in range(requests // CALLERS):
        for caller in callers:
            caller.sendall(asked)
        for caller in callers:
            answer = b""
            while not answer.endswith((b"\r\n\r\nv1", b"\r\n\r\nv2")):
                answer += caller.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200"), answer
    for caller in callers:
        caller.close()


async def scale(folder: Path, *, services: int) -> Scale:
    """Measure shifts of one service among `services`; the others' releases have their shares all the time."""
    edge = Edge(folder)
    places = {"v1": ("127.0.0.1:7001",), "v2": ("127.0.0.1:7002",)}
    targets = [Target(f"s{number}", "v1", places) for number in range(services)]
    leased = targets[:MOST_LEASES]
    async with planned(edge) as plane:
        hand = Hand()
        await plane.start(hand)
        edge.start()
        began_s = time.monotonic()
        await plane.declare(targets)
        async with asyncio.timeout(300):
            while not plane.nodes():
                await asyncio.sleep(0.05)
        await accepted(plane, within_s=300)
        declared_s = time.monotonic() - began_s
        hand.shares = {one.key: Shares("v2", f"rel-{one.name}", 100) for one in leased[1:]}
        await plane.push()
        await accepted(plane, within_s=300)
        idle = await _cpu_while(asyncio.sleep(3))
        begun: list[float] = []
        stepped: list[float] = []
        spent = 0.0
        # A step comes seconds after its begin, which would keep Envoy busy: all begins first, then all steps.
        for taken in (begun, stepped):
            for number in range(PUSHES):
                release, share = (f"rel-{number}", 100) if taken is begun else ("rel-0", 500 + number)
                await asyncio.sleep(GAP_S)  # before the share is there: a stream that wakes takes it along
                hand.shares = {**hand.shares, leased[0].key: Shares("v2", release, share)}
                pushed_s = time.monotonic()
                spent += await _cpu_while(plane.push())
                await accepted(plane, within_s=60)
                taken.append(time.monotonic() - pushed_s)
                if sum(taken) > LONGEST_S:
                    break
            await accepted(plane, within_s=60)
            hand.shares = {**hand.shares, leased[0].key: Shares("v2", "rel-0", 100)}
            await plane.push()
        host = virtual_host(leased[0], hand.shares[leased[0].key])
        size = len(layer(hand()).body.value) + host.ByteSize()
        assert edge.process is not None
        memory = _resident(edge.process.pid)
    # Counts are read beside it all the time; what that takes is said by itself.
    cpu_s = max(0.0, spent - idle / 3 * (sum(begun) + sum(stepped))) / len(begun)
    return Scale(services, len(hand.shares), declared_s, begun, stepped, size, cpu_s, idle / 3, memory)


async def _cpu_while(work: Awaitable[None]) -> float:
    """Return what this process computed until the work was done, seconds."""
    began_s = time.process_time()
    await work
    return time.process_time() - began_s


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
