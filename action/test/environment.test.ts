// What the steps are told, beside what their environment says already.

import { describe, expect, test } from "vitest";

import { exported, jobFacts, resourceAttributes } from "../src/environment.ts";

const told = {
  endpoint: "http://127.0.0.1:4000",
  traceparent: "00-t-s-01",
  jobSpanId: "s",
  facts: { "os.type": "linux" },
  serviceName: null,
  capture: "true",
} as const;
const known = { PACEGATE_ACTION: "s", OTEL_RESOURCE_ATTRIBUTES: "os.type=linux" };
const ours = { ...known, TRACEPARENT: "00-t-s-01" };
const exporter = { OTEL_EXPORTER_OTLP_ENDPOINT: told.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" };
const kinds = { OTEL_TRACES_EXPORTER: "otlp", OTEL_METRICS_EXPORTER: "none", OTEL_LOGS_EXPORTER: "none" };

describe("what is exported", () => {
  test.each([
    ["to an empty environment", {}, {}, { ...ours, ...exporter, ...kinds }, null],
    ["with a service's name", {}, { serviceName: "api" }, { ...ours, OTEL_SERVICE_NAME: "api", ...exporter, ...kinds }, null],
    ["what is set stays", { OTEL_METRICS_EXPORTER: "prometheus" }, {}, { ...ours, ...exporter, OTEL_TRACES_EXPORTER: "otlp", OTEL_LOGS_EXPORTER: "none" }, null],
    ["an exporter is not stolen", { OTEL_EXPORTER_OTLP_ENDPOINT: "https://c" }, {}, known, "OTEL_EXPORTER_OTLP_ENDPOINT"],
    ["nor one for traces alone", { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://c", TRACEPARENT: "00-a-b-01" }, {}, known, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"],
    [
      "but by force",
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://c", OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "grpc" },
      { capture: "force" },
      { ...ours, ...exporter, ...kinds, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:4000/v1/traces", OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/protobuf" },
      null,
    ],
    ["force takes the traces from another kind of exporter", { OTEL_TRACES_EXPORTER: "console" }, { capture: "force" }, { ...ours, ...exporter, ...kinds }, null],
  ] as const)("%s", (_, existing, more, variables, elsewhere) => {
    expect(exported(existing, { ...told, ...more })).toEqual({ variables, elsewhere, replaced: null });
  });
});

test.each([
  ["00-a-b-01", "TRACEPARENT"],
  ["", null],
  [told.traceparent, null],
])("a parent of the workflow's own (%s) is not replaced in silence", (parent, replaced) => {
  expect(exported({ TRACEPARENT: parent }, told)).toMatchObject({ replaced, variables: { TRACEPARENT: told.traceparent } });
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

test("plain values of a matrix are facts, others and odd names are not", () => {
  expect(jobFacts("test", { node: 18, os: "linux", include: { a: 1 }, "odd,name": 1, none: null })).toEqual({
    "github.job": "test",
    "github.matrix.node": "18",
    "github.matrix.os": "linux",
  });
});

test("what a long matrix adds to the environment of every process is bounded", () => {
  const matrix = Object.fromEntries(Array.from({ length: 80 }, (_, number) => [`k${number}`, "試".repeat(200)]));
  const attributes = resourceAttributes("team=a", { "os.type": "linux", ...jobFacts("test", matrix) });
  expect(attributes.length).toBeLessThan(4_200);
  expect(attributes.startsWith("team=a,os.type=linux,github.job=test,")).toBe(true);
});
