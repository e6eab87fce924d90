"""What people ask about spans, from the query string: times, durations, searches, pages.

Before it: the query string of the explorer's routes. After it: `controller.model.searching`. Each group is a dependency,
so that every route that searches takes the same names and documents them alike.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request

from controller.errors import InvalidInput
from controller.model.searching import LATEST_NS, LONGEST_TEXT, MOST_TRACES, Page, Range, Search
from controller.model.trace import KINDS, STATUSES

UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_LENGTH = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ns|us|µs|ms|s|m|h|d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Text = Annotated[str, Query(max_length=LONGEST_TEXT)]
Moment = Annotated[
    str,
    Query(
        max_length=64,
        description="A time (RFC 3339, such as 2026-11-28T09:00:00Z), or how long ago (15m, 2h, 1d).",
    ),
]
Length = Annotated[str, Query(max_length=32, description="With a unit: 250ms, 1.5s, 2m.")]


def within(request: Request, since: Moment = "", until: Moment = "") -> Range:
    """Return the time that is asked for: all that is kept when nothing is said.

    Raises:
        InvalidInput: One of them is no time, or `until` is not after `since`.
    """
    now_ns = int(request.app.state.clock() * 1e9)
    return Range(
        since_ns=moment_ns(since, now_ns, "since") if since else 0,
        until_ns=moment_ns(until, now_ns, "until") if until else LATEST_NS,
    )


Within = Annotated[Range, Depends(within)]


def search(
    within: Within,
    service: Text = "",
    version: Text = "",
    operation: Annotated[str, Query(max_length=LONGEST_TEXT, description="The span's name, exactly.")] = "",
    kind: Annotated[str, Query(max_length=16, description=f"One of {', '.join(KINDS)}.")] = "",
    status: Annotated[str, Query(max_length=16, description=f"One of {', '.join(STATUSES)}.")] = "",
    min_duration: Length = "",
    max_duration: Length = "",
    release: Annotated[str, Query(max_length=LONGEST_TEXT, description="`release.id` of the span.")] = "",
    track: Annotated[
        str, Query(max_length=LONGEST_TEXT, description="stable or canary, as the span carries it.")
    ] = "",
    correlation_id: Text = "",
    where: Annotated[
        str,
        Query(
            max_length=2_000,
            description='An expression over attributes: payment.method=invoice and not (http.route =~ "^/health" or '
            "resource.host.name = a), exists db.system, retries >= 2.",
        ),
    ] = "",
) -> Search:
    """Return which spans are asked for; all conditions hold for one and the same span.

    Raises:
        InvalidInput: One of the conditions cannot be; names it.
    """
    min_ns = length_ns(min_duration, "min_duration") if min_duration else 0
    max_ns = length_ns(max_duration, "max_duration") if max_duration else 0
    if max_duration and max_ns < max(min_ns, 1):
        raise InvalidInput("expected no less than min_duration, and more than 0", field="max_duration")
    return Search(
        service=service,
        version=version,
        operation=operation,
        kind=kind,
        status=status,
        min_ns=min_ns,
        max_ns=max_ns,
        release=release,
        track=track,
        correlation_id=correlation_id,
        where=where,
        within=within,
    )


Searched = Annotated[Search, Depends(search)]


def page(
    limit: Annotated[int, Query(ge=1, le=MOST_TRACES, description="Traces in one answer.")] = 20,
    cursor: Annotated[
        str, Query(max_length=LONGEST_TEXT, description="`next` of the answer before; empty for the newest.")
    ] = "",
) -> Page:
    """Return how many traces are asked for, and after which."""
    return Page(limit=limit, cursor=cursor)


Paged = Annotated[Page, Depends(page)]


def moment_ns(text: str, now_ns: int, field: str) -> int:
    """Read a time: RFC 3339, or a length of time ago. Nanoseconds since 1970.

    Raises:
        InvalidInput: It is neither, or lies before 1970 or after 2262.
    """
    if _LENGTH.fullmatch(text):
        return max(0, now_ns - length_ns(text, field))
    try:
        # In a query string a "+" that was not escaped arrives as a blank.
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidInput(
            "expected a time with its zone, such as 2026-11-28T09:00:00Z, or a length of time ago, such as 15m",
            field=field,
        )
    at_ns = (found - _EPOCH) // timedelta(microseconds=1) * 1_000
    if not 0 <= at_ns < LATEST_NS:
        raise InvalidInput("expected a time from 1970 to 2262", field=field)
    return at_ns


def length_ns(text: str, field: str) -> int:
    """Read a length of time with its unit, nanoseconds.

    Raises:
        InvalidInput: It is none, or longer than 292 years.
    """
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise InvalidInput(
            f"expected a number with a unit ({', '.join(UNITS_NS)}), such as 250ms", field=field
        )
    length = round(float(found[1]) * UNITS_NS[found[2]])
    if length >= LATEST_NS:
        raise InvalidInput("expected less than 292 years", field=field)
    return length
