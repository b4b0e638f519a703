// Variables exported to later steps, with various existing environments.

import { describe, expect, test } from "vitest";

import { exported, jobFacts, resourceAttributes } from "../src/environment.ts";

const settings = {
  endpoint: "http://127.0.0.1:4000",
  traceparent: "00-t-s-01",
  jobSpanId: "s",
  facts: { "os.type": "linux" },
  serviceName: null,
  capture: "true",
} as const;
const known = { PACEGATE_ACTION: "s", OTEL_RESOURCE_ATTRIBUTES: "os.type=linux" };
const ours = { ...known, TRACEPARENT: "00-t-s-01" };
const exporter = { OTEL_EXPORTER_OTLP_ENDPOINT: settings.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" };
const kinds = { OTEL_TRACES_EXPORTER: "otlp", OTEL_METRICS_EXPORTER: "none", OTEL_LOGS_EXPORTER: "none" };

describe("exported variables", () => {
  test.each([
    ["empty environment", {}, {}, { ...ours, ...exporter, ...kinds }, null],
    ["service name is set", {}, { serviceName: "api" }, { ...ours, OTEL_SERVICE_NAME: "api", ...exporter, ...kinds }, null],
    ["existing exporter settings are kept", { OTEL_METRICS_EXPORTER: "prometheus" }, {}, { ...ours, ...exporter, OTEL_TRACES_EXPORTER: "otlp", OTEL_LOGS_EXPORTER: "none" }, null],
    ["existing endpoint is kept", { OTEL_EXPORTER_OTLP_ENDPOINT: "https://c" }, {}, known, "OTEL_EXPORTER_OTLP_ENDPOINT"],
    ["existing traces endpoint is kept", { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://c", TRACEPARENT: "00-a-b-01" }, {}, known, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
    [
      "force replaces the traces endpoint",
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://c", OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "grpc" },
      { capture: "force" },
      { ...ours, ...exporter, ...kinds, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:4000/v1/traces", OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/protobuf" },
      null,
    ],
    ["force replaces another traces exporter", { OTEL_TRACES_EXPORTER: "console" }, { capture: "force" }, { ...ours, ...exporter, ...kinds }, null],
  ] as const)("%s", (_, existing, more, variables, elsewhere) => {
    expect(exported(existing, { ...settings, ...more })).toEqual({ variables, elsewhere, replaced: null });
  });
});

test.each([
  ["00-a-b-01", "TRACEPARENT"],
  ["", null],
  [settings.traceparent, null],
])("replaced parent (%s) is reported", (parent, replaced) => {
  expect(exported({ TRACEPARENT: parent }, settings)).toMatchObject({ replaced, variables: { TRACEPARENT: settings.traceparent } });
});

describe("resource attributes", () => {
  test.each([
    ["", { a: "x y", b: 2 }, "a=x%20y,b=2"],
    ["a=mine, c=d,", { a: "ours", b: "1,2=3" }, "a=mine,c=d,b=1%2C2%3D3"],
    ["", { a: "ü\ud800" }, "a=%C3%BC%EF%BF%BD"],
  ])("%j and %j", (existing, facts, text) => {
    expect(resourceAttributes(existing, facts)).toBe(text);
  });
});

test("only plain matrix values become facts", () => {
  expect(jobFacts("test", { node: 18, os: "linux", include: { a: 1 }, "odd,name": 1, none: null })).toEqual({
    "github.job": "test",
    "github.matrix.node": "18",
    "github.matrix.os": "linux",
  });
});

test("long matrix adds a bounded number of bytes", () => {
  const matrix = Object.fromEntries(Array.from({ length: 80 }, (_, number) => [`k${number}`, "試".repeat(200)]));
  const attributes = resourceAttributes("team=a", { "os.type": "linux", ...jobFacts("test", matrix) });
  expect(attributes.length).toBeLessThan(4_200);
  expect(attributes.startsWith("team=a,os.type=linux,github.job=test,")).toBe(true);
});
