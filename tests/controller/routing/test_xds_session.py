"""The delta protocol with one Envoy, without an Envoy: what is sent when, and what an answer means."""

from __future__ import annotations

from dataclasses import replace

from controller.model.target import Target, TargetKey
from controller.routing.envoy.channel import PART
from controller.routing.envoy.lapse import CAME_WITHOUT, RAN_OUT
from controller.routing.envoy.layer import layer
from controller.routing.envoy.proto.discovery_pb2 import DeltaRequest, DeltaResponse, ErrorDetail, NodeId
from controller.routing.envoy.resources import (
    CLUSTERS,
    ENDPOINTS,
    HOSTS,
    LAYER,
    RUNTIME,
)
from controller.routing.envoy.session import Session, Wanted
from controller.routing.envoy.snapshot import Builder, snapshot
from controller.routing.port import Shares
from tests.controller.routing.keeping import KEY, SHOP

ORDERS = replace(SHOP, name="orders", hosts=("orders.localhost",))
NAMES = (*(f"{KEY}/{version}" for version in SHOP.versions), f"rescue/{KEY}")


class Wire:
    """Both ends of one stream: a session, and an Envoy that does what it is told here."""

    def __init__(self, *targets: Target) -> None:
        self.targets: tuple[Target, ...] = targets or (SHOP,)
        self.shares: dict[TargetKey, Shares] = {}
        self.lapses: list[tuple[str, str]] = []
        self.session = Session(self._wanted, lambda node, why: self.lapses.append((node, why)))
        self._builder = Builder()

    def _wanted(self) -> Wanted:
        made = self._builder.build(self.targets, dict(self.shares))
        return Wanted(made, layer(self.shares), not self.shares, 3.0)

    def ask(self, type_url: str, *names: str, have: dict[str, str] | None = None) -> None:
        """Subscribe."""
        self.session.receive(
            DeltaRequest(
                node=NodeId(id="edge-1"),
                type_url=type_url,
                resource_names_subscribe=names,
                initial_resource_versions=have or {},
            )
        )

    def drain(self) -> list[DeltaResponse]:
        """Return everything that is due, unanswered."""
        found = []
        while (response := self.session.due()) is not None:
            found.append(response)
        return found

    def accept(self, response: DeltaResponse, refusal: str = "") -> None:
        """Accept a response, or refuse it."""
        error = ErrorDetail(code=13, message=refusal) if refusal else None
        self.session.receive(
            DeltaRequest(type_url=response.type_url, response_nonce=response.nonce, error_detail=error)
        )

    def settle(self) -> list[DeltaResponse]:
        """Accept whatever comes, as a healthy Envoy does; returns it."""
        found = []
        while (response := self.session.due()) is not None:
            found.append(response)
            self.accept(response)
            if response.type_url == CLUSTERS and response.resources:
                self.ask(ENDPOINTS, *(one.name for one in response.resources))
        return found

    def boot(self) -> list[DeltaResponse]:
        """Connect as Envoy does: runtime, clusters, then routes."""
        self.ask(RUNTIME, LAYER)
        self.ask(CLUSTERS)
        self.ask(HOSTS)
        return self.settle()


def kinds(responses: list[DeltaResponse]) -> list[str]:
    """Return the last part of each response's type."""
    return [response.type_url.rpartition(".")[2] for response in responses]


def test_clusters_come_before_endpoints_before_routes() -> None:
    """A booting Envoy gets the layer, clusters, endpoints and routes in this order, and then has everything."""
    wire = Wire()

    order = kinds(wire.boot())

    assert order == ["Runtime", "Cluster", "ClusterLoadAssignment", "VirtualHost"]
    assert wire.session.as_node().acknowledged


def test_routes_wait_for_clusters_that_can_serve() -> None:
    """No route is sent while a cluster or its endpoints are not accepted."""
    wire = Wire()
    wire.ask(RUNTIME, LAYER)
    wire.ask(CLUSTERS)
    wire.ask(HOSTS)
    _, clusters = wire.drain()
    assert wire.drain() == []

    wire.accept(clusters)
    assert wire.drain() == []
    wire.ask(ENDPOINTS, *NAMES)
    (endpoints,) = wire.drain()
    assert wire.drain() == []

    wire.accept(endpoints)
    assert kinds(wire.drain()) == ["VirtualHost"]


def test_a_router_that_knows_nothing_says_so() -> None:
    """An Envoy that starts before any target is declared is answered, or its start would hang."""
    wire = Wire()
    wire.targets = ()
    wire.ask(CLUSTERS)

    (answer,) = wire.drain()

    assert (answer.type_url, len(answer.resources)) == (CLUSTERS, 0)


