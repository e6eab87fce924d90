"""What a release remembers, and how answers move it, without Temporal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import CommandRefused
from controller.model.evidence import Evidence, StepReport
from controller.model.lease import ClosureKind
from controller.model.machine import Happening, Phase, Task
from controller.model.plan import Fallback, Policy
from controller.model.release import CommandKind, Outcome
from tests.workflows.orders import FAIL, a_command, an_order, failed, passed, undecided
from workflows.messages import Activity, Answer, CloseErrand, Ending, Judged, JudgeErrand, Ledger, Retirement
from workflows.story import FINAL, Story, errand, given_up, learned, told
from workflows.story import failed as broken


def stepping(
    *, steps: int = 3, step: int = 0, gate: int | None = None, policy: Policy | None = None
) -> Story:
    """A release in the middle of a step."""
    story = Story(an_order(steps=steps, gate=gate, policy=policy))
    return replace(story, at=replace(story.at, phase=Phase.STEPPING, step=step))


def judged(story: Story, report: StepReport, ledger: Ledger = Ledger.WRITTEN) -> Story:
    """The story after the judge of its present step has answered."""
    _, sent, _ = errand(story)
    return learned(story, sent, Judged(report, ledger), 10.0)


def test_a_pass_of_a_step_that_was_left_does_not_count_for_the_next() -> None:
    """A judge that answers late speaks about its own step only."""
    story = stepping()
    _, sent, _ = errand(story)
    story = told(story, a_command(CommandKind.PROMOTE), 9.0)

    after = learned(story, sent, Judged(passed()), 10.0)

    assert after.at.step == 1
    assert after.task is Task.HOLD_STEP


def test_a_fail_of_a_step_that_was_left_counts() -> None:
    """Whatever step it was about, the judge has closed the release."""
    story = stepping()
    _, sent, _ = errand(story)
    story = told(story, a_command(CommandKind.PROMOTE), 9.0)

    after = learned(story, sent, Judged(failed()), 10.0)

    assert after.task is Task.CLOSE


def test_a_judge_that_never_looked_leaves_the_evidence_of_the_step_before() -> None:
    """The next judge must not take the old step's time for its own."""
    story = judged(stepping(), passed())
    _, sent, _ = errand(story)
    interrupted = StepReport(Happening.INTERRUPTED, Evidence())

    after = learned(story, sent, Judged(interrupted, has_looked=False), 10.0)
    _, next_sent, _ = errand(after)

    assert isinstance(next_sent, JudgeErrand)
    assert (next_sent.step.evidence, next_sent.step.is_continued) == (passed().evidence, False)


def test_the_first_facts_stand() -> None:
    """The judge knows best when it closed; the confirmation later only fills gaps."""
    story = judged(stepping(), failed())
    _, sent, _ = errand(story)

    story = learned(
        story, sent, Answer(Happening.CLOSED, closure=ClosureKind.FAILED, closed_at=9_999.0), 11.0
    )
    _, ending, _ = errand(story)

    assert isinstance(ending, Ending)
    assert ending.facts == {"verdict_at": 5_000.0, "closed_at": 5_000.25}


@pytest.mark.parametrize(
    ("report", "policy", "kind"),
    [
        (failed(), None, ClosureKind.FAILED),
        (undecided(), Policy("p", on_no_data=Fallback.ROLLBACK), ClosureKind.ABORTED),
    ],
)
def test_only_a_fail_is_closed_as_failed(
    report: StepReport, policy: Policy | None, kind: ClosureKind
) -> None:
    """A rollback that no verdict stands behind is not blamed on the canary."""
    story = judged(stepping(policy=policy), report)

    activity, sent, _ = errand(story)

    assert activity is Activity.CLOSE
    assert isinstance(sent, CloseErrand)
    assert sent.kind is kind


def test_the_loser_is_retired() -> None:
    """The canary after a rollback; the replaced stable version after a promotion."""
    at = replace(stepping().at, phase=Phase.RETIRING)
    lost = replace(stepping(), at=replace(at, outcome=Outcome.ROLLED_BACK))
    won = replace(stepping(), at=replace(at, outcome=Outcome.PROMOTED))

    _, of_lost, _ = errand(lost)
    _, of_won, _ = errand(won)

    assert isinstance(of_lost, Retirement)
    assert isinstance(of_won, Retirement)
    assert (of_lost.version, of_lost.is_replaced) == ("v2", False)
    assert (of_won.version, of_won.is_replaced) == ("v1", True)


