"""Between the model's values and the ledger's rows; the one place that knows how a value is written as JSON.

Reading checks everything again through the model's own rules, so that a row that somebody changed by hand is found
here and not in a judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from sqlalchemy import RowMapping

from controller.errors import InvalidInput, StoreUnavailable
from controller.model.notice import Notice
from controller.model.release import Command, CommandKind, JournalEvent, Outcome, Release, ReleaseOrder, State
from controller.model.share import basis_points
from controller.model.target import Target
from controller.model.verdict import Verdict
from controller.observability import logger

T = TypeVar("T")
Row = dict[str, Any]
Details = Mapping[str, str | int | float | bool | None]

_TARGET = TypeAdapter(Target)
_ORDER = TypeAdapter(ReleaseOrder)
_VERDICT = TypeAdapter(Verdict)
_FACTS: TypeAdapter[Mapping[str, float]] = TypeAdapter(Mapping[str, float])
_DETAILS: TypeAdapter[Details] = TypeAdapter(Details)

log = logger("serinus.store")


def target_row(target: Target) -> Row:
    """Return the row of a target."""
    return {
        "environment": target.environment,
        "name": target.name,
        "declaration": _written(_TARGET, target),
    }


def target_of(row: RowMapping) -> Target:
    """Return the target of a row."""
    return _read("targets", row["name"], lambda: _TARGET.validate_json(row["declaration"]))


def new_release_row(order: ReleaseOrder) -> Row:
    """Return the row of a release that was just ordered."""
    return {
        "id": order.id,
        "environment": order.target.environment,
        "target": order.target.name,
        "version": order.version,
        "ordered": _written(_ORDER, order),
        **standing_row(Release(order=order)),
    }


def standing_row(release: Release) -> Row:
    """Return the columns of a release that change while it runs."""
    return {
        "state": release.state.value,
        "step": release.step,
        "share": release.share,
        "outcome": None if release.outcome is None else release.outcome.value,
        "reason": release.reason,
        "ended_at": release.ended_at,
        "verdict": None if release.verdict is None else _written(_VERDICT, release.verdict),
        "facts": _written(_FACTS, release.facts),
    }


def release_of(row: RowMapping) -> Release:
    """Return the release of a row."""

    def read() -> Release:
        return Release(
            order=_ORDER.validate_json(row["ordered"]),
            state=State(row["state"]),
            step=row["step"],
            share=basis_points(row["share"]),
            outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
            reason=row["reason"],
            verdict=None if row["verdict"] is None else _VERDICT.validate_json(row["verdict"]),
            ended_at=row["ended_at"],
            facts=_FACTS.validate_json(row["facts"]),
        )

    return _read("releases", row["id"], read)


def event_row(event: JournalEvent) -> Row:
    """Return the row of an event; its `seq` is the database's."""
    return {
        "id": event.id,
        "release": event.release,
        "kind": event.kind,
        "text": event.text,
        "at": event.at,
        "actor": event.actor,
        "correlation_id": event.correlation_id,
        "details": _written(_DETAILS, event.details),
    }


def event_of(row: RowMapping) -> JournalEvent:
    """Return the event of a row."""
    return _read(
        "journal",
        row["id"],
        lambda: JournalEvent(**{**row, "details": _DETAILS.validate_json(row["details"])}),
    )


def command_row(command: Command) -> Row:
    """Return the row of a command that nobody has taken yet."""
    return {
        "id": command.id,
        "release": command.release,
        "kind": command.kind.value,
        "actor": command.actor,
        "at": command.at,
        "reason": command.reason,
        "correlation_id": command.correlation_id,
        "digest": command.digest,
        "state": "pending",
        "note": "",
    }


def command_of(row: RowMapping) -> Command:
    """Return the command of a row."""
    kept = {name: row[name] for name in row if name not in ("place", "state", "note")}
    return _read("commands", row["id"], lambda: Command(**{**kept, "kind": CommandKind(row["kind"])}))


def notice_row(notice: Notice) -> Row:
    """Return the row of a notice that was not tried yet."""
    return {
        "id": notice.id,
        "channel": notice.channel,
        "kind": notice.kind,
        "release": notice.release,
        "title": notice.title,
        "text": notice.text,
        "at": notice.at,
        "details": _written(_DETAILS, notice.details),
        "attempts": 0,
        "is_delivered": False,
        "note": "",
    }


def notice_of(row: RowMapping) -> Notice:
    """Return the notice of a row."""
    kept = {name: row[name] for name in row if name not in ("place", "is_delivered", "note")}
    return _read(
        "outbox", row["id"], lambda: Notice(**{**kept, "details": _DETAILS.validate_json(row["details"])})
    )


def readable(read: Callable[[RowMapping], T], found: Iterable[RowMapping]) -> tuple[T, ...]:
    """Return the values of rows, without those that cannot be read.

    One broken row must not stop the others; each is named in the log, and asking for it alone raises.
    """
    values = []
    for row in found:
        try:
            values.append(read(row))
        except StoreUnavailable as error:
            log.error("ledger_row_unreadable", reason=error.message)
    return tuple(values)


def _written(adapter: TypeAdapter[T], value: T) -> str:
    try:
        return adapter.dump_json(value).decode()
    except PydanticSerializationError as error:
        raise InvalidInput("expected text that UTF-8 can write") from error


def _read(table: str, name: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValidationError, ValueError, TypeError) as error:
        raise StoreUnavailable(
            f"the row {name} of the ledger's table {table} is not one that this Serinus wrote; restore it from a backup"
        ) from error
