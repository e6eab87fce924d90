"""The client commands as people and pipelines run them: what they print, and with which code they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.cli.main import run
from controller.model.look import History
from controller.model.machine import Phase, Position
from controller.model.release import Change, CommandKind, Outcome, State
from tests.controller.cli.serving import Serving
from tests.controller.releases.world import CATALOG, KEY, TOKEN

Capture = pytest.CaptureFixture[str]


def a_release(serving: Serving) -> str:
    """Return the id of a release in its first step."""
    release = serving.do(serving.world.start()).order.id
    serving.world.runner.put(KEY, Position(phase=Phase.STEPPING))
    serving.do(serving.world.note(release, "step_started", Change(state=State.STEPPING)))
    return release


def test_start_says_how_to_follow(serving: Serving, capsys: Capture) -> None:
    """A start prints the id and the next command, and ends with 0."""
    assert run(["release", "start", "catalog", "v2", "--plan", "demo"]) == 0

    order = serving.world.runner.orders[0]
    assert order.plan.name == "demo"
    assert f"serinus release watch {order.id}" in capsys.readouterr().out


def test_start_for_programs_prints_the_release(serving: Serving, capsys: Capture) -> None:
    """--output json prints one JSON object; the same --key is the same release."""
    arguments = ["release", "start", "catalog", "v2", "--output", "json", "--key", "k1"]

    assert run(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert run(arguments) == 0
    second = json.loads(capsys.readouterr().out)

    assert first["id"] == second["id"]
    assert len(serving.world.runner.orders) == 1


def test_start_says_what_the_plan_can_see(serving: Serving, capsys: Capture) -> None:
    """Where traffic is known, a number for each step stands before anything happens."""
    serving.world.keeper.known = History(window_s=3600, total=720_000, failed=720)

    assert run(["release", "start", "catalog", "v2"]) == 0

    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("its steps can see"))
    assert line.count("from 0.") == 3


def test_start_says_of_which_steps_nothing_is_known(
    serving: Serving, tmp_path: Path, capsys: Capture
) -> None:
    """A step for few has words instead of a number; with nothing but such steps the words are all there is."""
    serving.world.keeper.known = History(window_s=3600, total=720_000, failed=720)
    plan, few = tmp_path / "plan.yaml", 'steps: [{share: 100, matches: [{headers: {x-internal: "1"}}]}'
    said = []
    for steps in (f"{few}, {{share: 5}}]\n", f"{few}]\n"):
        plan.write_text(steps)
        assert run(["release", "start", "catalog", "v2", "--plan", str(plan)]) == 0
        out = capsys.readouterr().out.splitlines()
        said.append(next(one for one in out if one.startswith("its steps can see")))
        serving.do(serving.world.conclude(serving.world.runner.orders[-1].id, Outcome.ABORTED))

    assert said[0].startswith(
        "its steps can see a canary that fails: in an unknown part of the traffic, from 0."
    )
    assert said[1].endswith("that fails: in an unknown part of the traffic")


def test_start_reads_yaml(serving: Serving, tmp_path: Path) -> None:
    """A .yaml file is a policy of one's own."""
    (tmp_path / "policy.yaml").write_text("name: mine\ntolerance: {alpha: 0.001}\n")

    assert run(["release", "start", "catalog", "v2", "--policy", str(tmp_path / "policy.yaml")]) == 0

    policy = serving.world.runner.orders[0].policy
    assert (policy.name, policy.tolerance.alpha) == ("mine", 0.001)


