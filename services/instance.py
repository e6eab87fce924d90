"""What one process of one version is told when it starts.

Before it: the launcher's "start" order, or a person who runs one service alone. After it: `create(instance)` of the
service, which reads nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from services.faults import Faults


@dataclass(frozen=True, slots=True)
class Instance:
    """One running version of one service.

    Args:
        service: `service.name`, such as "catalog".
        version: `service.version`, such as "v2".
        port: Where it listens on loopback; 0 lets the system choose.
        environment: `deployment.environment.name`.
        otlp_url: Base URL of the OTLP/HTTP receiver; None keeps spans from leaving the process.
        edge_url: Base URL of the proxy through which services call each other.
        catalog_host: Host header by which the proxy knows the catalog.
        faults: Instead of the version's own faults; None takes those.
    """

    service: str
    version: str
    port: int = 0
    environment: str = "local"
    otlp_url: str | None = None
    edge_url: str = "http://127.0.0.1:8080"
    catalog_host: str = "catalog.localhost"
    faults: Faults | None = None


OPTIONS = frozenset({"environment", "otlp_url", "edge_url", "catalog_host"})
"""Options of `instance_of` that go into an Instance as they are; all others describe faults."""


def instance_of(service: str, version: str, port: int, options: Mapping[str, object]) -> Instance:
    """Build an instance from an order's loose options.

    Args:
        service: Name of the service.
        version: Its version.
        port: 0 to 65535.
        options: Text options of `OPTIONS`, and any field of `Faults`.

    Raises:
        ValueError: An option is not known or has the wrong type or range; names it.
    """
    if not 0 <= port <= 65_535:
        raise ValueError("port: expected 0 to 65535")
    plain = {name: value for name, value in options.items() if name in OPTIONS}
    for name, value in plain.items():
        if not isinstance(value, str):
            raise ValueError(f"{name}: expected text")
    known = {field.name for field in fields(Faults)}
    loose = {name: value for name, value in options.items() if name not in OPTIONS}
    if unknown := sorted(loose.keys() - known):
        raise ValueError(
            f"unknown options: {', '.join(unknown)}; known: {', '.join(sorted(OPTIONS | known))}"
        )
    faults = Faults.of(loose) if loose else None
    texts = {name: str(value) for name, value in plain.items()}
    return Instance(service=service, version=version, port=port, faults=faults, **texts)
