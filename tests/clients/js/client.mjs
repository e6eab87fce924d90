// Sends one trace through each of the SDK's three exporters, and a log record and a counter through one each; prints
// what it sent as one line of JSON. Arguments: base address of OTLP/HTTP, base address of OTLP/gRPC.
import { SpanKind, SpanStatusCode, context, trace } from "@opentelemetry/api";
import { SeverityNumber } from "@opentelemetry/api-logs";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-proto";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";

const [http, grpc] = process.argv.slice(2);
const resource = resourceFromAttributes({ "service.name": "js-shop", "service.version": "v7" });

const traces = `${http}/v1/traces`;
const exporters = {
  proto: new ProtoExporter({ url: traces }),
  "proto-gzip": new ProtoExporter({ url: traces, compression: "gzip" }),
  json: new JsonExporter({ url: traces }),
  grpc: new GrpcExporter({ url: grpc }),
  "grpc-gzip": new GrpcExporter({ url: grpc, compression: "gzip" }),
};

function sell(tracer, name) {
  const root = tracer.startSpan(`sell ${name}`, { kind: SpanKind.SERVER, attributes: { "correlation.id": `js-${name}` } });
  const child = tracer.startSpan(
    "pay",
    {
      kind: SpanKind.CLIENT,
      links: [{ context: root.spanContext() }],
      attributes: { text: "größer", whole: 7, broken: 1.5, yes: true, list: ["a", "b"], numbers: [1, 2] },
    },
    trace.setSpan(context.active(), root),
  );
  child.recordException(new TypeError("declined"));
  child.setStatus({ code: SpanStatusCode.ERROR, message: "declined" });
  child.end();
  root.end();
  return root.spanContext().traceId;
}

const sent = {};
for (const [name, exporter] of Object.entries(exporters)) {
  const provider = new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(exporter)] });
  sent[name] = sell(provider.getTracer("client", "1.0"), name);
  await provider.forceFlush();
  await provider.shutdown();
}

const logs = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${http}/v1/logs` }) })],
});
logs.getLogger("client").emit({ severityNumber: SeverityNumber.WARN, body: "low on seeds", attributes: { seeds: 3 } });
await logs.shutdown();

const meters = new MeterProvider({
  resource,
  readers: [
    new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter({ url: `${http}/v1/metrics` }) }),
  ],
});
meters.getMeter("client").createCounter("sold").add(5, { bird: "canary" });
await meters.shutdown();

console.log(JSON.stringify(sent));
