"""The guard of the API: who may ask, from where, and how much. Everything is refused that is not allowed by name.

Before it: `controller.api.edge`. After it: the routes, which get a complete, capped body. In order: Host (a browser that
was tricked by DNS rebinding sends a foreign one), token, Origin of writes, body.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.api.problems import Refused, of_error
from controller.errors import SerinusError, Unauthorized
from controller.settings import Api

OPEN = frozenset({"/", "/health", "/ready", "/metrics", "/docs", "/openapi.json"})
"""Paths that need no token: they tell nothing about releases."""
READS = frozenset({"GET", "HEAD"})
BODY_DEADLINE_S = 10.0
"""Longest wait for a whole body; a client that drips bytes is cut off then."""


class Token:
    """The one token of this installation, compared in constant time.

    Args:
        value: As generated; never logged, never shown.
    """

    def __init__(self, value: str) -> None:
        self._digest = hashlib.sha256(value.encode()).digest()
        self.cookie = f"serinus_{self._digest.hex()[:8]}"
        """Cookie name; browsers do not keep ports apart, so two stacks on one machine need two names."""

    def matches(self, given: str) -> bool:
        """Say whether a caller's token is ours."""
        return hmac.compare_digest(hashlib.sha256(given.encode("utf-8", "replace")).digest(), self._digest)


class Guard:
    """Turns away what may not come in, and reads the body of what may.

    Args:
        app: What it guards.
        token: Expected as bearer or as cookie on everything outside `OPEN`.
        settings: Accepted hosts and the body cap.
        body_deadline_s: Longest wait for a whole body, seconds.
    """

    def __init__(
        self, app: ASGIApp, *, token: Token, settings: Api, body_deadline_s: float = BODY_DEADLINE_S
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(host.lower() for host in settings.hosts)
        self._max_body_bytes = settings.max_body_bytes
        self._body_deadline_s = body_deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one HTTP request, read its body, and hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_host(headers)
            self._check_token(scope["path"], headers)
            if scope["method"] not in READS:
                self._check_origin(headers)
                body = await self._read(headers, receive)
                if body is None:
                    return
                _check_type(headers, body)
                receive = _replayed(body, receive)
        except SerinusError as error:
            await of_error(error, scope["state"]["correlation_id"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        if len(given) != 1 or _host(given[0]) not in self._hosts:
            raise Refused(
                400, "host_refused", "this Host is not served here; use the address that was printed at start"
            )

    def _check_token(self, path: str, headers: Headers) -> None:
        if path in OPEN:
            return
        given = headers.getlist("authorization")
        if given:
            scheme, _, value = given[0].partition(" ")
            accepted = len(given) == 1 and scheme.lower() == "bearer" and self._token.matches(value.strip())
        else:
            cookie = cookie_parser(headers.get("cookie", "")).get(self._token.cookie)
            accepted = cookie is not None and self._token.matches(cookie)
        if not accepted:
            raise Unauthorized(
                "expected the header 'Authorization: Bearer <token>'; the token stands in the state folder, "
                "file 'token'"
            )

    def _check_origin(self, headers: Headers) -> None:
        origins = headers.getlist("origin")
        foreign = any(_origin(origin) != headers["host"].lower() for origin in origins)
        if foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refused(403, "origin_refused", "writes from another site's page are refused")

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the whole body, or None when the caller went away."""
        declared = headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit():
            raise Refused(400, "invalid_length", "expected a whole number of bytes", field="Content-Length")
        if len(declared) > 18 or int(declared) > self._max_body_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_deadline_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > self._max_body_bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            raise Refused(
                408, "body_too_slow", f"expected the whole body within {self._body_deadline_s:g} s"
            ) from None

    def _too_large(self) -> Refused:
        return Refused(413, "body_too_large", f"expected at most {self._max_body_bytes} bytes")


def _check_type(headers: Headers, body: bytes) -> None:
    """Only JSON: a form or text/plain can be sent by any page without asking first."""
    if not body:
        return
    media, _, parameters = headers.get("content-type", "").lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    if media.strip() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Refused(415, "unsupported_media_type", "expected application/json", field="Content-Type")


def _host(value: str) -> str:
    host, colon, port = value.lower().rpartition(":")
    return host if colon and port.isascii() and port.isdigit() else value.lower()


def _origin(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme == "http" else ""


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_sent = False

    async def again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
