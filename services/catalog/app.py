"""The catalog service: products by list and by id, in versions good and bad.

Before it: the storefront, through the proxy, which splits between two versions of this. After it: nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from services.faults import Faults, Injector
from services.instance import Instance
from services.telemetry import NO_TELEMETRY, instrument

VERSIONS: dict[str, Faults] = {
    "v1": Faults(),
    "v2": Faults(),
    "v3": Faults(error_rate=0.2, seed=3),
}
"""The one place that says which version is good: v3 answers every fifth request with 500."""

PRODUCTS: dict[str, dict[str, object]] = {
    str(number): {"id": str(number), "name": name, "price_cents": cents}
    for number, (name, cents) in enumerate(
        [
            ("canary seed, 1 kg", 490),
            ("millet spray", 350),
            ("cuttlebone", 220),
            ("willow perch", 780),
            ("bath house", 1290),
            ("nesting basket", 940),
            ("travel cage", 3990),
            ("song book", 1500),
        ],
        start=1,
    )
}


def create(instance: Instance) -> FastAPI:
    """Build the app of one version; a version that is not in `VERSIONS` must bring its faults."""
    injector = Injector(instance.faults or VERSIONS[instance.version])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await telemetry.aclose()

    app = FastAPI(title="catalog", version=instance.version, lifespan=lifespan, telemetry=NO_TELEMETRY)
    _declare(app, instance, injector)
    telemetry = instrument(
        app,
        service=instance.service,
        version=instance.version,
        environment=instance.environment,
        otlp_url=instance.otlp_url,
    )
    return app


def _declare(app: FastAPI, instance: Instance, injector: Injector) -> None:
    broken = JSONResponse({"error": "this version loses one request in a while"}, status_code=500)

    @app.get("/products")
    async def products() -> Response:
        """Every product."""
        if await injector.strike():
            return broken
        return JSONResponse({"version": instance.version, "products": list(PRODUCTS.values())})

    @app.get("/products/{product_id}")
    async def product(product_id: str) -> Response:
        """One product."""
        if await injector.strike():
            return broken
        found = PRODUCTS.get(product_id)
        if found is None:
            return JSONResponse({"error": "no such product"}, status_code=404)
        return JSONResponse({"version": instance.version, **found})

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
