// Both readers against OpenTelemetry's own serializers, and against malicious bodies.

import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { describe, expect, test } from "vitest";

import { readJsonRequest } from "../src/otlp/json.ts";
import { Malformed, countSpans, spansOf } from "../src/otlp/message.ts";
import { readRequest, scanRequest } from "../src/otlp/protobuf.ts";
import { field, plainSpan, requestOf, sdkSpan, varint } from "./otlp_bodies.ts";

const serialized = (serializer: typeof JsonTraceSerializer, ids: readonly string[]): Buffer =>
  Buffer.from(serializer.serializeRequest(ids.map((id) => sdkSpan(id))) ?? []);

const IDS = ["00f067aa0ba902b7", "00f067aa0ba902b8"];

test("protobuf becomes the SDK's own JSON", () => {
  const ours = readRequest(serialized(ProtobufTraceSerializer, IDS));
  const theirs = readJsonRequest(serialized(JsonTraceSerializer, IDS));
  // Both serializers write a number without a fraction the same way, as an integer or as a double.
  expect(ours).toEqual(theirs);
  const [span] = [...spansOf(ours)];
  expect(span).toMatchObject({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: IDS[0],
    parentSpanId: "b7ad6b7169203331",
    kind: 1,
    startTimeUnixNano: "1795398984123456789",
    endTimeUnixNano: "1795398985987654321",
    status: { code: 2, message: "it failed" },
    droppedAttributesCount: 2,
  });
  expect(JSON.stringify(span)).toContain('{"key":"text","value":{"stringValue":"ü€😀"}}');
  expect(JSON.stringify(span)).toContain('{"key":"count","value":{"intValue":"-3"}}');
});

test("scan counts the spans of a request", () => {
  const body = serialized(ProtobufTraceSerializer, IDS);
  expect(scanRequest(body)).toBe(2);
  expect(countSpans(readRequest(body))).toBe(2);
  expect(scanRequest(Buffer.alloc(0))).toBe(0);
});

test("truncated body is refused or partly read", () => {
  const body = serialized(ProtobufTraceSerializer, IDS);
  const whole = readRequest(body);
  for (let end = 0; end < body.length; end += 1) {
    const cut = body.subarray(0, end);
    let outcome: unknown;
    try {
      outcome = readRequest(cut);
    } catch (error) {
      expect(error).toBeInstanceOf(Malformed);
      expect(() => scanRequest(cut)).toThrow(Malformed);
      continue;
    }
    expect(outcome).not.toEqual(whole);
  }
});

const nested = (levels: number): Buffer => {
  let value = field(1, Buffer.from("x"));
  for (let level = 0; level < levels; level += 1) value = field(5, field(1, value));
  return requestOf([field(9, field(2, value))]);
};

describe("refused protobuf", () => {
  test.each([
    ["length beyond the end", Buffer.concat([varint(10), varint(1_000)]), "beyond the end"],
    ["length of 2^63 bytes", Buffer.concat([varint(10), varint(2n ** 63n)]), "beyond the end"],
    ["number of more than 10 bytes", Buffer.alloc(11, 0xff), "longer than 10 bytes"],
    ["truncated number", Buffer.from([0xff]), "middle of a number"],
    ["field number 0", Buffer.from([0x00, 0x00]), "number 0"],
    ["unknown wire type", Buffer.from([0x0f]), "wire type 7"],
    ["field number beyond 32 bits", Buffer.concat([varint(2n ** 40n), varint(0)]), "too large"],
    ["truncated fixed number", requestOf([Buffer.from([(7 << 3) | 1, 1, 2])]), "middle of a number"],
    ["id of 3 bytes", requestOf([field(2, Buffer.alloc(3))]), "an id has 3 bytes"],
    ["deeply nested values", nested(500), "nested deeper"],
    ["deeply nested groups", Buffer.alloc(10_000, (100 << 3) & 0x7f | 3), "nested deeper"],
    ["a million empty values", field(1, Buffer.concat(Array.from({ length: 1_000_002 }, () => Buffer.from([0x12, 0x00])))), "more than"],
  ])("%s", (_, body, message) => {
    expect(() => readRequest(body)).toThrow(message);
    expect(() => scanRequest(body)).toThrow(message);
    expect(() => readRequest(body)).toThrow(Malformed);
  });
});

