"""`serinus traces`: find, get, map, diff, why. Each asks the controller's API and prints tables, a tree with bars, or JSON.

Before it: what a person types; parameters go to the API as they are, so that there is one place that refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from controller.cli import shown
from controller.cli.client import Refusal, talk
from controller.cli.reasons import why_lines

Json = Annotated[bool, typer.Option("--json", help="Print the API's answer for programs.")]
Since = Annotated[str, typer.Option(help="How long ago (15m, 2h), or a time (RFC 3339).")]
Until = Annotated[str, typer.Option(help="The same; now when left out.")]
Service = Annotated[str, typer.Option(help="Name of a service.")]
ServiceVersion = Annotated[str, typer.Option("--version", help="Version of the service.")]
Where = Annotated[
    str, typer.Option(help='Expression over attributes, such as "payment.method=invoice and not retry".')
]
Failing = Annotated[bool, typer.Option("--failing", help="Only spans that failed.")]

PIPED_WIDTH = 120
"""Cells of a tree in a file or a pipe, which have no width."""

FIND = """Find traces, newest first. All conditions hold for one span.

    serinus traces find --service catalog --failing --since 15m

    serinus traces find --min-duration 250ms --where 'http.route =~ "^/pay" and tenant=acme'

    serinus traces find --correlation-id 4f1c2a --json
"""
GET = """Show one trace as a tree with bars on one time axis, or all traces of a correlation ID.

    serinus traces get 0af7651916cd43dd8448eb211c80319c

    serinus traces get order-4711          (a correlation ID)

    serinus traces get 0af7651916cd43dd8448eb211c80319c --full --json
"""
MAP = """Show who calls whom, versions apart: of a time, or of the traces that a search finds.

    serinus traces map --since 15m

    serinus traces map --service catalog --version v3 --failing
"""
DIFF = """Say what changed from one version of a service to another, and what its failing spans have in common.

    serinus traces diff catalog v1 v3 --since 1h
"""
WHY = """Say why a release was taken back: verdict, failing traces, what they share, what the version changed.

    serinus traces why rel-3f9a
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    traces = typer.Typer(help="Find and read traces.", no_args_is_help=True)
    for name, command, text in (
        ("find", find, FIND),
        ("get", get, GET),
        ("map", map_, MAP),
        ("diff", diff, DIFF),
        ("why", why, WHY),
    ):
        traces.command(name, help=text)(command)
    app.add_typer(traces, name="traces")


def find(
    service: Service = "",
    version: ServiceVersion = "",
    operation: Annotated[str, typer.Option(help="Name of the span, exactly.")] = "",
    kind: Annotated[str, typer.Option(help="server, client, internal, producer or consumer.")] = "",
    is_failing: Failing = False,
    min_duration: Annotated[str, typer.Option(help="Shortest, such as 250ms.")] = "",
    max_duration: Annotated[str, typer.Option(help="Longest, such as 2s.")] = "",
    release: Annotated[str, typer.Option(help="Id of a release that the span was made under.")] = "",
    track: Annotated[str, typer.Option(help="stable or canary.")] = "",
    correlation_id: Annotated[str, typer.Option(help="Correlation ID.")] = "",
    where: Where = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    cursor: Annotated[str, typer.Option(help="`next` of an earlier answer.")] = "",
    as_json: Json = False,
) -> None:
    """Find traces."""
    query = _said(
        service=service,
        version=version,
        operation=operation,
        kind=kind,
        status="error" if is_failing else "",
        min_duration=min_duration,
        max_duration=max_duration,
        release=release,
        track=track,
        correlation_id=correlation_id,
        where=where,
        since=since,
        until=until,
        limit=str(limit),
        cursor=cursor,
    )
    found = _ask("/v1/traces", query)
    if as_json:
        shown.as_json(found)
        return
    from controller.cli.waterfall import length

    _table(
        ("STARTED", "TRACE", "ROOT", "DURATION", "SPANS", "FAILED", "CORRELATION ID"),
        [
            (
                one["started_at"][:23].replace("T", " "),
                one["trace_id"],
                f"{one['root_service']} {one['root_name']}",
                length(one["duration_ms"]),
                one["spans"],
                one["failed"] or "",
                one["correlation_id"],
            )
            for one in found["traces"]
        ],
        none="no trace fits",
    )
    if found["next"]:
        shown.line(f"more: --cursor {found['next']}")


