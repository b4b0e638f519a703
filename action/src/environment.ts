// Computes the environment variables for later steps, so that tracers send their spans to the
// receiver without configuration. Pure. Keeps an exporter that the workflow configured, unless
// `capture` is `force`. Contains no secret.

import type { Json } from "./identity.ts";
import type { Capture } from "./inputs.ts";

/** Marks that the action runs in this job. Its value is the id of the job's span. */
export const MARKER = "PACEGATE_ACTION";

/** Most bytes that facts add to OTEL_RESOURCE_ATTRIBUTES, which every process of the job inherits. */
const FACTS_BYTES = 4_096;

export const ENDPOINTS = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] as const;

/** Facts about the machine or the job, under OpenTelemetry's attribute names. */
export type Facts = Readonly<Record<string, string | number>>;

export interface StepSettings {
  readonly endpoint: string;
  readonly traceparent: string;
  readonly jobSpanId: string;
  readonly facts: Facts;
  readonly serviceName: string | null;
  readonly capture: Capture;
}

export interface Exported {
  readonly variables: Readonly<Record<string, string>>;
  /** The variable by which the workflow already sends spans to another receiver. */
  readonly elsewhere: string | null;
  /** The workflow's variable whose value is replaced. */
  readonly replaced: string | null;
}

/** The variables to export, given the job's `existing` environment. */
export function exported(existing: NodeJS.ProcessEnv, settings: StepSettings): Exported {
  const set = (name: string): boolean => (existing[name] ?? "") !== "";
  const variables: Record<string, string> = {
    [MARKER]: settings.jobSpanId,
    OTEL_RESOURCE_ATTRIBUTES: resourceAttributes(existing.OTEL_RESOURCE_ATTRIBUTES ?? "", settings.facts),
  };
  if (settings.serviceName !== null) variables.OTEL_SERVICE_NAME = settings.serviceName;

  const taken = ENDPOINTS.find(set);
  // Spans that go to another receiver keep the parent that they have there.
  if (taken !== undefined && settings.capture !== "force") return { variables, elsewhere: taken, replaced: null };

  variables.TRACEPARENT = settings.traceparent;
  const replaced = set("TRACEPARENT") && existing.TRACEPARENT !== settings.traceparent ? "TRACEPARENT" : null;
  variables.OTEL_EXPORTER_OTLP_ENDPOINT = settings.endpoint;
  variables.OTEL_EXPORTER_OTLP_PROTOCOL = "http/protobuf";
  // The variables for traces override the general ones, so both need the same value.
  if (set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")) {
    variables.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = `${settings.endpoint}/v1/traces`;
  }
  if (set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")) variables.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL = "http/protobuf";
  const defaults = { OTEL_TRACES_EXPORTER: "otlp", OTEL_METRICS_EXPORTER: "none", OTEL_LOGS_EXPORTER: "none" };
  for (const [name, value] of Object.entries(defaults)) {
    if (!set(name) || (settings.capture === "force" && name === "OTEL_TRACES_EXPORTER")) variables[name] = value;
  }
  return { variables, elsewhere: null, replaced };
}

/**
 * Appends facts to `existing` as `key=value` pairs, percent-encoded as OpenTelemetry requires.
 * Keys that the workflow set keep their value. Facts beyond 4 KiB are left out.
 */
export function resourceAttributes(existing: string, facts: Facts): string {
  const pairs = existing
    .split(",")
    .map((pair) => pair.trim())
    .filter((pair) => pair !== "");
  const known = new Set(pairs.map((pair) => pair.split("=", 1)[0]?.trim()));
  let left = FACTS_BYTES;
  for (const [key, value] of Object.entries(facts)) {
    if (known.has(key)) continue;
    const pair = `${key}=${encodeURIComponent(String(value).toWellFormed())}`;
    left -= pair.length + 1;
    // Facts about the runner come first, so facts of the matrix are left out. The manifest has them too.
    if (left < 0) break;
    pairs.push(pair);
  }
  return pairs.join(",");
}

/** The job and its matrix as attributes: `github.job`, and `github.matrix.<key>` for plain values. */
export function jobFacts(job: string, matrix: Record<string, Json>): Facts {
  const facts: Record<string, string> = { "github.job": job };
  for (const [key, value] of Object.entries(matrix)) {
    if (/^[A-Za-z0-9_-]{1,60}$/.test(key) && value !== null && typeof value !== "object") {
      facts[`github.matrix.${key}`] = String(value).slice(0, 200);
    }
  }
  return facts;
}
