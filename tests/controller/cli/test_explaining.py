"""serinus explain: the sentence of the API and of the alert, then numbers and steps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.cli.main import run
from controller.model.release import Change, Outcome, State
from controller.model.verdict import Ground, Part, Verdict, sentence
from tests.controller.cli.serving import Serving
from tests.controller.releases.world import BAD_NEWS

Capture = pytest.CaptureFixture[str]
ODDS = replace(BAD_NEWS, ground=Ground.ODDS, limit=None, odds=640.0, proof=0.01, look=7)


SLOW = replace(
    ODDS,
    metric="latency p99",
    slower_than_s=0.25,
    instance="10.0.0.7:80",
    parts=(Part("errors", 8.0, 0.03), Part("latency p99", 900.0, 0.97)),
)


def failed(serving: Serving, verdict: Verdict = ODDS) -> str:
    release = serving.do(serving.world.start()).order.id
    said = sentence(verdict, target="catalog", canary="v2", stable="v1")
    serving.do(serving.world.note(release, "step_started", Change(state=State.STEPPING), text="step 1 began"))
    change = Change(state=State.DONE, outcome=Outcome.ROLLED_BACK, reason=said, verdict=verdict)
    serving.do(serving.world.note(release, "rolled_back", change, text=said))
    return release


def test_the_sentence_is_the_one_of_the_api(serving: Serving, capsys: Capture) -> None:
    """First the outcome with its reason, then the odds, then the journal."""
    release = failed(serving)

    assert run(["explain", release]) == 0

    lines = capsys.readouterr().out.splitlines()
    reason = serving.do(serving.api().call("GET", f"/v1/releases/{release}"))["reason"]
    assert lines[0] == f"catalog v1 -> v2: rolled back: {reason}"
    assert "odds 640 to 1 against a tolerable canary" in lines[0]
    assert "odds against a tolerable canary: 640 to 1" in lines
    assert [line.split()[1] for line in lines if line[:2].isdigit()] == [
        "ordered",
        "step_started",
        "rolled_back",
    ]


def test_several_metrics_are_told_apart_and_an_instance_is_named(serving: Serving, capsys: Capture) -> None:
    """The sentence stays first; then what the odds are made of. The API has both the words and the numbers."""
    release = failed(serving, SLOW)

    assert run(["explain", release]) == 0

    lines = capsys.readouterr().out.splitlines()
    verdict = serving.do(serving.api().call("GET", f"/v1/releases/{release}"))["verdict"]
    assert "catalog v2 took longer than 250 ms in 30 of 40 requests" in lines[0]
    assert "latency p99 makes 97 % of these odds, errors 3 %" in lines[1:]
    assert "blamed instance: 10.0.0.7:80" in lines
    assert verdict["attribution"] in lines
    assert verdict["numbers"]["parts"][1] == {"metric": "latency p99", "odds": 900.0, "part": 0.97}
    assert (verdict["numbers"]["metric"], verdict["numbers"]["slower_than_s"]) == ("latency p99", 0.25)


def test_a_release_that_runs_is_explained_at_once(serving: Serving, capsys: Capture) -> None:
    """Nothing is followed: what is in the journal now is printed, and the command ends."""
    release = serving.do(serving.world.start()).order.id
    serving.do(serving.world.note(release, "step_started", Change(state=State.STEPPING)))

    assert run(["explain", release]) == 0

    assert "step_started" in capsys.readouterr().out


def test_for_programs_it_is_the_release_and_its_events(serving: Serving, capsys: Capture) -> None:
    """One JSON object."""
    release = failed(serving)

    assert run(["explain", release, "--output", "json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["release"]["verdict"]["numbers"]["odds"] == 640.0
    assert [one["kind"] for one in found["events"]] == ["ordered", "step_started", "rolled_back"]


def test_an_unknown_release_is_one_line(serving: Serving, capsys: Capture) -> None:
    """The controller's refusal."""
    assert run(["explain", "rel-none"]) == 1

    assert capsys.readouterr().err.startswith("serinus: ")
