"""What we tell Envoy, as bytes: a share is said in one way only, and equal things have equal versions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.model.share import basis_points
from controller.model.target import Target, TargetKey
from controller.model.traffic import Identity, Match, Mirror
from controller.routing.envoy.layer import layer, runtime_key, runtime_value, seed
from controller.routing.envoy.proto import discovery_pb2, resources_pb2
from controller.routing.envoy.resources import host_name
from controller.routing.envoy.snapshot import Builder, Snapshot, snapshot
from controller.routing.port import Shares
from tests.controller.routing.keeping import KEY, SHOP


def virtual_host(target: Target, share: Shares | None = None) -> resources_pb2.VirtualHost:
    """Return the virtual host of the shop."""
    made = snapshot([target], {KEY: share} if share else {})
    return resources_pb2.VirtualHost.FromString(made.hosts[host_name(KEY)].body.value)


def canary_routes(host: resources_pb2.VirtualHost) -> list[resources_pb2.Route]:
    """Return where the drawn requests go, the first that matches first."""
    action = host.matcher.matcher_list.matchers[0].on_match.action
    routes = resources_pb2.RouteList.FromString(action.typed_config.value).routes
    return [route for route in routes if route.name == "canary"]


@given(st.integers(1, 10_000))
def test_a_share_is_a_struct_of_ten_thousandths(share: int) -> None:
    """Never a bare number, which would mean per cent and, above 100, all traffic."""
    assert MessageToDict(runtime_value(share)) == {"numerator": share, "denominator": "TEN_THOUSAND"}


WRONG = [
    0,
    -1,
    -10_000,
    10_001,
    1_000_000,
    2**32,
    True,
    500.0,
    0.5,
    -0.5,
    math.nan,
    math.inf,
    -math.inf,
    "5000",
    None,
]
"""Envoy accepts every one of these, and some mean all traffic."""


@pytest.mark.parametrize("share", [*WRONG, {"numerator": 5}, {"numerator": 5, "denominator": "HUNDRED"}])
def test_no_other_value_becomes_a_share(share: Any) -> None:
    """Zero is said by leaving the key out; everything else is refused before a push, ready-made structs included."""
    with pytest.raises(InvalidInput):
        runtime_value(share)


@pytest.mark.parametrize("share", WRONG)
def test_no_wrong_share_gets_as_far_as_a_proxy(share: Any) -> None:
    """Envoy takes all of these, and some mean all traffic; the value that the data plane is given cannot hold them."""
    with pytest.raises(InvalidInput):
        Shares("v2", "rel-1", share)


EVERYTHING = replace(
    SHOP, identity=Identity(cookie="id"), mirror=Mirror("v2", basis_points(100)), preview=True
)


@pytest.mark.parametrize("target", [SHOP, replace(SHOP, shield=False), EVERYTHING])
@pytest.mark.parametrize("share", [None, Shares("v2", "rel-1", 500)])
def test_every_route_names_a_cluster_that_is_there(target: Target, share: Shares | None) -> None:
    """Envoy would accept a route to nowhere and answer 503; what is missing is found before the push."""
    builder = Builder()
    made = builder.build([target], {KEY: share} if share else {})
    torn = Snapshot({}, {}, made.hosts)

    assert builder.missing(made) == set()
    assert f"{KEY}/v1" in builder.missing(torn)


def test_what_is_built_in_steps_is_what_is_built_at_once() -> None:
    """Others can go on between the steps; nothing is left for the end."""
    targets = [replace(SHOP, name=f"s{number}", hosts=(f"s{number}.localhost",)) for number in range(95)]
    share = {targets[7].key: Shares("v2", "rel-1", 500)}
    builder = Builder()

    pauses = sum(1 for _ in builder.steps(targets, share))

    assert pauses == 4
    assert builder.build(targets, share) == snapshot(targets, share)


def test_what_is_kept_is_what_would_be_built() -> None:
    """A builder that has seen other targets and shares gives the same as one that has seen nothing."""
    other = replace(SHOP, name="orders", hosts=("orders.localhost",))
    share = {KEY: Shares("v2", "rel-1", 500)}
    builder = Builder()
    states: list[tuple[tuple[Target, ...], dict[TargetKey, Shares]]] = [
        ((SHOP, other), {}),
        ((SHOP, other), share),
        ((SHOP, other), {KEY: Shares("v2", "rel-2", 500)}),
        ((SHOP.with_stable("v2"), other), share),
        ((SHOP,), share),
        ((other, SHOP.at("v1", ("127.0.0.1:7009",))), {}),
    ]

    assert [builder.build(*state) for state in states] == [snapshot(*state) for state in states]


def test_a_mirror_of_what_became_stable_copies_nothing() -> None:
    """After a promotion the mirror's version may be the stable one; it would get everything twice."""
    target = replace(SHOP, mirror=Mirror("v2", basis_points(100)))
    before, after = virtual_host(target), virtual_host(target.with_stable("v2"))

    assert [len(one.route.request_mirror_policies) for one in before.routes] == [1, 0]
    assert [len(one.route.request_mirror_policies) for one in after.routes] == [0]


