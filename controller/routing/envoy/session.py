"""The delta xDS protocol with one Envoy, without any IO: what differs is sent, what was accepted or refused is known.

Before it: `plane` with the newest snapshot and the shares. After it: `xds` puts sessions on streams. A response is
built in the moment before it is written, from the shares of that moment, so a router that was frozen never sends a
lapsed share it had queued.

Order (make before break): the layer at once, clusters, their endpoints, then virtual hosts, then the removal of
clusters that no route names any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import is_

from controller.model.lease import Node
from controller.observability import logger
from controller.routing.envoy.lapse import CAME_WITHOUT, RAN_OUT, Grip
from controller.routing.envoy.proto import discovery_pb2
from controller.routing.envoy.resources import (
    CLUSTERS,
    ENDPOINTS,
    HOSTS,
    LAYER,
    RUNTIME,
    Wire,
)
from controller.routing.envoy.snapshot import Snapshot

EVERYTHING = (CLUSTERS, HOSTS)
"""Types of which Envoy asks for all there are, by a first question without a name."""
LONGEST_REFUSAL = 500

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every proxy should have now: the snapshot, and the layer with its time to live in seconds."""

    snapshot: Snapshot
    layer: Wire
    layer_is_empty: bool
    layer_ttl_s: float

    def of(self, type_url: str) -> Mapping[str, Wire]:
        """Return the resources of one type by name."""
        return {
            CLUSTERS: self.snapshot.clusters,
            ENDPOINTS: self.snapshot.endpoints,
            HOSTS: self.snapshot.hosts,
            RUNTIME: {LAYER: self.layer},
        }[type_url]


@dataclass(slots=True)
class _Channel:
    """What one Envoy asked for and has, of one type. Versions by resource name."""

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
        return self.is_heard and (self.is_wildcard or name in self.names)

    def lacks(self, wire: Wire) -> bool:
        return self.takes(wire.name) and self.sent.get(wire.name) != wire.version

    def is_done(self, wire: Wire) -> bool:
        return self.held.get(wire.name) == wire.version or self.is_refused(wire)

    def is_refused(self, wire: Wire) -> bool:
        return self.refused.get(wire.name, ("", ""))[0] == wire.version

    def forget(self, name: str) -> None:
        self.sent.pop(name, None)
        self.held.pop(name, None)

    def accept(self, versions: Mapping[str, str]) -> None:
        for name, version in versions.items():
            if version:
                self.held[name] = version
            else:
                self.held.pop(name, None)

    def refuse(self, versions: Mapping[str, str], text: str) -> None:
        if len(versions) > 1:
            for name, version in versions.items():
                if version:
                    self.sent.pop(name, None)
                    self.alone.add(name)
                else:
                    self.sent[name] = ""  # still there, still to be taken away
        else:
            self.refused.update({name: (version, text) for name, version in versions.items()})

    def fresh(self, resources: Mapping[str, Wire]) -> list[Wire]:
        """Return what is to be sent in the next response."""
        found = [wire for wire in resources.values() if self.lacks(wire)]
        suspects = [wire for wire in found if wire.name in self.alone]
        if suspects:
            self.alone.discard(suspects[0].name)
            return suspects[:1]
        return found


