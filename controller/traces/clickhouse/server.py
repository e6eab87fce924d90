"""A ClickHouse server, over its HTTP interface: the same statements and the same batches as chDB.

Before it: `crew`. After it: the network. The address is the operator's own, from the settings; there are no redirects.
A statement that writes is not tried again here: whoever sent the batch does that.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import httpx

from controller.errors import ConfigurationError, TracesUnavailable
from controller.traces.clickhouse.connection import INSERT, Connection, failed

_CONNECT_S = 3.0
_LONGEST_S = 620.0
"""A little longer than the longest statement of ours may run; the engine keeps the shorter deadlines."""


class ServerConnection(Connection):
    """A connection that is kept alive.

    Args:
        url: `http(s)://user:password@host:port/?database=name`.

    Raises:
        ConfigurationError: The address is none.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                "telemetry.clickhouse_url: expected http(s)://user:password@host:port/?database=name"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._base = f"{parts.scheme}://{host}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}/"
        self._params = dict(httpx.QueryParams(parts.query))
        headers = {}
        if parts.username:
            headers = {
                "X-ClickHouse-User": unquote(parts.username),
                "X-ClickHouse-Key": unquote(parts.password or ""),
            }
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(_LONGEST_S, connect=_CONNECT_S),
            trust_env=False,
            follow_redirects=False,
        )

    def fetch(self, statement: str) -> bytes:
        """Run a statement and return its answer."""
        return self._post(self._params, statement.encode())

    def insert(self, payload: bytes, into: str = INSERT) -> None:
        """Commit a batch."""
        query = f"{into} FORMAT ProtobufList"
        self._post({**self._params, "query": query, "wait_end_of_query": "1"}, payload)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _post(self, params: dict[str, str], content: bytes) -> bytes:
        try:
            answer = self._http.post(self._base, params=params, content=content)
        except httpx.HTTPError as error:
            raise TracesUnavailable(
                f"the ClickHouse server at {self._base} does not answer ({type(error).__name__}); is it up?"
            ) from error
        if answer.status_code in (401, 403):
            raise TracesUnavailable(
                f"the ClickHouse server at {self._base} refuses the user or the password of telemetry.clickhouse_url"
            )
        if answer.status_code != 200:
            raise failed(answer.text)
        return answer.content
