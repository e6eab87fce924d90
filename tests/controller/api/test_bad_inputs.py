"""Bad inputs: 4xx that names the field, short, without an echo, and nothing changes. Never 500."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.controller.releases.world import CATALOG, World, a_world

MOST_BYTES = 4_096
MARK = "zq7echo"
"""Stands in every bad value; an answer that holds it has echoed."""


def start(**fields: Any) -> dict[str, Any]:
    """Return the body of a start with something changed."""
    return {"target": "catalog", "version": "v2", **fields}


def plan(**fields: Any) -> dict[str, Any]:
    """Return a start whose plan has one changed step."""
    return start(plan={"steps": [{"share": 10, **fields}]})


WRONG: list[tuple[str, object, str | None]] = [
    ("true_as_share", plan(share=True), "plan.steps.0.share"),
    ("text_as_share", plan(share="50"), "plan.steps.0.share"),
    ("share_above", plan(share=101), "plan.steps.0.share"),
    ("share_below", plan(share=-1), "plan.steps.0.share"),
    ("share_too_fine", plan(share=10.001), "plan.steps.0.share"),
    ("unknown_field", start(treshold=1), "treshold"),
    ("unknown_in_step", plan(treshold=1), "plan.steps.0.treshold"),
    ("everything_for_everybody", plan(share=100), "plan.steps.0.share"),
    ("empty_match", plan(matches=[{}]), "plan.steps.0.matches"),
    ("text_as_matches", plan(matches=MARK), "plan.steps.0.matches"),
    ("our_header", plan(matches=[{"headers": {"x-serinus-draw": MARK}}]), "plan.steps.0.matches.headers"),
    ("line_in_value", plan(matches=[{"query": {"a": f"{MARK}\n"}}]), "plan.steps.0.matches.query"),
    ("unknown_in_match", plan(matches=[{"path": {}}]), "plan.steps.0.matches.0.path"),
    ("null_target", start(target=None), "target"),
    ("missing_version", {"target": "catalog"}, "version"),
    ("list", [], None),
    ("text", "x", None),
    ("null", None, None),
    ("number", 1, None),
    ("newline_in_name", start(target="catalog\n"), "target"),
    ("path_as_name", start(target=f"../../{MARK}"), "target"),
    ("encoded_path", start(target=f"..%2f{MARK}"), "target"),
    ("nul", start(target="a\x00b"), "target"),
    ("long_name", start(target=MARK * 8_000), "target"),
    ("right_to_left", start(target=f"\u202e{MARK}"), "target"),
    ("zero_width", start(target="cata\u200blog"), "target"),
    ("homoglyph", start(target="cat\u0430log"), "target"),
    ("astral", start(version="\U0001f600"), "version"),
    ("prototype", start(__proto__={"a": 1}), "__proto__"),
    ("constructor", start(constructor=1), "constructor"),
    ("template", start(target="{{7*7}}"), "target"),
    ("lookup", start(target="${jndi:ldap://x}"), "target"),
    ("format", start(version="%s%n"), "version"),
    ("script", start(target=f"<script>{MARK}</script>"), "target"),
    ("script_as_key", start(**{f"<script>{MARK}": 1}), "(a name that is not shown)"),
    ("sql", start(target="x'; DROP TABLE release;--"), "target"),
    ("ansi", start(version="\x1b[31mred"), "version"),
    ("plan_number", start(plan=5), "plan"),
    ("plan_list", start(plan=[]), "plan"),
    ("plan_unknown", start(plan=MARK), "plan"),
    ("policy_unknown", start(policy=MARK), "policy"),
    ("policy_percent", start(policy={"max_error_percent": 500}), "policy.max_error_percent"),
    ("policy_text", start(policy={"min_requests": "50"}), "policy.min_requests"),
    ("empty_steps", start(plan={"steps": []}), "plan.steps"),
    ("falling", start(plan={"steps": [{"share": 20}, {"share": 10}]}), "plan.steps.share"),
    ("impossible_deadline", plan(hold_s=10, deadline_s=5), "plan.steps.deadline_s"),
    ("many_bad_items", start(plan={"steps": ["x"] * 5_000}), "plan.steps"),
    ("many_unknown_keys", start(**{f"k{index}": 1 for index in range(2_000)}), None),
    ("environment", start(environment="a.b"), "environment"),
]
RAW = {
    "nan": b'{"target": "catalog", "version": "v2", "plan": {"steps": [{"share": NaN}]}}',
    "infinity": b'{"target": "catalog", "version": "v2", "plan": {"steps": [{"share": Infinity}]}}',
    "huge": b'{"target": "catalog", "version": "v2", "plan": {"steps": [{"share": 1e999}]}}',
    "negative_zero": b'{"target": "catalog", "version": "v2", "plan": {"steps": [{"share": -0.0}]}}',
    "long_integer": b'{"target": "catalog", "version": "v2", "plan": {"steps": [{"share": '
    + b"9" * 5_000
    + b"}]}}",
    "wide_integer": b'{"target": "catalog", "version": "v2", "plan": {"steps": [{"share": '
    + b"9" * 18
    + b"}]}}",
    "surrogate_value": b'{"target": "\\ud800", "version": "v2"}',
    "surrogate_key": b'{"\\ud800": 1, "target": "catalog", "version": "v2"}',
    "duplicate": b'{"target": "catalog", "target": "catalog", "version": "v2"}',
    "deep": b'{"target":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "wide": b"[" + b"1," * 32_000 + b"1]",
    "utf16": '{"target": "catalog", "version": "v2"}'.encode("utf-16"),
    "byte_order_mark": b'\xef\xbb\xbf{"target": "catalog", "version": "v2"}',
    "latin1": '{"target": "catälog", "version": "v2"}'.encode("latin-1"),
    "bad_utf8": b'{"target": "\xff\xfe", "version": "v2"}',
    "empty_text": b'""',
    "garbage": b"zq7echo",
    "two": b"{}{}",
    "empty": b"",
}


def check(answer: httpx.Response, world: World, name: object) -> dict[str, Any]:
    """Check what holds for every refusal, and return the problem; `name` says which case it is."""
    assert 400 <= answer.status_code < 500, name
    assert answer.headers["content-type"] == "application/problem+json", name
    assert len(answer.content) < MOST_BYTES, name
    assert MARK not in answer.text, name
    assert world.runner.orders == [], name
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:serinus:problem:{problem['code']}"
    assert len(problem.get("fields", ())) <= 10
    return problem


async def test_a_wrong_start_names_its_field() -> None:
    """Every wrong body is refused with its field and without its value."""
    async with a_world() as world, world.client() as client:
        for name, body, field in WRONG:
            problem = check(await client.post("/v1/releases", json=body), world, name)
            assert (name, problem.get("field")) == (name, field or problem.get("field"))


async def test_what_is_not_strict_json_is_refused() -> None:
    """Every body that is not strict JSON, or hides a number that is none, is refused."""
    async with a_world() as world, world.client() as client:
        for name, body in RAW.items():
            headers = {"Content-Type": "application/json"}
            check(await client.post("/v1/releases", content=body, headers=headers), world, name)


@pytest.mark.parametrize("name", ["nan", "infinity", "huge", "negative_zero", "long_integer", "wide_integer"])
async def test_a_number_that_is_none_names_its_field(name: str) -> None:
    """A share that JSON or a double cannot hold is named like any other wrong share."""
    async with a_world() as world, world.client() as client:
        headers = {"Content-Type": "application/json"}

        answer = await client.post("/v1/releases", content=RAW[name], headers=headers)

        assert check(answer, world, name)["field"] == "plan.steps.0.share"


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/v1/releases?limit=x", None, "expected a whole number"),
        ("GET", "/v1/releases?limit=0", None, "expected it to be greater than or equal to 1"),
        ("GET", "/v1/releases?active=x", None, "expected true or false"),
        ("GET", "/v1/releases?target=" + "x" * 64, None, "expected at most 63 characters"),
        (
            "GET",
            "/v1/releases?before=a%20b",
            None,
            "expected text that matches ^[A-Za-z0-9-]+$",
        ),
        ("POST", "/v1/releases", start(plan={"steps": []}), "expected at least 1 item"),
        ("POST", "/v1/releases", start(plan=5), "expected a name or a JSON object"),
        ("POST", "/v1/releases", start(policy=[]), "expected a name or a JSON object"),
        ("POST", "/v1/releases", start(plan={"steps": {}}), "expected a list"),
        ("POST", "/v1/releases", plan(share="5"), "expected a number"),
        ("POST", "/v1/releases", plan(gate=1), "expected true or false"),
        ("POST", "/v1/releases", start(target=5), "expected text"),
        (
            "POST",
            "/v1/releases",
            start(target="A b"),
            "expected lower-case letters, digits and hyphens, at most 63",
        ),
        (
            "POST",
            "/v1/releases",
            start(version="v 1"),
            "expected letters, digits, dots, underscores and hyphens, at most 63",
        ),
        ("POST", "/v1/releases/rel-1/abort", {"reason": "a\x1bb"}, "expected one line of visible text"),
    ],
)
async def test_what_was_expected_is_said_in_plain_words(
    method: str, path: str, body: object, expected: str
) -> None:
    """Nobody has to know Python, pydantic or our class names to mend a request; patterns are shown as they are."""
    async with a_world() as world, world.client() as client:
        answer = await client.request(method, path, json=body)

        assert check(answer, world, path)["detail"] == expected


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/releases", {"GET", "POST"}),
        ("/v1/targets/catalog", {"GET", "PUT", "DELETE"}),
        ("/v1/releases/rel-1/abort", {"POST"}),
        ("/health", {"GET"}),
    ],
)
async def test_a_wrong_method_lists_all_right_ones(path: str, allowed: set[str]) -> None:
    """Allow names every method of the resource, not those of the first route that fits."""
    async with a_world() as world, world.client() as client:
        answer = await client.request("PATCH", path)

        check(answer, world, path)
        assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "reason",
    ["a\nb", "\x1b[31mred", "\x00", "x" * 501, "\u202eevil", "zero\u200bwidth", 5, None, ["x"]],
)
async def test_a_reason_is_one_plain_line(reason: object) -> None:
    """A reason is shown on terminals and in alerts, so it holds no control characters; the release goes on."""
    async with a_world() as world, world.client() as client:
        release = await world.start()

        answer = await client.post(f"/v1/releases/{release.order.id}/abort", json={"reason": reason})

        assert (answer.status_code, answer.json()["field"]) == (422, "reason")
        assert world.runner.told == []


async def test_a_reason_with_markup_is_kept_as_text() -> None:
    """Markup and formulas are only text: stored and returned as they are, as JSON."""
    reason = "<script>alert(1)</script> =cmd() {{7*7}} 'x' \u00e4\U0001f600"
    async with a_world() as world, world.client() as client:
        release = await world.start()

        answer = await client.post(f"/v1/releases/{release.order.id}/pause", json={"reason": reason})

        assert answer.status_code == 202
        assert [one.reason for one in world.runner.told] == [reason]


TARGETS: list[tuple[str, dict[str, Any], str]] = [
    ("no_version", {"versions": {}}, "versions"),
    ("strange_version", {"versions": {"v1": ["127.0.0.1:1"], f"<{MARK}>": ["127.0.0.1:1"]}}, "versions"),
    ("no_port", {"versions": {"v1": ["127.0.0.1"]}}, "versions"),
    ("port_zero", {"versions": {"v1": ["127.0.0.1:0"]}}, "versions"),
    ("port_above", {"versions": {"v1": ["127.0.0.1:65536"]}}, "versions"),
    ("url", {"versions": {"v1": [f"http://{MARK}:80"]}}, "versions"),
    ("user", {"versions": {"v1": ["good@127.0.0.1:80"]}}, "versions"),
    ("newline", {"versions": {"v1": ["127.0.0.1:80\n"]}}, "versions"),
    ("full_width", {"versions": {"v1": ["127.0.0.1:\uff18\uff10"]}}, "versions"),
    ("no_address", {"versions": {"v1": []}}, "versions.v1"),
    ("one_address", {"versions": {"v1": "127.0.0.1:80"}}, "versions.v1"),
    ("unknown_stable", {"stable": "v9"}, "stable"),
    ("host_with_port", {"hosts": ["catalog.localhost:80"]}, "hosts"),
    ("same_host_twice", {"hosts": ["a.b", "a.b"]}, "hosts"),
    ("star", {"hosts": ["*"]}, "hosts"),
    ("many_hosts", {"hosts": [f"h{index}.x" for index in range(17)]}, "hosts"),
    ("protocol", {"protocol": f"http9{MARK}"}, "protocol"),
    ("workloads", {"workloads": MARK}, "workloads"),
    ("shield", {"shield": 1}, "shield"),
    ("preview", {"preview": "yes"}, "preview"),
    ("timeout", {"timeout_s": -1}, "timeout_s"),
    ("long_timeout", {"timeout_s": 3_601}, "timeout_s"),
    ("identity_of_nothing", {"identity": {}}, "identity"),
    ("identity_twice", {"identity": {"header": "x-a", "cookie": "a"}}, "identity"),
    ("identity_of_ours", {"identity": {"header": "x-serinus-draw"}}, "identity.header"),
    ("identity_pseudo", {"identity": {"header": ":path"}}, "identity.header"),
    ("cookie_pattern", {"identity": {"cookie": "a.*"}}, "identity.cookie"),
    ("match_of_nothing", {"matches": [{}]}, "matches"),
    ("match_header", {"matches": [{"headers": {"X Y": "1"}}]}, "matches.headers"),
    ("match_value", {"matches": [{"query": {"a": f"{MARK}\n"}}]}, "matches.query"),
    ("match_empty", {"matches": [{"cookies": {"a": ""}}]}, "matches.cookies"),
    ("many_matches", {"matches": [{"query": {"a": "1"}}] * 17}, "matches"),
    ("mirror_of_nobody", {"mirror": {"version": "v9", "percent": 1}}, "mirror.version"),
    ("mirror_of_nothing", {"mirror": {"version": "v1", "percent": 0}}, "mirror.percent"),
    ("mirror_above", {"mirror": {"version": "v1", "percent": 101}}, "mirror.percent"),
    ("mirror_fine", {"mirror": {"version": "v1", "percent": 0.001}}, "mirror.percent"),
    ("other_name", {"name": "other"}, "name"),
    ("strange_plan", {"plan": {"steps": [{"share": 99}]}}, "plan.steps.0.share"),
    ("unknown", {"address": 1}, "address"),
]


async def test_a_wrong_target_names_its_field() -> None:
    """Every wrong declaration is refused with its field, and the target stays as it was."""
    async with a_world() as world, world.client() as client:
        for name, change, field in TARGETS:
            body = {"stable": "v1", "versions": {"v1": ["127.0.0.1:9000"]}, **change}
            problem = check(await client.put("/v1/targets/catalog", json=body), world, name)
            assert (name, problem["field"]) == (name, field)
        assert await world.keeper.targets() == (CATALOG,)


STRANGE = [
    ("GET", "/v1/releases?limit=-1", 422),
    ("GET", "/v1/releases?limit=1000000000", 422),
    ("GET", "/v1/releases?limit=1.5", 422),
    ("GET", "/v1/releases?limit=zq7echo", 422),
    ("GET", "/v1/releases?active=zq7echo", 422),
    ("GET", "/v1/releases?before=zq7echo", 422),
    ("GET", "/v1/releases?before=..%2fzq7echo", 422),
    ("GET", "/v1/releases?target=" + "x" * 100, 422),
    ("GET", "/v1/releases/zq7echo", 404),
    ("GET", "/v1/releases/%00", 404),
    ("GET", "/v1/releases/..%2f..%2fetc", 404),
    ("GET", "/v1/releases/" + "x" * 5_000, 404),
    ("GET", "/v1/releases/%ff%fe", 404),
    ("POST", "/v1/releases/zq7echo/abort", 404),
    ("POST", "/v1/releases/rel-1/explode", 404),
    ("GET", "/v1/releases/zq7echo/events", 404),
    ("DELETE", "/v1/releases", 405),
    ("PATCH", "/v1/targets/catalog", 405),
    ("TRACE", "/v1/releases", 405),
    ("GET", "/v1/targets/Zq7echo", 404),
    ("GET", "/v1/targets/catalog%0a", 404),
    ("PUT", "/v1/targets/a.b", 422),
    ("GET", "/v1/targets/catalog?environment=moon", 404),
    ("GET", "/v1/targets/catalog?environment=A%0a", 422),
    ("DELETE", "/v1/targets/nobody", 404),
    ("GET", "/v1/traces?correlation_id=" + "x" * 2_000, 422),
    ("GET", "/v1/traces?min_duration=zq7echo", 422),
    ("GET", "/v1/traces?where=zq7echo%20%3D", 422),
    ("GET", "/v1/traces?correlation_id=abc&limit=0", 422),
    ("GET", "/v1/traces/zq7echo", 404),
    ("GET", "/v1/traces/" + "0" * 32, 404),
    ("GET", "/v1/traces/" + "F" * 32, 404),
    ("GET", "/v1", 404),
    ("GET", "/v1/releases/", 404),
    ("GET", "/docs/../v1/x", 404),
]


async def test_strange_paths_and_queries_are_refused() -> None:
    """Every path, method and query that means nothing is a small 4xx without an echo."""
    async with a_world() as world, world.client() as client:
        for method, path, status in STRANGE:
            answer = await client.request(method, path)
            assert (path, check(answer, world, path)["status"]) == (path, status)


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Idempotency-Key": "a b"}, "Idempotency-Key"),
        ({"Idempotency-Key": ""}, "Idempotency-Key"),
        ({"Idempotency-Key": "x" * 129}, "Idempotency-Key"),
        ({"Idempotency-Key": "zq7echo<"}, "Idempotency-Key"),
    ],
)
async def test_strange_keys_are_refused(headers: dict[str, str], field: str) -> None:
    """An Idempotency-Key that could not be kept safely is refused."""
    async with a_world() as world, world.client() as client:
        answer = await client.post("/v1/releases", json=start(), headers=headers)

        assert check(answer, world, headers)["field"] == field


@pytest.mark.parametrize("given_", ["-1", "x", "1e3", "٣", "9" * 19, "1 2"])
async def test_strange_event_ids_are_refused(given_: str) -> None:
    """A Last-Event-ID that no stream gave is refused."""
    async with a_world() as world, world.client() as client:
        release = await world.start()

        answer = await client.get(
            f"/v1/releases/{release.order.id}/events", headers={b"Last-Event-ID": given_.encode()}
        )

        assert (answer.status_code, answer.json()["field"]) == (422, "Last-Event-ID")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    (
        "target",
        "version",
        "environment",
        "plan",
        "policy",
        "reason",
        "stable",
        "versions",
        "hosts",
        "protocol",
        "workloads",
        "name",
        "steps",
        "share",
        "hold_s",
        "deadline_s",
        "gate",
        "rail",
        "min_requests",
        "warmup_s",
    )
)
VALUES = JSON | st.sampled_from(["catalog", "v1", "v2", "local", "demo", "embedded", ["127.0.0.1:1"]])
NEAR = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(NAMES, inner, max_size=5) | st.lists(inner, max_size=2),
    max_leaves=15,
)
BODIES = st.dictionaries(NAMES, NEAR, max_size=6) | JSON | NEAR
ROUTES = st.sampled_from(
    [
        ("POST", "/v1/releases"),
        ("POST", "/v1/releases/rel-id1/pause"),
        ("POST", "/v1/releases/rel-id1/abort"),
        ("PUT", "/v1/targets/catalog"),
        ("PUT", "/v1/targets/other"),
    ]
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ROUTES, BODIES), min_size=5, max_size=15))
async def test_no_json_breaks_it(requests: list[tuple[tuple[str, str], object]]) -> None:
    """Whatever JSON is sent to whatever write, in whatever order, no answer is a 5xx."""
    async with a_world() as world, world.client() as client:
        for (method, path), body in requests:
            answer = await client.request(
                method,
                path,
                content=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code < 500
        assert (await client.get("/v1/releases")).status_code == 200


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(ROUTES, st.binary(max_size=300)), min_size=5, max_size=15))
async def test_no_bytes_break_it(requests: list[tuple[tuple[str, str], bytes]]) -> None:
    """Whatever bytes are sent, no answer is a 5xx."""
    async with a_world() as world, world.client() as client:
        for route, body in requests:
            answer = await client.request(*route, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500
