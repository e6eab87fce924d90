"""What the judge says, with the numbers it says it on.

The same `Verdict` stands in the router's bar, the workflow's history, the ledger, the API, the alert and the terminal;
`sentence` is the one place that turns it into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.model.look import SourceState


class Decision(StrEnum):
    """PASS: go on. FAIL: take it back. HOLD: not enough is known yet."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    HOLD = "hold"


class Ground(StrEnum):
    """Why; stable names, part of the API."""

    WITHIN_LIMIT = "within_limit"
    CERTIFIED = "certified"
    ODDS = "odds_against_canary"
    ERROR_RATE = "error_rate_above_limit"
    FAILURE_LIMIT = "failure_limit_passed"
    INCONCLUSIVE_LIMIT = "inconclusive_limit_passed"
    SHIFTED = "failing_part_shifted"
    NOT_SHIFTED = "failing_part_not_shifted"
    NOT_ENOUGH = "not_enough_measurements"
    RAIL_FAILING = "rail_failing"
    CANDIDATE_RESTARTED = "candidate_restarted"
    CANDIDATE_NOT_READY = "candidate_not_ready"
    CANDIDATE_HANGING = "candidate_hanging"
    STABLE_FAILING_TOO = "stable_failing_too"
    SERVICE_BURNING = "service_burning"
    ONE_BAD_INSTANCE = "one_bad_instance"
    LEANING = "leaning_against_canary"
    NOT_ACCEPTABLE = "not_proved_acceptable"
    CANARY_DARK = "canary_dark"
    AUDIENCE_AWAY = "audience_away"
    SPLIT_MISMATCH = "split_mismatch"
    WARMING_UP = "warming_up"
    COLLECTING = "collecting"
    NO_TRAFFIC = "no_traffic"
    NOT_MEASURED = "required_metric_not_measured"
    SOURCE_DOWN = "source_down"


@dataclass(frozen=True, slots=True)
class Part:
    """What one metric says, and how much of the whole odds it makes.

    Args:
        metric: `errors`, `ceiling`, or `latency p99`.
        odds: Its own odds against "the canary is tolerable".
        part: Of the whole odds, 0 to 1; 0 for a metric that only advises.
    """

    metric: str
    odds: float
    part: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision with its reason and its numbers.

    Args:
        decision: PASS, FAIL or HOLD.
        ground: Why.
        canary_total: Canary requests the decision stands on.
        canary_failed: Those of them that failed.
        stable_total: Stable requests in the same time.
        stable_failed: Those of them that failed.
        limit: The limit that was compared with: a failing part from 0 to 1; None where none applies.
        window_s: The judged time the counts come from, seconds.
        source: State of the source at the look.
        look: Id of the look it was made on.
        odds: Running odds (to 1) against "the canary is tolerable"; None from a judge without odds.
        proof: Odds (to 1) that the canary is no worse than acceptable, in this step; likewise. Of several metrics the
            least.
        metric: Whose numbers these are, as in `Part`.
        slower_than_s: The bound above which requests count as failed here, seconds; None where failures are failures.
        instance: The one that the verdict is about; empty for the whole arm.
        parts: What each metric says; empty when there is one only.
        measurements: How many it stands on: those that failed, those that were inconclusive where these are too many, or
            the points that were compared; 0 from a judge that takes none.
        is_exhausted: The judge gives up on this step: waiting for its deadline would change nothing.
    """

    decision: Decision
    ground: Ground
    canary_total: int = 0
    canary_failed: int = 0
    stable_total: int = 0
    stable_failed: int = 0
    limit: float | None = None
    window_s: float = 0.0
    source: SourceState = SourceState.OK
    look: int = 0
    odds: float | None = None
    proof: float | None = None
    metric: str = "errors"
    slower_than_s: float | None = None
    instance: str = ""
    parts: tuple[Part, ...] = ()
    measurements: int = 0
    is_exhausted: bool = False


def _part(failed: int, total: int) -> str:
    return f"{failed} of {total} requests" + (f" ({100 * failed / total:.1f} %)" if total else "")


def to_one(odds: float | None) -> str:
    """Say odds as people read them: `640 to 1`, `1 to 3`, `over a million to 1`."""
    if odds is None:
        return "odds unknown"
    if odds >= 1e6:
        return "over a million to 1"
    return f"{odds:.3g} to 1" if odds >= 1 else f"1 to {1 / max(odds, 1e-6):.3g}"


TELLING = 0.005
"""Of the odds; a smaller part rounds to 0 % and is not said."""


def attribution(verdict: Verdict) -> str:
    """Say what the odds are made of: `latency p99 makes 97 % of these odds, errors 3 %`.

    Empty when there is one metric only, or when the odds are not against the canary: then nothing has to be explained.
    """
    if not verdict.parts or verdict.odds is None or verdict.odds <= 1.0:
        return ""
    told = sorted(verdict.parts, key=lambda one: -one.part)
    first, *others = [one for one in told if one.part >= TELLING] or told[:1]
    said = [f"{first.metric} makes {_percent(first.part)} of these odds"]
    return ", ".join([*said, *(f"{one.metric} {_percent(one.part)}" for one in others)])


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _counts(verdict: Verdict, canary: str, stable: str) -> str:
    """Say both arms' numbers: what failed, or what took longer than the bound."""
    canary_part, stable_part = (
        _part(verdict.canary_failed, verdict.canary_total),
        _part(verdict.stable_failed, verdict.stable_total),
    )
    if verdict.slower_than_s is None:
        return f"{canary} failed {canary_part} in {verdict.window_s:.0f} s, stable {stable} {stable_part}"
    bound = f"{1000 * verdict.slower_than_s:.3g} ms"
    return f"{canary} took longer than {bound} in {canary_part} in {verdict.window_s:.0f} s, stable {stable} in {stable_part}"


