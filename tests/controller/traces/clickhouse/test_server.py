"""A ClickHouse server by URL: the same adapter and SQL through HTTP, in front of chDB, which is the same engine."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from controller.errors import ConfigurationError, InvalidInput, TracesUnavailable
from controller.model.searching import Search
from controller.traces.clickhouse.embedded import EmbeddedFolder, in_memory
from controller.traces.clickhouse.literal import quoted
from controller.traces.clickhouse.server import ServerConnection
from controller.traces.clickhouse.store import ClickHouseTraces
from tests.controller.traces.clickhouse.writing import SPANS, batch


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Speak as much of ClickHouse's HTTP interface as the adapter uses, one statement at a time."""
    folder = EmbeddedFolder(tmp_path / "traces", memory_bytes=1024**3)
    connection = folder.connect()
    turn = threading.Lock()

    class Bridge(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["x-clickhouse-key"] != "pa@ss":
                self.answer(403, b"Code: 516. DB::Exception: Authentication failed")
                return
            query = parse_qs(urlsplit(self.path).query).get("query", [""])[0]
            try:
                with turn:
                    if query:
                        # The statement as it came, schema included; only the body comes by file.
                        with in_memory(body) as path:
                            source = f" FROM INFILE {quoted(path)} SETTINGS"
                            connection.fetch(query.replace(" SETTINGS", source, 1))
                    answer = b"" if query else connection.fetch(body.decode())
            except (InvalidInput, TracesUnavailable) as error:
                self.answer(500, str(error.__cause__).encode())
            else:
                self.answer(200, answer)

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bridge)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://default:pa%40ss@127.0.0.1:{server.server_port}/?database=default"
    server.shutdown()
    thread.join()
    server.server_close()
    connection.close()
    folder.release()
    # The engine copies a schema that stands in a statement to where its process was started.
    shutil.rmtree("__cache__", ignore_errors=True)


async def test_server_takes_and_answers_what_the_folder_does(url: str, tmp_path: Path) -> None:
    """Bodies go in, traces come out, a bad body is refused, and nothing is made in the folder."""
    store = ClickHouseTraces(tmp_path / "unused", url=url, deadline_s=30.0)
    try:
        await store.ingest([batch(1), batch(2)])
        with pytest.raises(InvalidInput):
            await store.ingest([b"\xff\xff"])
        page = await store.search(Search(where="number = 2"))
        found = await store.get(page.traces[0].trace_id)
        size = await store.size()
    finally:
        await store.aclose()

    assert found is not None
    assert [trace.spans for trace in page.traces] == [len(found.spans)] == [SPANS]
    assert size.spans == 2 * SPANS
    assert not (tmp_path / "unused").exists()


async def test_wrong_password_is_said_without_it(url: str, tmp_path: Path) -> None:
    """The message names the setting, never the secret."""
    store = ClickHouseTraces(tmp_path, url=url.replace("pa%40ss", "secret"), deadline_s=30.0)
    with pytest.raises(TracesUnavailable, match=r"refuses the user or the password") as raised:
        await store.size()
    await store.aclose()

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("address", ["", "localhost:8123", "ftp://host/", "http://"])
def test_address_that_is_none_is_refused(address: str) -> None:
    """With the form that is expected."""
    with pytest.raises(ConfigurationError, match="expected http"):
        ServerConnection(address)
