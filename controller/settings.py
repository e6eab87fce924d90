"""Every setting, with its unit and its reason; the only reader of the environment.

`SERINUS_GROUP__NAME` sets `group.name`; an unknown key is an error that names it. Every setting works on a fresh
laptop without being set. Adapters get their own group. Plain pydantic models and thirty lines of loader, because the
router imports this file and must start in less than a second (DECISIONS.md, 3).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from controller.errors import ConfigurationError

PREFIX = "SERINUS_"
FILE_VARIABLE = "SERINUS_SETTINGS"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Group(BaseModel):
    """A frozen group of settings that refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Api(Group):
    """Where the controller's API listens."""

    host: str = "127.0.0.1"
    """Loopback. Anything else is refused until login and TLS exist: the generated token is not made for a network."""
    port: int = Field(default=8640, ge=1, le=65_535)
    """First choice of `serinus up`; a free port is taken when it is not free."""
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """Accepted Host headers, without port; others are refused (DNS rebinding)."""
    max_body_bytes: int = 64 * 1024

    @field_validator("host")
    @classmethod
    def _loopback_only(cls, host: str) -> str:
        if host not in LOOPBACK:
            raise ValueError(
                f"only loopback ({', '.join(LOOPBACK)}) until logins are configured; put a proxy in front"
            )
        return host


class Temporal(Group):
    """The Temporal server."""

    address: str = "127.0.0.1:7233"
    ui: str = "http://127.0.0.1:8233"
    """Shown to people; not contacted."""
    namespace: str = "default"
    rpc_timeout_s: float = 3.0
    """Longest wait for one call before Temporal counts as down."""


