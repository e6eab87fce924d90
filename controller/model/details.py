"""What journal lines and alerts carry beside their sentence: flat names and numbers, JSON-safe, the same everywhere.

Before it: a verdict and the order of its release. After it: `JournalEvent` and `Notice`, written by the judge while a
release runs and by the workflow when it ends.
"""

from __future__ import annotations

from controller.model.release import ReleaseOrder
from controller.model.verdict import Verdict

Details = dict[str, str | int | float | bool | None]


def of_release(order: ReleaseOrder) -> Details:
    """Return what a release is about."""
    return {
        "target": order.target.name,
        "environment": order.target.environment,
        "version": order.version,
        "stable": order.target.stable,
        "correlation_id": order.correlation_id,
    }


def of_verdict(verdict: Verdict | None) -> Details:
    """Return the numbers of a verdict; nothing for none. What each metric says is flat as well."""
    if verdict is None:
        return {}
    odds: Details = {f"odds of {one.metric}": one.odds for one in verdict.parts}
    parts: Details = {f"part of {one.metric}": one.part for one in verdict.parts}
    return {
        "decision": verdict.decision.value,
        "ground": verdict.ground.value,
        "canary_total": verdict.canary_total,
        "canary_failed": verdict.canary_failed,
        "stable_total": verdict.stable_total,
        "stable_failed": verdict.stable_failed,
        "limit": verdict.limit,
        "window_s": verdict.window_s,
        "odds": verdict.odds,
        "proof": verdict.proof,
        "metric": verdict.metric,
        "slower_than_s": verdict.slower_than_s,
        "instance": printable(verdict.instance) or None,
        **odds,
        **parts,
    }


def printable(text: str) -> str:
    """Return a text without NUL and half surrogate pairs, which not every ledger can keep."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
