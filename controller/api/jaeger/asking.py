"""Parameters of Jaeger's query API to questions of our trace store. Pure.

Before it: `routes`. After it: `controller.traces`. Times come in microseconds (v1), milliseconds (dependencies) or RFC 3339
(v3), durations as Go writes them. Whatever cannot be read, or cannot be asked here, is refused by its parameter's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from controller.errors import InvalidInput
from controller.model.searching import LATEST_NS, MOST_TRACES, Page, Range, Search
from controller.model.trace import CORRELATION, KINDS, RELEASE, STATUSES, TRACK

DEFAULT_LIMIT = 20
LOOKBACK_MS = 24 * 3_600_000
"""Of dependencies, when the caller names none; as in Jaeger."""
_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_UNITS_NS["h"] = 60 * _UNITS_NS["m"]
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_MOMENT = re.compile(r"([0-9-]{10}T[0-9:]{8})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
_ID = re.compile(r"[0-9a-fA-F]{1,32}")
_FIELDS = {
    "service.version": "version",
    CORRELATION: "correlation_id",
    RELEASE: "release",
    TRACK: "track",
}
"""Tags that the store keeps in columns of their own."""
_SHOWN_ONLY = frozenset(
    {"otel.scope.name", "otel.scope.version", "otel.status_description", "w3c.tracestate"}
)
"""Tags that `v1` makes of a span's fields and that nobody can search for."""
_NOT_HERE = ("query.filter", "query.pagination.pageSize", "query.pagination.pageToken", "query.orderBy")


class Parameters:
    """The parameters of one request.

    Args:
        given: Pairs in their order; of those with one name the first counts, unless all are asked for.
    """

    def __init__(self, given: Sequence[tuple[str, str]]) -> None:
        self._given = given

    def one(self, *names: str) -> tuple[str, str]:
        """Return the first parameter that is there and not empty, as name and value; ("", "") when none is."""
        for name in names:
            for key, value in self._given:
                if key == name and value:
                    return name, value
        return "", ""

    def text(self, *names: str) -> str:
        """Return the value of the first that is there, else ""."""
        return self.one(*names)[1]

    def all(self, name: str) -> list[str]:
        """Return every value of a name."""
        return [value for key, value in self._given if key == name]


def search_v1(parameters: Parameters) -> tuple[Search, Page]:
    """Read a search of v1.

    Raises:
        InvalidInput: A parameter cannot be read; `field` is its name.
    """
    tags = _tags(parameters.text("tags"), "tags")
    for pair in parameters.all("tag"):
        key, colon, value = pair.partition(":")
        if not colon:
            raise InvalidInput("expected key:value", field="tag")
        tags[key] = value
    since_ns, until_ns = (
        _whole(parameters.text(name), name) * 1_000 if parameters.text(name) else None
        for name in ("start", "end")
    )
    search = _with_tags(
        Search(
            service=parameters.text("service"),
            operation=parameters.text("operation"),
            within=_range(since_ns, until_ns, 1_000, ("start", "end")),
            **_durations(parameters, ("minDuration",), ("maxDuration",)),
        ),
        tags,
        "tags",
    )
    return search, _page(parameters, "limit")


def search_v3(parameters: Parameters) -> tuple[Search, Page]:
    """Read a search of v3, whose parameters have a newer and an older name each.

    Raises:
        InvalidInput: A parameter cannot be read, or asks what cannot be asked here.
    """
    for name in _NOT_HERE:
        if parameters.text(name):
            raise InvalidInput("this cannot be asked here; leave it out", field=name)
    times = (("query.startTimeMin", "query.start_time_min"), ("query.startTimeMax", "query.start_time_max"))
    since_ns, until_ns = (_moment(*parameters.one(*names)) for names in times)
    search = Search(
        service=parameters.text("query.serviceName", "query.service_name"),
        operation=parameters.text("query.operationName", "query.operation_name"),
        within=_range(since_ns, until_ns, 1, (times[0][0], times[1][0])),
        **_durations(
            parameters,
            ("query.durationMin", "query.duration_min"),
            ("query.durationMax", "query.duration_max"),
        ),
    )
    tags = _tags(parameters.text("query.attributes"), "query.attributes")
    page = _page(parameters, "query.searchDepth", "query.search_depth", "query.num_traces")
    return _with_tags(search, tags, "query.attributes"), page


def dependencies(parameters: Parameters, now_ns: int) -> Range:
    """Read the time of a dependency graph.

    Args:
        parameters: endTs and lookback, milliseconds; until now and a day when left out.
        now_ns: Nanoseconds since 1970.

    Raises:
        InvalidInput: One of them is no whole number.
    """
    end, lookback = parameters.text("endTs"), parameters.text("lookback")
    until_ns = _whole(end, "endTs") * 10**6 if end else now_ns
    back_ns = (_whole(lookback, "lookback") if lookback else LOOKBACK_MS) * 10**6
    return _range(max(0, until_ns - back_ns), until_ns, 10**6, ("lookback", "endTs"))