def test_start_reads_a_plan_from_a_file(serving: Serving, tmp_path: Path, capsys: Capture) -> None:
    """A .json file is a plan of one's own; a broken one is refused with the option's name."""
    good, bad = tmp_path / "plan.json", tmp_path / "bad.json"
    good.write_text('{"name": "mine", "steps": [{"share": 7}]}')
    bad.write_text('{"steps": [{"share": NaN}]}')

    assert run(["release", "start", "catalog", "v2", "--plan", str(bad)]) == 1
    assert run(["release", "start", "catalog", "v2", "--plan", str(tmp_path / "none.json")]) == 1
    assert run(["release", "start", "catalog", "v2", "--plan", str(good)]) == 0

    assert [step.share for step in serving.world.runner.orders[0].plan.steps] == [700]
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("serinus: ") for line in lines] == [True, True]


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.PROMOTED, 0),
        (Outcome.ROLLED_BACK, 20),
        (Outcome.ABORTED, 21),
        (Outcome.FAILED, 30),
    ],
)
def test_watch_ends_with_the_outcomes_code(
    serving: Serving, capsys: Capture, outcome: Outcome, code: int
) -> None:
    """Each outcome has its exit code; the last line says it with the reason."""
    release = a_release(serving)
    serving.do(serving.world.conclude(release, outcome))

    assert run(["release", "watch", release]) == code

    out = capsys.readouterr().out
    assert f"{outcome.value.replace('_', ' ')}: because" in out.splitlines()[-1]
    assert "step_started" in out


def test_watch_for_programs_prints_one_object(serving: Serving, capsys: Capture) -> None:
    """With --output json stdout is the release, and the lines go to stderr."""
    release = a_release(serving)
    serving.do(serving.world.conclude(release, Outcome.ROLLED_BACK))

    assert run(["release", "watch", release, "--output", "json"]) == 20

    found = capsys.readouterr()
    assert json.loads(found.out)["outcome"] == "rolled_back"
    assert "step_started" in found.err


def test_watch_gives_up_after_its_time(serving: Serving, capsys: Capture) -> None:
    """--timeout ends with 124 while the release goes on."""
    release = a_release(serving)

    assert run(["release", "watch", release, "--timeout", "0.2"]) == 124

    assert "the release goes on" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["pause", "promote", "abort"])
def test_commands_reach_the_release(serving: Serving, command: str) -> None:
    """pause, promote and abort are taken, with the reason."""
    release = a_release(serving)

    assert run(["release", command, release, "--reason", "because I say so"]) == 0

    assert [(one.kind, one.reason) for one in serving.world.runner.told] == [
        (CommandKind(command), "because I say so")
    ]


def test_a_refused_command_is_one_line(serving: Serving, capsys: Capture) -> None:
    """A refusal names what is wrong, on stderr, without a traceback."""
    release = a_release(serving)

    assert run(["release", "resume", release]) == 1

    lines = capsys.readouterr().err.splitlines()
    assert lines == ["serinus: the release is not paused: resume does not apply"]


def test_a_wrong_field_is_named(serving: Serving, capsys: Capture) -> None:
    """What the API refuses is told with its field."""
    assert run(["release", "start", "catalog", "v9"]) == 1

    assert capsys.readouterr().err.startswith("serinus: version: target catalog has no such version")


@pytest.mark.parametrize(
    "arguments",
    [
        ["release"],
        ["release", "start"],
        ["release", "start", "catalog"],
        ["release", "fly", "x"],
        ["release", "watch", "x", "--timeout", "soon"],
        ["release", "watch", "x", "--timeout", "-1"],
        ["release", "list", "--limit", "0"],
        ["nonsense"],
        ["--nonsense"],
        ["release", "start", "catalog", "v2", "--output", "xml"],
    ],
)
def test_wrong_usage_is_64(arguments: list[str], capsys: Capture) -> None:
    """Whatever cannot be a command line ends with 64 and a line on stderr (or the help), before anything is asked."""
    assert run(arguments) == 64

    found = capsys.readouterr()
    assert found.err or found.out


