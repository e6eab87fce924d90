"""The sample shop of the embedded run: which versions run from the start, and its declaration through the API.

The storefront calls the catalog through Envoy; the catalog comes in three versions, of which v3 is bad on purpose.
After a restart the same versions run again, those of releases in flight among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controller.embedded.api import Api
from controller.embedded.versions import Versions
from controller.settings import Settings

SERVICES: Mapping[str, tuple[str, ...]] = {"storefront": ("v1",), "catalog": ("v1", "v2", "v3")}
FIRST_STABLE = "v1"
ENVIRONMENT = "local"


def options(settings: Settings, logs: Path, service: str, version: str) -> Mapping[str, object]:
    """Return what a service is told at its start."""
    return {
        "environment": ENVIRONMENT,
        "otlp_url": settings.telemetry.url,
        "edge_url": f"http://127.0.0.1:{settings.envoy.port}",
        "catalog_host": host("catalog"),
        "log": str(logs / f"{service}.{version}.log"),
    }


def host(service: str) -> str:
    """Return the Host header of a service."""
    return f"{service}.localhost"


def begin(versions: Versions) -> None:
    """Start what ran before, or the first stable versions, before anybody has said anything."""
    for service, version in versions.remembered() or ((service, FIRST_STABLE) for service in SERVICES):
        versions.start(service, version)


async def declare(api: Api, *, move_stable: bool = False) -> None:
    """Declare both targets. Safe to repeat: what is stable stays stable, and what is in use is started with it.

    Args:
        api: Ours.
        move_stable: Go back to the first versions, which the API refuses while a release is active.

    Raises:
        Unavailable: The API, or a part it needs, does not answer.
    """
    for service, versions in SERVICES.items():
        await api.send(
            "PUT",
            f"/targets/{service}" + ("?move_stable=true" if move_stable else ""),
            {
                "environment": ENVIRONMENT,
                "hosts": [host(service)],
                "workloads": "embedded",
                "stable": FIRST_STABLE,
                "versions": {version: [] for version in versions},
                "plan": "demo",
                "policy": "demo",
            },
        )
