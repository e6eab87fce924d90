"""`serinus router bootstrap`: what somebody's own Envoy starts from. A real Envoy says whether it is right."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controller.cli.main import EXIT_ERROR, run
from controller.model.target import Target
from controller.routing.envoy.bootfile import boot_files
from controller.routing.envoy.bootstrap import envoy_binary
from controller.settings import load

Capture = pytest.CaptureFixture[str]
SHOP = Target(name="catalog", stable="v1", versions={"v1": ("127.0.0.1:7001",), "v2": ("shop.internal:80",)})


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder that the settings name."""
    monkeypatch.setenv("SERINUS_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("SERINUS_SETTINGS", raising=False)
    return tmp_path


def _printed(capsys: Capture, *options: str) -> dict[str, Any]:
    assert run(["router", "bootstrap", *options]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


async def test_it_holds_the_options_and_the_stable_versions(state: Path, capsys: Capture) -> None:
    """Where to listen and where to ask comes from the options, what to serve alone from what the router kept."""
    await boot_files(load()).write([SHOP])
    made = _printed(
        capsys,
        *("--listen", "0.0.0.0:8443", "--node-id", "edge-7", "--trust", "10.0.0.0/8"),
        *("--xds-socket", "/run/serinus/xds.sock", "--admin-socket", "/run/envoy/admin.sock"),
    )
    static = made["static_resources"]

    assert made["node"]["id"] == "edge-7"
    assert made["admin"]["address"]["pipe"] == {"path": "/run/envoy/admin.sock", "mode": 0o600}
    assert static["listeners"][0]["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8443}
    assert '{"address_prefix": "10.0.0.0", "prefix_len": 8}' in json.dumps(static["listeners"])
    assert "/run/serinus/xds.sock" in json.dumps(static["clusters"][0])
    assert [one["name"] for one in static["clusters"]] == ["router", "boot/local.catalog"]
    assert str(state / "envoy" / "routes.json") in json.dumps(static["listeners"])


TLS = ("--certificate", "/c/edge.pem", "--key", "/c/edge.key", "--ca", "/c/ca.pem")


@pytest.mark.parametrize(
    ("host", "kind", "san"),
    [
        ("router.internal", "STRICT_DNS", "DNS"),
        ("10.1.2.3", "STATIC", "IP_ADDRESS"),
        ("[fd00::1]", "STATIC", "IP_ADDRESS"),
    ],
)
async def test_an_envoy_on_another_host_asks_by_tls(
    state: Path, capsys: Capture, host: str, kind: str, san: str
) -> None:
    """The cluster of the router has the address, our certificate, and who the router must be; the socket is in it no more."""
    made = _printed(capsys, "--xds", f"{host}:9443", *TLS, "--routes", "/c/routes.json")
    router = made["static_resources"]["clusters"][0]
    context = router["transport_socket"]["typed_config"]["common_tls_context"]
    place = router["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    matcher = context["validation_context"]["match_typed_subject_alt_names"]

    assert (router["type"], place["socket_address"]["port_value"]) == (kind, 9443)
    assert place["socket_address"]["address"] == host.strip("[]")
    assert matcher == [{"san_type": san, "matcher": {"exact": host.strip("[]")}}]
    assert context["validation_context"]["trusted_ca"] == {"filename": "/c/ca.pem"}
    assert context["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert context["tls_certificates"][0]["private_key"] == {"filename": "/c/edge.key"}
    assert "/c/routes.json" in json.dumps(made["static_resources"]["listeners"])


@pytest.mark.parametrize(
    "options",
    [
        ("--xds", "router.internal", *TLS),
        ("--xds", "router.internal:0", *TLS),
        ("--xds", "router/internal:1", *TLS),
        ("--key", "--xds", "router.internal:9443", *TLS[:2], *TLS[4:]),
        ("--certificate", "--xds", "router.internal:9443"),
        ("--xds", *TLS),
    ],
)
def test_half_of_tls_is_refused(state: Path, capsys: Capture, options: tuple[str, ...]) -> None:
    """Address and all three files, or none; the line names what is missing or wrong."""
    named, given = options[0], options if options[1][:2] != "--" else options[1:]

    assert run(["router", "bootstrap", *given]) == EXIT_ERROR
    assert f"serinus: {named}: expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ("--listen", "8080"),
        ("--listen", "0.0.0.0:0"),
        ("--listen", "0.0.0.0:70000"),
        ("--node-id", "a b"),
        ("--trust", "10.0.0.1/8"),
    ],
)
def test_what_envoy_would_refuse_is_refused(state: Path, capsys: Capture, options: tuple[str, ...]) -> None:
    """One line that names the option."""
    assert run(["router", "bootstrap", *options]) == EXIT_ERROR
    assert f"serinus: {options[0]}: expected" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.parametrize("targets", [(), (SHOP,), (SHOP.with_stable("v2"),)])
async def test_envoy_accepts_what_is_printed(
    state: Path, capsys: Capture, targets: tuple[Target, ...]
) -> None:
    """The real program checks the file: before any target, with an address, with a host name."""
    if targets:
        await boot_files(load()).write(targets)
    config = state / "envoy.json"
    config.write_text(json.dumps(_printed(capsys)))

    done = subprocess.run(
        [str(envoy_binary()), "--mode", "validate", "--config-path", str(config), "--use-dynamic-base-id"],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 0, done.stderr[-2_000:]
