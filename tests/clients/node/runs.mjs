// Shared by every Node program. Reads the plan from stdin and sets up the SDK for each run as a
// separate process would. Programs advance its clock instead of sleeping.

import { createInterface } from "node:readline";

import { defaultResource, detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

// Each is created as its documentation shows; the destination is in the environment.
const EXPORTERS = {
  "otlp-grpc": async () => (await import("@opentelemetry/exporter-trace-otlp-grpc")).OTLPTraceExporter,
  "otlp-http": async () => (await import("@opentelemetry/exporter-trace-otlp-proto")).OTLPTraceExporter,
  "otlp-json": async () => (await import("@opentelemetry/exporter-trace-otlp-http")).OTLPTraceExporter,
  zipkin: async () => (await import("@opentelemetry/exporter-zipkin")).ZipkinExporter,
  // Sends to the agent over UDP, or over HTTP if OTEL_EXPORTER_JAEGER_ENDPOINT is set.
  jaeger: async () => (await import("@opentelemetry/exporter-jaeger")).JaegerExporter,
};

/** `now` returns the SDK's form of a time: seconds since the epoch, and the remaining nanoseconds. */
class Clock {
  #ns;

  constructor(seconds) {
    this.#ns = BigInt(seconds) * 1_000_000_000n;
  }

  sleep(seconds) {
    this.#ns += BigInt(Math.round(seconds * 1e9));
  }

  now() {
    return [Number(this.#ns / 1_000_000_000n), Number(this.#ns % 1_000_000_000n)];
  }
}

/** One line of the plan. */
class Run {
  #providers = [];
  #Exporter;

  constructor(line, Exporter) {
    const [start, number, resource, operations] = line.split("\t");
    this.#Exporter = Exporter;
    this.number = number;
    this.clock = new Clock(start);
    // Stage -> operation -> seconds, in the plan's order.
    this.stages = new Map();
    for (const pair of operations.split(";")) {
      const [path, seconds] = pair.split("=");
      const [stage, operation] = path.split("/");
      if (!this.stages.has(stage)) this.stages.set(stage, new Map());
      this.stages.get(stage).set(operation, Number(seconds));
    }
    process.env.OTEL_RESOURCE_ATTRIBUTES = resource;
  }

  /** The tracer of a service, with its own provider and exporter. */
  tracer(service) {
    const resource = defaultResource()
      .merge(detectResources({ detectors: [envDetector] }))
      .merge(resourceFromAttributes({ "service.name": service }));
    const provider = new NodeTracerProvider({
      resource,
      spanProcessors: [new BatchSpanProcessor(new this.#Exporter())],
    });
    this.#providers.push(provider);
    return provider.getTracer(service);
  }

  async end() {
    for (const provider of this.#providers) await provider.shutdown();
  }
}

/** Runs `program` for each line of stdin, with the exporter that argv names. Prints each sent run. */
export async function eachRun(program) {
  const Exporter = await EXPORTERS[process.argv[2]]();
  for await (const line of createInterface({ input: process.stdin })) {
    const run = new Run(line, Exporter);
    await program(run);
    await run.end();
    console.log("sent", run.number);
  }
}
