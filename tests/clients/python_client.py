"""Sends one trace through each of the Python SDK's exporters, and a log record and a counter through two; prints what it
sent as one line of JSON. Arguments: base address of OTLP/HTTP, base address of OTLP/gRPC.
"""

from __future__ import annotations

import json
import logging
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

RESOURCE = Resource({"service.name": "py-shop", "service.version": "v9"})


def sell(exporter: SpanExporter, name: str) -> str:
    """Make a trace of two spans, and return its id when it is sent."""
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("client", "1.0")
    with tracer.start_as_current_span(
        f"sell {name}", kind=trace.SpanKind.SERVER, attributes={"correlation.id": f"py-{name}"}
    ) as root:
        try:
            with tracer.start_as_current_span(
                "pay",
                kind=trace.SpanKind.CLIENT,
                links=[trace.Link(root.get_span_context())],
                attributes={"text": "größer", "whole": 7, "broken": 1.5, "yes": True, "list": ["a", "b"]},
            ):
                raise TypeError("declined")
        except TypeError:
            pass
    provider.shutdown()
    return trace.format_trace_id(root.get_span_context().trace_id)


def main() -> None:
    """Send everything."""
    http, grpc = sys.argv[1:]
    exporters: dict[str, SpanExporter] = {
        "http": HttpExporter(endpoint=f"{http}/v1/traces"),
        "http-gzip": HttpExporter(endpoint=f"{http}/v1/traces", compression=Compression.Gzip),
        "grpc": GrpcExporter(endpoint=grpc, insecure=True),
    }
    sent = {name: sell(exporter, name) for name, exporter in exporters.items()}
    logs = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=grpc, insecure=True)))
    logger = logging.getLogger("client")
    logger.addHandler(LoggingHandler(logger_provider=logs))
    logger.warning("low on seeds")
    logs.shutdown()
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{http}/v1/metrics"))
    meters = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
    meters.get_meter("client").create_counter("sold").add(5, {"bird": "canary"})
    meters.shutdown()
    print(json.dumps(sent))


if __name__ == "__main__":
    main()
