"""simulate, replay, plan and policy: commands that need no controller, and what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.cli.main import run
from controller.judging.lines import heading_line, look_line
from controller.model.evidence import StepOrder
from controller.model.look import Look
from controller.plans import ready
from controller.simulation import world
from controller.simulation.scene import Fault, Scene
from controller.simulation.study import seeded

Capture = pytest.CaptureFixture[str]

QUICK = ["--plan", "fast", "--policy", "fast", "--runs", "4", "--look-every", "2"]


@pytest.fixture
def looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recorded looks of a bad canary, in the state folder that the settings name."""
    monkeypatch.setenv("SERINUS_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("SERINUS_SETTINGS", raising=False)
    lines: list[bytes] = []

    def record(order: StepOrder, look: Look) -> None:
        lines.extend([look_line(order, look)] if lines else [heading_line(order), look_line(order, look)])

    scene = Scene(per_s=200, stable_rate=0.005, canary=Fault(0.2))
    world.run(scene, ready.plan("fast"), ready.policy("fast"), random=seeded(1, 0), record=record)
    file = tmp_path / "looks" / "sim-1.jsonl"
    file.parent.mkdir()
    file.write_bytes(b"".join(lines))
    return file


def test_simulate_says_how_often_and_how_soon(capsys: Capture) -> None:
    """Frequencies with their interval, delays, what users saw, and one reason as an example."""
    assert run(["simulate", *QUICK, "--canary-errors", "20"]) == 0

    out = capsys.readouterr().out
    assert "this canary is not tolerable" in out
    assert "4 of 4: 100.00 % (95 % sure: 39.76 to 100.00 %)" in out
    assert "from fault to rollback" in out
    assert "where they came               step 1: 4" in out
    assert "for example: simulated v2 failed" in out


def test_simulate_for_programs_is_its_seed(capsys: Capture) -> None:
    """The same options give the same object, with everything that was chosen in it."""
    arguments = ["simulate", *QUICK, "--seed", "9", "--burst", "10:4:30", "--output", "json"]

    assert run(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert run(arguments) == 0

    assert json.loads(capsys.readouterr().out) == first
    assert (first["seed"], first["plan"], first["is_tolerable"]) == (9, "fast", True)
    assert first["scene"]["bursts"] == [{"at_s": 10.0, "for_s": 4.0, "rate": 0.3}]
    assert first["promoted"]["count"] == 4


def test_simulate_takes_files(tmp_path: Path, capsys: Capture) -> None:
    """A plan and a policy of one's own."""
    plan, policy = tmp_path / "plan.yaml", tmp_path / "policy.yaml"
    plan.write_text("name: mine\nsteps: [{share: 50, hold_s: 5, deadline_s: 60}]\n")
    policy.write_text("name: careful\nwarmup_s: 0\n")

    code = run(
        ["simulate", "--plan", str(plan), "--policy", str(policy), "--runs", "2", "--canary-errors", "90"]
    )

    assert code == 0
    assert "plan mine, policy careful" in capsys.readouterr().out


def test_simulate_describes_latency_instances_and_what_breaks(capsys: Capture) -> None:
    """Every option reaches the scene in seconds and parts of one, and the answer stays one JSON object."""
    arguments = ["simulate", "--plan", "demo", "--policy", "demo", "--runs", "1", "--output", "json"]
    arguments += ["--latency-ms", "50", "--latency-sigma", "0.6", "--canary-slower", "1.5", "--pauses"]
    arguments += ["--canary-slow-part", "2", "--slow-ms", "500", "--canary-sigma", "0.7"]
    arguments += ["--instances", "4:2", "--unlike", "0.3", "--bad-instance", "30", "--generations", "2"]
    arguments += ["--group", "3", "--dark-after", "40", "--hang-after", "30", "--source-down", "5:2"]

    assert run(arguments) == 0

    found = json.loads(capsys.readouterr().out)
    scene = found["scene"]
    assert scene["latency"] == {"median_s": 0.05, "sigma": 0.6, "pauses": {"every_s": 20.0, "for_s": 0.2}}
    assert scene["canary"]["slowness"] == {"times": 1.5, "part": 0.02, "by_s": 0.5, "sigma": 0.7}
    assert (scene["canary"]["dark_after_s"], scene["canary"]["hangs_after_s"]) == (40.0, 30.0)
    assert scene["fleet"] == {"stable": 4, "canary": 2, "unlike": 0.3, "bad_rate": 0.3, "generations": 2}
    assert (scene["group"], scene["outages"]) == (3, [{"at_s": 5.0, "for_s": 2.0}])
    assert {"failed_by", "bad_instance", "dark", "burning", "waiting"} <= found.keys()


def test_simulate_says_what_the_rollbacks_stand_on_and_which_holds_it_met(capsys: Capture) -> None:
    """The metric of a slow canary; the hold of one bad instance."""
    slow = ["--latency-ms", "50", "--canary-slower", "2"]
    bad = ["--instances", "2:2", "--bad-instance", "60"]

    assert run(["simulate", *QUICK, *slow]) == 0
    told = capsys.readouterr().out
    assert run(["simulate", *QUICK, "--runs", "1", *bad]) == 0

    assert "what they stand on            latency p" in told
    assert "held: one bad instance        1 of 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--burst", "x"], "burst"),
        (["--source-down", "5"], "source_down"),
        (["--instances", "4"], "instances"),
        (["--instances", "0:4"], "instances"),
        (["--unlike", "0.3"], "instances"),
        (["--canary-slower", "2"], "latency_ms"),
        (["--latency-ms", "0"], "latency_ms"),
        (["--burst", "1:2:300"], "burst"),
        (["--rate", "nan"], "rate"),
        (["--look-every", "0"], "look_every"),
        (["--plan", "unknown"], "plan"),
        (["--policy", "missing.yaml"], "policy"),
    ],
)
def test_a_wrong_option_is_one_line(capsys: Capture, arguments: list[str], field: str) -> None:
    """The option is named, and nothing is simulated."""
    assert run(["simulate", *arguments]) == 1

    assert capsys.readouterr().err.startswith(f"serinus: {field}: ")


