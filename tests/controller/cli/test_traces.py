"""serinus traces: what people see of traces, against a real controller over a store in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from rich.cells import cell_len

from controller.cli.main import run
from controller.cli.traces import PIPED_WIDTH
from controller.cli.waterfall import bar, length, lines
from controller.model.release import Change, Outcome, State
from controller.model.trace import Span
from tests.controller.cli.serving import Serving
from tests.controller.releases.world import BAD_NEWS
from tests.controller.traces.recorded import a_bad_canary, a_request, a_span

Capture = pytest.CaptureFixture[str]
TRACE = f"{7:032x}"


@pytest.fixture
def shop(serving: Serving) -> Serving:
    """A controller that knows what a bad canary has done; it is a minute later."""
    keep(serving, a_bad_canary())
    serving.world.now += 60
    return serving


def keep(serving: Serving, spans: Iterable[Span]) -> None:
    serving.do(serving.world.traces.put(spans))


def said(capsys: Capture, *command: str, code: int = 0) -> list[str]:
    assert run(["traces", *command]) == code
    captured = capsys.readouterr()
    return (captured.err if code else captured.out).splitlines()


def test_found_traces_are_a_table_and_more_can_be_had(shop: Serving, capsys: Capture) -> None:
    """Ids whole, so that they can be copied; the last line says how to go on."""
    found = said(capsys, "find", "--service", "catalog", "--failing", "--since", "5m", "--limit", "2")

    assert found[0].split() == [
        "STARTED",
        "TRACE",
        "ROOT",
        "DURATION",
        "SPANS",
        "FAILED",
        "CORRELATION",
        "ID",
    ]
    assert f"{2_020:032x}" in found[1]
    assert found[1].split()[-1] == "cor-2020"
    assert "50 ms" in found[1]
    assert found[3].startswith("more: --cursor ")
    rest = said(capsys, "find", "--service", "catalog", "--failing", "--cursor", found[3].split()[-1])
    assert len(rest) == 1 + 18


def test_nothing_found_is_said(shop: Serving, capsys: Capture) -> None:
    """One line, exit code 0."""
    assert said(capsys, "find", "--service", "nobody") == ["no trace fits"]


def test_a_trace_is_a_tree_with_bars_on_one_axis(serving: Serving, capsys: Capture) -> None:
    """Children below parents, bars where they belong in time, the first failure named."""
    keep(serving, a_request(7, "v2", error="Boom", ms=90))

    found = said(capsys, "get", TRACE)

    assert found[0].startswith(f"{TRACE}  1970-01-01T00:16:40")
    assert "100 ms, 3 spans, 3 failed  correlation ID cor-7" in found[0]
    front, client, catalog = found[2:5]
    assert [line.split()[0] for line in (front, client, catalog)] == ["storefront", "storefront", "catalog"]
    assert (client[:3], catalog[:5]) == ("  s", "    c")
    assert front.index("█") < client.index("█") < catalog.index("█")
    assert "✗ Boom" in catalog
    assert found[5].startswith(
        "first failed: catalog v2 GET /products/{id}: Boom (span 0000000000000003, after 5 ms)"
    )
    assert found[6] == "own time: catalog v2 90 ms, storefront v1 10 ms"
    assert all(cell_len(line) <= PIPED_WIDTH for line in found[1:5])


def test_a_correlation_id_shows_all_its_traces(serving: Serving, capsys: Capture) -> None:
    """What is no trace id is looked for as one; JSON is the API's answer."""
    keep(serving, [*a_request(7, "v1"), a_span(8, 9, attributes={"correlation.id": "cor-7"}, start_ms=400)])

    text = said(capsys, "get", "cor-7")
    found = json.loads("\n".join(said(capsys, "get", "cor-7", "--json")))

    assert text[0].startswith("2 traces")
    assert [one["spans"] for one in found["traces"]] == [3, 1]


def test_an_unknown_trace_is_one_line(shop: Serving, capsys: Capture) -> None:
    """It is neither."""
    assert said(capsys, "get", "nothing", code=1) == [
        "serinus: no trace and no correlation ID of that name is known (any more)"
    ]
    assert "no such trace" in said(capsys, "get", "f" * 32, "--full", "--json", code=1)[0]


def test_every_attribute_is_for_programs(shop: Serving, capsys: Capture) -> None:
    """--full alone is refused with what to do."""
    assert "--json" in said(capsys, "get", f"{1:032x}", "--full", code=64)[0]
    found = json.loads("\n".join(said(capsys, "get", f"{1:032x}", "--full", "--json")))
    assert found["spans"][2]["attributes"]["payment.method"] == "invoice"


def test_the_map_has_versions_apart(shop: Serving, capsys: Capture) -> None:
    """Edges with calls, failures and durations, then services; of a search only its traces."""
    whole = said(capsys, "map")
    failing = said(capsys, "map", "--failing", "--since", "5m")

    assert [line.split()[:7] for line in whole[1:3]] == [
        ["storefront", "v1", "→", "catalog", "v1", "300", "10.2"],
        ["storefront", "v1", "→", "catalog", "v2", "80", "20"],
    ]
    assert [line.split()[5:7] for line in failing[1:2]] == [["20", "20"]]
    assert said(capsys, "map", "--service", "nobody") == ["nobody called anybody"]


