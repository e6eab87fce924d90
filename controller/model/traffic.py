"""How the requests of a target are told apart: who a user is, who may meet a canary, what is copied.

Before it: a declaration of a target. After it: the router turns each of these into routes; all of them are off unless
they are declared.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.errors import InvalidInput
from controller.model.share import BasisPoints, basis_points

HEADER = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
COOKIE = re.compile(r"[A-Za-z0-9_]{1,64}")
PARAMETER = re.compile(r"[A-Za-z0-9._-]{1,64}")
VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,198}[\x21-\x7e])?")
OURS = ("x-envoy-", "x-serinus-")
"""Headers that begin like this belong to the proxy; a caller's are overwritten."""
ANY_VALUE = "*"
MOST_CONDITIONS = 8
MOST_MATCHES = 16
LONGEST_AUDIENCE = 280
"""Characters of an audience in a sentence."""


def _check(pattern: re.Pattern[str], value: str, expected: str, name: str) -> None:
    if not pattern.fullmatch(value):
        raise InvalidInput(f"expected {expected}", field=name)


def _check_header(name: str, path: str) -> None:
    _check(HEADER, name, "a lower-case header name of letters, digits and hyphens, at most 64", path)
    if name.startswith(OURS):
        raise InvalidInput("expected a header that is not the proxy's own", field=path)


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two requests the same user, so that a user stays on a side while the share grows. Exactly one is set.

    Args:
        header: A header that something before the edge sets and callers cannot, such as the id of a checked login.
            A request without it is drawn by itself.
        cookie: A cookie that the edge makes, fills with a random id and takes back; what is no such id is replaced.
    """

    header: str = ""
    cookie: str = ""

    def __post_init__(self) -> None:
        if bool(self.header) == bool(self.cookie):
            raise InvalidInput("expected either a header or a cookie", field="identity")
        if self.header:
            _check_header(self.header, "identity.header")
        else:
            _check(COOKIE, self.cookie, "letters, digits and underscores, at most 64", "identity.cookie")


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions on one request, all of which hold: names and the exact value, `*` for any value that is not empty.

    Args:
        headers: By lower-case name.
        cookies: By name.
        query: Parameters of the query by name.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= len(self.headers) + len(self.cookies) + len(self.query) <= MOST_CONDITIONS:
            raise InvalidInput(f"expected 1 to {MOST_CONDITIONS} conditions", field="matches")
        for name in self.headers:
            _check_header(name, "matches.headers")
        for name in self.cookies:
            _check(COOKIE, name, "letters, digits and underscores, at most 64", "matches.cookies")
        for name in self.query:
            _check(
                PARAMETER, name, "letters, digits, dots, underscores and hyphens, at most 64", "matches.query"
            )
        for part in ("headers", "cookies", "query"):
            for value in getattr(self, part).values():
                _check(VALUE, value, "1 to 200 visible ASCII characters", f"matches.{part}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request says of itself, as far as matches look at it.

    Args:
        headers: By lower-case name.
        cookies: By name.
        query: Parameters of the query by name.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


def admits(matches: Sequence[Match], asked: Asked) -> bool:
    """Whether a request fits one of the matches; no match at all admits every request."""
    return not matches or any(_fits(match, asked) for match in matches)


def audience_id(matches: Sequence[Match]) -> str:
    """Return a short name of an audience, the same on every host and for every order of its conditions; "" for all."""
    if not matches:
        return ""
    said = sorted([sorted(part.items()) for part in (one.headers, one.cookies, one.query)] for one in matches)
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=8).hexdigest()


def audience(matches: Sequence[Match]) -> str:
    """Say whose requests fit: `requests with x-internal: 1`; "" where all do. At most 300 characters."""
    if not matches:
        return ""
    first, more = matches[0], len(matches) - 1
    parts = (("", first.headers), ("cookie ", first.cookies), ("query ", first.query))
    said = [
        f"{kind}{name}" if value == ANY_VALUE else f"{kind}{name}: {value}"
        for kind, part in parts
        for name, value in part.items()
    ]
    text = f"requests with {' and '.join(said)}"
    clipped = text if len(text) <= LONGEST_AUDIENCE else text[: LONGEST_AUDIENCE - 3] + "..."
    return clipped + (f", or {more} more" if more else "")


def _fits(match: Match, asked: Asked) -> bool:
    pairs = ((match.headers, asked.headers), (match.cookies, asked.cookies), (match.query, asked.query))
    return all(
        bool(found.get(name)) if value == ANY_VALUE else found.get(name) == value
        for wanted, found in pairs
        for name, value in wanted.items()
    )


@dataclass(frozen=True, slots=True)
class Mirror:
    """Copies of stable's safe requests to a version, whose answers nobody sees and nobody counts.

    Args:
        version: Who gets the copies.
        share: Of stable's safe requests (GET, HEAD, OPTIONS), above 0.
    """

    version: str
    share: BasisPoints

    def __post_init__(self) -> None:
        if basis_points(self.share, field="mirror.share") == 0:
            raise InvalidInput("a mirror of nothing is said by leaving it out", field="mirror.share")
