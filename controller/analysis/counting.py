"""From cumulative readings to counts: what happened since the last look, and in how much judged time.

First half of `engine.judge`. A new generation began at zero after the last look, so all of it is new. Judged time is
the sum of the gaps between looks, each at most `LONGEST_GAP_S`: a judge that comes back after a minute, or on a host
with another clock, has not judged for a minute, while the requests of that minute still count.
"""

from __future__ import annotations

from dataclasses import replace

from controller.model.evidence import Block, Evidence
from controller.model.look import Arm, Look, SourceState
from controller.model.plan import Policy
from controller.model.wealth import Tally

LONGEST_GAP_S = 5.0
BLOCKS_IN_RAIL = 16
"""The rail's window is kept in this many blocks, so that its memory does not grow with the window."""
WINDOW_IN_MINIMUMS = 10
"""A block of the threshold's window is full at this many times `min_requests`: a fault that begins after hours of good
traffic is compared with at most two full blocks, and not with the whole past."""


def count(policy: Policy, evidence: Evidence, look: Look) -> tuple[Evidence, Block]:
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
        return evidence, Block(from_s=begun, until_s=evidence.judged_s)
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
        recent=_recent(policy, evidence.recent, block),
        window=_window(policy, evidence.window, block),
    )
    return counted, block


def _since(arm: Arm, seen: Tally, evidence: Evidence, look: Look) -> Tally:
    if not evidence.generation:
        return Tally()
    if evidence.generation != look.generation:
        seen = Tally()
    total = max(arm.total - seen.total, 0)
    return Tally(total=total, failed=min(max(arm.failed - seen.failed, 0), total))


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
