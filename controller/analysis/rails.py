"""The rails: absolute limits that act at once, warm-up or not, and outrank the statistics.

Second part of `engine.judge`. They see what counters cannot: a candidate that died looks quiet, not bad.
"""

from __future__ import annotations

from controller.analysis import saying
from controller.analysis.counting import total_of
from controller.model.evidence import Block, Evidence
from controller.model.look import Look
from controller.model.plan import Policy
from controller.model.verdict import Decision, Ground, Verdict

COMMON = 4
"""Stable's failing part must be at most the fourth of the canary's, else the trouble is common to both."""
HANGING_LOOKS = 3
"""Requests wait at three looks in a row; fewer can be one pause."""
UNREADY_LOOKS = 2
"""Not ready at two looks in a row; one can be a probe that was lost."""


def rails(policy: Policy, evidence: Evidence, look: Look) -> Verdict | None:
    """Return the FAIL of the first rail that acts, or None."""
    recent = total_of(evidence.recent)
    if evidence.restarts is not None and (look.canary.restarts or 0) > evidence.restarts:
        return saying.on(recent, look, Decision.FAIL, Ground.CANDIDATE_RESTARTED)
    if evidence.unready >= UNREADY_LOOKS:
        return saying.on(recent, look, Decision.FAIL, Ground.CANDIDATE_NOT_READY)
    if evidence.hanging >= HANGING_LOOKS:
        return saying.on(recent, look, Decision.FAIL, Ground.CANDIDATE_HANGING)
    if not evidence.blamed and _fails_alone(policy, recent):
        limit = policy.rail.max_failed
        return saying.on(recent, look, Decision.FAIL, Ground.RAIL_FAILING, limit=limit)
    return None


def _fails_alone(policy: Policy, recent: Block) -> bool:
    """Whether the canary is over the rail and stable is nowhere near it: a burst on both arms is nobody's fault."""
    canary, stable = recent.canary, recent.stable
    is_over = (
        canary.total >= policy.rail.min_requests and canary.failed >= policy.rail.max_failed * canary.total
    )
    return is_over and stable.failed * canary.total * COMMON <= canary.failed * stable.total
