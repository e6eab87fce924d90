"""Two versions that cost nothing, and callers: a second Envoy that answers by itself, and a load from another process.

Before it: `shifts`. After it: the edge under test. Nothing of what is measured runs in this process but the probes.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.routing.envoy.bootstrap import envoy_binary
from tests.controller.routing.edge import HOST, free_port

VERSIONS = ("v1", "v2")


@contextmanager
def versions(folder: Path) -> Iterator[dict[str, str]]:
    """Run both versions in one Envoy; yields the address of each."""
    ports = {version: free_port() for version in VERSIONS}
    config = folder / "backends.json"
    listeners = [_listener(version, port) for version, port in ports.items()]
    config.write_text(json.dumps({"static_resources": {"listeners": listeners}}))
    command = [
        str(envoy_binary()),
        "--config-path",
        str(config),
        "--concurrency",
        "1",
        "--use-dynamic-base-id",
    ]
    process = subprocess.Popen([*command, "--log-level", "error"])
    try:
        for port in ports.values():
            wait_for(port)
        yield {version: f"127.0.0.1:{port}" for version, port in ports.items()}
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, within_s: float = 10.0) -> None:
    """Block until something listens on a port of loopback.

    Raises:
        OSError: Nothing does, after `within_s` seconds.
    """
    until_s = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.02)


def _listener(version: str, port: int) -> dict[str, Any]:
    answer = {"status": 200, "body": {"inline_string": version}}
    routes = [{"match": {"prefix": "/"}, "direct_response": answer}]
    return {
        "name": version,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager(version, routes)}]}],
    }


def manager(name: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the plainest HTTP filter: one virtual host, its routes, and Envoy's defaults for everything else."""
    kind = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
    return {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [router],
    }


@dataclass(slots=True)
class Load:
    """Requests in the background, counted by who sends them.

    Args:
        port: Of the edge.
        rate: Requests a second of our generator; `wrk`, where it is installed, sends what it can.
        folder: For the report.
    """

    port: int
    rate: float
    folder: Path
    process: subprocess.Popen[str] | None = None

    @property
    def tool(self) -> str:
        """Who sends."""
        return "wrk" if shutil.which("wrk") else "services.load"

    def start(self) -> None:
        """Begin."""
        url = f"http://127.0.0.1:{self.port}/"
        if self.tool == "wrk":
            command = ["wrk", "-t1", "-c16", "-d600s", "-H", f"Host: {HOST}", url]
        else:
            command = [sys.executable, "-m", "services.load", "--url", url.rstrip("/"), "--host", HOST]
            command += ["--rate", f"{self.rate:g}", "--report", str(self.folder / "load.json")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def finish(self) -> tuple[int, int]:
        """End it; returns requests and failures (connections included)."""
        assert self.process is not None
        self.process.terminate() if self.tool != "wrk" else self.process.send_signal(2)
        output, _ = self.process.communicate(timeout=30)
        if self.tool == "wrk":
            counted = re.search(r"(\d+) requests in", output)
            failures = re.findall(r"(?:Non-2xx or 3xx responses:|connect|read|write|timeout) (\d+)", output)
            return int(counted[1]) if counted else 0, sum(map(int, failures))
        report = json.loads((self.folder / "load.json").read_text())
        return int(report["requests"]), int(report["errors"])
