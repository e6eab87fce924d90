"""`serinus explain RELEASE`: why it stands where it stands, in one sentence with numbers, then what led there.

Before it: a release's id. After it: the API, whose `reason` is the sentence of the alert and of `release show`; the
steps come from its journal, failing traces and what they share from `why`. Nothing is worded again here.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import typer

from controller.cli import shown, watch
from controller.cli.client import Api, talk
from controller.cli.reasons import why_lines
from controller.cli.shown import Output

JOURNAL_S = 10.0
"""Longest wait for the part of the journal that is written already."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    release_id: Annotated[str, typer.Argument(metavar="RELEASE", help="Id of the release.")],
    output: Annotated[Output, typer.Option(help="text for people, json for programs.")] = Output.TEXT,
) -> None:
    """Say why a release stands where it stands, with the numbers it was decided on."""

    async def work(api: Api) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
        path = f"/v1/releases/{quote(release_id, safe='')}"
        release, why = await asyncio.gather(api.call("GET", path), api.call("GET", f"{path}/why"))
        return release, why, await _journal(api, path)

    release, why, events = talk(work)
    if output is Output.JSON:
        shown.as_json({"release": release, "why": why, "events": events})
        return
    for line in [*lines(release, events), *why_lines(why)]:
        shown.line(line)


def lines(release: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    """Return what is said: the sentence, the numbers below it, and the steps."""
    verdict = release.get("verdict") or {}
    return [
        f"{release['target']} {release['stable']} -> {release['version']}: {watch.ending(release)}",
        *_evidence(verdict.get("numbers") or {}, verdict.get("attribution")),
        *(
            f"{str(one.get('at', ''))[11:19]}  {one.get('kind', ''):<20} {one.get('text', '')}"
            for one in events
        ),
    ]


def _evidence(numbers: dict[str, Any], attribution: str | None) -> list[str]:
    from controller.model.verdict import to_one

    found = []
    if numbers.get("odds") is not None:
        found.append(f"odds against a tolerable canary: {to_one(numbers['odds'])}")
    if attribution:
        found.append(attribution)
    if numbers.get("instance"):
        found.append(f"blamed instance: {numbers['instance']}")
    if numbers.get("proof") is not None:
        found.append(f"proof in this step that it is acceptable: {to_one(numbers['proof'])}")
    if numbers.get("look"):
        found.append(f"decided on look {numbers['look']}, source {numbers.get('source')}")
    return found


async def _journal(api: Api, path: str) -> list[dict[str, Any]]:
    """Return what the journal holds now: the stream's events until it says how things stand."""
    events: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(JOURNAL_S), api.stream(f"{path}/events", last_event_id="") as stream:
            async for event in stream:
                if event.kind in ("progress", "end"):
                    break
                events.append(event.data)
    except TimeoutError:
        pass  # what came until then is shown
    return events
