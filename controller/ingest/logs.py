"""Log records that a store can keep: a time in 2262 or later is left out; the rest is clipped like a span.

Before it: `otlp`, with a parsed body. After it: the store.
"""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from controller.ingest.clipping import (
    LONGEST_NAME,
    clip_attributes,
    clip_holder_in,
    clip_text,
    clip_value,
    mark,
)
from controller.ingest.floods import LONG
from controller.ingest.outcome import Outcome
from controller.ingest.spans import TOO_LATE_NS

_MOST_SEVERE = 24
BAD_TIME = "the time is in the year 2262 or later; expected nanoseconds since 1970"


def clean(message: ExportLogsServiceRequest, outcome: Outcome, *, closely: bool) -> None:
    """Take out and cut what cannot be kept; see `spans.clean`."""
    for group in message.resource_logs:
        if closely:
            clip_holder_in(group.resource, outcome)
        for part in group.scope_logs:
            if closely:
                clip_holder_in(part.scope, outcome)
            bad = []
            for index, record in enumerate(part.log_records):
                if max(record.time_unix_nano, record.observed_time_unix_nano) >= TOO_LATE_NS:
                    bad.append(index)
                    outcome.reject(BAD_TIME)
                    continue
                is_changed, names = _repaired(record)
                outcome.changed |= is_changed
                if closely and record.ByteSize() > LONG:
                    clip_text(record, "severity_text", LONGEST_NAME, names)
                    clip_text(record, "event_name", LONGEST_NAME, names)
                    clip_value(record.body, names)
                    clip_attributes(record, names)
                if names:
                    mark(record.attributes, names)
                    outcome.clip()
            for index in reversed(bad):
                del part.log_records[index]
            outcome.kept += len(part.log_records)


def _repaired(record: LogRecord) -> tuple[bool, set[str]]:
    """Put right what no store could read; return whether anything was changed, and the names of what was lost."""
    names: set[str] = set()
    is_changed = False
    for field, length in (("trace_id", 16), ("span_id", 8)):
        found = getattr(record, field)
        if found and (len(found) != length or not any(found)):
            is_changed = True
            record.ClearField(field)  # type: ignore[arg-type]  # one of two literals
            if any(found):  # SDKs write zeros where there is no span; nothing is lost then
                names.add(field)
    if not 0 <= record.severity_number <= _MOST_SEVERE:
        record.severity_number = SeverityNumber.SEVERITY_NUMBER_UNSPECIFIED
        names.add("severity_number")
    return is_changed or bool(names), names
