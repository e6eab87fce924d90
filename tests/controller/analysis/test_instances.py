"""One bad instance is not a bad version; and unlike instances widen what is tolerable."""

from __future__ import annotations

from dataclasses import replace

from pydantic import TypeAdapter

from controller.analysis import instances
from controller.analysis.beginning import begin
from controller.analysis.streams import whole
from controller.model.evidence import Without
from controller.model.look import Look, SourceState
from controller.model.metric import Metric, MetricKind
from controller.model.plan import Policy
from controller.model.share import BasisPoints
from controller.model.start import Luck, Start
from controller.model.verdict import Decision, Ground
from tests.controller.analysis.looking import Pair, arm, judged, look

POLICY = Policy("p", warmup_s=0, metrics=(Metric(MetricKind.ERRORS),))
FRESH = begin(POLICY, Start(), BasisPoints(4000))
STABLE: list[Pair] = [(100, 0)] * 6


def looks(canary: list[Pair], *, seconds: int = 30, begin_s: int = 0) -> list[Look]:
    """Six clean stable instances beside these of the canary."""
    return [
        look(t, arm(t, STABLE, names="s"), arm(t, canary, names="c")) for t in range(begin_s, seconds + 1)
    ]


def test_one_bad_instance_of_four_is_named_and_not_rolled_back() -> None:
    """Odds against the whole arm are sky-high, but vanish without that one: hold, and say which."""
    evidence, verdict = judged(POLICY, FRESH, looks([(100, 0), (100, 0), (100, 30), (100, 0)]))

    assert (verdict.decision, verdict.ground) == (Decision.HOLD, Ground.ONE_BAD_INSTANCE)
    assert (verdict.instance, evidence.crossed, evidence.rest_crossed) == ("c2", True, False)
    assert verdict.odds is not None
    assert verdict.odds > 1e6


def test_two_bad_instances_of_four_fail_the_version() -> None:
    """Without either of them the rest is still bad."""
    _, verdict = judged(POLICY, FRESH, looks([(100, 30), (100, 0), (100, 30), (100, 0)]))

    assert (verdict.decision, verdict.ground) == (Decision.FAIL, Ground.ODDS)


def test_a_single_instance_is_the_version() -> None:
    """With one instance there is nobody to agree."""
    _, verdict = judged(POLICY, FRESH, looks([(100, 30)]))

    assert verdict.decision is Decision.FAIL


def test_a_version_that_is_bad_everywhere_is_failed_as_fast() -> None:
    """Agreement of the rest costs at most a look where all instances fail alike."""
    alone = next(n for n in range(1, 30) if _fails(looks([(400, 20)], seconds=n)))
    apart = next(n for n in range(1, 30) if _fails(looks([(100, 5)] * 4, seconds=n)))

    assert apart <= alone + 1


def _fails(told: list[Look]) -> bool:
    return judged(POLICY, FRESH, told)[1].decision is Decision.FAIL


def test_when_the_bad_instance_is_gone_the_rest_is_proved_anew() -> None:
    """Replaced by a good one, the step is certified on what the rest serves from then on."""
    evidence, blamed = judged(POLICY, FRESH, looks([(100, 0), (100, 0), (100, 30), (100, 0)], seconds=10))
    assert blamed.ground is Ground.ONE_BAD_INSTANCE
    last = looks([(100, 0), (100, 0), (100, 30), (100, 0)], seconds=10)[-1]
    later = []
    for t in range(1, 40):
        kept = tuple(one for one in last.canary.instances if one.id != "c2")
        served = tuple(
            replace(one, total=one.total + 100 * t) for one in (*kept, replace(kept[0], id="c9", total=0))
        )
        canary = replace(last.canary, total=last.canary.total + 400 * t, instances=served)
        later.append(look(10 + t, arm(10 + t, STABLE, names="s"), canary))
    evidence, verdict = judged(POLICY, evidence, later)

    assert (verdict.decision, verdict.instance) == (Decision.PASS, "")
    assert not evidence.rest_crossed


def test_a_source_that_is_down_says_nothing_of_instances() -> None:
    """A look without counters neither clears nor blames an instance."""
    bad = looks([(100, 0), (100, 0), (100, 30), (100, 0)], seconds=10)
    evidence, _ = judged(POLICY, FRESH, bad)
    blind = look(11, arm(0, [(0, 0)]), arm(0, [(0, 0)]), source=SourceState.DOWN)
    after, verdict = judged(POLICY, evidence, [blind])

    assert (after.blamed, verdict.ground) == ("c2", Ground.SOURCE_DOWN)


