"""The only instrumentation a service needs: `instrument(app, ...)` gives it correlation, spans, logs and metrics.

Before it: `create` of a service. After it: every request passes `services.edge.Edge`, the server span of
opentelemetry-instrumentation-fastapi, and `services.edge.Watch`; calls to other services are `services.calls`. Spans
leave over OTLP/HTTP from a bounded queue on a thread of their own: a dead receiver costs spans, never requests.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from opentelemetry import baggage, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.processor.baggage import BaggageSpanProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp

from services.conventions import NO_METRICS
from services.correlation import ALLOWED_BAGGAGE, propagate_ids
from services.edge import UNSEEN, Edge, Log, Requests, Watch

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI's own telemetry off: there is exactly one server span, made by the instrumentation here."""

_EXPORT_TIMEOUT_S = 5.0
"""A receiver answers after the commit, which takes seconds on a machine with much to do; what is given up is lost."""
_SHUTDOWN_S = 1.5


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a service holds on to after `instrument`.

    Args:
        tracer_provider: Makes the spans of this service.
        registry: Its metrics.
        log: Its logger; ids are on every line by themselves.
    """

    tracer_provider: TracerProvider
    registry: CollectorRegistry
    log: Log

    async def aclose(self) -> None:
        """Send what is left and stop; never takes longer than 1.5 s, whatever the receiver does."""
        sender = threading.Thread(target=self.tracer_provider.shutdown, name="last-spans", daemon=True)
        sender.start()
        await asyncio.to_thread(sender.join, _SHUTDOWN_S)


def instrument(
    app: FastAPI,
    *,
    service: str,
    version: str,
    environment: str,
    otlp_url: str | None,
    processor: SpanProcessor | None = None,
) -> Telemetry:
    """Make an app observable; call it once, after its routes are declared and before it serves.

    Args:
        app: Made with `telemetry=NO_TELEMETRY`.
        service: `service.name`.
        version: `service.version`; the key by which stable and canary are told apart.
        environment: `deployment.environment.name`.
        otlp_url: Base URL of an OTLP/HTTP receiver; None sends nothing.
        processor: A further span processor, such as one that keeps spans in memory for a test.
    """
    resource = Resource(
        {"service.name": service, "service.version": version, "deployment.environment.name": environment}
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BaggageSpanProcessor(ALLOWED_BAGGAGE.__contains__))
    if otlp_url is not None:
        provider.add_span_processor(_sender(otlp_url))
    if processor is not None:
        provider.add_span_processor(processor)
    registry = CollectorRegistry()
    log = structlog.get_logger().bind(service=service, version=version)
    app.add_middleware(Watch, requests=Requests(registry, version=version), log=log)
    _trace(app, provider)
    _surround(app)
    app.add_route("/metrics", _metrics(registry), include_in_schema=False)
    return Telemetry(provider, registry, log)


def _sender(otlp_url: str) -> BatchSpanProcessor:
    exporter = OTLPSpanExporter(endpoint=f"{otlp_url}/v1/traces", timeout=_EXPORT_TIMEOUT_S)
    return BatchSpanProcessor(
        exporter, max_queue_size=4096, schedule_delay_millis=500, max_export_batch_size=1024
    )


def _trace(app: FastAPI, provider: TracerProvider) -> None:
    propagate_ids()
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=provider,
        meter_provider=NO_METRICS,
        # Anchored at both ends: the whole URL is searched, and the Host header in it is the caller's.
        excluded_urls=",".join(f"^[a-z]+://[^/]*{path}$" for path in UNSEEN),
        exclude_spans=["receive", "send"],
    )


def _surround(app: FastAPI) -> None:
    """Put `Edge` around everything that the app is made of, the instrumentation included."""
    build = app.build_middleware_stack

    def build_with_edge() -> ASGIApp:
        return Edge(build())

    app.build_middleware_stack = build_with_edge  # type: ignore[method-assign]
    app.middleware_stack = None


def _metrics(registry: CollectorRegistry) -> Any:
    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    return metrics


def configure_logs(level: str = "info") -> None:
    """Send this process's logs to stderr as JSON lines that carry the ids of the moment; call it once.

    Args:
        level: debug, info, warning or error.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        add_ids,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last = structlog.processors.JSONRenderer(sort_keys=True)
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


def add_ids(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put correlation, release, trace and span ids on a log event (a structlog processor)."""
    for key in ALLOWED_BAGGAGE:
        if value := baggage.get_baggage(key):
            event.setdefault(key.replace(".", "_"), value)
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", format(context.trace_id, "032x"))
        event.setdefault("span_id", format(context.span_id, "016x"))
    return event
