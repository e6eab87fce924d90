"""What every judge says in the same way: a verdict on the counts of a stretch of time, and why nothing can be said now.

Before it: the counts of a look, a window or an interval. After it: `engine.judge` hands the verdict on.
"""

from __future__ import annotations

from controller.model.evidence import Block, Evidence
from controller.model.look import Look, SourceState
from controller.model.plan import Policy
from controller.model.verdict import Decision, Ground, Verdict

NOTHING = Block(from_s=0.0, until_s=0.0)


def on(
    block: Block,
    look: Look,
    decision: Decision,
    ground: Ground,
    *,
    limit: float | None = None,
    measurements: int = 0,
    is_exhausted: bool = False,
) -> Verdict:
    """Return the verdict on what happened in a stretch of time.

    Args:
        block: The counts that it stands on.
        look: The newest one.
        decision: PASS, FAIL or HOLD.
        ground: Why.
        limit: The failing part that was compared with, 0 to 1.
        measurements: As in `Verdict`.
        is_exhausted: Likewise.
    """
    return Verdict(
        decision=decision,
        ground=ground,
        canary_total=block.canary.total,
        canary_failed=block.canary.failed,
        stable_total=block.stable.total,
        stable_failed=block.stable.failed,
        limit=limit,
        window_s=block.until_s - block.from_s,
        source=look.source,
        look=look.id,
        measurements=measurements,
        is_exhausted=is_exhausted,
    )


def unready(policy: Policy, evidence: Evidence, look: Look) -> Ground | None:
    """Return why no judge can say anything but FAIL now: no source, or a warm-up that goes on; None when it can."""
    if look.source is not SourceState.OK:
        return Ground.SOURCE_DOWN
    return Ground.WARMING_UP if evidence.judged_s <= policy.warmup_s else None
