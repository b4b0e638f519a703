// What is the same in every Node program: the plan on stdin, the SDK set up as it is in a process
// of its own, and a clock that programs set forward instead of sleeping.

import { createInterface } from "node:readline";

import { defaultResource, detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

// Each as its documentation makes it: where it sends is in the environment.
const EXPORTERS = {
  "otlp-grpc": async () => (await import("@opentelemetry/exporter-trace-otlp-grpc")).OTLPTraceExporter,
  "otlp-http": async () => (await import("@opentelemetry/exporter-trace-otlp-proto")).OTLPTraceExporter,
  "otlp-json": async () => (await import("@opentelemetry/exporter-trace-otlp-http")).OTLPTraceExporter,
  zipkin: async () => (await import("@opentelemetry/exporter-zipkin")).ZipkinExporter,
  // To the agent over UDP, or over HTTP if OTEL_EXPORTER_JAEGER_ENDPOINT is set.
  jaeger: async () => (await import("@opentelemetry/exporter-jaeger")).JaegerExporter,
};

/** Nanoseconds since the epoch, as the SDK takes them: whole seconds and the rest. */
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

  /** The tracer of a service, with a provider and an exporter of its own. */
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

/** Does with `program` what stdin says; argv names the exporter. Says when a run was sent. */
export async function eachRun(program) {
  const Exporter = await EXPORTERS[process.argv[2]]();
  for await (const line of createInterface({ input: process.stdin })) {
    const run = new Run(line, Exporter);
    await program(run);
    await run.end();
    console.log("sent", run.number);
  }
}
