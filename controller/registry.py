"""Which adapter stands behind which name: one line each, imported only when it is asked for.

`bootstrap` turns a name from the settings into a class here. An unknown name is an error that lists the known ones; it
is never guessed. Other packages add adapters through the entry point group `serinus.<port>` with the same
`module:Class` string.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from controller.errors import ConfigurationError

ADAPTERS: dict[str, dict[str, str]] = {
    "keeper": {
        "keeper": "controller.routing.keeper:Keeper",
        "remote": "controller.routing.remote:RemoteKeeper",
    },
    "data_plane": {
        "envoy": "controller.routing.envoy.plane:EnvoyPlane",
        "memory": "controller.routing.memory:MemoryPlane",
    },
    "metrics": {
        "envoy": "controller.metrics.envoy:EnvoySource",
        "memory": "controller.metrics.memory:MemorySource",
    },
    "traces": {
        "clickhouse": "controller.traces.clickhouse.store:ClickHouseTraces",
        "memory": "controller.traces.memory:MemoryTraces",
        "remote": "controller.traces.remote:RemoteTraces",
    },
    "workloads": {
        "embedded": "controller.workloads.embedded:EmbeddedWorkloads",
        "external": "controller.workloads.external:ExternalWorkloads",
        "memory": "controller.workloads.memory:MemoryWorkloads",
    },
    "notify": {
        "webhook": "controller.notify.webhook:WebhookNotifier",
        "memory": "controller.notify.memory:MemoryNotifier",
    },
    "store": {
        "sql": "controller.store.sql:SqlStore",
        "memory": "controller.store.memory:MemoryStore",
    },
    "runner": {
        "temporal": "workflows.client:TemporalRunner",
        "memory": "controller.runner.memory:MemoryRunner",
    },
    # Not a port: the process that the CLI reaches by name because `controller` never imports `workflows`.
    "process": {
        "worker": "workflows.worker:serve",
    },
}


def known(port: str) -> dict[str, str]:
    """Return every name of a port with its `module:Class` string, entry points included."""
    if port not in ADAPTERS:
        raise ConfigurationError(f"no port is called {port!r}; known ports: {', '.join(sorted(ADAPTERS))}")
    others = {point.name: point.value for point in entry_points(group=f"serinus.{port}")}
    return {**others, **ADAPTERS[port]}


def load(port: str, name: str) -> Any:
    """Import and return what stands behind a name.

    Args:
        port: A key of `ADAPTERS`, such as "metrics".
        name: The adapter's name, such as "envoy".

    Raises:
        ConfigurationError: The port or the name is not known, or the adapter cannot be imported.
    """
    names = known(port)
    if name not in names:
        raise ConfigurationError(f"no {port} adapter is called {name!r}; known: {', '.join(sorted(names))}")
    module, _, attribute = names[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"the {port} adapter {name!r} ({names[name]}) cannot be loaded: {error}"
        ) from error