def test_a_name_that_does_not_exist_is_said() -> None:
    """Endpoints of a cluster that is gone are answered as removed."""
    wire = Wire()
    wire.boot()
    wire.ask(ENDPOINTS, "local.gone/v1")

    (answer,) = wire.drain()

    assert list(answer.removed_resources) == ["local.gone/v1"]


def test_only_what_differs_is_sent() -> None:
    """A new address of one version is one endpoint resource, and no cluster or route."""
    wire = Wire(SHOP, ORDERS)
    wire.boot()
    wire.targets = (SHOP.at("v2", ("127.0.0.1:9999",)), ORDERS)

    (sent,) = wire.settle()

    assert (sent.type_url, [one.name for one in sent.resources]) == (ENDPOINTS, [f"{KEY}/v2"])


def test_a_reconnecting_envoy_keeps_what_it_has() -> None:
    """Versions that Envoy reports are not sent again, though the router is another one."""
    first = Wire()
    have: dict[str, dict[str, str]] = {CLUSTERS: {}, ENDPOINTS: {}, HOSTS: {}, RUNTIME: {}}
    for response in first.boot():
        have[response.type_url].update({one.name: one.version for one in response.resources})
    second = Wire()
    second.ask(CLUSTERS, have=have[CLUSTERS])
    second.ask(ENDPOINTS, *NAMES, have=have[ENDPOINTS])
    second.ask(HOSTS, have=have[HOSTS])
    second.ask(RUNTIME, LAYER, have=have[RUNTIME])

    sent = second.settle()

    assert kinds(sent)[0] == "Runtime"
    assert all(not response.resources for response in sent[1:])
    assert second.session.as_node().acknowledged


def test_the_layer_is_always_sent_to_a_reconnecting_envoy() -> None:
    """A layer may have lapsed since Envoy noted its version, so an equal version proves nothing."""
    wire = Wire()
    wire.shares[KEY] = Shares("v2", "rel-1", 500)
    version = layer(wire.shares).version
    wire.ask(RUNTIME, LAYER, have={LAYER: version})

    (sent,) = wire.drain()

    assert sent.resources[0].HasField("resource")


def test_a_target_that_goes_takes_its_clusters_after_the_route() -> None:
    """Break comes after make: the route table first, then the clusters that nobody names."""
    wire = Wire(SHOP, ORDERS)
    wire.boot()
    wire.targets = (SHOP,)

    table, removal = wire.settle()

    assert table.type_url == HOSTS
    assert (removal.type_url, set(removal.removed_resources)) == (
        CLUSTERS,
        {
            *(f"{ORDERS.key}/{version}" for version in ORDERS.versions),
            *(f"shield/{ORDERS.key}/{version}" for version in ("v2", "v3", "v4")),
            f"rescue/{ORDERS.key}",
        },
    )


def test_an_acceptance_with_an_old_nonce_is_ignored() -> None:
    """Only the answer to what was sent settles it."""
    wire = Wire()
    wire.ask(CLUSTERS)
    (clusters,) = wire.drain()
    wire.session.receive(DeltaRequest(type_url=CLUSTERS, response_nonce="999"))

    assert not wire.session.as_node().acknowledged
    assert clusters.nonce != "999"


def test_an_unknown_type_is_ignored() -> None:
    """A question about something that we do not serve breaks nothing."""
    wire = Wire()
    wire.ask("type.googleapis.com/envoy.config.listener.v3.Listener")

    assert wire.drain() == []


def test_a_refusal_is_kept_with_its_words_and_not_repeated() -> None:
    """What Envoy refuses is not sent again and again; the node says why until something else is wanted."""
    wire = Wire()
    wire.boot()
    wire.targets = (replace(SHOP, hosts=("other.localhost",)),)
    (table,) = wire.drain()
    wire.accept(table, refusal="duplicate domain")

    assert wire.drain() == []
    assert "duplicate domain" in wire.session.as_node().refusal

    wire.targets = (SHOP,)
    wire.settle()
    assert wire.session.as_node().acknowledged


def test_one_bad_resource_does_not_condemn_the_others() -> None:
    """Refused together, resources are sent again one by one: only the bad one stays refused."""
    wire = Wire()
    wire.ask(RUNTIME, LAYER)
    wire.ask(CLUSTERS)
    wire.ask(HOSTS)
    _, together = wire.drain()
    wire.accept(together, refusal="one of them is bad")
    bad = together.resources[0].name
    singles = []

    while (response := wire.session.due()) is not None:
        singles.append([one.name for one in response.resources])
        if response.type_url == CLUSTERS:
            wire.accept(response, refusal="bad" if singles[-1] == [bad] else "")
            wire.ask(ENDPOINTS, *singles[-1])
        else:
            wire.accept(response)

    assert all(len(names) == 1 for names in singles[: len(NAMES)])
    assert wire.session.refusals() == (f"{bad}: bad",)


