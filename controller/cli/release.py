"""`serinus release`: start, watch, pause, resume, promote, abort, list, show. Each talks to the controller's API."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from controller.cli import shown, watch
from controller.cli.client import Api, Refusal, talk
from controller.cli.shown import Output

BUSY_S = 15.0
"""How long a start waits for a release that has its outcome and is only draining."""
BUSY_AGAIN_S = 0.5

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the release.")]
Key = Annotated[str | None, typer.Option(help="Idempotency-Key: the same key does the same thing once.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the journal.")]
Timeout = Annotated[float | None, typer.Option(min=0.1, help="Give up watching after this many seconds.")]
Print = Annotated[Output, typer.Option(help="text for people, json for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    release = typer.Typer(help="Start and steer releases.", no_args_is_help=True)
    for command in (start, watch_, pause, resume, promote, abort, list_, show):
        release.command(command.__name__.rstrip("_"))(command)
    app.add_typer(release, name="release")


def start(
    target: Annotated[str, typer.Argument(metavar="TARGET")],
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    plan: Annotated[
        str | None, typer.Option(help="Name of a ready-made plan, or a .yaml or .json file with one.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Name of a ready-made policy, or a .yaml or .json file with one.")
    ] = None,
    environment: Annotated[str, typer.Option(help="Environment of the target.")] = "local",
    is_watched: Annotated[
        bool,
        typer.Option("--watch", "--wait", help="Follow it to its end; the exit code tells how it ended."),
    ] = False,
    timeout: Timeout = None,
    output: Print = Output.TEXT,
    key: Key = None,
) -> None:
    """Start a release of TARGET to VERSION."""
    body: dict[str, Any] = {"target": target, "version": version, "environment": environment}
    for name, value in (("plan", plan), ("policy", policy)):
        if value is not None:
            body[name] = _named_or_written(value, name)

    async def work(api: Api) -> int:
        release = await order(api, body, key or secrets.token_hex(16))
        if is_watched:
            return await _watch(api, release, timeout, output)
        if output is Output.JSON:
            shown.as_json(release)
        else:
            shown.line(f"{release['id']}  {target} {release['stable']} -> {version} has started")
            for sight in _sights(release):
                shown.line(sight)
            shown.line(f"follow it: serinus release watch {release['id']}")
        return 0

    raise typer.Exit(talk(work))


def watch_(release_id: Id, timeout: Timeout = None, output: Print = Output.TEXT) -> None:
    """Follow a release; exit code 0 promoted, 20 rolled back, 21 aborted, 22 superseded, 30 needs a human, 124 timeout."""

    async def work(api: Api) -> int:
        return await _watch(api, await api.call("GET", f"/v1/releases/{_safe(release_id)}"), timeout, output)

    raise typer.Exit(talk(work))


def pause(release_id: Id, reason: Reason = "", key: Key = None, output: Print = Output.TEXT) -> None:
    """Stay at the present share; judging and rollback go on."""
    _tell("pause", release_id, reason, key, output)


def resume(release_id: Id, reason: Reason = "", key: Key = None, output: Print = Output.TEXT) -> None:
    """Go on after a pause."""
    _tell("resume", release_id, reason, key, output)


def promote(release_id: Id, reason: Reason = "", key: Key = None, output: Print = Output.TEXT) -> None:
    """Go on to the next step, or past a step that waits for a person."""
    _tell("promote", release_id, reason, key, output)


def abort(release_id: Id, reason: Reason = "", key: Key = None, output: Print = Output.TEXT) -> None:
    """Take the canary's share back at once and for ever."""
    _tell("abort", release_id, reason, key, output)


