"""What is let in at a service's door, and what goes on from there: correlation IDs, baggage, trace context."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import asgi_getter
from opentelemetry.propagate import extract, inject

from services.correlation import ALLOWED_BAGGAGE, Headers, admit, propagate_ids

MADE = re.compile(rb"[0-9a-f]{32}")
WELL_FORMED = st.from_regex(rb"[A-Za-z0-9._-]{1,128}", fullmatch=True)


def context_of(headers: Headers) -> Context:
    """The context of the server span, as the instrumentation reads it from the headers of a request."""
    propagate_ids()
    return extract({"headers": headers}, context=Context(), getter=asgi_getter)


def admitted(*headers: tuple[bytes, bytes]) -> tuple[bytes, dict[str, object]]:
    kept, correlation_id = admit(list(headers))
    assert dict(kept)[b"x-correlation-id"] == correlation_id
    return correlation_id, dict(baggage.get_all(context_of(kept)))


@given(WELL_FORMED)
def test_well_formed_id_is_kept(given_id: bytes) -> None:
    """A caller's proper id goes on unchanged, as header and as baggage."""
    correlation_id, carried = admitted((b"x-correlation-id", given_id))

    assert correlation_id == given_id
    assert carried == {"correlation.id": given_id.decode()}


@given(st.binary(max_size=200))
def test_anything_else_is_replaced(given_id: bytes) -> None:
    """What is not well-formed is replaced as a whole, never repaired; a new id has 32 hex digits."""
    correlation_id, _ = admitted((b"x-correlation-id", given_id))

    is_proper = re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", given_id) is not None
    assert correlation_id == given_id if is_proper else MADE.fullmatch(correlation_id) is not None


def test_missing_id_is_made_and_never_twice_the_same() -> None:
    """Two requests without an id get two ids."""
    first, second = admitted()[0], admitted()[0]

    assert MADE.fullmatch(first)
    assert first != second


def test_header_beats_baggage_and_baggage_beats_nothing() -> None:
    """The header is what people set; baggage is what other services carry."""
    both = admitted((b"x-correlation-id", b"from-header"), (b"baggage", b"correlation.id=from-baggage"))
    only = admitted((b"x-correlation-id", b"not proper!"), (b"baggage", b"correlation.id=from-baggage"))

    assert (both[0], only[0]) == (b"from-header", b"from-baggage")


def test_baggage_is_cut_down_to_what_is_known() -> None:
    """Foreign keys, odd values and properties are dropped; release and track stay."""
    wire = b"user=42, release.id = r-7 ;ttl=3,release.track=canary,correlation.id=%0a,session=secret,=,a"

    correlation_id, carried = admitted((b"baggage", wire), (b"x-correlation-id", b"c"))

    assert correlation_id == b"c"
    assert carried == {"correlation.id": "c", "release.id": "r-7", "release.track": "canary"}


def test_oversized_baggage_is_dropped_whole() -> None:
    """Nobody makes us parse or carry more than the W3C limit."""
    _, carried = admitted((b"baggage", b"release.id=r-7," + b"x" * 9000), (b"x-correlation-id", b"c"))

    assert carried == {"correlation.id": "c"}


@given(st.lists(st.binary(max_size=60), max_size=4), st.binary(max_size=80))
def test_no_header_bytes_break_the_door(entries: list[bytes], parent: bytes) -> None:
    """Whatever bytes arrive, a request gets one proper id and no foreign baggage, and nothing raises."""
    headers: Headers = [(b"baggage", entry) for entry in entries]
    read = [(name, parent) for name in (b"traceparent", b"tracestate", b"user-agent", b"host")]

    kept, correlation_id = admit([*headers, *read])

    assert re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", correlation_id)
    assert set(baggage.get_all(context_of(kept))) <= set(ALLOWED_BAGGAGE)
    assert sum(name == b"baggage" for name, _ in kept) == 1
    assert all(value.isascii() for name, value in kept if (name, value) in read)


def test_other_headers_are_left_alone() -> None:
    """Headers that are nobody's id keep their bytes and their order, ASCII or not."""
    headers = [(b"accept", b"*/*"), (b"cookie", b"a=\xff"), (b"accept", b"text/html")]

    kept, _ = admit(list(headers))

    assert kept[:3] == headers


def test_callers_trace_goes_on() -> None:
    """The server span will be a child of the caller's span."""
    kept, _ = admit([(b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])

    parent = trace.get_current_span(context_of(kept)).get_span_context()
    assert (parent.trace_id, parent.span_id) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)


def test_ids_go_on_with_every_call() -> None:
    """An instrumented call carries the id as header and as baggage; outside a request it carries none."""
    kept, _ = admit([(b"x-correlation-id", b"c-1"), (b"baggage", b"release.id=r-7,user=42")])
    called: dict[str, str] = {}
    alone: dict[str, str] = {}

    inject(called, context=context_of(kept))
    inject(alone, context=Context())

    assert called["X-Correlation-ID"] == "c-1"
    assert set(called["baggage"].split(",")) == {"correlation.id=c-1", "release.id=r-7"}
    assert alone == {}
