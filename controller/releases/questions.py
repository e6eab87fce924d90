"""Use case: questions about releases. Read only; everything comes from the ledger, nothing from the orchestrator."""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import NotFound
from controller.model.notice import Notice
from controller.model.release import JournalEvent, Release
from controller.model.verdict import sentence
from controller.store.port import Store


@dataclass(frozen=True, slots=True)
class Account:
    """A release with what went out about it.

    Args:
        release: As the ledger knows it.
        notices: Each alert, and whether it was delivered.
    """

    release: Release
    notices: tuple[tuple[Notice, bool], ...]


class Questions:
    """Answers from the ledger."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def get(self, release: str) -> Account:
        """Return one release.

        Raises:
            NotFound: No such release.
        """
        return Account(await require(self._store, release), await self._store.notices(release))

    async def peek(self, release: str) -> Release:
        """Return one release without its alerts.

        Raises:
            NotFound: No such release.
        """
        return await require(self._store, release)

    async def list(
        self, *, target: str | None, active: bool | None, before: str | None, limit: int
    ) -> tuple[Release, ...]:
        """Return releases, newest first; the arguments are those of `Store.list_releases`."""
        return await self._store.list_releases(target=target, active=active, before=before, limit=limit)

    async def events(self, release: str, *, after: int) -> tuple[JournalEvent, ...]:
        """Return the next events of a release after a place in the journal, oldest first."""
        return await self._store.events(release, after=after)


async def require(store: Store, release: str) -> Release:
    """Return a release that a caller named.

    Raises:
        NotFound: No such release; the text does not repeat what the caller sent.
    """
    try:
        return await store.get_release(release)
    except NotFound as error:
        raise NotFound(
            "no such release is in the ledger; `serinus release list` shows them", field="release_id"
        ) from error


def explain(release: Release) -> str:
    """Say in one sentence why a release stands where it stands; "" while there is nothing to say."""
    if release.reason or release.verdict is None:
        return release.reason
    return verdict_sentence(release)


def verdict_sentence(release: Release) -> str:
    """Say the newest verdict with its numbers; "" when there is none."""
    if release.verdict is None:
        return ""
    order = release.order
    return sentence(
        release.verdict, target=order.target.name, canary=order.version, stable=order.target.stable
    )