def test_a_line_is_owed_until_an_activity_wrote_it() -> None:
    """Only the lines that an activity was given are crossed off, and only when it wrote them."""
    story = told(stepping(), a_command(CommandKind.PAUSE), 9.0)
    _, sent, _ = errand(story)
    story = told(story, a_command(CommandKind.RESUME), 9.5)
    interrupted = StepReport(Happening.INTERRUPTED, Evidence(looks=1))

    owed = learned(story, sent, Judged(interrupted, Ledger.OWED), 10.0)
    written = learned(story, sent, Judged(interrupted), 10.0)

    assert [note.kind for note in owed.notes] == ["paused", "resumed"]
    assert [note.kind for note in written.notes] == ["resumed"]


def test_a_defect_is_not_an_event_of_the_closing() -> None:
    """Phases that must succeed have no answer for an error that cannot be helped."""
    story = given_up(stepping(), Outcome.ABORTED, "why", 9.0)

    assert broken(story, "no", 10.0) is None


def test_giving_up_never_changes_an_outcome_that_stands() -> None:
    """What is concluded stays concluded."""
    for phase in FINAL:
        at = replace(stepping().at, phase=phase, outcome=Outcome.PROMOTED)
        story = replace(stepping(), at=at)

        assert given_up(story, Outcome.ABORTED, "why", 9.0) == story


MOVES = st.lists(
    st.one_of(
        st.sampled_from([CommandKind.PAUSE, CommandKind.RESUME, CommandKind.PROMOTE, CommandKind.ABORT]),
        st.sampled_from(list(Happening)),
        st.sampled_from(list(ClosureKind)),
        st.sampled_from(list(Ledger)),
    ),
    max_size=25,
)


def played(moves: list[object], gate: int | None) -> tuple[Story, list[str]]:
    """Play moves against a story; returns it with the ids of all lines it ever had."""
    story, lines = Story(an_order(steps=2, gate=gate)), set[tuple[str, int]]()
    for at, move in enumerate(moves):
        if story.task is Task.NOTHING:
            break
        _, sent, _ = errand(story)
        if isinstance(move, CommandKind):
            try:
                story = told(story, a_command(move), float(at))
            except CommandRefused:
                continue
        else:
            story = learned(story, sent, _answer(story, move), float(at))
        lines |= {(note.kind, note.n) for note in story.notes}
    return story, [f"{kind}:{n}" for kind, n in lines]


def _answer(story: Story, move: object) -> Answer | Judged:
    kind = (
        move
        if isinstance(move, Happening)
        else Happening.CLOSED
        if isinstance(move, ClosureKind)
        else Happening.WELL
    )
    closure = (
        move if isinstance(move, ClosureKind) else ClosureKind.ABORTED if kind is Happening.CLOSED else None
    )
    ledger = move if isinstance(move, Ledger) else Ledger.WRITTEN
    if story.at.phase is Phase.STEPPING:
        verdict = FAIL if kind is Happening.STEP_FAILED else None
        return Judged(StepReport(kind, Evidence(looks=1), verdict, "why", closure), ledger)
    return Answer(kind, "why", ledger, closure)


@settings(max_examples=150)
@given(moves=MOVES, gate=st.sampled_from([None, 0, 1]))
def test_whatever_happened_an_abort_is_followed_by_the_closure(moves: list[object], gate: int | None) -> None:
    """From every place that a story can reach, an abort either closes next or comes after the outcome."""
    story, _ = played(moves, gate)

    try:
        story = told(story, a_command(CommandKind.ABORT), 99.0)
    except CommandRefused:
        assert story.at.phase in FINAL
    else:
        assert story.task is Task.CLOSE


@settings(max_examples=150)
@given(moves=MOVES, gate=st.sampled_from([None, 0, 1]))
def test_every_story_ends_when_everything_goes_well(moves: list[object], gate: int | None) -> None:
    """However it got there, a release is over after a few answers, with an outcome unless the ledger disowned it."""
    story, _ = played(moves, gate)
    good = {Phase.STEPPING: Happening.STEP_FAILED, Phase.CLOSING: Happening.CLOSED}

    for _ in range(12):
        if story.task is Task.NOTHING:
            break
        _, sent, _ = errand(story)
        story = learned(story, sent, _answer(story, good.get(story.at.phase, Happening.WELL)), 99.0)

    assert story.at.phase is Phase.DONE
    assert story.at.outcome is not None or "ledger" in story.at.reason