def test_replay_finds_a_release_by_its_id(looks: Path, capsys: Capture) -> None:
    """The id alone finds the file; the last line is the end with its reason."""
    assert run(["replay", "sim-1"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "judged by fast; here under fast" in lines[0]
    assert lines[-1].startswith("rolled back after ")
    assert "against a tolerable canary" in lines[-1]


def test_replay_under_another_policy_says_what_it_would_have_done(
    looks: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A threshold that needs many requests would still be undecided when the record ends."""
    policy = tmp_path / "slow.yaml"
    policy.write_text("name: slow\njudge: threshold\nmin_requests: 100000\n")

    assert run(["replay", str(looks), "--policy", str(policy)]) == 0

    assert "the record ends undecided after" in capsys.readouterr().out


def test_replay_for_programs_has_every_look(looks: Path, capsys: Capture) -> None:
    """Verdict and odds at each look."""
    assert run(["replay", str(looks), "--output", "json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["policy"]) == ("rolled_back", "fast")
    assert [one["look"] for one in found["looks"]] == list(range(1, len(found["looks"]) + 1))
    assert found["looks"][-1]["verdict"]["odds"] >= 100


def test_replay_says_what_is_missing(looks: Path, capsys: Capture) -> None:
    """A damaged line and a missing beginning are notes; a file that is not there is an error."""
    heading, _, *rest = looks.read_bytes().splitlines(keepends=True)
    looks.write_bytes(b"".join([heading, b"{half\n", *rest]))

    assert run(["replay", "sim-1"]) == 0
    assert run(["replay", "sim-2"]) == 1

    found = capsys.readouterr()
    assert "begins at look 2" in found.out
    assert "1 damaged lines are left out" in found.out
    assert found.err.startswith("serinus: FILE: ")


@pytest.mark.parametrize("kind", ["plan", "policy"])
def test_schema_prints_json(capsys: Capture, kind: str) -> None:
    """For editors and pipelines."""
    assert run([kind, "schema"]) == 0

    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False


def test_show_prints_what_can_be_sent(tmp_path: Path, capsys: Capture) -> None:
    """A ready-made plan in full, and a policy file with all its defaults."""
    policy = tmp_path / "p.yaml"
    policy.write_text("name: mine\n")

    assert run(["plan", "show", "fast"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert run(["policy", "show", str(policy)]) == 0

    assert [step["share"] for step in plan["steps"]] == [10, 50]
    assert json.loads(capsys.readouterr().out)["tolerance"]["alpha"] == 0.01


def test_show_says_what_a_plan_can_see_at_a_traffic(capsys: Capture) -> None:
    """A line a step: the fault that it sees, from which traffic on, and whether its requests come in time."""
    assert run(["plan", "show", "probe", "--rate", "100"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[1].split("  ")[0] == "0.1 %"
    assert "0.24 requests/s" in lines[1]
    assert [line.endswith("(too few before its deadline)") for line in lines] == [
        False,
        True,
        True,
        *[False] * 3,
    ]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("limits", "above the limit of 5 % in 4 measurements"),
        ("mann-whitney", "failing more than stable in a rank-sum test of 5 measurements"),
    ],
)
def test_the_judges_of_the_peers_are_simulated_by_name(policy: str, said: str, capsys: Capture) -> None:
    """Both ready-made ones play a bad canary, and their sentence is the example."""
    arguments = ["--policy", policy, "--runs", "2", "--look-every", "5", "--canary-errors", "20"]

    assert run(["simulate", *arguments]) == 0
    assert said in capsys.readouterr().out
    assert run(["policy", "show", policy]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == policy


def test_recorded_looks_are_replayed_by_a_judge_that_measures(
    looks: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The looks of any release can be judged by limits."""
    policy = tmp_path / "limits.yaml"
    policy.write_text("judge: threshold\nmin_requests: 10\nlimits:\n  interval_s: 1\n  failure_limit: 0\n")

    assert run(["replay", str(looks), "--policy", str(policy)]) == 0
    assert "above the limit of 5 % in 1 measurement" in capsys.readouterr().out