def test_the_layer_holds_the_live_shares_and_nothing_else() -> None:
    """One key a share; without shares the layer is empty."""
    full = discovery_pb2.Runtime.FromString(layer({KEY: Shares("v2", "rel-1", 250)}).body.value)
    empty = discovery_pb2.Runtime.FromString(layer({}).body.value)

    assert MessageToDict(full.layer) == {
        "lease.local.catalog.rel-1": {"numerator": 250, "denominator": "TEN_THOUSAND"}
    }
    assert MessageToDict(empty.layer) == {}


def test_one_release_cannot_open_the_matcher_of_another() -> None:
    """Key and seed belong to the release: a late share of the old one meets no matcher."""
    assert runtime_key(KEY, "rel-1") != runtime_key(KEY, "rel-2")


def test_each_audience_has_a_key_of_its_own_in_layer_and_route() -> None:
    """A layer and a route that do not belong together open nothing, whichever comes first."""
    inside, pilots = ((Match(headers={"x-internal": one}),) for one in ("1", "2"))
    shares = [Shares("v2", "rel-1", 500, matches) for matches in ((), inside, pilots)]

    keys = [
        next(iter(discovery_pb2.Runtime.FromString(layer({KEY: one}).body.value).layer.fields))
        for one in shares
    ]
    read = []
    for share in shares:
        drawn = virtual_host(SHOP, share).matcher.matcher_list.matchers[0].predicate.single_predicate
        fraction = resources_pb2.RuntimeFraction.FromString(drawn.custom_match.typed_config.value)
        read.append(fraction.runtime_fraction.runtime_key)

    assert read == keys
    assert len(set(keys)) == 3
    assert keys[0] == runtime_key(KEY, "rel-1")


def test_an_audience_is_built_anew_when_it_changes_and_only_then() -> None:
    """The kept route of one audience is never served for another, and a larger share costs no route."""
    builder, targets = Builder(), (SHOP,)
    inside, pilots = ((Match(headers={"x-internal": one}),) for one in ("1", "2"))

    made = [
        builder.build(targets, {KEY: Shares("v2", "rel-1", share, matches)}).hosts
        for share, matches in ((500, inside), (900, inside), (900, pilots), (900, ()))
    ]

    assert made[0] == made[1]
    assert len({str(one) for one in made}) == 3
    assert seed("rel-1") != seed("rel-2")


def test_equal_targets_have_equal_versions() -> None:
    """Versions are hashes of the content: a restarted router agrees with what Envoy has."""
    one, two = snapshot([SHOP], {}), snapshot([replace(SHOP, plan=None)], {})

    assert one == two


def test_a_share_changes_the_route_and_no_cluster() -> None:
    """Clusters stay as they are while traffic shifts."""
    before, after = snapshot([SHOP], {}), snapshot([SHOP], {KEY: Shares("v2", "rel-1", 500)})

    assert (before.clusters, before.endpoints) == (after.clusters, after.endpoints)
    assert before.hosts != after.hosts


def test_another_share_of_the_same_release_changes_the_layer_alone() -> None:
    """A step up the ladder is one runtime key: no route is touched."""
    small, large = {KEY: Shares("v2", "rel-1", 500)}, {KEY: Shares("v2", "rel-1", 5_000)}

    assert snapshot([SHOP], small) == snapshot([SHOP], large)
    assert layer(small) != layer(large)


