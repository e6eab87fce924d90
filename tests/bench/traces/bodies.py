"""OTLP bodies like those of six small services: 8 to 30 spans a trace, 12 attributes a span, 11 a resource.

Before it: `run`. After it: a store. One batch of an SDK (at most 512 spans of one resource) is one body.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

SERVICES = ("frontend", "catalog", "cart", "checkout", "payment", "shipping")
SPANS_A_BODY = 512
SPANS_A_SECOND = 1_000
"""Of event time, all services together."""
ATTRIBUTES = 12


def bodies(spans: int, *, since_ns: int, seed: int = 7) -> Iterator[tuple[bytes, int]]:
    """Make bodies and how many spans each holds, by time; spans of a trace are spread over its services' bodies."""
    rng = random.Random(seed)
    open_bodies = {name: _start(name, rng) for name in SERVICES}
    made = 0
    at_ns = since_ns
    while made < spans:
        for service, span in _trace(rng, at_ns):
            message, group = open_bodies[service]
            group.scope_spans[0].spans.append(span)
            made += 1
            at_ns += 1_000_000_000 // SPANS_A_SECOND
            if len(group.scope_spans[0].spans) == SPANS_A_BODY:
                yield message.SerializeToString(), SPANS_A_BODY
                open_bodies[service] = _start(service, rng)
    for message, group in open_bodies.values():
        if group.scope_spans[0].spans:
            yield message.SerializeToString(), len(group.scope_spans[0].spans)


def _start(service: str, rng: random.Random) -> tuple[ExportTraceServiceRequest, ResourceSpans]:
    message = ExportTraceServiceRequest()
    group = message.resource_spans.add()
    instance = rng.randrange(3)
    for key, value in (
        ("service.name", service),
        ("service.version", rng.choice(("v1", "v1", "v2"))),
        ("service.instance.id", f"{service}-{instance}"),
        ("deployment.environment.name", "prod"),
        ("telemetry.sdk.language", "python"),
        ("telemetry.sdk.name", "opentelemetry"),
        ("telemetry.sdk.version", "1.45.0"),
        ("host.name", f"node-{instance}"),
        ("os.type", "linux"),
        ("process.runtime.name", "cpython"),
        ("k8s.namespace.name", "shop"),
    ):
        group.resource.attributes.add(key=key).value.string_value = value
    group.scope_spans.add().scope.name = "opentelemetry.instrumentation.fastapi"
    group.scope_spans[0].scope.version = "0.66b1"
    return message, group


def _trace(rng: random.Random, at_ns: int) -> Iterator[tuple[str, Span]]:
    trace_id = rng.randbytes(16)
    correlation = f"cid-{rng.getrandbits(64):016x}"
    parents = [b""]
    tenant = f"t{rng.randrange(40)}"
    for number in range(rng.randint(8, 30)):
        service = SERVICES[number % len(SERVICES)]
        span_id = rng.randbytes(8)
        start = at_ns + number * 1_500_000 + rng.randrange(1_000_000)
        span = Span(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=rng.choice(parents),
            name=f"GET /{service}/{{id}}" if number % 2 else f"{service} query",
            kind=Span.SpanKind.ValueType(2 if number % 3 == 0 else 3 if number % 3 == 1 else 1),
            start_time_unix_nano=start,
            end_time_unix_nano=start + int(rng.lognormvariate(16, 0.8)),
        )
        failed = rng.random() < 0.01
        for key, value in (
            ("correlation.id", correlation),
            ("http.request.method", rng.choice(("GET", "GET", "POST"))),
            ("http.route", f"/{service}/{{id}}"),
            ("url.path", f"/{service}/{rng.randrange(5_000)}"),
            ("server.address", f"{rng.choice(SERVICES)}.shop.svc"),
            ("server.port", 8080),
            ("http.response.status_code", 504 if failed else 200),
            ("network.protocol.version", "1.1"),
            ("tenant.id", tenant),
            ("user_agent.original", "python-httpx/0.28"),
            ("cache.hit", rng.random() < 0.7),
            ("queue.wait_ms", round(rng.random() * 20, 3)),
        ):
            found = span.attributes.add(key=key).value
            if isinstance(value, bool):
                found.bool_value = value
            elif isinstance(value, int):
                found.int_value = value
            elif isinstance(value, float):
                found.double_value = value
            else:
                found.string_value = value
        if failed:
            span.status.code = span.status.STATUS_CODE_ERROR
            event = span.events.add(name="exception", time_unix_nano=start)
            event.attributes.add(key="exception.type").value.string_value = "TimeoutError"
            event.attributes.add(key="exception.message").value.string_value = "no answer within 2 s"
        parents.append(span_id)
        yield service, span
