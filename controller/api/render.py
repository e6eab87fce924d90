"""From values to the JSON that people and programs read: percent, RFC 3339, links. Spans have theirs in `spans`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from controller.model.notice import Notice
from controller.model.release import JournalEvent, Release
from controller.model.target import Target
from controller.model.traffic import audience
from controller.model.verdict import attribution
from controller.plans.schema import percent, write_plan, write_policy
from controller.plans.traffic import write_identity, write_match, write_mirror
from controller.releases.foreseeing import seen_by_step
from controller.releases.questions import explain, verdict_sentence
from controller.settings import Temporal


class Renderer:
    """Shapes answers.

    Args:
        temporal: Where the workflow can be looked at; None leaves the link out.
    """

    def __init__(self, *, temporal: Temporal | None = None) -> None:
        self._temporal = temporal

    def release(self, release: Release, notices: Sequence[tuple[Notice, bool]] = ()) -> dict[str, Any]:
        """Return a release with everything that is known of it."""
        order = release.order
        return {
            "id": order.id,
            "target": order.target.name,
            "environment": order.target.environment,
            "version": order.version,
            "stable": order.target.stable,
            "state": release.state.value,
            "outcome": release.outcome.value if release.outcome else None,
            "is_active": release.is_active,
            "step": release.step,
            "steps": len(order.plan.steps),
            "share_percent": percent(release.share),
            "audience": _audience(release),
            "reason": explain(release),
            "verdict": verdict(release),
            "actor": order.actor,
            "correlation_id": order.correlation_id,
            "created_at": rfc3339(order.created_at),
            "ended_at": rfc3339(release.ended_at) if release.ended_at is not None else None,
            "plan": write_plan(order.plan),
            "policy": write_policy(order.policy),
            "facts": dict(release.facts),
            "sees_percent": [
                None if rate is None else round(100 * rate, 3)
                for rate in seen_by_step(release.facts, len(order.plan.steps))
            ],
            "has_audience": [order.has_audience(step) for step in range(len(order.plan.steps))],
            "alerts": [
                {"id": notice.id, "channel": notice.channel, "delivered": is_delivered}
                for notice, is_delivered in notices
            ],
            "links": self._links(release),
        }

    def _links(self, release: Release) -> dict[str, str]:
        order = release.order
        itself = f"/v1/releases/{order.id}"
        links = {"self": itself, "events": f"{itself}/events", "why": f"{itself}/why"}
        if self._temporal is not None:
            # The workflow's id is the lock on the target, so it is known without asking.
            links["temporal_ui"] = (
                f"{self._temporal.ui}/namespaces/{self._temporal.namespace}/workflows/canary.{order.target.key}"
            )
        return links


def _audience(release: Release) -> str | None:
    """Say whose requests the share is a part of; None when it is everybody's, or there is none."""
    if release.outcome is not None or not release.share:
        return None
    return audience(release.order.plan.steps[release.step].matches) or None


def verdict(release: Release) -> dict[str, Any] | None:
    """Return the newest verdict: decision, ground, a sentence, what its odds are made of, and the numbers."""
    found = release.verdict
    if found is None:
        return None
    return {
        "decision": found.decision.value,
        "ground": found.ground.value,
        "sentence": verdict_sentence(release),
        "attribution": attribution(found),
        "numbers": {
            "canary_total": found.canary_total,
            "canary_failed": found.canary_failed,
            "stable_total": found.stable_total,
            "stable_failed": found.stable_failed,
            "limit": found.limit,
            "window_s": found.window_s,
            "source": found.source.value,
            "look": found.look,
            "odds": found.odds,
            "proof": found.proof,
            "metric": found.metric,
            "slower_than_s": found.slower_than_s,
            "instance": found.instance or None,
            "parts": [{"metric": one.metric, "odds": one.odds, "part": one.part} for one in found.parts],
        },
    }


def progress(release: Release) -> dict[str, Any]:
    """Return the few fields of a running release that change from second to second."""
    return {
        "state": release.state.value,
        "outcome": release.outcome.value if release.outcome else None,
        "is_active": release.is_active,
        "step": release.step,
        "steps": len(release.order.plan.steps),
        "share_percent": percent(release.share),
        "audience": _audience(release),
        "reason": explain(release),
        "verdict": verdict(release),
    }


def event(found: JournalEvent) -> dict[str, Any]:
    """Return one journal event."""
    return {
        "id": found.id,
        "seq": found.seq,
        "kind": found.kind,
        "text": found.text,
        "at": rfc3339(found.at),
        "actor": found.actor,
        "correlation_id": found.correlation_id,
        "details": dict(found.details),
    }


def target(found: Target) -> dict[str, Any]:
    """Return a target in the shape that `PUT` reads."""
    return {
        "name": found.name,
        "environment": found.environment,
        "stable": found.stable,
        "versions": {version: list(addresses) for version, addresses in found.versions.items()},
        "hosts": list(found.hosts),
        "protocol": found.protocol,
        "workloads": found.workloads,
        "plan": write_plan(found.plan) if found.plan else None,
        "policy": write_policy(found.policy) if found.policy else None,
        "shield": found.shield,
        "identity": write_identity(found.identity),
        "matches": [write_match(one) for one in found.matches],
        "mirror": write_mirror(found.mirror),
        "preview": found.preview,
        "timeout_s": found.timeout_s,
    }


def rfc3339(at: float) -> str:
    """Say a moment (seconds since 1970) in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
