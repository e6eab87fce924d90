"""The delta xDS protocol with one Envoy, without any IO: what differs is sent, what was accepted or refused is known.

Before it: `plane` with the newest snapshot and the shares. After it: `xds` puts sessions on streams. A response is
built in the moment before it is written, from the shares of that moment, so a router that was frozen never sends a
lapsed share it had queued.

Order (make before break): the layer at once, between the parts of a long answer too; clusters, each with its endpoints
as soon as Envoy asks for them; virtual hosts when all clusters can serve; then the removal of clusters that no route
names any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from operator import is_

from controller.model.lease import Node
from controller.observability import logger
from controller.routing.envoy.channel import PART, Channel
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
        self._channels = {kind: Channel(kind) for kind in (RUNTIME, CLUSTERS, ENDPOINTS, HOSTS)}
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

    def _subscribe(self, channel: Channel, request: discovery_pb2.DeltaRequest) -> None:
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

    def _settle(self, channel: Channel, request: discovery_pb2.DeltaRequest) -> None:
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
        response = self._due_layer(wanted) or self._due(ENDPOINTS, wanted) or self._due(CLUSTERS, wanted)
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
        if channel.is_full or not self._once(
            "is_due", (type_url,), (resources,), lambda: channel.is_due(resources)
        ):
            return None
        going = channel.going(resources)
        fresh = [] if going and channel.alone else channel.fresh(resources, self._is_ready(type_url, wanted))
        unknown = channel.asked - resources.keys() - {"*"}
        if not (fresh or going or unknown or channel.is_owed):
            return None
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

    def _is_ready(self, type_url: str, wanted: Wanted) -> Callable[[str], bool]:
        """Say what may be sent: endpoints belong behind their cluster, or a cluster that is made anew waits for others."""
        if type_url != ENDPOINTS:
            return lambda _: True
        sent, clusters = self._channels[CLUSTERS].sent, wanted.snapshot.clusters
        return lambda name: sent.get(name) == clusters[name].version

    def _due_removals(self, wanted: Wanted) -> discovery_pb2.DeltaResponse | None:
        """Take away clusters that no route names any more; their endpoints go with them."""
        channel, clusters = self._channels[CLUSTERS], wanted.snapshot.clusters
        if channel.is_full or self._once(
            "has_no_more", (CLUSTERS,), (clusters,), lambda: channel.sent.keys() <= clusters.keys()
        ):
            return None
        gone = list(islice((name for name in channel.sent if name not in clusters), PART[CLUSTERS]))
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
        return self._once("is_settled", (type_url,), (resources,), lambda: channel.has_all(resources))

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
