"""Where one embedded run lives: its folders, its ports, and the settings file that all its processes read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from controller.embedded import folders
from controller.embedded.ports import LOOPBACK, Ports
from controller.errors import ConfigurationError
from controller.settings import Channel, Settings, handed_on, write


@dataclass(frozen=True, slots=True)
class Site:
    """Where one run lives.

    Args:
        settings: What every process reads, with the ports and folders of this run.
        environment: Of every child.
        ports: All ports of this run.
    """

    settings: Settings
    environment: Mapping[str, str]
    ports: Ports

    @property
    def launcher_socket(self) -> Path:
        """Unix socket of the fork server."""
        return self.settings.sockets / "launcher.sock"

    @property
    def temporal_port(self) -> int:
        """Of Temporal's gRPC frontend."""
        return self.ports.taken()["temporal"]

    @property
    def temporal_ui_port(self) -> int:
        """Of Temporal's web UI."""
        return self.ports.taken()["temporal-ui"]


def choose_site(
    settings: Settings,
    state_dir: Path,
    channels: Callable[[Ports], Mapping[str, Channel]],
    undo: AsyncExitStack,
) -> Site:
    """Choose folders and ports, and write the settings file of the children.

    Args:
        settings: What was asked for: ports in it are first choices.
        state_dir: Absolute, ours, claimed.
        channels: Returns alert channels beside those of the settings.
        undo: Gives the ports back and removes the folder of the sockets, unless the settings name it.

    Raises:
        ConfigurationError: A folder is not ours, or no port is free.
    """
    common = folders.common_folder()
    if settings.runtime_dir is not None:
        runtime = folders.checked_runtime_folder(settings.runtime_dir.absolute())
    else:
        runtime = folders.runtime_folder(common, state_dir)
        undo.callback(shutil.rmtree, runtime, ignore_errors=True)
    ports = Ports(memory=state_dir / "ports.json", locks=folders.private_folder(common / "ports"))
    undo.callback(ports.close)
    chosen = _with_ports(settings, ports).model_copy(
        update={
            "state_dir": state_dir,
            "runtime_dir": runtime,
            "notify": settings.notify.model_copy(
                update={"channels": {**settings.notify.channels, **channels(ports)}}
            ),
        }
    )
    file = state_dir / "settings.json"
    try:
        write(chosen, file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error
    return Site(chosen, _quick_python(handed_on(file), common), ports)


def _quick_python(environment: dict[str, str], common: Path) -> dict[str, str]:
    """Let children keep compiled modules where the machine wants none beside its sources.

    Without them each of our processes compiles a thousand modules at each start: 3.4 s of CPU instead of 1.4 s
    (measured for the controller), and a crashed worker would come back after its lease has lapsed.
    """
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment["PYTHONPYCACHEPREFIX"] = str(folders.private_folder(common / "pycache"))
    return environment


def _with_ports(settings: Settings, ports: Ports) -> Settings:
    temporal = ports.take("temporal", _port_of(settings.temporal.address))
    temporal_ui = ports.take("temporal-ui", _port_of(settings.temporal.ui))
    return settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"port": ports.take("api", settings.api.port)}),
            "envoy": settings.envoy.model_copy(update={"port": ports.take("envoy", settings.envoy.port)}),
            "telemetry": settings.telemetry.model_copy(
                update={
                    "port": ports.take("telemetry", settings.telemetry.port),
                    "grpc_port": ports.take("telemetry-grpc", settings.telemetry.grpc_port),
                }
            ),
            "router": settings.router.model_copy(
                update={"metrics_port": ports.take("router-metrics", settings.router.metrics_port)}
            ),
            "worker": settings.worker.model_copy(
                update={"metrics_port": ports.take("worker-metrics", settings.worker.metrics_port)}
            ),
            "temporal": settings.temporal.model_copy(
                update={
                    "address": f"{LOOPBACK}:{temporal}",
                    "ui": f"http://{LOOPBACK}:{temporal_ui}",
                }
            ),
        }
    )


def _port_of(address: str) -> int | None:
    port = address.rpartition(":")[2]
    return int(port) if port.isdigit() else None
