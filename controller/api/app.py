"""The application: rings of guards around thin routes. Begin here to read the API.

    uvicorn -> edge (ids, metrics, last resort) -> guard (host, token, origin, body) -> routes -> use cases

Before it: `bootstrap`, which passes in everything. After it: `controller.releases`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from controller.api import problems
from controller.api.docs import DocsRoutes, DocumentedApi
from controller.api.edge import Edge
from controller.api.events import EventRoutes, Streaming
from controller.api.guard import Guard, Token
from controller.api.jaeger.routes import JaegerRoutes
from controller.api.metrics import ApiMetrics
from controller.api.releases import ReleaseRoutes
from controller.api.render import Renderer
from controller.api.services import ServiceRoutes
from controller.api.standing import StandingRoutes, release_of_serinus
from controller.api.strict import known_parameters_only
from controller.api.targets import TargetRoutes
from controller.api.traces import CorrelationRoutes, TraceRoutes
from controller.api.why import WhyRoutes
from controller.errors import ConfigurationError
from controller.releases.use_cases import UseCases
from controller.settings import Api, Temporal
from controller.traces.port import TraceStore

ABOUT = (
    "Canary releases with evidence. Everything under /v1 needs the header 'Authorization: Bearer <token>'. "
    "Errors are problem+json (RFC 9457) with a stable code. Writes take an Idempotency-Key."
)
LEAST_TOKEN = 16


def create_app(
    *,
    use_cases: UseCases,
    traces: TraceStore,
    token: str,
    settings: Api,
    temporal: Temporal | None = None,
    registry: CollectorRegistry | None = None,
    streaming: Streaming | None = None,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """Build the API.

    The process that serves it also runs `use_cases.courier`, and ends streams at shutdown by uvicorn's
    `timeout_graceful_shutdown`.

    Args:
        use_cases: What people can do.
        traces: Answers the trace questions.
        token: The generated token; at least 16 characters.
        settings: Hosts and body cap.
        temporal: For links to its UI; None leaves them out.
        registry: Where metrics are kept; None makes a new one.
        streaming: How event streams behave; None takes the defaults.
        clock: Seconds since 1970 (UTC), for times like "15 minutes ago".

    Raises:
        ConfigurationError: The token is too short to protect anything.
    """
    if len(token) < LEAST_TOKEN:
        raise ConfigurationError(f"the API token has fewer than {LEAST_TOKEN} characters; delete its file")
    guarded = Token(token)
    metrics = ApiMetrics(registry or CollectorRegistry())
    app = DocumentedApi(
        title="Serinus",
        version=release_of_serinus(),
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(known_parameters_only)],
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.clock = clock
    problems.install(app)
    app.add_middleware(Guard, token=guarded, settings=settings)
    app.add_middleware(Edge, metrics=metrics)
    for routes in (
        EventRoutes(questions=use_cases.questions, streaming=streaming or Streaming(), metrics=metrics),
        ReleaseRoutes(use_cases=use_cases, renderer=Renderer(temporal=temporal)),
        WhyRoutes(explaining=use_cases.explaining),
        TargetRoutes(declaring=use_cases.declaring),
        TraceRoutes(traces=traces),
        JaegerRoutes(traces=traces),
        CorrelationRoutes(traces=traces),
        ServiceRoutes(traces=traces),
        StandingRoutes(use_cases=use_cases, token=guarded, metrics=metrics),
        DocsRoutes(app=app),
    ):
        app.include_router(routes.router())
    return app
