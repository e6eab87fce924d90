"""The decision: what counts, what acts, and what never does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.analysis.counting import BLOCKS_IN_RAIL, total_of
from controller.analysis.engine import begin_step, judge
from controller.model.evidence import Evidence
from controller.model.look import Arm, Look, SourceState
from controller.model.plan import JudgeKind, Policy, Step
from controller.model.share import BasisPoints
from controller.model.verdict import Decision, Ground, Verdict

POLICY = Policy("p", judge=JudgeKind.THRESHOLD, max_error_rate=0.05, min_requests=50, warmup_s=0)


def look(
    at_s: float,
    canary: tuple[int, int],
    stable: tuple[int, int] = (0, 0),
    *,
    source: SourceState = SourceState.OK,
    generation: str = "g1",
    ready: bool = True,
    restarts: int | None = None,
) -> Look:
    return Look(
        id=int(at_s),
        at_s=at_s,
        source=source,
        generation=generation,
        stable=Arm(*stable),
        canary=Arm(*canary, ready=ready, restarts=restarts),
    )


def judged(
    *looks: Look, policy: Policy = POLICY, evidence: Evidence | None = None
) -> tuple[Evidence, Verdict]:
    evidence = evidence or Evidence()
    for each in looks:
        evidence, verdict = judge(policy, evidence, each)
    return evidence, verdict


def test_no_traffic_is_neither_good_nor_bad() -> None:
    """Without a request there is a HOLD that says so."""
    _, verdict = judged(*(look(t, (0, 0), (100 * t, 0)) for t in range(60)))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.NO_TRAFFIC)


def test_what_was_counted_before_the_first_look_does_not_count() -> None:
    """The first look only sets the mark: an old failure of the version is not this release's."""
    _, verdict = judged(look(0, (1000, 1000)), look(1, (1100, 1000)))

    assert (verdict.decision, verdict.canary_total, verdict.canary_failed) == (Decision.PASS, 100, 0)


def test_an_error_rate_above_the_limit_fails() -> None:
    """Above the limit, with enough requests."""
    _, verdict = judged(look(0, (0, 0)), look(1, (60, 4), (540, 0)))

    assert (verdict.decision, verdict.ground) == (Decision.FAIL, Ground.ERROR_RATE)
    assert (verdict.canary_total, verdict.canary_failed, verdict.stable_total) == (60, 4, 540)


def test_an_error_rate_at_the_limit_passes() -> None:
    """The limit itself is allowed."""
    _, verdict = judged(look(0, (0, 0)), look(1, (60, 3)))

    assert verdict.decision is Decision.PASS


def test_too_few_requests_hold() -> None:
    """Below min_requests nothing is decided by the threshold."""
    _, verdict = judged(look(0, (0, 0)), look(1, (49, 20)))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.COLLECTING)


def test_a_stable_that_fails_as_well_is_not_blamed_on_the_canary() -> None:
    """When both arms break the limit the release holds."""
    _, verdict = judged(look(0, (0, 0)), look(1, (60, 6), (600, 60)))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.STABLE_FAILING_TOO)


def test_a_service_that_burns_as_a_whole_keeps_its_share() -> None:
    """With a fifth of both arms failing nothing passes and nobody is blamed."""
    _, verdict = judged(look(0, (0, 0)), look(1, (60, 12), (600, 120)))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.SERVICE_BURNING)


def test_the_warm_up_counts_for_rails_only() -> None:
    """In the warm-up the threshold is silent and the rail is not; afterwards its counts are gone."""
    policy = replace(POLICY, warmup_s=5)
    evidence, verdict = judged(look(0, (0, 0)), look(1, (60, 20)), policy=policy)
    assert verdict.ground is Ground.WARMING_UP

    _, rail = judged(look(2, (120, 80)), policy=policy, evidence=evidence)
    assert rail.ground is Ground.RAIL_FAILING

    _, later = judged(*(look(t, (60 * t, 20)) for t in range(2, 8)), policy=policy, evidence=evidence)
    assert (later.decision, later.canary_failed, later.canary_total) == (Decision.PASS, 0, 120)


def test_the_rail_needs_ten_requests_and_half_of_them_failing() -> None:
    """5 of 10 act, 4 of 10 and 9 of 9 do not."""
    assert judged(look(0, (0, 0)), look(1, (10, 5)))[1].ground is Ground.RAIL_FAILING
    assert judged(look(0, (0, 0)), look(1, (10, 4)))[1].ground is Ground.COLLECTING
    assert judged(look(0, (0, 0)), look(1, (9, 9)))[1].ground is Ground.COLLECTING


def test_the_rail_does_not_act_on_a_common_burst() -> None:
    """When stable fails as well, the canary is not to blame, however bad it looks."""
    assert judged(look(0, (0, 0)), look(1, (100, 80), (900, 700)))[1].ground is not Ground.RAIL_FAILING
    assert judged(look(0, (0, 0)), look(1, (100, 80), (900, 100)))[1].ground is Ground.RAIL_FAILING


