"""A client of Jaeger's routes without the rest of the API."""

from __future__ import annotations

import httpx
from fastapi import FastAPI

from controller.api.jaeger.routes import JaegerRoutes
from controller.traces.port import TraceStore


def speak_to(store: TraceStore) -> httpx.AsyncClient:
    """Return a client of the routes alone; errors that nobody caught are raised in the test."""
    app = FastAPI()
    app.include_router(JaegerRoutes(traces=store).router())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8640")
