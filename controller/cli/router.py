"""`serinus router`: runs the router; `serinus router bootstrap`: what somebody's own Envoy starts from.

Before it: a service manager or a person. After it: `controller.routing.process`, or the printed JSON in the hands of an
Envoy on this host or another one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import processes, shown
from controller.errors import InvalidInput

if TYPE_CHECKING:
    from controller.routing.envoy.uplink import Uplink

ROUTER = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")
LISTEN = re.compile(r"(?P<host>[0-9a-fA-F.:]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")
NODE = re.compile(r"[A-Za-z0-9._-]{1,63}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    about, _ = processes.PROCESSES["router"]
    router = typer.Typer(help=about, invoke_without_command=True)
    router.callback()(run)
    router.command("bootstrap")(bootstrap)
    app.add_typer(router, name="router")


def run(context: typer.Context) -> None:
    """Run the router: lease keeper, Envoy's configuration, counters."""
    if context.invoked_subcommand is None and (code := processes.run("router")):
        raise SystemExit(code)


Listen = Annotated[
    str, typer.Option(metavar="IP:PORT", help="Where users come in; default from the settings.")
]
NodeId = Annotated[
    str,
    typer.Option(help="Names this Envoy in `observe`, logs and refusals; a second one of a name is refused."),
]
XdsSocket = Annotated[Path | None, typer.Option(help="The router's xDS socket; default from the settings.")]
AdminSocket = Annotated[
    Path | None,
    typer.Option(help="Envoy's admin socket, made with mode 0600; the router counts requests there."),
]
AccessLog = Annotated[
    Path | None, typer.Option(help="JSON lines of failed and of canary requests; default from the settings.")
]
Routes = Annotated[
    Path | None,
    typer.Option(help="The route table that Envoy watches; default the one that the router keeps."),
]
Xds = Annotated[
    str,
    typer.Option(metavar="HOST:PORT", help="The router's TLS port, for another host; needs the next three."),
]
Certificate = Annotated[Path | None, typer.Option(help="What this Envoy shows the router (PEM).")]
Key = Annotated[Path | None, typer.Option(help="Its private key (PEM).")]
Ca = Annotated[Path | None, typer.Option(help="Who signs the router's certificate (PEM).")]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RANGE",
        help="Callers that may use previews and ask for faults; default loopback. Repeatable.",
    ),
]


def bootstrap(
    listen: Listen = "",
    node_id: NodeId = "edge",
    xds_socket: XdsSocket = None,
    admin_socket: AdminSocket = None,
    access_log: AccessLog = None,
    routes: Routes = None,
    xds: Xds = "",
    certificate: Certificate = None,
    key: Key = None,
    ca: Ca = None,
    trust: Trust = None,
) -> None:
    """Print what an Envoy of your own starts from.

    It asks the router for shares, clusters and routes. While no router answers, it serves the stable versions that were
    known when this was printed; so print before each start, which needs no router either:

        serinus router bootstrap > envoy.json && envoy --config-path envoy.json

    The route table stands in a file that the router keeps and Envoy watches; the JSON names it.

    For an Envoy on another host name the router's TLS port (settings `router.xds`) with --xds, the files that Envoy finds
    there, and where it listens and writes; copy the route table, `envoy/routes.json` in the state folder, to the place that
    --routes names. Its shares are renewed and taken back like any other's; its counts are not read, because its admin
    socket is not here.
    """
    from controller import settings
    from controller.routing.envoy.bootfile import boot_files
    from controller.routing.envoy.bootstrap import EnvoyOptions, envoy_bootstrap

    known = boot_files(settings.load())
    known.refresh()
    host, port = _listen(listen) if listen else (known.options.listen_host, known.options.listen_port)
    if not NODE.fullmatch(node_id):
        raise InvalidInput(
            "expected 1 to 63 letters, digits, dots, underscores and hyphens", field="--node-id"
        )
    options = EnvoyOptions(
        node_id=node_id,
        listen_host=host,
        listen_port=port,
        xds_socket=_absolute(xds_socket, known.options.xds_socket),
        admin_socket=_absolute(admin_socket, known.options.admin_socket),
        access_log=_absolute(access_log, known.options.access_log),
        routes=_absolute(routes, known.options.routes),
        trusted=tuple(map(_range, trust)) if trust else known.options.trusted,
        uplink=_uplink(xds, {"--certificate": certificate, "--key": key, "--ca": ca}),
    )
    shown.as_json(envoy_bootstrap(options, clusters=known.clusters()))


def _listen(text: str) -> tuple[str, int]:
    found = LISTEN.fullmatch(text)
    if found is None or not 1 <= int(found["port"]) <= 65_535:
        raise InvalidInput(
            "expected an address and a port, such as 0.0.0.0:8080 or [::]:8080", field="--listen"
        )
    return found["host"].strip("[]"), int(found["port"])


def _uplink(xds: str, files: Mapping[str, Path | None]) -> Uplink | None:
    """Return how the router is reached from another host; None for the socket. All options or none."""
    from controller.routing.envoy.uplink import Uplink

    named = {option: path.absolute() for option, path in files.items() if path is not None}
    if not xds and not named:
        return None
    found = ROUTER.fullmatch(xds)
    if found is None or not 1 <= int(found["port"]) <= 65_535:
        raise InvalidInput(
            "expected a name or an address and a port, such as router.internal:9443", field="--xds"
        )
    if missing := [option for option in files if option not in named]:
        raise InvalidInput(
            "expected a file: the router's port takes nobody without mutual TLS", field=missing[0]
        )
    return Uplink(found["host"].strip("[]"), int(found["port"]), *(named[option] for option in files))


def _range(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise InvalidInput("expected a range of addresses, such as 10.0.0.0/8", field="--trust") from error


def _absolute(path: Path | None, default: Path) -> Path:
    return default if path is None else path.absolute()