def test_the_rail_looks_back_ten_seconds_only() -> None:
    """Failures older than the window do not add up with later ones."""
    spread = [look(t, (t // 2, t // 2)) for t in range(0, 60, 2)]

    _, verdict = judged(*spread)

    assert verdict.ground is Ground.COLLECTING


def test_a_candidate_that_restarts_fails() -> None:
    """A restart after the first look fails; restarts before it do not."""
    assert judged(look(0, (0, 0), restarts=3), look(1, (0, 0), restarts=3))[1].decision is Decision.HOLD
    assert (
        judged(look(0, (0, 0), restarts=3), look(1, (0, 0), restarts=4))[1].ground
        is Ground.CANDIDATE_RESTARTED
    )


def test_a_candidate_that_is_not_ready_twice_in_a_row_fails() -> None:
    """One lost probe is forgiven."""
    flapping = (look(0, (0, 0)), look(1, (0, 0), ready=False), look(2, (0, 0)), look(3, (0, 0), ready=False))

    assert judged(*flapping)[1].decision is Decision.HOLD
    assert judged(*flapping, look(4, (0, 0), ready=False))[1].ground is Ground.CANDIDATE_NOT_READY


def test_a_dead_candidate_fails_also_while_the_source_is_down() -> None:
    """What the workloads know does not need the counters."""
    down = [look(t, (0, 0), source=SourceState.DOWN, ready=False) for t in range(3)]

    assert judged(*down)[1].ground is Ground.CANDIDATE_NOT_READY


@pytest.mark.parametrize("state", [SourceState.DOWN, SourceState.STALE])
def test_a_source_that_is_not_well_holds_and_counts_nothing(state: SourceState) -> None:
    """No evidence is not evidence: neither PASS nor FAIL, and time goes on."""
    evidence, verdict = judged(look(0, (0, 0)), look(1, (500, 500), source=state))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.SOURCE_DOWN)
    assert evidence.step_s == 1.0


def test_a_new_generation_counts_from_zero() -> None:
    """A counter that was restarted loses what it had and nothing else."""
    _, verdict = judged(look(0, (900, 0)), look(1, (930, 0)), look(2, (25, 0), generation="g2"))

    assert verdict.canary_total == 55


def test_a_gap_counts_all_its_requests_and_five_seconds() -> None:
    """What happened while nobody judged is one block; nobody judged for a minute."""
    evidence, verdict = judged(look(0, (0, 0)), look(60, (600, 0)))

    assert (verdict.canary_total, evidence.step_s) == (600, 5.0)


def test_another_hosts_clock_moves_no_time_backwards() -> None:
    """A judge on another host begins with another clock."""
    evidence, _ = judged(look(1000, (0, 0)), look(3, (10, 0)), look(4, (20, 0)))

    assert evidence.step_s == 1.0


def test_a_fail_latches() -> None:
    """No later look takes a FAIL back."""
    evidence, first = judged(look(0, (0, 0)), look(1, (100, 50)))

    _, later = judged(*(look(t, (100 + 1000 * t, 50)) for t in range(2, 20)), evidence=evidence)

    assert later == first


def test_a_fault_after_a_long_good_time_is_not_diluted() -> None:
    """An hour of good traffic does not hide a fault: it is seen within about a thousand requests."""
    evidence, _ = judged(*(look(t, (100 * t, 0)) for t in range(3600)))
    total = 100 * 3599

    late = [look(3599 + t, (total + 100 * t, 20 * t)) for t in range(1, 12)]
    _, verdict = judged(*late, evidence=evidence)

    assert verdict.ground is Ground.ERROR_RATE


def test_the_next_step_counts_anew_and_remembers_where() -> None:
    """Counts of a step are its own; the mark and the rails are the release's."""
    evidence, _ = judged(look(0, (0, 0)), look(1, (100, 3)))

    _, verdict = judged(look(2, (160, 3)), evidence=begin_step(evidence, Step(BasisPoints(1000))))

    assert (verdict.canary_total, verdict.canary_failed) == (60, 0)


counters = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.floats(0, 30)),
    min_size=2,
    max_size=40,
)


def looks_of(steps: list[tuple[int, int, int, float]]) -> list[Look]:
    at_s, total, failed, stable, found = 0.0, 0, 0, 0, []
    for more, bad, good, gap in steps:
        at_s, total, failed, stable = at_s + gap, total + more, failed + min(bad, more), stable + good
        found.append(look(at_s, (total, failed), (stable, 0)))
    return found


@given(steps=counters)
def test_the_memory_stays_small_and_its_numbers_add_up(steps: list[tuple[int, int, int, float]]) -> None:
    """Blocks are bounded, in order, and never count a request twice."""
    looks = looks_of(steps)
    evidence, verdict = judged(*looks)

    assert len(evidence.recent) <= BLOCKS_IN_RAIL + 1
    assert len(evidence.window) <= 2
    assert all(a.until_s <= b.from_s for a, b in pairwise(evidence.recent))
    counted = total_of(evidence.window).canary
    assert counted.total <= looks[-1].canary.total - looks[0].canary.total
    assert 0 <= verdict.canary_failed <= verdict.canary_total


@given(steps=counters, at=st.integers(0, 40))
def test_a_judge_can_be_replaced_after_any_look(steps: list[tuple[int, int, int, float]], at: int) -> None:
    """The evidence is complete: whoever goes on with it decides the same."""
    looks = looks_of(steps)
    evidence = Evidence()
    for each in looks[:at]:
        evidence, _ = judge(POLICY, evidence, each)
    copied = replace(evidence)

    for each in looks[at:]:
        evidence, first = judge(POLICY, evidence, each)
        copied, second = judge(POLICY, copied, each)
        assert first == second


@given(
    canary=st.tuples(st.integers(-5, 10**15), st.integers(-5, 10**15)),
    stable=st.tuples(st.integers(-5, 10**15), st.integers(-5, 10**15)),
    at_s=st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_lying_source_never_breaks_the_judge(
    canary: tuple[int, int], stable: tuple[int, int], at_s: float
) -> None:
    """Counters that fall, are negative, or fail more than they answered give a verdict with sane numbers."""
    _, verdict = judged(look(0, (100, 1)), look(at_s, canary, stable), look(2, (7, 9)))

    assert 0 <= verdict.canary_failed <= verdict.canary_total
