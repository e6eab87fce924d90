"""The ids that travel with a request: what is accepted from a caller, and what goes on to the next service.

Before it: `services.edge`, with the headers of a request. After it: the OpenTelemetry instrumentation, which reads
accepted headers into the context and, through the global propagator, writes the context into outgoing ones.
"""

from __future__ import annotations

import re
import secrets

from opentelemetry import baggage, propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

CORRELATION_HEADER = "X-Correlation-ID"
CORRELATION_KEY = "correlation.id"
ALLOWED_BAGGAGE = (CORRELATION_KEY, "release.id", "release.track")
"""What travels from hop to hop and becomes span attributes; everything else is dropped at the door."""

Headers = list[tuple[bytes, bytes]]

_OURS = (b"x-correlation-id", b"baggage")
_READ_AS_TEXT = frozenset({b"host", b"user-agent", b"content-length", b"traceparent", b"tracestate"})
_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_LONGEST_BAGGAGE = 8192
"""Bytes; the limit of W3C Baggage."""


def admit(headers: Headers) -> tuple[Headers, bytes]:
    """Decide what of the caller's ids is accepted.

    Args:
        headers: As ASGI gives them: lower-case names.

    Returns:
        The headers with `x-correlation-id` and `baggage` replaced by what was accepted, and the correlation ID: the
        header's, else the baggage's, else a new one. Headers that the instrumentation decodes are dropped where they
        are not ASCII: it would answer some such bytes with a crash.
    """
    ids = _known_baggage(b",".join(value for name, value in headers if name == b"baggage"))
    given = next((value for name, value in headers if name == b"x-correlation-id"), b"")
    if _ID.fullmatch(given):
        ids[CORRELATION_KEY] = given
    elif CORRELATION_KEY not in ids:
        ids[CORRELATION_KEY] = secrets.token_hex(16).encode()
    kept = [
        (name, value)
        for name, value in headers
        if name not in _OURS and (value.isascii() or name not in _READ_AS_TEXT)
    ]
    kept.append((b"x-correlation-id", ids[CORRELATION_KEY]))
    kept.append((b"baggage", b",".join(b"%b=%b" % (key.encode(), value) for key, value in ids.items())))
    return kept, ids[CORRELATION_KEY]


def _known_baggage(raw: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    if not raw or len(raw) > _LONGEST_BAGGAGE:
        return found
    for entry in raw.split(b","):
        key, _, value = entry.partition(b";")[0].partition(b"=")
        name, value = key.strip().decode("latin-1"), value.strip()
        if name in ALLOWED_BAGGAGE and _ID.fullmatch(value):
            found[name] = value
    return found


class CorrelationPropagator(TextMapPropagator):
    """Writes the correlation ID of the context into `X-Correlation-ID`; it comes in as baggage (see `admit`)."""

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Return the context unchanged."""
        return Context() if context is None else context

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Set the header, if there is an id."""
        if found := baggage.get_baggage(CORRELATION_KEY, context):
            setter.set(carrier, CORRELATION_HEADER, str(found))

    @property
    def fields(self) -> set[str]:
        """The header's name."""
        return {CORRELATION_HEADER}


def propagate_ids() -> None:
    """Make trace context, baggage and the correlation ID travel with every instrumented call of this process."""
    propagate.set_global_textmap(
        CompositePropagator(
            [TraceContextTextMapPropagator(), W3CBaggagePropagator(), CorrelationPropagator()]
        )
    )
