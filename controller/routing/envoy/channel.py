"""What one Envoy asked for and has, of one type of resource. Pure.

Before it: `session`, which hears requests. After it: the session again, which asks what is to be sent next.

A long answer is sent in parts, and a part only when the one before it is answered. Envoy takes a response in one go, in
the thread that also hears renewals of the layer: 20 000 clusters at once take it longer than a layer lives (5 s; a part
takes 0.1 s), and what is written behind them is not heard before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from controller.routing.envoy.resources import CLUSTERS, ENDPOINTS, HOSTS, Wire

PART: Mapping[str, int] = {CLUSTERS: 250, ENDPOINTS: 500, HOSTS: 1_000}
"""Resources in one response. Many hosts, because for each response Envoy builds the whole route table; and those that it
has already, changed or gone, come at once: a host name that moves must leave one place and come to the other together."""


@dataclass(slots=True)
class Channel:
    """Versions are by resource name.

    Args:
        kind: Type URL.
    """

    kind: str
    is_wildcard: bool = False
    is_heard: bool = False
    is_owed: bool = False
    """A first wildcard question wants an answer, an empty one too: Envoy's start waits for it."""
    names: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    """Names that were asked for and not answered; what does not exist is said."""
    sent: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Version and text of the newest refusal."""
    alone: set[str] = field(default_factory=set)
    """Refused together with others: each is sent again by itself, to find the bad one."""
    pending: dict[str, dict[str, str]] = field(default_factory=dict)
    """By nonce: the versions in that response; "" marks a removal."""
    revision: int = 0
    """Grows with every message of this type, in either direction."""

    def takes(self, name: str) -> bool:
        """Whether Envoy asked for a resource."""
        return self.is_heard and (self.is_wildcard or name in self.names)

    def is_done(self, wire: Wire) -> bool:
        """Whether Envoy accepted or refused it as it is now."""
        return self.held.get(wire.name) == wire.version or self.is_refused(wire)

    def is_refused(self, wire: Wire) -> bool:
        """Whether Envoy refused it as it is now."""
        return self.refused.get(wire.name, ("", ""))[0] == wire.version

    def forget(self, name: str) -> None:
        """Take it that Envoy does not have it."""
        self.sent.pop(name, None)
        self.held.pop(name, None)

    def accept(self, versions: Mapping[str, str]) -> None:
        """Take an acceptance of these versions."""
        for name, version in versions.items():
            if version:
                self.held[name] = version
            else:
                self.held.pop(name, None)

    def refuse(self, versions: Mapping[str, str], text: str) -> None:
        """Take a refusal of these versions, in Envoy's words; of more than one it is not known which."""
        if len(versions) > 1:
            for name, version in versions.items():
                if version:
                    self.sent.pop(name, None)
                    self.alone.add(name)
                else:
                    self.sent[name] = ""  # still there, still to be taken away
        else:
            self.refused.update({name: (version, text) for name, version in versions.items()})

    @property
    def is_full(self) -> bool:
        """Whether a part is on its way that Envoy did not answer yet."""
        most = PART.get(self.kind)
        return most is not None and any(len(versions) >= most for versions in self.pending.values())

    def fresh(
        self, resources: Mapping[str, Wire], is_ready: Callable[[str], bool] = lambda _: True
    ) -> list[Wire]:
        """Return what is to be sent in the next response.

        Args:
            resources: What Envoy should have.
            is_ready: Says by name what may go out already.
        """
        ready = filter(lambda wire: is_ready(wire.name), self.lacking(resources))
        found = list(islice(ready, PART.get(self.kind)))
        if self.kind == HOSTS:
            found = [wire for wire in found if wire.name not in self.sent]
            found += [wire for wire in self.lacking(resources) if wire.name in self.sent]
        suspects = [wire for wire in found if wire.name in self.alone]
        if suspects:
            self.alone.discard(suspects[0].name)
            return suspects[:1]
        return found

    def lacking(self, resources: Mapping[str, Wire]) -> Iterator[Wire]:
        """Yield what Envoy asked for and was not sent."""
        if not self.is_heard:
            return
        sent, names = self.sent, self.names
        for name, wire in resources.items():
            if sent.get(name) != wire.version and (self.is_wildcard or name in names):
                yield wire

    def has_all(self, resources: Mapping[str, Wire]) -> bool:
        """Whether Envoy accepted or refused all of these that it asked for."""
        if self.kind == HOSTS and self.held.keys() - resources.keys():
            return False  # a host that nobody wants any more is still in the route
        held = self.held
        return not any(
            held.get(name) != wire.version and self.takes(name) and not self.is_refused(wire)
            for name, wire in resources.items()
        )

    def going(self, resources: Mapping[str, Wire]) -> set[str]:
        """Return the hosts that go. They travel with those that come, or a host that moves would be nowhere, or in two places."""
        return self.sent.keys() - resources.keys() if self.kind == HOSTS else set()

    def is_due(self, resources: Mapping[str, Wire]) -> bool:
        """Whether anything is to be sent, or to be said to be absent."""
        return bool(
            self.is_owed
            or self.asked - resources.keys() - {"*"}
            or self.going(resources)
            or any(True for _ in self.lacking(resources))
        )