def test_two_versions_are_compared(shop: Serving, capsys: Capture) -> None:
    """Operations side by side, new errors, and what failing spans have in common."""
    found = said(capsys, "diff", "catalog", "v1", "v2")

    assert found[1].split()[:6] == ["GET", "/products/{id}", "(server)", "300", "80", "20"]
    assert "new GET /products/{id}: InvoiceMissing: 0 in v1, 20 in v2" in found
    assert "  payment.method=invoice: 20 of 20 failing, 10 of 300 in v1" in found
    both = json.loads("\n".join(said(capsys, "diff", "catalog", "v1", "v2", "--json")))
    assert {"operations", "errors", "calls", "differences"} <= both.keys()


def rolled_back(serving: Serving) -> str:
    release = serving.do(serving.world.start()).order.id
    change = Change(
        state=State.DONE,
        outcome=Outcome.ROLLED_BACK,
        reason="it failed",
        verdict=BAD_NEWS,
        ended_at=serving.world.now + 60,
    )
    serving.do(serving.world.note(release, "rolled_back", change, text="it failed"))
    return release


def test_why_and_explain_show_the_same_failing_requests(serving: Serving, capsys: Capture) -> None:
    """Correlation ids, what they share, what changed; with dead telemetry the verdict alone, and that it is dead."""
    keep(serving, a_bad_canary())
    release = rolled_back(serving)

    why = said(capsys, "why", release)
    assert run(["explain", release]) == 0
    explained = capsys.readouterr().out.splitlines()
    serving.world.traces.is_down = True
    dead = said(capsys, "why", release)

    assert why[0] == dead[0] == "catalog v1 -> v2: rolled back: it failed"
    assert "cor-2020" in why[2]
    assert "  payment.method=invoice: 20 of 20 failing, 10 of 300 in v1" in why
    assert "  new in v2: GET /products/{id} fails with InvoiceMissing, 20 times (never in v1)" in why
    assert explained[-len(why[1:]) :] == why[1:]
    assert dead[1:] == ["traces: unavailable (the telemetry process did not answer in time)"]
    assert json.loads("\n".join(said(capsys, "why", release, "--json")))["traces"] == "unavailable"


def test_failures_at_random_have_nothing_in_common(serving: Serving, capsys: Capture) -> None:
    """That is said: whoever looks for a cause in the requests looks in vain."""
    keep(serving, [span for n in range(200) for span in a_request(n + 1, "v1")])
    keep(
        serving,
        [span for n in range(60) for span in a_request(n + 1_001, "v2", error="Boom" if n % 6 else "")],
    )
    release = rolled_back(serving)

    why = said(capsys, "why", release)

    assert "  no attribute but the failure itself tells them from good requests" in why
    assert not any("release.track" in line for line in why)


def test_what_the_api_refuses_names_the_parameter(shop: Serving, capsys: Capture) -> None:
    """One line."""
    assert said(capsys, "find", "--since", "yesterday", code=1)[0].startswith(
        "serinus: since: expected a time"
    )
    assert "min_duration" in said(capsys, "find", "--min-duration", "250", code=1)[0]


def test_names_from_services_cannot_steer_the_terminal(serving: Serving, capsys: Capture) -> None:
    """Escape sequences and markup are shown, never obeyed."""
    keep(serving, [a_span(7, 1, name="\x1b[31mred [bold]x[/bold]", error="\x1b]0;owned\x07")])

    for command in (["find"], ["get", TRACE], ["map"]):
        found = "\n".join(said(capsys, *command))
        assert "\x07" not in found
        assert "\x1b[31m" not in found
    assert "[bold]x[/bold]" in "\n".join(said(capsys, "get", TRACE))


@pytest.mark.parametrize(
    ("offset", "duration", "drawn"),
    [
        (0, 100, "██████████"),
        (0, 50, "█████"),
        (50, 50, "     █████"),
        (99.9, 0.1, "         ▉"),
        (0, 0, "▏"),
        (500, 10, "         █"),
    ],
)
def test_bars_are_where_they_belong_and_never_invisible(offset: float, duration: float, drawn: str) -> None:
    """Ten cells for 100 ms; the shortest span has an eighth of a cell, and nothing leaves the axis."""
    row = {"offset_ms": offset, "duration_ms": duration, "status": "unset", "critical_ms": 0}

    found = bar(row, 100.0, 10)

    assert len(found.plain) <= 10
    assert found.plain.count(" ") == drawn.count(" ")
    assert len(found.plain.strip()) >= 1
    if duration >= 50:
        assert found.plain == drawn


def test_an_empty_trace_and_a_narrow_terminal_are_drawn() -> None:
    """Zero length divides nothing; forty cells are enough to go on."""
    row = {
        "service": "catalog",
        "version": "v1",
        "name": "a long name that does not fit at all",
        "depth": 40,
        "joined": "orphan",
        "status": "unset",
        "error": "",
        "offset_ms": 0.0,
        "duration_ms": 0.0,
        "critical_ms": 0.0,
        "is_first_failure": False,
        "hidden": 3,
    }

    assert len(lines({"tree": [row], "duration_ms": 0.0}, 40)) == 2
    assert (length(0.087), length(12.34), length(1_250)) == ("87 µs", "12.3 ms", "1.25 s")