def test_a_cluster_that_changes_has_its_endpoints_sent_again() -> None:
    """Envoy warms a changed cluster only when its endpoints come anew, so their version changes with it."""
    one, two = snapshot([SHOP], {}), snapshot([replace(SHOP, protocol="http2")], {})

    assert all(one.endpoints[name].version != two.endpoints[name].version for name in one.endpoints)
    assert all(one.endpoints[name].body == two.endpoints[name].body for name in one.endpoints)


def test_hosts_match_with_and_without_a_port() -> None:
    """A target owns its hosts on any port."""
    host = virtual_host(SHOP)

    assert list(host.domains) == ["catalog.localhost", "catalog.localhost:*"]


def test_the_canary_route_overwrites_baggage() -> None:
    """Release and track in baggage come from the route; the caller's own are overwritten, odd ids are quoted."""
    host = virtual_host(SHOP, Shares("v2", "rel=1,100%", 500))
    routes = canary_routes(host)
    (baggage, also) = (route.request_headers_to_add[0] for route in routes)

    assert baggage == also
    assert baggage.header.value == (
        "correlation.id=%REQ(X-CORRELATION-ID)%,release.id=rel%%3D1%%2C100%%25,release.track=canary"
    )
    assert baggage.append_action == 2


def test_a_shielded_canary_is_asked_first_and_once() -> None:
    """Safe requests are taken over whatever failed, others when nothing was sent; a version without a shield by nobody."""
    share = Shares("v2", "rel-1", 500)
    safe, other = canary_routes(virtual_host(SHOP, share))
    (bare,) = canary_routes(virtual_host(replace(SHOP, shield=False), share))

    assert [one.route.cluster for one in (safe, other, bare)] == [f"shield/{KEY}/v2"] * 2 + [f"{KEY}/v2"]
    assert safe.match.headers[0].string_match.safe_regex.regex == "GET|HEAD|OPTIONS"
    assert [one.route.retry_policy.num_retries.value for one in (safe, other)] == [1, 1]
    assert "5xx" in safe.route.retry_policy.retry_on
    assert "5xx" not in other.route.retry_policy.retry_on


def test_what_rescues_is_no_cluster_of_stable() -> None:
    """Same endpoints, another name: what was rescued never counts as stable's. It moves with a promotion."""
    before, after = snapshot([SHOP], {}), snapshot([SHOP.with_stable("v2")], {})

    def place(made: Snapshot) -> str:
        body = made.endpoints[f"rescue/{KEY}"].body.value
        found = resources_pb2.ClusterLoadAssignment.FromString(body)
        return f"{found.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value}"

    assert (place(before), place(after)) == ("7001", "7002")
    assert before.clusters[f"rescue/{KEY}"] == after.clusters[f"rescue/{KEY}"]
    assert f"shield/{KEY}/v2" in before.clusters
    assert f"shield/{KEY}/v2" not in after.clusters


def test_host_names_are_resolved_and_addresses_are_not() -> None:
    """A version with a host name is found by DNS and carries its endpoints itself."""
    named = replace(SHOP, versions={"v1": ("localhost:7001",), "v2": ("127.0.0.1:7002",)})
    made = snapshot([named], {})

    by_name = resources_pb2.Cluster.FromString(made.clusters[f"{KEY}/v1"].body.value)
    assert by_name.type == 1
    assert list(made.endpoints) == [f"{KEY}/v2"]  # the one that rescues is found by name too


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "rel-1", "rel-2"])), max_size=12))
def test_a_change_of_shares_builds_what_a_fresh_builder_builds(changes: list[tuple[str, str]]) -> None:
    """Whatever comes and goes, what is kept from before is what would be built now, and clusters stay the same object."""
    targets = [replace(SHOP, name=name, hosts=(f"{name}.localhost",)) for name in "abc"]
    keys = {target.name: target.key for target in targets}
    builder, shares = Builder(), dict[TargetKey, Shares]()
    first = builder.build(targets, shares)
    for name, release in changes:
        shares = {key: one for key, one in shares.items() if key != keys[name]}
        if release:
            shares[keys[name]] = Shares("v2", release, 500)
        made = builder.build(targets, shares)

        assert made == snapshot(targets, shares)
        assert made.clusters is first.clusters
