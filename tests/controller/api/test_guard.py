"""Who may come in: token, Host, Origin, content type and size, on every route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, MutableMapping

import httpx
import pytest
from structlog.testing import capture_logs

from controller.api.app import create_app
from controller.api.guard import OPEN, Guard, Token
from controller.errors import ConfigurationError
from controller.settings import Api
from tests.controller.releases.world import CATALOG, TOKEN, World, a_world

WRONG = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer nothing",
    f"Basic {TOKEN}",
    TOKEN,
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN.upper()}",
    f"Bearer {TOKEN} {TOKEN}",
    f"Bearer, Bearer {TOKEN}",
    "Bearer \udce4\udcf6",
    "Bearer " + "a" * 60_000,
    "Bearer eyJhbGciOiJub25lIn0.e30.",
]


def operations(world: World) -> list[tuple[str, str]]:
    """Return every documented method and path, with its parameters filled in."""
    return [
        (
            method.upper(),
            path.replace("{release_id}", "rel-1").replace("{name}", "x").replace("{trace_id}", "f" * 32),
        )
        for path, methods in world.app.openapi()["paths"].items()
        for method in methods
    ]


async def test_every_route_needs_the_token() -> None:
    """Each documented route under /v1, and a path that does not exist, is 401 without the right token."""
    async with a_world() as world, world.client(token=None) as client:
        routes = [one for one in operations(world) if one[1] not in OPEN]
        for method, path in [*routes, ("GET", "/v1/nothing"), ("GET", "/nothing"), ("GET", "//v1/releases")]:
            for wrong in WRONG:
                headers = (
                    [] if wrong is None else [(b"authorization", wrong.encode("utf-8", "surrogateescape"))]
                )
                answer = await client.request(method, path, headers=headers)
                assert (method, path, answer.status_code) == (method, path, 401)
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["www-authenticate"] == "Bearer"
                assert TOKEN not in answer.text
        assert len(routes) >= 14


async def test_two_tokens_are_none() -> None:
    """Two Authorization headers are refused, even when one is right: nobody knows which one was meant."""
    async with a_world() as world, world.client(token=None) as client:
        right = ("Authorization", f"Bearer {TOKEN}")

        answer = await client.get("/v1/releases", headers=[right, ("Authorization", "Bearer x")])

        assert answer.status_code == 401


async def test_open_paths_need_no_token() -> None:
    """Health, readiness, metrics and the documentation answer anybody on this machine, and hold no token."""
    async with a_world() as world, world.client(token=None) as client:
        for path in OPEN - {"/"}:
            answer = await client.get(path)
            assert (path, answer.status_code) == (path, 200)
            assert TOKEN not in answer.text


async def test_a_token_in_the_query_opens_nothing_but_the_door() -> None:
    """?token= counts on / only; there it becomes a strict, script-proof cookie and leaves the address bar."""
    async with a_world() as world, world.client(token=None) as client:
        elsewhere = await client.get("/v1/releases", params={"token": TOKEN})
        wrong = await client.get("/", params={"token": "wrong"})
        door = await client.get("/", params={"token": TOKEN})
        inside = await client.get("/v1/releases")

        assert (elsewhere.status_code, wrong.status_code) == (401, 401)
        assert (door.status_code, door.headers["location"]) == (303, "/docs")
        assert "httponly" in door.headers["set-cookie"].lower()
        assert "samesite=strict" in door.headers["set-cookie"].lower()
        assert door.headers["referrer-policy"] == "no-referrer"
        assert inside.status_code == 200


async def test_a_garbled_cookie_is_no_cookie() -> None:
    """Whatever a cookie holds, it is our token or it is 401."""
    async with a_world() as world, world.client(token=None) as client:
        name = Token(TOKEN).cookie
        for cookie in (
            f"{name}=wrong",
            f"{name}",
            "=;=;;",
            f"other={TOKEN}",
            f'{name}="{TOKEN}x"',
            "\x7f=\x7f",
        ):
            answer = await client.get("/v1/releases", headers={"Cookie": cookie})
            assert (cookie, answer.status_code) == (cookie, 401)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "",
        "localhost:8640:1",
        "[::2]:8640",
        "@localhost",
    ],
)
async def test_a_foreign_host_is_refused(host: str) -> None:
    """A name that an attacker pointed at this machine is refused on every path, with the right token too."""
    async with a_world() as world, world.client() as client:
        for path in ("/v1/releases", "/health", "/docs"):
            answer = await client.get(path, headers={"Host": host})
            assert answer.status_code == 400
            assert answer.json()["code"] == "host_refused"
            assert host == "" or host not in answer.text


async def test_two_hosts_are_refused() -> None:
    """A request with two Host headers is read differently by everybody, so by nobody here."""
    async with a_world() as world, world.client() as client:
        answer = await client.get("/health", headers=[("Host", "localhost"), ("Host", "localhost")])

        assert answer.status_code == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8640", "[::1]:8640", "[::1]"])
async def test_our_own_hosts_are_served(host: str) -> None:
    """Loopback names are served with any port."""
    async with a_world() as world, world.client() as client:
        assert (await client.get("/health", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://localhost:8640"},
        {"Origin": "http://localhost:8641"},
        {"Origin": "http://localhost:8640@evil.example"},
        {"Origin": "http://[::1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_writes_from_another_page_are_refused(headers: dict[str, str]) -> None:
    """A foreign page cannot write, whatever it holds; nothing changes."""
    async with a_world() as world, world.client() as client:
        body = {"target": "catalog", "version": "v2"}

        answer = await client.post("/v1/releases", json=body, headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
        assert world.runner.orders == []


async def test_writes_from_our_own_page_are_taken() -> None:
    """The same origin may write."""
    async with a_world() as world, world.client() as client:
        headers = {"Origin": "http://localhost:8640", "Sec-Fetch-Site": "same-origin"}

        answer = await client.post(
            "/v1/releases", json={"target": "catalog", "version": "v2"}, headers=headers
        )

        assert answer.status_code == 202


@pytest.mark.parametrize(
    "media",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "text/plain; application/json",
    ],
)
async def test_only_json_is_written(media: str | None) -> None:
    """A body of any other type is 415: those are the types that a foreign page may send without asking."""
    async with a_world() as world, world.client() as client:
        headers = {} if media is None else {"Content-Type": media}

        answer = await client.post(
            "/v1/releases", content=b'{"target": "catalog", "version": "v2"}', headers=headers
        )

        assert answer.status_code == 415
        assert world.runner.orders == []


async def test_an_empty_command_needs_no_type() -> None:
    """An emergency abort by `curl -X POST` without a body works."""
    async with a_world() as world, world.client() as client:
        release = await world.start()

        answer = await client.post(f"/v1/releases/{release.order.id}/abort")

        assert answer.status_code == 202


async def test_a_large_body_is_cut_off() -> None:
    """64 KiB are read, one byte more is 413; a chunked body is cut while it comes, not after."""
    async with a_world() as world, world.client() as client:
        headers = {"Content-Type": "application/json"}
        sent = 0

        async def flood() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(1_000):
                sent += 1
                yield b" " * 65_536

        fits = await client.post("/v1/releases", content=b" " * 65_536, headers=headers)
        above = await client.post("/v1/releases", content=b" " * 65_537, headers=headers)
        chunked = await client.post("/v1/releases", content=flood(), headers=headers)

        assert fits.status_code == 422
        assert (above.status_code, above.json()["code"]) == (413, "body_too_large")
        assert chunked.status_code == 413
        assert sent < 10


@pytest.mark.parametrize("length", ["-1", "1e3", "abc", "9" * 30, "٣", "1,1", ""])
async def test_a_lying_length_is_refused(length: str) -> None:
    """A Content-Length that is no sensible number is 400 or 413."""
    async with a_world() as world, world.client() as client:
        headers = {b"Content-Length": length.encode(), b"Content-Type": b"application/json"}

        answer = await client.post("/v1/releases", content=b"{}", headers=headers)

        assert answer.status_code in (400, 413)


async def test_a_small_declared_length_does_not_open_the_door() -> None:
    """A body that is longer than it says is still capped by what comes."""
    async with a_world() as world, world.client() as client:
        headers = {"Content-Length": "10", "Content-Type": "application/json"}

        answer = await client.post("/v1/releases", content=b" " * 70_000, headers=headers)

        assert answer.status_code == 413


async def test_every_answer_is_guarded() -> None:
    """Success and error alike carry the correlation ID and headers that keep browsers from guessing and framing."""
    async with a_world() as world, world.client() as client:
        for path in ("/v1/releases", "/nothing", "/docs", "/metrics"):
            answer = await client.get(path, headers={"X-Correlation-ID": "abc-1"})
            assert answer.headers["x-correlation-id"] == "abc-1"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "ä", "x" * 129, "x" * 60_000, "<b>", "a;b", "a/b"])
async def test_a_strange_correlation_id_is_replaced(given: str) -> None:
    """What is not a plain short id is never reflected: a new one is made."""
    async with a_world() as world, world.client() as client:
        answer = await client.get("/health", headers={b"X-Correlation-ID": given.encode()})

        assert len(answer.headers["x-correlation-id"]) == 32
        assert answer.headers["x-correlation-id"].isalnum()


async def test_websockets_are_closed() -> None:
    """A websocket is refused before anything is read."""
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    async with a_world() as world:
        await world.app({"type": "websocket", "path": "/v1/releases", "headers": []}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_caller_that_leaves_in_the_middle_changes_nothing() -> None:
    """A body that breaks off is never taken for a whole one, and gets no answer."""
    sent: list[object] = []
    messages: Iterator[dict[str, object]] = iter(
        [
            {"type": "http.request", "body": b'{"target": "catalog",', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> dict[str, object]:
        return next(messages)

    async def send(message: object) -> None:
        sent.append(message)

    async with a_world() as world:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/releases",
            "raw_path": b"/v1/releases",
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                (b"authorization", f"Bearer {TOKEN}".encode()),
                (b"content-type", b"application/json"),
            ],
        }
        await world.app(scope, receive, send)

        assert sent == []
        assert world.runner.orders == []


async def test_a_body_that_drips_is_cut_off() -> None:
    """A caller that never finishes its body is answered 408 at the deadline, and holds nothing."""
    sent: list[dict[str, object]] = []
    served: list[object] = []

    async def receive() -> dict[str, object]:
        if sent or served:
            raise AssertionError("nothing is read after the answer")
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": True}

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(dict(message))

    async def application(*given: object) -> None:
        served.append(given)

    guard = Guard(application, token=Token(TOKEN), settings=Api(), body_deadline_s=0.01)
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/x",
        "headers": headers,
        "state": {"correlation_id": "c"},
    }

    await guard(scope, receive, send)

    assert sent[0]["status"] == 408
    assert served == []


async def test_a_surprise_inside_is_a_500_that_tells_nothing() -> None:
    """An error that nobody foresaw is answered without its text; the next request works."""
    async with a_world() as world, world.client() as client:

        class Broken:
            """A trace store that breaks in a way no port allows."""

            async def find(self, **_: object) -> None:
                raise RuntimeError("secret inside")

        app = create_app(
            use_cases=world.use_cases,
            traces=Broken(),  # type: ignore[arg-type]
            token=TOKEN,
            settings=Api(),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers={"Authorization": f"Bearer {TOKEN}"}
        ) as other:
            with capture_logs() as lines:
                answer = await other.get("/v1/traces", params={"correlation_id": "abc"})
            after = await other.get("/v1/releases")

        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "secret" not in answer.text
        assert [line["event"] for line in lines if line["log_level"] == "error"] == ["request_broke"]
        assert answer.json()["correlation_id"] == answer.headers["x-correlation-id"]
        assert after.status_code == 200
        assert (await client.get("/v1/targets")).json()["targets"][0]["name"] == CATALOG.name


async def test_a_short_token_is_no_token() -> None:
    """An installation whose token protects nothing does not start."""
    async with a_world() as world:
        with pytest.raises(ConfigurationError):
            create_app(use_cases=world.use_cases, traces=world.traces, token="short", settings=Api())