def test_a_renewal_has_no_body_and_the_version_that_was_sent() -> None:
    """A renewal names the layer, its version and its time to live; it can grant nothing."""
    wire = Wire()
    wire.boot()
    wire.shares[KEY] = Shares("v2", "rel-1", 500)
    granted = next(one for one in wire.settle() if one.type_url == RUNTIME)

    wire.session.renew()
    (renewal,) = wire.drain()

    assert not renewal.resources[0].HasField("resource")
    assert renewal.resources[0].version == granted.resources[0].version
    assert renewal.resources[0].ttl.seconds == granted.resources[0].ttl.seconds == 3


def test_an_empty_layer_needs_no_renewal() -> None:
    """With no share alive nothing can run out, so nothing is sent."""
    wire = Wire()
    wire.boot()

    wire.session.renew()

    assert wire.drain() == []


def test_a_renewal_after_the_end_carries_the_end() -> None:
    """When the shares changed since the last push, what goes out is the new layer, never an extension of the old."""
    wire = Wire()
    wire.boot()
    wire.shares[KEY] = Shares("v2", "rel-1", 500)
    wire.settle()
    wire.shares.clear()

    wire.session.renew()
    sent = next(one for one in wire.settle() if one.type_url == RUNTIME)

    assert sent.resources[0].HasField("resource")
    assert not sent.resources[0].HasField("ttl")


def _with_a_share(*, have: dict[str, str] | None = None) -> Wire:
    wire = Wire()
    wire.shares[KEY] = Shares("v2", "rel-1", 500)
    wire.ask(RUNTIME, LAYER, have=have)
    wire.ask(CLUSTERS)
    wire.ask(HOSTS)
    wire.settle()
    return wire


def _refuse_a_renewal(wire: Wire) -> None:
    wire.session.renew()
    (renewal,) = wire.drain()
    wire.accept(renewal, refusal="type URL embedded in an individual Any does not match")


def test_a_refused_renewal_means_that_the_layer_ran_out() -> None:
    """Envoy refuses to extend what it dropped: that is said once, and the layer goes out again with its body."""
    wire = _with_a_share()
    _refuse_a_renewal(wire)
    node = wire.session.as_node()

    (again,) = wire.drain()
    wire.session.renew()
    wire.accept(again)

    assert (node.acknowledged, node.refusal) == (False, RAN_OUT)
    assert again.resources[0].HasField("resource")
    assert wire.lapses == [("edge-1", RAN_OUT)]
    assert (wire.session.as_node().acknowledged, wire.session.as_node().refusal) == (True, "")


def test_what_is_sent_after_a_lapse_is_what_is_live_then() -> None:
    """The lease ended between the loss and the next response: what goes out is empty, and nothing comes back."""
    wire = _with_a_share()
    _refuse_a_renewal(wire)
    wire.shares.clear()

    layers = [one for one in wire.settle() if one.type_url == RUNTIME]

    assert [one.resources[0].version for one in layers] == [layer({}).version]
    assert not layers[0].resources[0].HasField("ttl")


def test_a_renewal_that_is_refused_after_the_lease_ended_loses_nothing() -> None:
    """Without a live lease there is nothing to lose, and nothing is said."""
    wire = _with_a_share()
    wire.session.renew()
    (renewal,) = wire.drain()
    wire.shares.clear()
    wire.accept(renewal, refusal="does not match")

    assert wire.lapses == []


def test_an_envoy_that_comes_back_without_its_shares_is_named() -> None:
    """After a cut longer than the layer's life Envoy does not name the layer; one that never had it is no news."""
    back, new = Wire(), Wire()
    for wire, had in ((back, True), (new, False)):
        wire.shares[KEY] = Shares("v2", "rel-1", 500)
        wire.session.grip.had = had
        wire.boot()

    assert (back.lapses, new.lapses) == ([("edge-1", CAME_WITHOUT)], [])
    assert (back.session.as_node().acknowledged, back.session.grip.has) == (True, True)


