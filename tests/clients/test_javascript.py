"""OpenTelemetry's JavaScript SDK, a real one from npm, against our receivers: proto, JSON and gRPC."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from controller.model.telemetry import Signal
from tests.clients.receivers import receivers

HERE = Path(__file__).with_name("js")
INSTALL_S, SEND_S = 120, 30


async def run(*command: str, within_s: float) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=HERE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), within_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
async def node() -> str:
    """Node with the SDK installed; the test is skipped, with the reason, where that is not possible."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node is not installed: OpenTelemetry's JavaScript SDK is not tried as a client")
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed: OpenTelemetry's JavaScript SDK is not tried as a client")
        code, _, err = await run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", within_s=INSTALL_S)
        if code:
            pytest.skip(f"npm cannot install OpenTelemetry's JavaScript SDK: {err.strip()[-200:]}")
    return found


@pytest.mark.long
@pytest.mark.process
@pytest.mark.timeout(INSTALL_S + SEND_S + 10)
async def test_javascript_sdk_is_understood_whatever_exporter_it_uses(node: str) -> None:
    """Spans of all exporters come out alike, with every kind of attribute; logs and metrics arrive too."""
    async with receivers() as ours:
        code, out, err = await run(node, "client.mjs", ours.http, ours.grpc, within_s=SEND_S)

    assert (code, err) == (0, "")
    sent = json.loads(out)
    assert sorted(sent) == ["grpc", "grpc-gzip", "json", "proto", "proto-gzip"]
    for name, trace_id in sent.items():
        trace = await ours.store.get(trace_id)
        assert trace is not None, name
        spans = {span.name: span for span in trace.spans}
        root, child = spans[f"sell {name}"], spans["pay"]
        assert (root.service, root.version, root.kind, root.correlation_id) == (
            "js-shop",
            "v7",
            "server",
            f"js-{name}",
        )
        assert (child.parent_span_id, child.kind, child.status) == (root.span_id, "client", "error")
        assert [link.span_id for link in child.links] == [root.span_id]
        assert [event.attributes["exception.type"] for event in child.events] == ["TypeError"]
        assert child.attributes == {
            "text": "größer",
            "whole": 7,
            "broken": 1.5,
            "yes": True,
            "list": ["a", "b"],
            "numbers": [1, 2],
        }
    logs, metrics = ours.store.others(Signal.LOGS)[0], ours.store.others(Signal.METRICS)[0]
    record = ExportLogsServiceRequest.FromString(logs).resource_logs[0].scope_logs[0].log_records[0]
    metric = ExportMetricsServiceRequest.FromString(metrics).resource_metrics[0].scope_metrics[0].metrics[0]
    assert (record.body.string_value, record.severity_number) == ("low on seeds", 13)
    assert (metric.name, metric.sum.data_points[0].as_double or metric.sum.data_points[0].as_int) == (
        "sold",
        5,
    )
