"""Data points that a store can keep: a time in 2262 or later, or a metric without a proper name, is left out.

Before it: `otlp`, with a parsed body. After it: the store. Values stay as they came, NaN and infinity included.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from controller.ingest.clipping import LONGEST_NAME, clip_attributes, clip_holder_in, mark
from controller.ingest.floods import LONG
from controller.ingest.outcome import Outcome
from controller.ingest.spans import TOO_LATE_NS

BAD_TIME = "the time is in the year 2262 or later; expected nanoseconds since 1970"
BAD_NAME = f"a metric's name is empty or longer than {LONGEST_NAME} characters"
NO_KIND = "a metric has data of no kind that is known"


def clean(message: ExportMetricsServiceRequest, outcome: Outcome, *, closely: bool) -> None:
    """Take out and cut what cannot be kept; see `spans.clean`. Counts data points."""
    for group in message.resource_metrics:
        if closely:
            clip_holder_in(group.resource, outcome)
        for part in group.scope_metrics:
            if closely:
                clip_holder_in(part.scope, outcome)
            bad = [index for index, metric in enumerate(part.metrics) if _is_bad(metric, outcome)]
            for index in reversed(bad):
                del part.metrics[index]
            for metric in part.metrics:
                _clean_points(_points(metric), outcome, closely=closely)


def _points(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("data")).data_points


def _is_bad(metric: Any, outcome: Outcome) -> bool:
    kind = metric.WhichOneof("data")
    if kind is None:
        outcome.reject(NO_KIND)
        return True
    if not 0 < len(metric.name) <= LONGEST_NAME:
        outcome.reject(BAD_NAME, len(_points(metric)))
        return True
    return False


def _clean_points(points: Any, outcome: Outcome, *, closely: bool) -> None:
    bad = []
    for index, point in enumerate(points):
        if max(point.time_unix_nano, point.start_time_unix_nano) >= TOO_LATE_NS:
            bad.append(index)
            outcome.reject(BAD_TIME)
            continue
        names: set[str] = set()
        if closely and point.ByteSize() > LONG:
            clip_attributes(point, names)
        if names:
            mark(point.attributes, names)
            outcome.clip()
    for index in reversed(bad):
        del points[index]
    outcome.kept += len(points)
