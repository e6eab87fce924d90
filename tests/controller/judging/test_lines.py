"""Recorded looks as lines: what is written is what is read, and damage stays where it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.judging.lines import LONGEST_LINE, heading_line, look_line, read
from controller.model.evidence import Evidence
from controller.model.look import Arm, Exceedance, Instance, Look, SourceState
from controller.model.start import Start
from tests.controller.judging.judging_world import PLAN, POLICY, order

COUNTS = st.integers(0, 2**40)
ARMS = st.builds(
    Arm,
    total=COUNTS,
    failed=COUNTS,
    over=st.none() | st.builds(Exceedance, n=COUNTS, counts=st.lists(COUNTS, max_size=3).map(tuple)),
    in_flight=COUNTS,
    ready=st.booleans(),
    restarts=st.none() | COUNTS,
    instances=st.lists(
        st.builds(Instance, id=st.text(max_size=9), total=COUNTS, ready=st.none() | st.booleans()), max_size=2
    ).map(tuple),
)
LOOKS = st.builds(
    Look,
    id=st.integers(1, 10**6),
    at_s=st.floats(0, 1e9),
    source=st.sampled_from(SourceState),
    generation=st.text(max_size=9),
    stable=ARMS,
    canary=ARMS,
    skew_s=st.floats(0, 1e6),
)


def a_look(number: int) -> Look:
    return Look(number, float(number), SourceState.OK, "g", Arm(10 * number), Arm(number))


@given(look=LOOKS, step=st.integers(0, 1), is_open=st.booleans())
def test_a_look_is_read_as_it_was_written(look: Look, step: int, is_open: bool) -> None:
    """Every field survives, also those that are left out because they have their default."""
    told = order(step, is_open=is_open)

    found = read([heading_line(told), look_line(told, look)])

    assert (found.looks[0].look, found.looks[0].step, found.looks[0].is_open) == (look, step, is_open)
    assert found.damaged == 0


def test_the_heading_says_how_it_was_to_be_judged() -> None:
    """Target, versions, plan, policy, and the prior that the judge began with."""
    told = order(evidence=Evidence(start=Start(prior=0.02, plan_s=60.0)))

    heading = read([heading_line(told), look_line(told, a_look(1))]).heading

    assert (heading.release, heading.target, heading.stable, heading.version) == (
        "rel-1",
        "local.catalog",
        "v1",
        "v2",
    )
    assert (heading.plan, heading.policy, heading.start.prior, heading.start.plan_s) == (
        PLAN,
        POLICY,
        0.02,
        60.0,
    )


def test_looks_that_were_lost_with_their_judge_are_judged_once() -> None:
    """The next judge goes on from its checkpoint: what it looked at again replaces what came after the checkpoint."""
    told = order()
    lines = [heading_line(told), *(look_line(told, a_look(number)) for number in (1, 2, 3, 4, 3, 4, 5))]

    found = read(lines)

    assert [one.look.id for one in found.looks] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"[]",
        b'{"look": 1}',
        b'{"step": 7, ' + look_line(order(), a_look(3))[1:],
        look_line(order(), a_look(3)).replace(b"3.0", b"NaN"),
        look_line(order(), a_look(3))[:40],
        b"\xff\xfe",
        b"{" * 5000,
        b" " * (LONGEST_LINE + 1),
    ],
)
def test_a_damaged_line_is_left_out_and_counted(line: bytes) -> None:
    """Half lines, other documents, steps that do not exist, no numbers: the rest is read."""
    told = order()

    found = read([heading_line(told), look_line(told, a_look(1)), line, look_line(told, a_look(2))])

    assert ([one.look.id for one in found.looks], found.damaged) == ([1, 2], 1)


@pytest.mark.parametrize("lines", [[], [b"{}"], [look_line(order(), a_look(1))], [heading_line(order())]])
def test_what_is_no_recording_is_refused(lines: list[bytes]) -> None:
    """Without a heading or without a look there is nothing to judge."""
    with pytest.raises(InvalidInput):
        read(lines)
