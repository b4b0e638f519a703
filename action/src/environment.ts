// What later steps find in their environment so that tracers join by themselves. Pure. It never
// takes spans away from a place that the workflow already sends them to, and holds no secret.

import type { Json } from "./identity.ts";
import type { Capture } from "./inputs.ts";

/** Marks that the action runs in this job; its value is the job's span. */
export const MARKER = "PACEGATE_ACTION";

/** What the facts may add to a variable that every process of the job is started with. */
const FACTS_BYTES = 4_096;

export const ENDPOINTS = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] as const;

/** Facts about the machine or the job, by OpenTelemetry's names. */
export type Facts = Readonly<Record<string, string | number>>;

/** What the steps are told. */
export interface Told {
  readonly endpoint: string;
  readonly traceparent: string;
  readonly jobSpanId: string;
  readonly facts: Facts;
  readonly serviceName: string | null;
  readonly capture: Capture;
}

/** The variables to set, the variable that sends spans to another place, and the one of the workflow's whose value is replaced, if there are such. */
export interface Exported {
  readonly variables: Readonly<Record<string, string>>;
  readonly elsewhere: string | null;
  readonly replaced: string | null;
}

/** What to export, given what the job's environment already holds. */
export function exported(existing: NodeJS.ProcessEnv, told: Told): Exported {
  const set = (name: string): boolean => (existing[name] ?? "") !== "";
  const variables: Record<string, string> = {
    [MARKER]: told.jobSpanId,
    OTEL_RESOURCE_ATTRIBUTES: resourceAttributes(existing.OTEL_RESOURCE_ATTRIBUTES ?? "", told.facts),
  };
  if (told.serviceName !== null) variables.OTEL_SERVICE_NAME = told.serviceName;

  const taken = ENDPOINTS.find(set);
  // Spans that go elsewhere stay below the parent they have there.
  if (taken !== undefined && told.capture !== "force") return { variables, elsewhere: taken, replaced: null };

  variables.TRACEPARENT = told.traceparent;
  const replaced = set("TRACEPARENT") && existing.TRACEPARENT !== told.traceparent ? "TRACEPARENT" : null;
  variables.OTEL_EXPORTER_OTLP_ENDPOINT = told.endpoint;
  variables.OTEL_EXPORTER_OTLP_PROTOCOL = "http/protobuf";
  // The more special variables go before the general ones, so they have to agree.
  if (set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")) {
    variables.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = `${told.endpoint}/v1/traces`;
  }
  if (set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")) variables.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL = "http/protobuf";
  const defaults = { OTEL_TRACES_EXPORTER: "otlp", OTEL_METRICS_EXPORTER: "none", OTEL_LOGS_EXPORTER: "none" };
  for (const [name, value] of Object.entries(defaults)) {
    if (!set(name) || (told.capture === "force" && name === "OTEL_TRACES_EXPORTER")) variables[name] = value;
  }
  return { variables, elsewhere: null, replaced };
}

/**
 * `key=value` pairs, percent-encoded as OpenTelemetry asks, behind those that are there already.
 * What the workflow says of a key is not said a second time; facts beyond 4 KiB are not said.
 */
export function resourceAttributes(existing: string, facts: Facts): string {
  const pairs = existing
    .split(",")
    .map((pair) => pair.trim())
    .filter((pair) => pair !== "");
  const known = new Set(pairs.map((pair) => pair.split("=", 1)[0]?.trim()));
  let room = FACTS_BYTES;
  for (const [key, value] of Object.entries(facts)) {
    if (known.has(key)) continue;
    const pair = `${key}=${encodeURIComponent(String(value).toWellFormed())}`;
    room -= pair.length + 1;
    // The machine's come first; a long matrix is in the manifest all the same.
    if (room < 0) break;
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