class Xds(Group):
    """Where Envoys on other hosts reach the router: all or none, because a port has no file mode that protects it. Loopback
    is no exception: whoever can log in on this host could connect."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: int | None = Field(default=None, ge=1, le=65_535)
    """None listens on the unix socket alone."""
    certificate: Path | None = Field(default=None, validate_default=True)
    """The router's certificate chain (PEM), made for the name or address by which Envoys reach it."""
    key: Path | None = Field(default=None, validate_default=True)
    """Its private key (PEM, no password), not to be read by others. All three are read again when they change."""
    client_ca: Path | None = Field(default=None, validate_default=True)
    """Who signs the certificates of Envoys (PEM). Each of them may read every route, so make one for this alone."""

    @field_validator("host")
    @classmethod
    def _an_address(cls, host: str) -> str:
        try:
            return str(ip_address(host))
        except ValueError:
            raise ValueError("expected an address to bind, such as 0.0.0.0") from None

    @field_validator("certificate", "key", "client_ca")
    @classmethod
    def _all_or_none(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        is_on = info.data.get("port") is not None
        if is_on and path is None:
            raise ValueError("name a file: the port takes nobody without mutual TLS")
        if not is_on and (path is not None or info.data.get("host", LOOPBACK[0]) not in LOOPBACK):
            raise ValueError("set router.xds.port as well, or none of them")
        return path


class Router(Group):
    """The router process: lease keeper, xDS server, counter reader."""

    socket: Path | None = None
    """Unix socket of the keeper's gRPC; default `<runtime_dir>/router.sock`."""
    xds_socket: Path | None = None
    """Unix socket on which Envoy asks for its configuration; default `<runtime_dir>/xds.sock`."""
    xds: Xds = Xds()
    """The same for Envoys on other hosts, with mutual TLS."""
    data_plane: str = "envoy"
    layer_ttl_s: float = Field(default=3.0, gt=0.2, le=60)
    """How long Envoy keeps shares without a renewal; renewed each third of it. Bounds a dead router."""
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    """Where /metrics is served on loopback; None serves none."""


class Envoy(Group):
    """The edge proxy."""

    port: int = Field(default=8080, ge=1, le=65_535)
    """Where users come in, on loopback."""
    admin_socket: Path | None = None
    """Unix socket of the admin interface, 0600; default `<runtime_dir>/envoy.sock`."""
    more_admin_sockets: tuple[Path, ...] = ()
    """The same of further Envoys on this host, which somebody else starts (`serinus router bootstrap`). Their counts are
    added; one that is silent makes the evidence stale, so take out what is gone for good."""
    access_log: Path | None = None
    """JSON lines of canary and failed requests; default `<state_dir>/envoy/access.jsonl`."""
    traces: bool = False
    """The edge sends spans of its own to `telemetry.grpc_port` on loopback; `serinus up` turns it on."""


class Telemetry(Group):
    """The OTLP receiver and its trace store."""

    host: str = "127.0.0.1"
    port: int = Field(default=4318, ge=1, le=65_535)
    """OTLP over HTTP, the questions of the controller, and /metrics."""
    grpc_port: int | None = Field(default=4317, ge=1, le=65_535)
    """OTLP over gRPC; None serves none."""
    max_body_bytes: int = 16 * 1024 * 1024
    """After gunzip."""
    keep_bytes: int = 64 * 1024 * 1024
    """How many bytes of raw bodies the memory store keeps before it drops the oldest."""
    store: str = "clickhouse"
    """clickhouse keeps spans on disk (chDB in this process, or a server by `clickhouse_url`); memory forgets them."""
    folder: Path | None = None
    """Of the embedded store; belongs to one process. Default `<state_dir>/traces`."""
    clickhouse_url: SecretStr | None = None
    """`http(s)://user:password@host:8123/?database=serinus` instead of the embedded store; the database must exist."""
    memory_bytes: int = Field(default=1024**3, ge=512 * 1024**2)
    """Most memory of the embedded engine, its caches included. 1 GiB: a batch of 50 000 spans takes half of it."""
    keep_s: float = Field(default=7 * 86_400, gt=0)
    """Age of spans, seconds; they go in partitions of six hours."""
    keep_telling_s: float = Field(default=30 * 86_400, gt=0)
    """Age of traces with an error, a canary's span, or among the slowest 1 %, seconds."""
    keep_disk_bytes: int = Field(default=10 * 1024**3, ge=64 * 1024**2)
    """When the spans on disk are larger, the oldest go. 10 GiB: 200 million spans of 12 attributes."""
    prune_every_s: float = Field(default=600, gt=0)
    """How often the store is pruned, seconds."""
    forward_url: str | None = None
    """Base address of another OTLP/HTTP collector that gets everything that was kept, such as
    `https://collector.example`; None forwards nothing."""
    forward_allow: tuple[str, ...] = ()
    """`host:port` entries on loopback, in private ranges or with a port of their own that `forward_url` may reach."""
    forward_queue_bytes: int = Field(default=32 * 1024 * 1024, ge=0)
    """What waits for the other collector; more is dropped and counted."""

    @property
    def url(self) -> str:
        """Base address of the receiver."""
        return f"http://{self.host}:{self.port}"

    @property
    def grpc_url(self) -> str | None:
        """Address of the receiver over gRPC, None where there is none."""
        return None if self.grpc_port is None else f"http://{self.host}:{self.grpc_port}"


class Judging(Group):
    """The judge's rhythm."""

    source: str = "envoy"
    """Where counts come from. `envoy`: every request at the edge, a second old. `traces`: the spans with which services
    served, also what did not come through the edge; some seconds later, and not exact."""
    look_every_s: float = Field(default=1.0, gt=0.05, le=60)
    lease_term_s: float = Field(default=5.0, gt=0.5, le=60)
    """A share outlives its last renewal by this much. 5 s: a killed worker costs at most 5 s of canary traffic."""
    slots: int = Field(default=200, ge=1, le=10_000)
    """How many steps one worker judges at once."""


class Worker(Group):
    """The Temporal worker process."""

    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    """Where /metrics is served on loopback; None serves none."""


class Store(Group):
    """The ledger."""

    url: str | None = None
    """SQLAlchemy URL; default SQLite at `<state_dir>/ledger.db`."""


class Channel(Group):
    """One channel of alerts."""

    kind: str = "webhook"
    url: str
    secret: SecretStr
    """`whsec_` and base64, as Standard Webhooks says."""
    allow: tuple[str, ...] = ()
    """`host:port` entries on loopback or private ranges that this channel may reach."""


class Notify(Group):
    """Where alerts go."""

    channels: Mapping[str, Channel] = Field(default_factory=dict)
    """By name; `SERINUS_NOTIFY__CHANNELS` holds JSON."""


class Embedded(Group):
    """The stack that `serinus up` runs."""

    socket: Path | None = None
    """Unix socket of the supervisor; default `<runtime_dir>/up.sock`."""


class Settings(Group):
    """All settings of one process."""

    state_dir: Path = Path(".serinus")
    """Everything that must survive a restart; made with mode 0700."""
    runtime_dir: Path | None = None
    """Sockets; short, because a unix socket path holds 108 bytes. `serinus up` makes one and hands it on."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    api: Api = Api()
    temporal: Temporal = Temporal()
    router: Router = Router()
    envoy: Envoy = Envoy()
    telemetry: Telemetry = Telemetry()
    judging: Judging = Judging()
    worker: Worker = Worker()
    store: Store = Store()
    notify: Notify = Notify()
    embedded: Embedded = Embedded()

    @property
    def sockets(self) -> Path:
        """The folder of the sockets."""
        return self.runtime_dir or self.state_dir / "run"

    @property
    def router_socket(self) -> Path:
        """Unix socket of the keeper's gRPC."""
        return self.router.socket or self.sockets / "router.sock"

    @property
    def xds_socket(self) -> Path:
        """Unix socket on which Envoy asks for its configuration."""
        return self.router.xds_socket or self.sockets / "xds.sock"

    @property
    def admin_socket(self) -> Path:
        """Unix socket of Envoy's admin interface."""
        return self.envoy.admin_socket or self.sockets / "envoy.sock"

    @property
    def supervisor_socket(self) -> Path:
        """Unix socket of the supervisor."""
        return self.embedded.socket or self.sockets / "up.sock"

    @property
    def access_log(self) -> Path:
        """Envoy's JSON access log."""
        return self.envoy.access_log or self.state_dir / "envoy" / "access.jsonl"

    @property
    def looks_dir(self) -> Path:
        """The judged looks of each release, as JSON lines."""
        return self.state_dir / "looks"

    @property
    def traces_dir(self) -> Path:
        """The folder of the embedded trace store."""
        return self.telemetry.folder or self.state_dir / "traces"

    @property
    def token_file(self) -> Path:
        """The generated API token, 0600."""
        return self.state_dir / "token"

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.store.url or f"sqlite:///{self.state_dir / 'ledger.db'}"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings: first the file that `SERINUS_SETTINGS` names (JSON), then the environment over it.

    Args:
        environment: Instead of the process's own, for tests.

    Raises:
        ConfigurationError: A key is not known or a value does not fit; the message names the variable.
    """
    environment = os.environ if environment is None else environment
    tree = _read_file(environment.get(FILE_VARIABLE))
    for key, value in environment.items():
        if key.startswith(PREFIX) and key != FILE_VARIABLE:
            _place(tree, key.removeprefix(PREFIX).lower().split("__"), value)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        variable = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{variable}: {first['msg'].lower()}") from None


def _read_file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        tree = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{FILE_VARIABLE}: {path} cannot be read as JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{FILE_VARIABLE}: {path} must hold one JSON object")
    return tree


def _place(tree: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = _structured(value) if value[:1] in ("{", "[") else value


def _structured(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def write(settings: Settings, path: Path) -> None:
    """Write settings (secrets included, mode 0600) to a file that `SERINUS_SETTINGS` can name for a child process."""
    text = json.dumps(settings.model_dump(mode="python", exclude_none=True), default=_plain)
    path.touch(mode=0o600)
    path.write_text(text)


def handed_on(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child process: ours without any setting, and the file that holds them all.

    Args:
        path: A file made by `write`.
        environment: Instead of the process's own, for tests.
    """
    environment = os.environ if environment is None else environment
    others = {key: value for key, value in environment.items() if not key.startswith(PREFIX)}
    return {**others, FILE_VARIABLE: str(path)}


def _plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value)
