"""A service that is released, and where its versions answer.

Declared through the API, kept in the ledger, and projected into the data plane by the router.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NewType

from controller.errors import InvalidInput, NotFound
from controller.model.plan import Plan, Policy
from controller.model.traffic import MOST_MATCHES, Identity, Match, Mirror

TargetKey = NewType("TargetKey", str)
"""`<environment>.<name>`: unique among all targets; both halves are free of dots."""

Protocol = Literal["http1", "http2"]

DEFAULT_ENVIRONMENT = "local"
LONGEST_TIMEOUT_S = 3_600
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
VERSION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?):(?P<port>[1-9][0-9]{0,4})")


def target_key(environment: str, name: str) -> TargetKey:
    """Join environment and name; both must already be valid."""
    return TargetKey(f"{environment}.{name}")


def _matches(pattern: re.Pattern[str], value: str, expected: str, name: str) -> None:
    if not pattern.fullmatch(value):
        raise InvalidInput(f"expected {expected}", field=name)


def _check_address(address: str) -> None:
    found = ADDRESS.fullmatch(address)
    if not found or int(found["port"]) > 65_535:
        raise InvalidInput("expected host:port", field="versions")


@dataclass(frozen=True, slots=True)
class Target:
    """One service that is released.

    Args:
        name: Lower-case letters, digits and hyphens, at most 63.
        stable: The version that serves everybody; one of `versions`.
        versions: Each known version with its addresses (`host:port`). Versions of the workloads adapter `embedded`
            have no addresses until they are started.
        environment: Same form as the name.
        hosts: The Host headers that belong to it; default `<name>.localhost`.
        protocol: What the versions speak.
        workloads: Name of the adapter that starts and stops versions: `external` (somebody else does) or `embedded`.
        plan: Used when a release names none.
        policy: Used when a release names none.
        shield: A safe request (GET, HEAD, OPTIONS) that the canary fails is answered by stable instead, and any request
            that never reached the canary. It counts as failed all the same.
        identity: Keeps a user on one side; None draws each request by itself.
        matches: Only requests that fit one of them may meet a canary; empty lets all.
        mirror: Copies of stable's requests to another version.
        timeout_s: How long an answer may take as a whole, seconds, at most 3 600; 0: no limit, for services that stream
            (such a stream may then be silent for an hour, others for a minute).
        preview: Callers that the edge trusts reach any version by naming it in the header `x-serinus-version`.
    """

    name: str
    stable: str
    versions: Mapping[str, tuple[str, ...]]
    environment: str = DEFAULT_ENVIRONMENT
    hosts: tuple[str, ...] = field(default=())
    protocol: Protocol = "http1"
    workloads: str = "external"
    plan: Plan | None = None
    policy: Policy | None = None
    shield: bool = True
    identity: Identity | None = None
    matches: tuple[Match, ...] = ()
    mirror: Mirror | None = None
    preview: bool = False
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        _matches(NAME, self.name, "lower-case letters, digits and hyphens, at most 63", "name")
        _matches(NAME, self.environment, "lower-case letters, digits and hyphens, at most 63", "environment")
        if not self.hosts:
            object.__setattr__(self, "hosts", (f"{self.name}.localhost",))
        if not 1 <= len(self.hosts) <= 16 or len(set(self.hosts)) != len(self.hosts):
            raise InvalidInput("expected 1 to 16 different host names", field="hosts")
        for host in self.hosts:
            _matches(HOST, host, "a lower-case host name without a port", "hosts")
        if not 1 <= len(self.versions) <= 64:
            raise InvalidInput("expected 1 to 64 versions", field="versions")
        for version, addresses in self.versions.items():
            _matches(
                VERSION, version, "letters, digits, dots, underscores and hyphens, at most 63", "versions"
            )
            if len(addresses) > 32:
                raise InvalidInput("expected at most 32 addresses a version", field="versions")
            for address in addresses:
                _check_address(address)
        if self.stable not in self.versions:
            raise InvalidInput("expected one of the declared versions", field="stable")
        self._check_traffic()

    def _check_traffic(self) -> None:
        if len(self.matches) > MOST_MATCHES:
            raise InvalidInput(f"expected at most {MOST_MATCHES} matches", field="matches")
        if self.mirror is not None and self.mirror.version not in self.versions:
            raise InvalidInput("expected one of the declared versions", field="mirror.version")
        if not 0 <= self.timeout_s <= LONGEST_TIMEOUT_S:
            raise InvalidInput(f"expected 0 to {LONGEST_TIMEOUT_S} seconds", field="timeout_s")

    @property
    def key(self) -> TargetKey:
        """The name that is unique among all targets."""
        return target_key(self.environment, self.name)

    def require(self, version: str) -> tuple[str, ...]:
        """Return the addresses of a version.

        Raises:
            NotFound: The version is not declared.
        """
        if version not in self.versions:
            raise NotFound(
                f"target {self.name} has no such version; declared: {', '.join(self.versions)}",
                field="version",
            )
        return self.versions[version]

    def at(self, version: str, addresses: tuple[str, ...]) -> Target:
        """Return the target with one version's addresses replaced."""
        return replace(self, versions={**self.versions, version: addresses})

    def with_stable(self, version: str) -> Target:
        """Return the target with another stable version."""
        return replace(self, stable=version)