def get(
    trace: Annotated[str, typer.Argument(metavar="TRACE", help="Trace id, or a correlation ID.")],
    is_full: Annotated[
        bool, typer.Option("--full", help="Every span with all attributes; with --json only.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=20_000, help="Rows; the most telling ones.")] = 200,
    as_json: Json = False,
) -> None:
    """Show one trace."""
    if is_full and not as_json:
        raise typer.BadParameter("--full goes with --json: a terminal has no place for every attribute")
    query = {"full": "true"} if is_full else {"limit": str(limit)}
    found = _trace(trace, query, is_full=is_full)
    if as_json:
        shown.as_json(found)
        return
    from controller.cli.waterfall import length, lines, printable

    console = shown.console()
    about = f"correlation ID {found['correlation_id']}" if found.get("correlation_id") else ""
    kept = f"{found['spans']} spans" + (f", {found['failed']} failed" if found["failed"] else "")
    traces = len(found.get("traces", ()))
    itself = found.get("trace_id") or f"{traces} trace{'' if traces == 1 else 's'}"
    heading = f"{itself}  {found['started_at']}  "
    shown.line(printable(f"{heading}{length(found['duration_ms'])}, {kept}  {about}".rstrip()))
    for line in lines(found, console.width if console.is_terminal else PIPED_WIDTH):
        console.print(line, highlight=False, soft_wrap=True)
    for one in found["failures"]:
        shown.line(
            printable(
                f"first failed: {one['service']} {one['version']} {one['name']}: {one['error'] or 'error'} "
                f"(span {one['span_id']}, after {length(one['offset_ms'])})"
            )
        )
    slowest = [one for one in found["services"] if one["self_ms"]][:3]
    said = ", ".join(f"{one['service']} {one['version']} {length(one['self_ms'])}" for one in slowest)
    shown.line(printable(f"own time: {said}"))


def map_(
    service: Service = "",
    version: ServiceVersion = "",
    is_failing: Failing = False,
    where: Where = "",
    since: Since = "",
    until: Until = "",
    as_json: Json = False,
) -> None:
    """Show who calls whom."""
    query = _said(
        service=service,
        version=version,
        status="error" if is_failing else "",
        where=where,
        since=since,
        until=until,
    )
    found = _ask("/v1/map", query)
    if as_json:
        shown.as_json(found)
        return
    _table(
        ("CALLER", "", "CALLEE", "CALLS", "FAILED", "P50", "P95", "P99"),
        [
            (
                f"{one['caller']} {one['caller_version']}",
                "→" if one["kind"] == "call" else "⇢",
                f"{one['callee']} {one['callee_version']}",
                *_red(one),
            )
            for one in found["edges"]
        ],
        none="nobody called anybody",
    )
    if found["services"]:
        shown.line("")
        _table(
            ("SERVICE", "VERSION", "CALLS", "FAILED", "P50", "P95", "P99", "LAST SEEN"),
            [
                (one["service"], one["version"], *_red(one), one["last_seen"][:19].replace("T", " "))
                for one in found["services"]
            ],
        )


def diff(
    service: Annotated[str, typer.Argument(metavar="SERVICE")],
    base: Annotated[str, typer.Argument(metavar="BASE", help="The version to compare with.")],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The version that is new.")],
    since: Since = "",
    until: Until = "",
    as_json: Json = False,
) -> None:
    """Compare two versions."""
    time = _said(since=since, until=until)
    path = f"/v1/services/{quote(service, safe='')}/difference"
    changed = _ask(path, {"base": base, "other": other, **time})
    asked = {"service": service, "version": other, "kind": "server", "others_version": base, **time}
    failing = _ask("/v1/differences", asked)
    if as_json:
        shown.as_json({**changed, "differences": failing["differences"]})
        return
    _changed(changed)
    if failing["differences"]:
        shown.line("")
        shown.line(f"what failing spans of {other} have in common:")
        for one in failing["differences"]:
            shown.line(f"  {one['sentence']}")


def why(
    release: Annotated[str, typer.Argument(metavar="RELEASE", help="Id of a release.")],
    as_json: Json = False,
) -> None:
    """Say why a release was taken back."""
    found = _ask(f"/v1/releases/{quote(release, safe='')}/why", {})
    if as_json:
        shown.as_json(found)
        return
    state = str(found["outcome"] or found["state"]).replace("_", " ")
    shown.line(f"{found['target']} {found['stable']} -> {found['version']}: {state}: {found['reason']}")
    for line in why_lines(found):
        shown.line(line)


def _changed(changed: Mapping[str, Any]) -> None:
    base, other = changed["base"], changed["other"]
    _table(
        (
            "OPERATION",
            f"CALLS {base}",
            other,
            f"FAILED {base}",
            other,
            f"P50 {base}",
            other,
            f"P95 {base}",
            other,
        ),
        [
            (
                f"{one['operation']} ({one['kind']})",
                *(side for pair in zip(_red(one["base"]), _red(one["other"]), strict=True) for side in pair),
            )[:9]
            for one in changed["operations"]
        ],
        none=f"neither {base} nor {other} served anything",
    )
    for one in changed["errors"]:
        mark = "new" if one["is_new"] else "   "
        shown.line(
            f"{mark} {one['operation']}: {one['error']}: {one['base']} in {base}, {one['other']} in {other}"
        )
    for one in changed["calls"]:
        ratios = (one["base_ratio"], one["other_ratio"])
        told = " -> ".join("-" if ratio is None else f"{ratio:.3g}" for ratio in ratios)
        shown.line(f"calls a request: {one['callee']} {one['operation']}: {told}")


def _trace(trace: str, query: Mapping[str, str], *, is_full: bool) -> dict[str, Any]:
    """Return a trace; what is not known as one is looked for as a correlation ID."""
    name = quote(trace, safe="")
    try:
        return _ask(f"/v1/traces/{name}", query)
    except Refusal as refusal:
        if refusal.status != 404 or is_full:
            raise
    try:
        return _ask(f"/v1/correlations/{name}", query)
    except Refusal as refusal:
        if refusal.status != 404:
            raise
        raise Refusal(
            404, {"detail": "no trace and no correlation ID of that name is known (any more)"}
        ) from None


def _ask(path: str, query: Mapping[str, str]) -> dict[str, Any]:
    return talk(lambda api: api.call("GET", path, query=query))


def _said(**query: str) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


def _red(one: Mapping[str, Any]) -> tuple[object, ...]:
    from controller.cli.waterfall import length

    return (
        one["calls"],
        one["failed"] or "",
        *(length(one[name]) if one["calls"] else "" for name in ("p50_ms", "p95_ms", "p99_ms")),
    )


def _table(columns: tuple[str, ...], rows: list[tuple[object, ...]], *, none: str = "") -> None:
    """Print a table; names from outside cannot steer the terminal, and ids are never cut."""
    from controller.cli.waterfall import printable

    if not rows:
        shown.line(none)
        return
    shown.table(columns, [tuple(printable(cell) for cell in row) for row in rows])
