"""The TLS listener of the xDS stream: who may connect from another host, and who tried in vain.

Before it: `process` with the settings. After it: `xds` listens with these credentials. TLS 1.2 at least (gRPC's own
minimum), and no stream without a certificate that the client CA signed. The files are read again when they change, so a
certificate is renewed without a restart.
"""

from __future__ import annotations

import ssl
import stat
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from controller.errors import ConfigurationError
from controller.observability import logger
from controller.settings import PREFIX

UNPROVED_AFTER_S = 2.0
"""A connection that has no stream after this had no certificate of ours: Envoy opens one at once."""
TELL_EVERY_S = 30.0
REMEMBERED = 1_024
"""How many connections are known, so that a second stream on one is not taken for another."""
FORBIDDEN = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
"""What nobody but the owner may do with a key. Reading it is left to the group: that is how secrets are mounted."""

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the router listens for Envoys on other hosts.

    Args:
        host: Address to bind.
        port: Port to bind.
        certificate: The router's certificate chain (PEM).
        key: Its private key (PEM).
        client_ca: Who signs the certificates of Envoys (PEM).
    """

    host: str
    port: int
    certificate: Path
    key: Path
    client_ca: Path

    @property
    def address(self) -> str:
        """Return host and port as gRPC takes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check(listener: Listener) -> None:
    """Check that the files are there, private and fit together.

    Raises:
        ConfigurationError: They do not; the message names the setting, never a content.
    """
    field = "certificate"
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        field = "key"
        if listener.key.stat().st_mode & FORBIDDEN:
            raise ConfigurationError(
                f"{PREFIX}ROUTER__XDS__KEY: {listener.key} can be used by others; chmod 600 (or 640) it"
            )
        field = "certificate"
        # An encrypted key would ask for its password on the terminal.
        context.load_cert_chain(listener.certificate, listener.key, password=lambda: "")
        field = "client_ca"
        context.load_verify_locations(listener.client_ca)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"{PREFIX}ROUTER__XDS__{field.upper()}: expected PEM files that fit together (a key without password), "
            f"found: {error.reason or 'no PEM'}"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{PREFIX}ROUTER__XDS__{field.upper()}: cannot be read: {error.strerror}"
        ) from error


def credentials(listener: Listener, *, on_connection: Callable[[], None]) -> grpc.ServerCredentials:
    """Return what gRPC listens with.

    Args:
        listener: Whose files; checked before.
        on_connection: Called in a thread of gRPC for each new connection, before it has proved anything.
    """
    files = _Files(listener)

    def newest() -> grpc.ServerCertificateConfiguration | None:
        on_connection()
        return files.changed()

    # None means "as before"; the stubs do not know it.
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], newest)
    return grpc.dynamic_ssl_server_credentials(files.read(), fetch, require_client_authentication=True)


class _Files:
    """The three files of a listener, and when they were written."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._known: tuple[int, ...] = ()

    def read(self) -> grpc.ServerCertificateConfiguration:
        one = self._listener
        self._known = self._times()
        return grpc.ssl_server_certificate_configuration(
            [(one.key.read_bytes(), one.certificate.read_bytes())],
            root_certificates=one.client_ca.read_bytes(),
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what is new; None while nothing is, or while it does not fit together: then the old ones stay."""
        try:
            times = self._times()
            if times == self._known:
                return None
            self._known = times
            check(self._listener)
            log.info("certificates_read_again")
            return self.read()
        except (ConfigurationError, OSError) as error:
            log.error("certificates_not_usable", error=str(error))
            return None

    def _times(self) -> tuple[int, ...]:
        one = self._listener
        return tuple(path.stat().st_mtime_ns for path in (one.certificate, one.key, one.client_ca))


class Connections:
    """Which connections came to a stream, and how many did not: gRPC says nothing of a handshake that failed.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: deque[float] = deque()
        """Connections without a stream; a deque, because gRPC appends in a thread of its own."""
        self._known: deque[str] = deque(maxlen=REMEMBERED)
        self._untold = 0
        self._told_at_s = -TELL_EVERY_S

    def began(self) -> None:
        """Take in a new connection."""
        self._began.append(self._clock())

    def proved(self, peer: str) -> None:
        """Take in a stream.

        Args:
            peer: Address and port of the other end.
        """
        if peer not in self._known:
            self._known.append(peer)
            if self._began:
                self._began.popleft()

    def unproved(self) -> int:
        """Return how many connections are given up since the last call; says so, at most every 30 s."""
        now_s, found = self._clock(), 0
        while self._began and now_s - self._began[0] >= UNPROVED_AFTER_S:
            self._began.popleft()
            found += 1
        self._untold += found
        if self._untold and now_s - self._told_at_s >= TELL_EVERY_S:
            log.warning(
                "proxy_not_let_in",
                connections=self._untold,
                why="no TLS, or no certificate that the client CA signed",
            )
            self._untold, self._told_at_s = 0, now_s
        return found
