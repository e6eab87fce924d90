"""What an Envoy starts from, as files: whole, kept, and never worse than before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.model.target import Target
from controller.routing.envoy.bootfile import BootFiles
from controller.routing.envoy.bootstrap import EnvoyOptions
from tests.controller.routing.keeping import SHOP

ORDERS = replace(SHOP, name="orders", hosts=("orders.localhost", "o.example"))


@pytest.fixture
def files(tmp_path: Path) -> BootFiles:
    """The files of an Envoy that never started."""
    return _files(tmp_path)


def _files(folder: Path, port: int = 8080) -> BootFiles:
    return BootFiles(
        EnvoyOptions(
            listen_port=port,
            xds_socket=folder / "xds.sock",
            admin_socket=folder / "envoy.sock",
            access_log=folder / "access.jsonl",
            routes=folder / "envoy" / "routes.json",
        )
    )


def clusters(files: BootFiles) -> dict[str, list[str]]:
    """Return host:port of each endpoint by cluster, the router's own left out."""
    found = json.loads(files.bootstrap.read_text())["static_resources"]["clusters"]
    return {one["name"]: _places(one) for one in found if one["name"] != "router"}


def _places(cluster: dict[str, Any]) -> list[str]:
    return [
        "{address}:{port_value}".format(**place["endpoint"]["address"]["socket_address"])
        for group in cluster["load_assignment"]["endpoints"]
        for place in group["lb_endpoints"]
    ]


def routes(files: BootFiles) -> list[dict[str, Any]]:
    """Return the routes of the table in the file."""
    (table,) = json.loads(files.options.routes.read_text())["resources"]
    (host,) = table["virtual_hosts"]
    found: list[dict[str, Any]] = host["routes"]
    return found


async def test_the_files_hold_stable_alone(files: BootFiles) -> None:
    """Each target has one cluster over its stable version and two routes a host; a canary is in neither."""
    await files.write([SHOP, ORDERS])

    assert clusters(files) == {
        "boot/local.catalog": ["127.0.0.1:7001"],
        "boot/local.orders": ["127.0.0.1:7001"],
    }
    assert [one["route"]["cluster"] for one in routes(files)] == ["boot/local.catalog"] * 2 + [
        "boot/local.orders"
    ] * 4
    asked = [one["match"]["headers"][0]["string_match"] for one in routes(files)[2:]]
    assert asked == [
        {"exact": "orders.localhost", "ignore_case": True},
        {"prefix": "orders.localhost:", "ignore_case": True},
        {"exact": "o.example", "ignore_case": True},
        {"prefix": "o.example:", "ignore_case": True},
    ]


async def test_a_promotion_changes_where_the_same_cluster_points(files: BootFiles) -> None:
    """The route names a target and not a version, so a crash between the two files leaves both right."""
    await files.write([SHOP])
    before = files.options.routes.read_text()
    await files.write([SHOP.with_stable("v2")])

    assert clusters(files) == {"boot/local.catalog": ["127.0.0.1:7002"]}
    assert routes(files)[0]["metadata"]["filter_metadata"]["serinus"]["version"] == "v2"
    assert json.loads(before)["resources"][0]["vhds"] == _vhds(files)


def _vhds(files: BootFiles) -> object:
    return json.loads(files.options.routes.read_text())["resources"][0]["vhds"]


async def test_a_refresh_keeps_what_is_known(files: BootFiles, tmp_path: Path) -> None:
    """Another port is in the file before the next start, and the routes of before with it."""
    await files.write([SHOP])
    moved = _files(tmp_path, port=9090)
    moved.refresh()
    listener = json.loads(moved.bootstrap.read_text())["static_resources"]["listeners"][0]

    assert listener["address"]["socket_address"]["port_value"] == 9090
    assert clusters(moved) == {"boot/local.catalog": ["127.0.0.1:7001"]}
    assert routes(moved) == routes(files)
    assert len(routes(moved)) == 2


def test_an_envoy_that_was_never_told_anything_says_so(files: BootFiles) -> None:
    """Nobody knows that it is a 404."""
    files.refresh()

    assert clusters(files) == {}
    assert routes(files)[0]["direct_response"]["status"] == 503


@pytest.mark.parametrize(
    "garbage", ["", "{", "[]", '{"resources": []}', '{"static_resources": 3}', "\ud83d\ude00"]
)
def test_garbage_is_replaced_and_not_believed(files: BootFiles, garbage: str) -> None:
    """A torn or strange file does not keep Envoy from starting."""
    files.bootstrap.parent.mkdir()
    for path in (files.bootstrap, files.options.routes):
        path.write_text(garbage, encoding="utf-8", errors="surrogatepass")

    files.refresh()

    assert clusters(files) == {}
    assert routes(files)[0]["direct_response"]["status"] == 503


async def test_the_files_are_private_and_whole(files: BootFiles) -> None:
    """Mode 0600, and nothing half-written is left beside them."""
    await files.write([SHOP])
    found = {path.name: path.stat().st_mode & 0o777 for path in files.bootstrap.parent.iterdir()}

    assert {name: found[name] for name in ("bootstrap.json", "routes.json")} == {
        "bootstrap.json": 0o600,
        "routes.json": 0o600,
    }
    assert set(found) == {"bootstrap.json", "routes.json", "lock"}


async def test_a_disk_that_is_full_hinders_no_promotion(tmp_path: Path) -> None:
    """What cannot be written is logged; the router goes on."""
    (tmp_path / "envoy").write_text("a file where the folder should be")
    files = _files(tmp_path)

    await files.write([SHOP])

    assert not files.bootstrap.exists()


async def test_names_and_numbers_stand_side_by_side(files: BootFiles) -> None:
    """A version at a host name is looked up by Envoy, HTTP/2 is kept; a version without addresses is empty."""
    named = Target(
        name="a", stable="v1", versions={"v1": ("localhost:7001", "127.0.0.1:7002")}, protocol="http2"
    )
    empty = Target(name="b", stable="v1", versions={"v1": ()})
    await files.write([named, empty])
    (first, second) = json.loads(files.bootstrap.read_text())["static_resources"]["clusters"][1:]

    assert (first["type"], second.get("type", 0)) == (1, 0)
    options = first["typed_extension_protocol_options"].values()
    assert [list(one["explicit_http_config"]) for one in options] == [["http2_protocol_options"]]
    assert second["load_assignment"].get("endpoints", []) == []