def test_an_envoy_that_comes_back_with_its_shares_lost_nothing() -> None:
    """A cut that is shorter than the layer's life is none of these."""
    wire = Wire()
    wire.shares[KEY] = Shares("v2", "rel-1", 500)
    wire.session.grip.had = True
    wire.ask(RUNTIME, LAYER, have={LAYER: layer(wire.shares).version})

    assert wire.lapses == []


def test_a_share_can_be_taken_back_while_clusters_are_not_accepted() -> None:
    """The layer never waits for anything: a withdrawal goes first."""
    wire = Wire()
    wire.boot()
    wire.shares[KEY] = Shares("v2", "rel-1", 500)
    wire.settle()
    wire.targets = (SHOP, ORDERS)
    wire.shares.clear()

    first = wire.session.due()

    assert first is not None
    assert first.type_url == RUNTIME


def crowd(number: int) -> tuple[Target, ...]:
    """Return so many targets."""
    return tuple(replace(SHOP, name=f"s{one}", hosts=(f"s{one}.localhost",)) for one in range(number))


def test_a_long_answer_comes_in_parts_each_after_the_last_is_answered() -> None:
    """Envoy takes a part in a tenth of a second; what is written behind it waits no longer than that."""
    wire = Wire(*crowd(300))
    order = wire.boot()
    sizes = {kind: [len(one.resources) for one in order if one.type_url == kind] for kind in (*PART, HOSTS)}

    assert max(sizes[CLUSTERS]) == PART[CLUSTERS]
    assert max(sizes[ENDPOINTS]) <= PART[ENDPOINTS]
    assert (
        sum(sizes[CLUSTERS]) == sum(sizes[ENDPOINTS]) + 3 * 300
    )  # the shields have no endpoints of their own
    assert sizes[HOSTS] == [300]
    assert wire.session.as_node().acknowledged


def test_a_renewal_goes_between_the_parts() -> None:
    """While Envoy works on a part nothing else is written, but for the layer: a share lives through any push."""
    wire = Wire(SHOP)
    wire.shares = {KEY: Shares("v2", "rel-1", 500)}
    wire.boot()
    wire.targets = (SHOP, *crowd(300))
    (part,) = wire.drain()
    wire.session.renew()
    (renewal,) = wire.drain()
    wire.shares = {KEY: Shares("v2", "rel-1", 900)}
    (step,) = wire.drain()
    wire.accept(part)
    (next_part,) = wire.drain()

    assert [len(part.resources), len(next_part.resources)] == [PART[CLUSTERS]] * 2
    assert kinds([renewal, step]) == ["Runtime", "Runtime"]
    assert not renewal.resources[0].HasField("resource")
    assert step.resources[0].HasField("resource")


def test_endpoints_never_go_before_the_cluster_they_belong_to() -> None:
    """A cluster that is made anew waits for endpoints: those that came before it would not count."""
    wire = Wire(*crowd(300))
    wire.boot()
    wire.targets = tuple(replace(one, protocol="http2") for one in wire.targets)
    made: dict[str, str] = {}
    behind = []
    for response in wire.settle():
        made.update({one.name: one.version for one in response.resources if response.type_url == CLUSTERS})
        behind += [
            one.name for one in response.resources if response.type_url == ENDPOINTS and one.name not in made
        ]

    assert behind == []
    assert wire.session.as_node().acknowledged


def test_a_crowd_that_goes_is_taken_away_in_parts() -> None:
    """Removals take Envoy as long as additions."""
    wire = Wire(*crowd(300))
    wire.boot()
    wire.targets = ()
    gone = [len(one.removed_resources) for one in wire.settle() if one.type_url == CLUSTERS]

    assert max(gone) == PART[CLUSTERS]
    assert sum(gone) == len(snapshot(crowd(300), {}).clusters)
    assert wire.session.as_node().acknowledged


def test_hosts_that_envoy_has_change_together_and_new_ones_come_in_parts() -> None:
    """A host name that moves from one target to another is never in two places, however many come with it."""
    wire = Wire(*crowd(3))
    wire.boot()
    one, two, three = wire.targets
    moved = (replace(one, hosts=two.hosts), replace(two, hosts=one.hosts))
    wire.targets = (*crowd(PART[HOSTS] + 100)[3:], *moved)
    names = [
        ({host.name for host in response.resources}, set(response.removed_resources))
        for response in wire.settle()
        if response.type_url == HOSTS
    ]

    assert {f"edge/{one.key}", f"edge/{two.key}"} < names[0][0]
    assert [gone for _, gone in names] == [{f"edge/{three.key}"}, set()]
    assert [len(came) for came, _ in names] == [PART[HOSTS] + 2, 97]
    assert wire.session.as_node().acknowledged
