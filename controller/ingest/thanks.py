"""The answers of OTLP, which are the same over HTTP and gRPC: partial success, and refusals with a time to try again.

Before it: `intake`. After it: the receivers.
"""

from __future__ import annotations

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # ships no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # ships no stubs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from controller.ingest.otlp import Batch
from controller.model.telemetry import Signal


def thanks(signal: Signal, batch: Batch) -> Message:
    """Return the response for a body that was taken, with what was left out or clipped of it."""
    if signal is Signal.TRACES:
        spans = ExportTraceServiceResponse()
        if batch.told:
            spans.partial_success.rejected_spans = batch.rejected
            spans.partial_success.error_message = batch.told
        return spans
    if signal is Signal.LOGS:
        logs = ExportLogsServiceResponse()
        if batch.told:
            logs.partial_success.rejected_log_records = batch.rejected
            logs.partial_success.error_message = batch.told
        return logs
    points = ExportMetricsServiceResponse()
    if batch.told:
        points.partial_success.rejected_data_points = batch.rejected
        points.partial_success.error_message = batch.told
    return points


def status_of(code: int, reason: str, *, retry_s: int = 0) -> Message:
    """Return a google.rpc.Status.

    Args:
        code: Of gRPC.
        reason: For people.
        retry_s: Says when to come again, seconds; 0 says nothing. A sender that reads no such time never tries
            RESOURCE_EXHAUSTED again.
    """
    status = Status(code=code, message=reason)
    if retry_s:
        retry = RetryInfo()
        retry.retry_delay.seconds = retry_s
        status.details.add().Pack(retry)
    found: Message = status
    return found
