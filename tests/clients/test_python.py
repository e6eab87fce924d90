"""OpenTelemetry's Python SDK against our receivers, in a process of its own: HTTP, with gzip, and gRPC."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from controller.model.telemetry import Signal
from tests.clients.receivers import receivers

CLIENT = Path(__file__).with_name("python_client.py")


@pytest.mark.process
async def test_python_sdk_is_understood_whatever_exporter_it_uses() -> None:
    """Spans of all exporters come out alike; logs and metrics arrive too."""
    async with receivers() as ours:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(CLIENT), ours.http, ours.grpc, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 30)

    sent = json.loads(out)
    assert sorted(sent) == ["grpc", "http", "http-gzip"]
    for name, trace_id in sent.items():
        trace = await ours.store.get(trace_id)
        assert trace is not None, name
        spans = {span.name: span for span in trace.spans}
        root, child = spans[f"sell {name}"], spans["pay"]
        assert (root.service, root.version, root.correlation_id) == ("py-shop", "v9", f"py-{name}")
        assert (child.parent_span_id, child.kind, child.status) == (root.span_id, "client", "error")
        assert [link.span_id for link in child.links] == [root.span_id]
        assert [event.attributes["exception.type"] for event in child.events] == ["TypeError"]
        expected = {"text": "größer", "whole": 7, "broken": 1.5, "yes": True, "list": ["a", "b"]}
        assert expected.items() <= dict(child.attributes).items()
    logs, metrics = ours.store.others(Signal.LOGS)[0], ours.store.others(Signal.METRICS)[0]
    record = ExportLogsServiceRequest.FromString(logs).resource_logs[0].scope_logs[0].log_records[0]
    metric = ExportMetricsServiceRequest.FromString(metrics).resource_metrics[0].scope_metrics[0].metrics[0]
    assert (record.body.string_value, record.severity_number) == ("low on seeds", 13)
    assert (metric.name, metric.sum.data_points[0].as_int) == ("sold", 5)
