"""Identity, matches and mirror of a target as people write them, to `controller.model.traffic` and back."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from controller.errors import InvalidInput
from controller.model.share import BasisPoints
from controller.model.traffic import MOST_CONDITIONS, MOST_MATCHES, Identity, Match, Mirror
from controller.plans.validation import VERSION, Strict

Text = Annotated[str, Field(max_length=200)]
Conditions = Annotated[dict[str, Text], Field(max_length=MOST_CONDITIONS, default_factory=dict)]


class IdentityShape(Strict):
    """`{"cookie": "shop_id"}` or `{"header": "x-user-id"}`."""

    header: Annotated[
        Text, Field(description="Set by something before the edge; callers must not be able to.")
    ] = ""
    cookie: Annotated[Text, Field(description="Made by the edge.")] = ""

    def identity(self) -> Identity:
        """Return the value it stands for."""
        return Identity(header=self.header, cookie=self.cookie)


class MatchShape(Strict):
    """`{"headers": {"x-country": "ch"}, "query": {"beta": "*"}}`: all of it holds; `*` is any value."""

    headers: Conditions
    cookies: Conditions
    query: Conditions

    def match(self) -> Match:
        """Return the value it stands for."""
        return Match(headers=self.headers, cookies=self.cookies, query=self.query)


class MirrorShape(Strict):
    """`{"version": "v2", "percent": 10}`."""

    version: Annotated[str, Field(pattern=VERSION, max_length=63)]
    percent: Annotated[
        float, Field(gt=0, le=100, description="Of stable's safe requests, at most two decimals.")
    ]

    def mirror(self) -> Mirror:
        """Return the value it stands for.

        Raises:
            InvalidInput: More than two decimals.
        """
        share = round(self.percent * 100)
        if abs(self.percent * 100 - share) > 1e-6:
            raise InvalidInput("expected at most two decimals (0.01 % is the finest)", field="mirror.percent")
        return Mirror(version=self.version, share=BasisPoints(share))


Matches = Annotated[list[MatchShape], Field(max_length=MOST_MATCHES, default_factory=list)]


def write_identity(identity: Identity | None) -> dict[str, str] | None:
    """Return an identity as people write it."""
    if identity is None:
        return None
    return {"header": identity.header} if identity.header else {"cookie": identity.cookie}


def write_match(match: Match) -> dict[str, dict[str, str]]:
    """Return a match as people write it."""
    parts = {"headers": match.headers, "cookies": match.cookies, "query": match.query}
    return {name: dict(conditions) for name, conditions in parts.items() if conditions}


def write_mirror(mirror: Mirror | None) -> dict[str, Any] | None:
    """Return a mirror as people write it."""
    return None if mirror is None else {"version": mirror.version, "percent": mirror.share / 100}
