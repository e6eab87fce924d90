"""From cumulative readings to counts: what happened since the last look, and in how much judged time.

First half of `engine.judge`. A new generation began at zero after the last look, so all of it is new. Judged time is
the sum of the gaps between looks, each at most `LONGEST_GAP_S`: a judge that comes back after a minute, or on a host
with another clock, has not judged for a minute, while the requests of that minute still count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.model.evidence import Block, Evidence
from controller.model.look import Arm, Exceedance, Look, SourceState
from controller.model.plan import Policy
from controller.model.wealth import Tally

LONGEST_GAP_S = 5.0
BLOCKS_IN_RAIL = 16
"""The rail's window is kept in this many blocks, so that its memory does not grow with the window."""
WINDOW_IN_MINIMUMS = 10
"""A block of the threshold's window is full at this many times `min_requests`: a fault that begins after hours of good
traffic is compared with at most two full blocks, and not with the whole past."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is new in a look.

    Args:
        block: Requests and failures of both arms, and the judged time.
        slow: Of each rung of the ladder: requests of (stable, canary), and those of them above its bound.
        instances: Requests and failures of each of the canary's instances, by id.
    """

    block: Block
    slow: tuple[tuple[Tally, Tally], ...] = ()
    instances: tuple[tuple[str, Tally], ...] = ()


def count(policy: Policy, evidence: Evidence, look: Look) -> tuple[Evidence, Counted]:
    """Add one look to the evidence; returns also what is new in it.

    A look at a source that is not well adds time and no counts.
    """
    gap_s = 0.0 if evidence.at_s is None else min(max(look.at_s - evidence.at_s, 0.0), LONGEST_GAP_S)
    begun = evidence.judged_s
    evidence = replace(
        evidence,
        looks=evidence.looks + 1,
        at_s=look.at_s,
        judged_s=begun + gap_s,
        step_s=evidence.step_s + gap_s,
        restarts=look.canary.restarts if evidence.restarts is None else evidence.restarts,
        unready=0 if look.canary.ready else evidence.unready + 1,
    )
    if look.source is not SourceState.OK:
        return evidence, Counted(Block(from_s=begun, until_s=evidence.judged_s))
    block = Block(
        from_s=begun,
        until_s=evidence.judged_s,
        canary=_since(look.canary, evidence.canary_seen, evidence, look),
        stable=_since(look.stable, evidence.stable_seen, evidence, look),
    )
    counted = replace(
        evidence,
        generation=look.generation,
        canary_seen=Tally(look.canary.total, look.canary.failed),
        stable_seen=Tally(look.stable.total, look.stable.failed),
        stable_over=look.stable.over,
        canary_over=look.canary.over,
        recent=_recent(policy, evidence.recent, block),
        window=_window(policy, evidence.window, block),
    )
    return counted, Counted(block, _slow(evidence, look), _instances(evidence, look))


def _since(arm: Arm, seen: Tally, evidence: Evidence, look: Look) -> Tally:
    return since(Tally(arm.total, arm.failed), seen, evidence, look)


def since(now: Tally, seen: Tally, evidence: Evidence, look: Look) -> Tally:
    """Return what a cumulative reading has more than the one before; nothing at the first look.

    Args:
        now: The reading in this look.
        seen: The one before.
        evidence: Before this look.
        look: This look.
    """
    if not evidence.generation:
        return Tally()
    if evidence.generation != look.generation:
        seen = Tally()
    total = max(now.total - seen.total, 0)
    return Tally(total=total, failed=min(max(now.failed - seen.failed, 0), total))


def _slow(evidence: Evidence, look: Look) -> tuple[tuple[Tally, Tally], ...]:
    """Return what is new of each rung; nothing unless both arms were measured in this look and in the one before."""
    arms = ((evidence.stable_over, look.stable.over), (evidence.canary_over, look.canary.over))
    readings = [_above(seen, now, evidence, look) for seen, now in arms if now is not None]
    return tuple(zip(*readings, strict=False)) if len(readings) == len(arms) else ()


def _above(seen: Exceedance | None, now: Exceedance, evidence: Evidence, look: Look) -> tuple[Tally, ...]:
    """Return what is new above each bound in one arm; an arm that was not measured before only sets the mark."""
    if seen is None:
        return (Tally(),) * len(now.counts)
    before = (Tally(seen.n, one) for one in seen.counts)
    return tuple(
        since(Tally(now.n, above), old, evidence, look)
        for above, old in zip(now.counts, before, strict=False)
    )


def _instances(evidence: Evidence, look: Look) -> tuple[tuple[str, Tally], ...]:
    """Return what is new of each instance; one that was not known before is new altogether."""
    marks = {one.instance: one.seen for one in evidence.without}
    return tuple(
        (one.id, since(Tally(one.total, one.failed), marks.get(one.id, Tally()), evidence, look))
        for one in look.canary.instances
    )


def _joined(first: Block, second: Block) -> Block:
    return Block(
        from_s=first.from_s,
        until_s=second.until_s,
        canary=first.canary + second.canary,
        stable=first.stable + second.stable,
    )


def _recent(policy: Policy, recent: tuple[Block, ...], block: Block) -> tuple[Block, ...]:
    grain_s = policy.rail.window_s / BLOCKS_IN_RAIL
    kept = tuple(old for old in recent if old.from_s >= block.until_s - policy.rail.window_s)
    if kept and block.until_s - kept[-1].from_s <= grain_s:
        return (*kept[:-1], _joined(kept[-1], block))
    return (*kept, block)


def _window(policy: Policy, window: tuple[Block, ...], block: Block) -> tuple[Block, ...]:
    if block.until_s <= policy.warmup_s:
        return ()
    if window and window[-1].canary.total < WINDOW_IN_MINIMUMS * policy.min_requests:
        return (*window[:-1], _joined(window[-1], block))
    return (*window[-1:], block)


def total_of(blocks: tuple[Block, ...]) -> Block:
    """Return all blocks as one; an empty block for none."""
    if not blocks:
        return Block(from_s=0.0, until_s=0.0)
    joined = blocks[0]
    for block in blocks[1:]:
        joined = _joined(joined, block)
    return joined
