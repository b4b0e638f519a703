// A build step of a job: a few spans from the SDK, set up as its documentation shows, with TRACEPARENT
// as parent. It has no code for Pacegate.

import { setTimeout as sleep } from "node:timers/promises";

import { ROOT_CONTEXT, defaultTextMapGetter, trace } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { defaultResource, detectResources, envDetector } from "@opentelemetry/resources";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const provider = new NodeTracerProvider({
  resource: defaultResource().merge(detectResources({ detectors: [envDetector] })),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
});
const tracer = provider.getTracer("bundle");
const carrier = { traceparent: process.env.TRACEPARENT };
const parent = new W3CTraceContextPropagator().extract(ROOT_CONTEXT, carrier, defaultTextMapGetter);

const root = tracer.startSpan("bundle", {}, parent);
for (const [name, milliseconds] of [["resolve", 300], ["transform", 500], ["minify", 400]]) {
  const span = tracer.startSpan(name, {}, trace.setSpan(parent, root));
  await sleep(milliseconds);
  span.end();
}
root.end();
// A build must not fail when its spans cannot be delivered.
await provider.shutdown().catch((error) => console.error(error.message));
