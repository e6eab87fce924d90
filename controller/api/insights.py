"""Answers that add spans up, as JSON: rates, errors, durations in milliseconds, and what is different.

Before it: the routes of services, and `why` of a release. After it: people, `serinus traces`, the console.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controller.analysis.differing import Difference, sentence
from controller.api.spans import moment, ms
from controller.model.insight import (
    CallChange,
    Edge,
    ErrorSignature,
    OperationChange,
    OperationRow,
    Red,
    ServiceMap,
    ServiceRow,
    VersionDifference,
)


def red(found: Red) -> dict[str, Any]:
    """Return rate, errors, duration."""
    return {
        "calls": found.calls,
        "failed": found.failed,
        "p50_ms": ms(found.p50_ns),
        "p95_ms": ms(found.p95_ns),
        "p99_ms": ms(found.p99_ns),
        "exemplar": found.exemplar or None,
    }


def service(found: ServiceRow) -> dict[str, Any]:
    """Return one version of a service."""
    return {
        "service": found.service,
        "version": found.version,
        **red(found.red),
        "last_seen": moment(found.last_seen_ns),
    }


def operation(found: OperationRow) -> dict[str, Any]:
    """Return one operation."""
    return {
        "service": found.service,
        "version": found.version,
        "operation": found.operation,
        "kind": found.kind,
        **red(found.red),
    }


def service_map(found: ServiceMap) -> dict[str, Any]:
    """Return who calls whom."""
    return {
        "services": [service(one) for one in found.services],
        "edges": [_edge(one) for one in found.edges],
    }


def difference(found: VersionDifference) -> dict[str, Any]:
    """Return what changed from one version to another."""
    return {
        "service": found.service,
        "base": found.base,
        "other": found.other,
        "errors": [_error(one) for one in found.errors],
        "operations": [_operation_change(one) for one in found.operations],
        "calls": [_call_change(one) for one in found.calls],
    }


def differences(
    found: Sequence[Difference], *, selected: str = "failing", others: str = "others"
) -> list[dict[str, Any]]:
    """Return ranked attribute values, each with a sentence."""
    return [
        {
            "sentence": sentence(one.share, selected=selected, others=others),
            "scope": one.share.scope,
            "key": one.share.key,
            "value": one.share.value,
            "inside": one.share.inside,
            "selected": one.share.selected,
            "outside": one.share.outside,
            "others": one.share.others,
            "differs_at_least": round(one.least, 4),
            "chance": one.chance,
            "is_symptom": one.is_symptom,
        }
        for one in found
    ]


def _edge(found: Edge) -> dict[str, Any]:
    return {
        "caller": found.caller,
        "caller_version": found.caller_version,
        "callee": found.callee,
        "callee_version": found.callee_version,
        "kind": found.kind,
        **red(found.red),
    }


def _error(found: ErrorSignature) -> dict[str, Any]:
    return {
        "operation": found.operation,
        "error": found.error,
        "base": found.base,
        "other": found.other,
        "is_new": not found.base and bool(found.other),
        "exemplar": found.exemplar or None,
    }


def _operation_change(found: OperationChange) -> dict[str, Any]:
    return {
        "operation": found.operation,
        "kind": found.kind,
        "base": red(found.base),
        "other": red(found.other),
    }


def _call_change(found: CallChange) -> dict[str, Any]:
    return {
        "callee": found.callee,
        "operation": found.operation,
        "base_calls": found.base_calls,
        "base_served": found.base_served,
        "base_ratio": _ratio(found.base_calls, found.base_served),
        "other_calls": found.other_calls,
        "other_served": found.other_served,
        "other_ratio": _ratio(found.other_calls, found.other_served),
    }


def _ratio(calls: int, served: int) -> float | None:
    return round(calls / served, 4) if served else None