def list_(
    target: Annotated[str | None, typer.Option(help="Only of this target.")] = None,
    is_active: Annotated[bool, typer.Option("--active", help="Only those that hold their target.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    output: Print = Output.TEXT,
) -> None:
    """List releases, newest first."""
    query = {"limit": str(limit)}
    if target is not None:
        query["target"] = target
    if is_active:
        query["active"] = "true"
    found = talk(lambda api: api.call("GET", "/v1/releases", query=query))
    if output is Output.JSON:
        shown.as_json(found)
        return
    shown.table(
        ("ID", "TARGET", "VERSION", "STATE", "OUTCOME", "SHARE", "STARTED"),
        [
            (
                one["id"],
                one["target"],
                one["version"],
                one["state"],
                one["outcome"],
                f"{one['share_percent']:g} %",
                one["created_at"],
            )
            for one in found["releases"]
        ],
    )


def show(release_id: Id, output: Print = Output.TEXT) -> None:
    """Show one release with the reason and the numbers of its verdict."""
    release = talk(lambda api: api.call("GET", f"/v1/releases/{_safe(release_id)}"))
    if output is Output.JSON:
        shown.as_json(release)
        return
    shown.line(f"{release['id']}  {release['target']} {release['stable']} -> {release['version']}")
    shown.line(watch.ending(release))
    shown.line(watch.standing(release))
    for alert in release["alerts"]:
        state = "delivered" if alert["delivered"] else "not delivered yet"
        shown.line(f"alert {alert['id']} to {alert['channel']}: {state}")
    for name, link in release["links"].items():
        shown.line(f"{name}: {link}")


async def order(
    api: Api,
    body: dict[str, Any],
    key: str,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> dict[str, Any]:
    """Order a release; waits for an earlier one that has ended and still drains.

    Raises:
        Refusal: The controller refused; for a busy target only when its release has no outcome yet, or after 15 s.
    """
    waited_s = 0.0
    while True:
        try:
            return await api.call("POST", "/v1/releases", body=body, headers={"Idempotency-Key": key})
        except Refusal as refusal:
            is_draining = refusal.kind == "target_busy" and await _has_ended(api, refusal)
            if not is_draining or waited_s >= BUSY_S:
                raise
        await sleep(BUSY_AGAIN_S)
        waited_s += BUSY_AGAIN_S


async def _has_ended(api: Api, refusal: Refusal) -> bool:
    holder = str(refusal.problem.get("release", ""))
    if not holder:
        return False
    try:
        return (await api.call("GET", f"/v1/releases/{_safe(holder)}")).get("outcome") is not None
    except Refusal as gone:
        return gone.status == 404


async def _watch(api: Api, release: dict[str, Any], timeout_s: float | None, output: Output) -> int:
    is_json = output is Output.JSON
    ended = await watch.follow(api, release, console=shown.console(is_error=is_json), timeout_s=timeout_s)
    if is_json:
        shown.as_json({**release, **ended.last})
    else:
        shown.line(f"{release['target']} {release['version']} {watch.ending(ended.last)}")
    return ended.code


def _tell(command: str, release_id: str, reason: str, key: str | None, output: Output) -> None:
    headers = {"Idempotency-Key": key or secrets.token_hex(16)}
    path = f"/v1/releases/{_safe(release_id)}/{command}"
    release = talk(lambda api: api.call("POST", path, body={"reason": reason}, headers=headers))
    if output is Output.JSON:
        shown.as_json(release)
    else:
        shown.line(f"{release['id']} takes {command}; last seen: {watch.standing(release)}")


def _sights(release: dict[str, Any]) -> list[str]:
    """Say what the plan can see at the target's traffic; nothing where that is not known."""
    rates = release.get("sees_percent") or []
    narrowed = release.get("has_audience") or [False] * len(rates)
    if not rates and all(narrowed):
        rates = [None] * len(narrowed)
    said = ", ".join(
        "in an unknown part of the traffic"
        if has_audience
        else "nothing"
        if rate is None
        else f"from {rate:.2g} %"
        for rate, has_audience in zip(rates, narrowed, strict=False)
    )
    return [f"its steps can see a canary that fails: {said}"] if said else []


def _safe(release_id: str) -> str:
    """Keep what a person typed from becoming another path."""
    from urllib.parse import quote

    return quote(release_id, safe="")


def _named_or_written(value: str, field: str) -> object:
    """Return a name as it is, and the content of a file."""
    from controller.plans import files

    return files.document(value, field=field) if files.is_file(value) else value
