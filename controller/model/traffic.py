"""How the requests of a target are told apart: who a user is, who may meet a canary, what is copied.

Before it: a declaration of a target. After it: the router turns each of these into routes; all of them are off unless
they are declared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