def sentence(verdict: Verdict, *, target: str, canary: str, stable: str) -> str:
    """Say a verdict in one sentence with its numbers, for alert, API and terminal alike."""
    counts = _counts(verdict, f"{target} {canary}", stable)
    limit = f"{100 * verdict.limit:g} %" if verdict.limit is not None else "its limit"
    within = f"within the limit of {limit}" if verdict.odds is None else "nothing against it"
    taken = f"{verdict.measurements} measurement{'' if verdict.measurements == 1 else 's'}"
    odds = f"odds {to_one(verdict.odds)} against a tolerable canary"
    endings = {
        Ground.WITHIN_LIMIT: f"{counts}: {within}",
        Ground.CERTIFIED: f"{counts}: {to_one(verdict.proof)} that it is no worse than acceptable",
        Ground.ODDS: f"{counts}: {odds}",
        Ground.ERROR_RATE: f"{counts}: above the limit of {limit}",
        Ground.FAILURE_LIMIT: f"{counts}: above the limit of {limit} in {taken}",
        Ground.INCONCLUSIVE_LIMIT: f"{counts}: too few requests in {taken}",
        Ground.SHIFTED: f"{counts}: failing more than stable in a rank-sum test of {taken}",
        Ground.NOT_SHIFTED: f"{counts}: nothing against it in a rank-sum test of {taken}",
        Ground.NOT_ENOUGH: f"{counts}: {taken} are not enough for a rank-sum test",
        Ground.RAIL_FAILING: f"{counts}: the hard rail of {limit} failing was reached",
        Ground.CANDIDATE_RESTARTED: f"{target} {canary} restarted while it was judged; {counts}",
        Ground.CANDIDATE_NOT_READY: f"{target} {canary} is not ready; {counts}",
        Ground.CANDIDATE_HANGING: f"{target} {canary} does not answer: far more requests wait in it than in stable "
        f"{stable}; {counts}",
        Ground.STABLE_FAILING_TOO: f"{counts}: stable fails as well, so the canary is not blamed",
        Ground.SERVICE_BURNING: f"{counts}: more than {limit} of both fail, so the share stays as it is",
        Ground.ONE_BAD_INSTANCE: f"{counts}: {odds}, but only because of {verdict.instance}: replace that instance",
        Ground.LEANING: f"{counts}: {odds}, too much to go on",
        Ground.NOT_ACCEPTABLE: f"{counts}: it looks worse than acceptable, so it does not go on",
        Ground.CANARY_DARK: f"{target} {canary} gets no requests although it has a share: the split does not work",
        Ground.AUDIENCE_AWAY: f"{target} {canary} gets no requests although it has a share of its audience: nobody of it "
        "comes, or the split does not work",
        Ground.SPLIT_MISMATCH: f"{target} {canary} got {verdict.canary_total} of "
        f"{verdict.canary_total + verdict.stable_total} requests, far from its share: the split does not work",
        Ground.WARMING_UP: f"{counts}: still warming up",
        Ground.COLLECTING: f"{counts}: not enough seen yet",
        Ground.NO_TRAFFIC: f"{target} {canary} got {verdict.canary_total} requests: too few to judge",
        Ground.NOT_MEASURED: f"the usual latency of {target} {stable} is not known, and the policy requires it",
        Ground.SOURCE_DOWN: f"the source of evidence for {target} is {verdict.source.value}: nothing can be judged",
    }
    return endings[verdict.ground]