def test_list_and_show_tell_where_releases_are(serving: Serving, capsys: Capture) -> None:
    """The list has every release; show has the reason and the links."""
    release = a_release(serving)
    serving.do(serving.world.conclude(release, Outcome.ROLLED_BACK))

    assert run(["release", "list", "--output", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert run(["release", "list", "--target", "shop", "--active"]) == 0
    assert release not in capsys.readouterr().out
    assert run(["release", "show", release]) == 0

    assert [one["id"] for one in listed["releases"]] == [release]
    assert "rolled back: because" in capsys.readouterr().out


def test_a_list_in_a_pipe_is_whole(serving: Serving, capsys: Capture) -> None:
    """Every row is one line with the whole id, however narrow the terminal: people copy it, programs cut it out."""
    release = a_release(serving)

    assert run(["release", "list"]) == 0

    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "TARGET", "VERSION", "STATE", "OUTCOME", "SHARE", "STARTED"]
    assert row.split()[0] == release
    assert row.endswith("Z")


def test_an_answer_to_a_command_does_not_claim_its_effect(serving: Serving, capsys: Capture) -> None:
    """The ledger follows the workflow a moment later: what is shown is what was seen last."""
    release = a_release(serving)

    assert run(["release", "pause", release]) == 0

    assert f"{release} takes pause; last seen: stepping" in capsys.readouterr().out


def test_text_from_outside_is_no_markup(serving: Serving, capsys: Capture) -> None:
    """A text that looks like the terminal library's markup is printed as it is."""
    release = a_release(serving)
    serving.do(serving.world.note(release, "noted", text="[bold red]not markup[/] [link=x]"))
    serving.do(serving.world.conclude(release, Outcome.ABORTED))

    run(["release", "watch", release])

    assert "[bold red]not markup[/] [link=x]" in capsys.readouterr().out


def test_targets_can_be_put_shown_and_deleted(serving: Serving, tmp_path: Path, capsys: Capture) -> None:
    """What `get` prints can be `put` again; after `delete` it is gone."""
    file = tmp_path / "catalog.json"

    assert run(["target", "get", "catalog"]) == 0
    file.write_text(capsys.readouterr().out)
    assert run(["target", "put", str(file)]) == 0
    assert run(["target", "list", "--output", "json"]) == 0
    listed = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert run(["target", "delete", "catalog"]) == 0
    assert run(["target", "get", "catalog"]) == 1

    assert [one["name"] for one in listed["targets"]] == ["catalog"]


def test_a_kept_stable_version_is_said(serving: Serving, tmp_path: Path, capsys: Capture) -> None:
    """A file with an old stable version does not move it, and the command says so; --move-stable moves it."""
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps({"name": "catalog", "stable": "v1", "versions": dict(CATALOG.versions)}))
    serving.do(serving.world.keeper.promote(KEY, "rel-1", "v2"))

    assert run(["target", "put", str(file)]) == 0
    kept = capsys.readouterr().out
    assert run(["target", "put", str(file), "--move-stable"]) == 0

    assert "note: stable stays v2" in kept
    assert "stable v1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"name": 5}', '{"name": "a", "name": "b"}', "x" * 70_000, '{"name": "../x"}']
)
def test_a_file_that_is_no_target_is_refused(
    serving: Serving, tmp_path: Path, capsys: Capture, content: str
) -> None:
    """Anything else in the file is one line on stderr."""
    file = tmp_path / "bad.json"
    file.write_text(content)

    assert run(["target", "put", str(file)]) == 1

    assert len(capsys.readouterr().err.splitlines()) == 1


def test_status_ends_with_1_when_a_part_is_unwell(serving: Serving, capsys: Capture) -> None:
    """All well is 0; a dead orchestrator is 1 and named."""
    assert run(["status"]) == 0
    assert "NOT WELL" not in capsys.readouterr().out
    serving.world.runner.is_down = True
    assert run(["status"]) == 1

    assert "orchestrator   NOT WELL: orchestrator_unavailable" in capsys.readouterr().out


def test_a_controller_that_is_away_is_one_line(serving: Serving, capsys: Capture) -> None:
    """Without a controller a command says where it looked and what to do, and ends with 1."""
    serving.down()

    assert run(["status"]) == 1

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert serving.url in lines[0]
    assert "serinus up" in lines[0]


def test_without_a_token_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """In a folder where nothing was started the way out is said, with the code of a wrong configuration."""
    monkeypatch.setenv("SERINUS_STATE_DIR", str(tmp_path / "nothing"))

    assert run(["release", "list"]) == 78

    assert "serinus up" in capsys.readouterr().err


def test_a_wrong_token_is_said_without_the_token(serving: Serving, capsys: Capture) -> None:
    """The token of another installation is refused, and neither token is printed."""
    (serving.folder / "token").write_text("another-token-of-another-place")

    assert run(["status"]) == 1

    found = capsys.readouterr().err
    assert "Bearer <token>" in found
    assert TOKEN not in found
    assert "another-token" not in found