def dependencies_v3(parameters: Parameters) -> Range:
    """Read the time of a dependency graph of v3, whose both ends must be there.

    Raises:
        InvalidInput: One of them is missing, cannot be read, or they come in the wrong order.
    """
    ends = []
    for names in (("startTime", "start_time"), ("endTime", "end_time")):
        name, value = parameters.one(*names)
        if (at_ns := _moment(name, value)) is None:
            raise InvalidInput("expected a moment such as 2026-01-31T09:30:00Z", field=names[0])
        ends.append(at_ns)
    if ends[1] <= ends[0]:
        raise InvalidInput("expected a moment after startTime", field="endTime")
    return _range(ends[0], ends[1], 1, ("startTime", "endTime"))


def trace_id(given: str) -> str:
    """Read a trace id: 1 to 32 hex digits, filled up with zeros on the left as Jaeger does.

    Raises:
        InvalidInput: It is none.
    """
    if not _ID.fullmatch(given):
        raise InvalidInput("expected 1 to 32 hex digits", field="traceID")
    return given.lower().zfill(32)


def kind(given: str, name: str) -> str:
    """Read a span kind, "" for any.

    Raises:
        InvalidInput: There is no such kind.
    """
    found = given.lower()
    if found and found not in KINDS:
        raise InvalidInput(f"expected one of {', '.join(KINDS)}", field=name)
    return found


def _with_tags(search: Search, tags: Mapping[str, str], name: str) -> Search:
    """Return the search with all tags: fields where the store has them, else an expression in which all is quoted."""
    fields: dict[str, str] = {}
    parts: list[str] = []
    for key, value in tags.items():
        if key in _SHOWN_ONLY:
            raise InvalidInput("holds a tag that is shown but cannot be searched for", field=name)
        if key == "span.kind" and value:
            fields["kind"] = kind(value, name)
        elif (status := _status(key, value)) and fields.setdefault("status", status) != status:
            raise InvalidInput("error and otel.status_code contradict each other", field=name)
        elif not status and value and key in _FIELDS:
            fields[_FIELDS[key]] = value
        elif not status:
            parts.append(f"{_quoted(key)} = {_quoted(value)}")
    try:
        return replace(search, where=" and ".join(parts), **fields)  # type: ignore[arg-type]  # all are texts
    except InvalidInput as error:
        raise InvalidInput(f"too much or too long: {error.message}", field=name) from error


def _status(key: str, value: str) -> str:
    if key == "error" and value == "true":
        return "error"
    return value.lower() if key == "otel.status_code" and value.lower() in STATUSES else ""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tags(given: str, name: str) -> dict[str, str]:
    if not given:
        return {}
    try:
        found = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise InvalidInput('expected JSON such as {"key":"value"}', field=name) from error
    if not isinstance(found, dict) or not all(isinstance(one, str | int | float) for one in found.values()):
        raise InvalidInput('expected one JSON object of texts, such as {"key":"value"}', field=name)
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


def _durations(parameters: Parameters, least: Sequence[str], most: Sequence[str]) -> dict[str, Any]:
    found = {"min_ns": parameters.one(*least), "max_ns": parameters.one(*most)}
    read = {field: _duration(value, name) for field, (name, value) in found.items() if value}
    if read.get("max_ns", LATEST_NS) < read.get("min_ns", 0):
        raise InvalidInput("expected no less than the shortest duration", field=found["max_ns"][0])
    return read


def _duration(given: str, name: str) -> int:
    if given == "0":
        return 0
    if not _DURATION.fullmatch(given) or len(given) > 64:
        raise InvalidInput("expected a duration such as 1.2s, 100ms or 1m30s", field=name)
    total = round(sum(float(number) * _UNITS_NS[unit] for number, unit in _PART.findall(given)))
    if total > LATEST_NS:
        raise InvalidInput("expected less than 292 years", field=name)
    return total


def _whole(given: str, name: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= 19):
        raise InvalidInput("expected a whole number, 0 or more", field=name)
    return int(given)


def _moment(name: str, given: str) -> int | None:
    """Read RFC 3339; a plus sign that nobody encoded arrives as a space."""
    if not given:
        return None
    found = _MOMENT.fullmatch(given.replace(" ", "+"))
    try:
        if found is None:
            raise ValueError
        moment = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
        since_1970_ns = int(moment.timestamp()) * 10**9 + int((found[2] or "").ljust(9, "0"))
    except (ValueError, OverflowError) as error:
        raise InvalidInput("expected a moment such as 2026-01-31T09:30:00Z", field=name) from error
    return max(0, since_1970_ns)


def _range(since_ns: int | None, until_ns: int | None, grain_ns: int, names: tuple[str, str]) -> Range:
    """Return a range that holds its end, which Jaeger counts in and we do not."""
    since_ns = since_ns or 0
    until_ns = LATEST_NS if until_ns is None else min(until_ns + grain_ns, LATEST_NS)
    if since_ns >= LATEST_NS:
        raise InvalidInput("expected a moment before 2262", field=names[0])
    if since_ns >= until_ns:
        raise InvalidInput(f"expected a moment that is not before {names[0]}", field=names[1])
    return Range(since_ns, until_ns)


def _page(parameters: Parameters, *names: str) -> Page:
    name, given = parameters.one(*names)
    limit = _whole(given, name) if given else DEFAULT_LIMIT
    if limit < 1:
        raise InvalidInput("expected 1 or more", field=name)
    return Page(min(limit, MOST_TRACES))