def test_an_instance_that_comes_later_begins_with_the_odds_of_the_others() -> None:
    """What the others did before it came is also what they did without it."""
    evidence, _ = judged(POLICY, FRESH, looks([(100, 1), (100, 1)], seconds=20))
    more = arm(21, [(100, 1), (100, 1)], names="c")
    joined = replace(
        more, instances=(*more.instances, replace(more.instances[0], id="new", total=0, failed=0))
    )
    after, _ = judged(POLICY, evidence, [look(21, arm(21, STABLE, names="s"), joined)])

    new = next(one for one in after.without if one.instance == "new")
    assert new.wealth.parts == after.streams[0].odds.wealth.parts


def test_unlike_instances_widen_the_margin_and_raise_the_bar() -> None:
    """Luck makes a ratio of it that shrinks with more instances, and takes half of alpha."""
    start = Start(luck=Luck(tau=0.3, degrees=11), steps=4)
    few = looks([(100, 0)] * 2)[-1]
    many = looks([(100, 0)] * 6)[-1]

    assert instances.margin(POLICY, Start(), few) == POLICY.tolerance.tolerable
    assert instances.margin(POLICY, start, few).rho > instances.margin(POLICY, start, many).rho > 1.5
    assert instances.margin(POLICY, Start(luck=Luck(9, 1)), few).rho == instances.WIDEST
    assert (instances.bar(POLICY, Start()), instances.bar(POLICY, start)) == (100, 200)


def test_many_instances_are_bounded() -> None:
    """32 are kept apart, each in at most 400 bytes; the rest is judged with them."""
    evidence, verdict = judged(POLICY, FRESH, looks([(20, 1)] * 50, seconds=60))

    adapter = TypeAdapter(Without)
    assert len(evidence.without) == instances.MOST
    assert max(len(adapter.dump_json(one)) for one in evidence.without) <= 400
    assert verdict.decision is Decision.FAIL


def test_the_warm_up_of_instances_does_not_count() -> None:
    """What each instance failed in the warm-up is not held against the rest later."""
    policy = replace(POLICY, warmup_s=5)
    told = []
    for t in range(31):
        failed = 30 * min(t, 5)
        bad = replace(arm(t, [(100, 0)] * 4, names="c"), failed=4 * failed)
        served = tuple(replace(one, failed=failed) for one in bad.instances)
        told.append(look(t, arm(t, STABLE, names="s"), replace(bad, instances=served)))
    evidence, verdict = judged(policy, begin(policy, Start()), told)

    assert verdict.decision is Decision.PASS
    assert all(one.wealth.total <= 1 for one in evidence.without)


def test_a_ceiling_beside_the_errors_leaves_the_agreement_of_the_rest() -> None:
    """What the rest makes of the odds is weighed as the whole is, with the ceiling's part beside it."""
    policy = replace(POLICY, ceiling=0.5)
    evidence, _ = judged(
        policy, begin(policy, Start(), BasisPoints(4000)), looks([(100, 2), (100, 4)], seconds=30)
    )
    worst = min(evidence.without, key=lambda one: one.wealth.total)
    rich = replace(worst.wealth, parts=tuple(30.0 / len(worst.wealth.parts) for _ in worst.wealth.parts))
    errors = evidence.streams[0]
    richer = replace(errors.odds.wealth, parts=tuple(200.0 / len(rich.parts) for _ in rich.parts))
    staged = replace(
        evidence,
        crossed=False,
        rest_crossed=False,
        without=tuple(replace(one, wealth=rich) for one in evidence.without),
        streams=(replace(errors, odds=replace(errors.odds, wealth=richer)),),
    )
    after = instances.crossed(policy, staged, looks([(100, 2), (100, 4)])[-1], whole(staged))

    assert (after.crossed, after.rest_crossed, after.blamed) == (True, True, "")


def test_an_instance_that_is_away_in_the_warm_up_keeps_its_mark() -> None:
    """Back after the warm-up, it is not charged again with what it served before: the rest is bet on at once."""
    policy = replace(POLICY, warmup_s=3)
    both = looks([(100, 0), (100, 50)], seconds=2)
    c0, c1 = both[-1].canary.instances
    stable = arm(3, STABLE, names="s")
    away = replace(both[-1].canary, total=500, instances=(replace(c0, total=300),))
    back = replace(both[-1].canary, total=600, instances=(replace(c0, total=400), c1))
    told = [*both, look(3, stable, away), look(4, arm(4, STABLE, names="s"), back)]
    evidence, _ = judged(policy, begin(policy, Start()), told)

    returned = next(one for one in evidence.without if one.instance == "c1")
    assert returned.wealth.total < 1