test("unknown fields, wire types and groups are skipped", () => {
  const unknown = Buffer.concat([
    field(99, Buffer.from("later")),
    Buffer.concat([varint((98 << 3) | 0), varint(7)]),
    Buffer.concat([varint((97 << 3) | 3), field(1, Buffer.from("x")), varint((97 << 3) | 4)]),
    // The field `name` with the wire type of a number.
    Buffer.concat([varint((5 << 3) | 0), varint(1)]),
  ]);
  const read = readRequest(requestOf([Buffer.concat([plainSpan(0), unknown])]));
  expect([...spansOf(read)]).toEqual([
    { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "0000000000000001", startTimeUnixNano: "1795398984000000000", endTimeUnixNano: "1795398985000000000" },
  ]);
});

test("100,000 spans in one body are read", () => {
  const body = requestOf(Array.from({ length: 100_000 }, (_, number) => plainSpan(number)));
  expect(scanRequest(body)).toBe(100_000);
  expect(countSpans(readRequest(body))).toBe(100_000);
});

const jsonSpan = (span: object): Buffer => Buffer.from(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }));

test("JSON is normalized to known fields", () => {
  const span = {
    traceId: "0AF7651916CD43DD8448EB211C80319C",
    spanId: "B7AD6B7169203331",
    parentSpanId: "",
    startTimeUnixNano: 1_795_398_984_000,
    endTimeUnixNano: "1795398985000000001",
    kind: 2,
    status: null,
    later: { x: 1 },
    attributes: [
      { key: "a", value: { intValue: 5 } },
      { key: "b", value: { doubleValue: "NaN" } },
      { key: "c", value: { arrayValue: {} } },
    ],
  };
  const [read] = [...spansOf(readJsonRequest(jsonSpan(span)))];
  expect(read).toEqual({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    parentSpanId: "",
    startTimeUnixNano: "1795398984000",
    endTimeUnixNano: "1795398985000000001",
    kind: 2,
    attributes: [
      { key: "a", value: { intValue: "5" } },
      { key: "b", value: { doubleValue: "NaN" } },
      { key: "c", value: { arrayValue: {} } },
    ],
  });
});

describe("refused JSON", () => {
  test.each([
    ["not JSON", Buffer.from("{")],
    ["list", Buffer.from("[]")],
    ["string", Buffer.from('"x"')],
    ["spans that are not a list", Buffer.from('{"resourceSpans":{}}')],
    ["id in base64", jsonSpan({ traceId: "CvdlGRbNQ92ESOshHIAxnA==" })],
    ["negative time", jsonSpan({ startTimeUnixNano: "-1" })],
    ["time with a fraction", jsonSpan({ startTimeUnixNano: 1.5 })],
    ["number of a thousand digits", jsonSpan({ startTimeUnixNano: "9".repeat(1_000) })],
    ["name that is an object", jsonSpan({ name: {} })],
    ["deeply nested values", jsonSpan({ attributes: [{ key: "a", value: JSON.parse(`${'{"arrayValue":{"values":['.repeat(60)}${"]}}".repeat(60)}`) as unknown }] })],
    ["deeply nested lists", Buffer.from(`${"[".repeat(100_000)}${"]".repeat(100_000)}`)],
  ])("%s", (_, body) => {
    expect(() => readJsonRequest(body)).toThrow(Malformed);
  });
});

test("prototype members are ignored as fields", () => {
  const read = readJsonRequest(Buffer.from('{"__proto__":{"resourceSpans":[]},"constructor":1,"resourceSpans":[]}'));
  expect(Object.keys(read)).toEqual(["resourceSpans"]);
});
