"""The storefront service: shows what the catalog says, and says it when the catalog fails.

Before it: users, through the proxy. After it: the catalog, through the same proxy, so that a share of the calls reaches
the catalog's canary. A failed call is answered 502 with the reason: a user sees it, and it is counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from services.calls import Caller, CallFailed
from services.faults import Faults, Injector
from services.instance import Instance
from services.telemetry import NO_TELEMETRY, instrument

VERSIONS: dict[str, Faults] = {"v1": Faults(), "v2": Faults()}
CATALOG_TIMEOUT_S = 2.0


class Catalog:
    """The storefront's way to the catalog.

    Args:
        caller: Goes to the proxy and names the catalog in its Host header.
        version: Of the storefront, shown in its answers.
    """

    def __init__(self, caller: Caller, *, version: str) -> None:
        self._caller = caller
        self._version = version

    async def show(self, path: str) -> Response:
        """Fetch a page of the catalog and answer the user; never raises for what the catalog does."""
        try:
            answer = await self._caller.get(path)
        except CallFailed as error:
            return self._failed(error.reason)
        if answer.status >= 500:
            return self._failed(f"status {answer.status}")
        return Response(
            b'{"storefront":"%b","catalog":%b}' % (self._version.encode(), answer.body),
            status_code=answer.status,
            media_type="application/json",
        )

    def _failed(self, reason: str) -> Response:
        return JSONResponse(
            {"storefront": self._version, "error": f"the catalog failed: {reason}"}, status_code=502
        )


def create(instance: Instance) -> FastAPI:
    """Build the app of one version; a version that is not in `VERSIONS` must bring its faults."""
    injector = Injector(instance.faults or VERSIONS[instance.version])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await caller.aclose()
        await telemetry.aclose()

    app = FastAPI(title="storefront", version=instance.version, lifespan=lifespan, telemetry=NO_TELEMETRY)
    telemetry = instrument(
        app,
        service=instance.service,
        version=instance.version,
        environment=instance.environment,
        otlp_url=instance.otlp_url,
    )
    caller = Caller(
        telemetry.tracer_provider,
        url=instance.edge_url,
        host=instance.catalog_host,
        timeout_s=CATALOG_TIMEOUT_S,
    )
    _declare(app, instance, injector, Catalog(caller, version=instance.version))
    return app


def _declare(app: FastAPI, instance: Instance, injector: Injector, catalog: Catalog) -> None:
    broken = JSONResponse({"error": "this version of the storefront fails"}, status_code=500)

    @app.get("/")
    async def home() -> Response:
        """The shop window."""
        return broken if await injector.strike() else await catalog.show("/products")

    @app.get("/products/{product_id}")
    async def product(product_id: str) -> Response:
        """One product's page."""
        if not product_id.isalnum() or not product_id.isascii():
            return JSONResponse({"error": "no such product"}, status_code=404)
        return broken if await injector.strike() else await catalog.show(f"/products/{product_id}")

    @app.get("/health")
    async def health() -> Response:
        """Whether the process lives."""
        return JSONResponse({"status": "alive", "version": instance.version})

    @app.get("/ready")
    async def ready() -> Response:
        """Whether the version can serve."""
        if injector.is_ready:
            return JSONResponse({"status": "ready", "version": instance.version})
        return JSONResponse({"status": "not ready", "version": instance.version}, status_code=503)
