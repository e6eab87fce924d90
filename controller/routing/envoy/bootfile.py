"""The two files an Envoy starts from: written by the router at each declaration and promotion, read by Envoy.

Before it: `plane` with the accepted targets, or whoever starts Envoy. After it: Envoy itself.

* `bootstrap.json`: where Envoy listens and where the router is, and the clusters of the stable versions. Read at a start.
* `routes.json`: the route table that names them. Envoy watches it, so it is always replaced, never written into.

The bootstrap is written first: routes to a cluster that is not there yet would be worse than a cluster without routes.
Whoever writes holds the lock of the folder, because the router and the supervisor may both be starting.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.model.target import Target, TargetKey
from controller.observability import logger
from controller.routing.envoy.boot import BOOT, boot_cluster, boot_routes, boot_table, unknown_routes
from controller.routing.envoy.bootstrap import EnvoyOptions, envoy_bootstrap
from controller.routing.envoy.plain import Json
from controller.routing.envoy.resources import ROUTE_TABLE
from controller.settings import Settings

PLACE: Json = {"name": BOOT}
"""Stands for what the files hold of targets, while the rest is built."""
PLACED = re.compile(rf'{{\s*"name": "{re.escape(BOOT)}"\s*}}')

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the files hold of one target, kept because most targets are the same at the next write (5 000: 1.0 s of CPU)."""

    target: Target
    cluster: str
    routes: tuple[str, ...]
    """JSON, one line each."""


class BootFiles:
    """The files of one Envoy.

    Args:
        options: Where it listens and what it finds where; the files stand in the folder of its route table.
    """

    def __init__(self, options: EnvoyOptions) -> None:
        self.options = options
        self._folder = options.routes.parent
        self._one_write = asyncio.Lock()
        self._is_disk_well = True
        self._made: dict[TargetKey, _Parts] = {}

    @property
    def bootstrap(self) -> Path:
        """What Envoy is started with."""
        return self._folder / "bootstrap.json"

    def refresh(self) -> None:
        """Make both files fit the options and keep the routes that are known; call before Envoy starts.

        Raises:
            OSError: The folder cannot be written.
        """
        with self._locked():
            _replace(self.bootstrap, self._bootstrap([json.dumps(one) for one in self.clusters()]))
            if not _is_table(self.options.routes):
                _replace(self.options.routes, json.dumps(unknown_routes(), indent=1))

    def clusters(self) -> list[Json]:
        """Return the clusters of targets in the bootstrap; none when there is none, or none that can be read."""
        try:
            found = json.loads(self.bootstrap.read_text())["static_resources"]["clusters"]
            return [one for one in found if one["name"].startswith(BOOT)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warning("boot_file_not_readable", file=self.bootstrap.name, error=repr(error)[:200])
            return []

    async def write(self, targets: Sequence[Target]) -> None:
        """Keep the stable routes of these targets. A disk that does not take them is said once, and hinders nothing."""
        async with self._one_write:
            try:
                await asyncio.to_thread(self._write, tuple(targets))
            except OSError as error:
                if self._is_disk_well:
                    log.error("boot_files_not_written", error=str(error))
                self._is_disk_well = False
            else:
                self._is_disk_well = True

    def _write(self, targets: tuple[Target, ...]) -> None:
        parts = [self._parts(target) for target in targets]
        self._made = {target.key: part for target, part in zip(targets, parts, strict=True)}
        with self._locked():
            _replace(self.bootstrap, self._bootstrap([part.cluster for part in parts]))
            routes = [route for part in parts for route in part.routes]
            _replace(self.options.routes, _filled(boot_table([PLACE]), routes))

    def _bootstrap(self, clusters: Sequence[str]) -> str:
        return _filled(envoy_bootstrap(self.options, clusters=[PLACE]), clusters)

    def _parts(self, target: Target) -> _Parts:
        known = self._made.get(target.key)
        if known is not None and known.target is target:
            return known
        routes = tuple(json.dumps(route) for route in boot_routes(target))
        return _Parts(target, json.dumps(boot_cluster(target)), routes)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def boot_files(settings: Settings) -> BootFiles:
    """Return the files of the Envoy that the settings describe."""
    return BootFiles(
        EnvoyOptions(
            listen_port=settings.envoy.port,
            xds_socket=settings.xds_socket.absolute(),
            admin_socket=settings.admin_socket.absolute(),
            access_log=settings.access_log.absolute(),
            routes=(settings.state_dir / "envoy" / "routes.json").absolute(),
            collector=_collector(settings),
        )
    )


def _filled(content: Json, parts: Sequence[str]) -> str:
    """Return JSON with these parts where `PLACE` is the last one of a list."""
    before, after = PLACED.split(json.dumps(content, indent=1))
    if not parts:
        return before.rstrip().removesuffix(",") + after
    return before + ",\n".join(parts) + after


def _collector(settings: Settings) -> tuple[str, int] | None:
    """Return where the edge's spans go; Envoy's static clusters take no names, and ours is always loopback."""
    port = settings.telemetry.grpc_port
    if not settings.envoy.traces or port is None:
        return None
    return "::1" if settings.telemetry.host == "::1" else "127.0.0.1", port


def _replace(path: Path, text: str) -> None:
    """Put a file in place as a whole, or leave it alone when nothing changed."""
    if path.exists() and path.read_text(errors="replace") == text:
        return
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _is_table(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text())["resources"][0]["name"] == ROUTE_TABLE)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return False