class Session:
    """The protocol with one Envoy: requests in, due responses out, no IO.

    Args:
        wanted: Returns what every proxy should have at this moment.
        on_lapse: Told of each loss of the layer: by which node, and why.
    """

    def __init__(
        self, wanted: Callable[[], Wanted], on_lapse: Callable[[str, str], None] = lambda node, why: None
    ) -> None:
        self._wanted = wanted
        self._nonces = count(1)
        self._channels = {kind: _Channel() for kind in (RUNTIME, CLUSTERS, ENDPOINTS, HOSTS)}
        self._renewals: set[str] = set()
        self._is_renewal_due = False
        self._known: dict[tuple[str, ...], tuple[tuple[int, ...], tuple[object, ...], bool]] = {}
        """Answers by question and types, each with what it was computed from: most messages change one type of four."""
        self.node = ""
        self.heard = 0
        """How many requests came."""
        self.grip = Grip(lambda why: on_lapse(self.node, why))

    def receive(self, request: discovery_pb2.DeltaRequest) -> None:
        """Take one request: subscriptions, an acceptance or a refusal. Unknown types and stale nonces are ignored."""
        self.heard += 1
        if request.HasField("node"):
            self.node = request.node.id
        channel = self._channels.get(request.type_url)
        if channel is None:
            return
        channel.revision += 1
        self._subscribe(channel, request)
        if request.response_nonce in channel.pending:
            self._settle(channel, request)

    def _subscribe(self, channel: _Channel, request: discovery_pb2.DeltaRequest) -> None:
        if not channel.is_heard:
            channel.is_heard = True
            named = request.resource_names_subscribe
            channel.is_wildcard = request.type_url in EVERYTHING and (not named or "*" in named)
            channel.is_owed = channel.is_wildcard
            channel.held.update(request.initial_resource_versions)
            if request.type_url != RUNTIME:
                # A layer may have lapsed since Envoy noted its version, so it is always sent again.
                channel.sent.update(request.initial_resource_versions)
            elif self.grip.had and LAYER not in request.initial_resource_versions:
                self.lose(CAME_WITHOUT)
        for name in request.resource_names_subscribe:
            if name not in request.initial_resource_versions:
                # Asking again for a name means: send it again, whatever we believe.
                channel.forget(name)
                channel.asked.add(name)
            channel.names.add(name)
        for name in request.resource_names_unsubscribe:
            channel.names.discard(name)
            channel.asked.discard(name)
            channel.forget(name)

    def _settle(self, channel: _Channel, request: discovery_pb2.DeltaRequest) -> None:
        versions = channel.pending.pop(request.response_nonce)
        is_renewal = request.response_nonce in self._renewals
        self._renewals.discard(request.response_nonce)
        if not request.HasField("error_detail"):
            if not is_renewal:
                channel.accept(versions)
                if request.type_url == RUNTIME:
                    self.grip.accepted()
            return
        text = request.error_detail.message[:LONGEST_REFUSAL]
        if is_renewal:
            self.lose(RAN_OUT)
            return
        channel.refuse(versions, text)
        log.error("configuration_refused", node=self.node, type=request.type_url, detail=text)

    def lose(self, why: str) -> None:
        """Take in that Envoy has no shares; while a lease is live, the layer goes out again."""
        if self.grip.lose(why, is_due=not self._wanted().layer_is_empty):
            self.send_again()

    def send_again(self) -> None:
        """Let the whole layer go out once more."""
        self._channels[RUNTIME].forget(LAYER)
        self._channels[RUNTIME].revision += 1

    def exchange(self) -> tuple[int, str] | None:
        """Name the state of the layer's exchange: the same before and after a look at Envoy, nothing moved in between.

        None while something is on its way: then nobody can say what Envoy should have.
        """
        channel, version = self._channels[RUNTIME], self._wanted().layer.version
        is_quiet = not channel.pending and channel.held.get(LAYER) == version
        return (channel.revision, version) if is_quiet else None

    def greet(self) -> None:
        """Let a response go out that Envoy must answer, though nothing changed."""
        self._channels[CLUSTERS].is_owed = True
        self._channels[CLUSTERS].revision += 1

    def renew(self) -> None:
        """Let the next response extend the layer's life, if there is a layer to extend."""
        self._is_renewal_due = True

    def due(self) -> discovery_pb2.DeltaResponse | None:
        """Build the next response from what is wanted at this moment; None when Envoy has, or was sent, everything."""
        wanted = self._wanted()
        response = self._due_layer(wanted) or self._due(CLUSTERS, wanted) or self._due(ENDPOINTS, wanted)
        if response or not self._has_clusters(wanted):
            return response
        response = self._due(HOSTS, wanted)
        if response or not self._is_settled(HOSTS, wanted):
            return response
        return self._due_removals(wanted)

    def _due_layer(self, wanted: Wanted) -> discovery_pb2.DeltaResponse | None:
        channel = self._channels[RUNTIME]
        if not channel.takes(LAYER):
            return None
        is_new = channel.sent.get(LAYER) != wanted.layer.version
        if not is_new and (not self._is_renewal_due or wanted.layer_is_empty):
            return None
        resource = discovery_pb2.Resource(name=LAYER, version=wanted.layer.version)
        if not wanted.layer_is_empty:
            resource.ttl.FromNanoseconds(round(wanted.layer_ttl_s * 1e9))
        self._is_renewal_due = False
        if is_new:
            # Only this path has a body, and only a body can grant.
            resource.resource.CopyFrom(wanted.layer.body)
            self.grip.sent(is_of_shares=not wanted.layer_is_empty)
            channel.sent[LAYER] = wanted.layer.version
            channel.asked.discard(LAYER)
        response = self._response(RUNTIME, {LAYER: wanted.layer.version}, [resource])
        if not is_new:
            self._renewals.add(response.nonce)
        return response

    def _once(
        self, question: str, types: tuple[str, ...], about: tuple[object, ...], answer: Callable[[], bool]
    ) -> bool:
        """Answer from memory while nothing moved: no message of these types, and the same things (by identity)."""
        revisions = tuple(self._channels[kind].revision for kind in types)
        before, things, known = self._known.get((question, *types), ((), (), False))
        # The things themselves are kept, not their ids: an id can come back for another thing.
        if before != revisions or not all(map(is_, things, about)):
            known = answer()
            self._known[question, *types] = (revisions, about, known)
        return known

    def _due(self, type_url: str, wanted: Wanted) -> discovery_pb2.DeltaResponse | None:
        channel, resources = self._channels[type_url], wanted.of(type_url)
        if not self._once("is_due", (type_url,), (resources,), lambda: _is_due(type_url, channel, resources)):
            return None
        going = _going(type_url, channel, resources)
        fresh = [] if going and channel.alone else channel.fresh(resources)
        unknown = channel.asked - resources.keys() - {"*"}
        channel.asked.clear()
        channel.is_owed = False
        for name in going:
            del channel.sent[name]
        versions = {wire.name: wire.version for wire in fresh}
        channel.sent.update(versions)
        full = [
            discovery_pb2.Resource(name=wire.name, version=wire.version, resource=wire.body) for wire in fresh
        ]
        return self._response(
            type_url, versions | dict.fromkeys(going, ""), full, removed=sorted(unknown | going)
        )

    def _due_removals(self, wanted: Wanted) -> discovery_pb2.DeltaResponse | None:
        """Take away clusters that no route names any more; their endpoints go with them."""
        channel, clusters = self._channels[CLUSTERS], wanted.snapshot.clusters
        if self._once(
            "has_no_more", (CLUSTERS,), (clusters,), lambda: channel.sent.keys() <= clusters.keys()
        ):
            return None
        gone = [name for name in channel.sent if name not in clusters]
        self._channels[ENDPOINTS].revision += 1
        for name in gone:
            del channel.sent[name]
            self._channels[ENDPOINTS].forget(name)
        return self._response(CLUSTERS, dict.fromkeys(gone, ""), [], removed=gone)

    def _response(
        self,
        type_url: str,
        versions: dict[str, str],
        resources: list[discovery_pb2.Resource],
        removed: Sequence[str] = (),
    ) -> discovery_pb2.DeltaResponse:
        nonce = str(next(self._nonces))
        self._channels[type_url].pending[nonce] = versions
        self._channels[type_url].revision += 1
        return discovery_pb2.DeltaResponse(
            type_url=type_url, nonce=nonce, resources=resources, removed_resources=removed
        )

    def _has_clusters(self, wanted: Wanted) -> bool:
        """Whether every cluster can serve: routes must never name one that cannot."""
        clusters, endpoints = self._channels[CLUSTERS], self._channels[ENDPOINTS]

        def have_endpoints() -> bool:
            return all(
                endpoints.is_done(wire) or clusters.is_refused(wanted.snapshot.clusters[name])
                for name, wire in wanted.snapshot.endpoints.items()
            )

        about = (wanted.snapshot.endpoints, wanted.snapshot.clusters)
        return self._is_settled(CLUSTERS, wanted) and self._once(
            "have_endpoints", (CLUSTERS, ENDPOINTS), about, have_endpoints
        )

    def _is_settled(self, type_url: str, wanted: Wanted) -> bool:
        channel, resources = self._channels[type_url], wanted.of(type_url)
        return self._once(
            "is_settled", (type_url,), (resources,), lambda: _is_done(type_url, channel, resources)
        )

    def is_settled(self) -> bool:
        """Whether Envoy has asked for everything, and accepted or refused all that is wanted now."""
        wanted = self._wanted()
        return (
            all(self._channels[kind].is_heard for kind in (RUNTIME, CLUSTERS, HOSTS))
            and all(self._is_settled(kind, wanted) for kind in self._channels)
            and self._has_clusters(wanted)
        )

    def refusals(self) -> tuple[str, ...]:
        """Return what Envoy refuses of what is wanted now: `name: its text`."""
        wanted = self._wanted()
        return tuple(
            f"{name}: {text}"
            for kind, channel in self._channels.items()
            for name, (version, text) in channel.refused.items()
            if (wire := wanted.of(kind).get(name)) is not None and wire.version == version
        )

    def as_node(self) -> Node:
        """Say how this Envoy stands."""
        refusal = self.grip.lapse or next(iter(self.refusals()), "")
        return Node(id=self.node, acknowledged=not refusal and self.is_settled(), refusal=refusal)


def _going(type_url: str, channel: _Channel, resources: Mapping[str, Wire]) -> set[str]:
    """Return the hosts that go. They travel with those that come, or a host that moves would be nowhere, or in two places."""
    return channel.sent.keys() - resources.keys() if type_url == HOSTS else set()


def _is_done(type_url: str, channel: _Channel, resources: Mapping[str, Wire]) -> bool:
    if type_url == HOSTS and channel.held.keys() - resources.keys():
        return False  # a host that nobody wants any more is still in the route
    return all(channel.is_done(wire) for wire in resources.values() if channel.takes(wire.name))


def _is_due(type_url: str, channel: _Channel, resources: Mapping[str, Wire]) -> bool:
    """Whether anything of one type is to be sent, or to be said to be absent."""
    return bool(
        channel.is_owed
        or channel.asked - resources.keys() - {"*"}
        or _going(type_url, channel, resources)
        or any(channel.lacks(wire) for wire in resources.values())
    )
