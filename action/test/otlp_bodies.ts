// Spans as OpenTelemetry's SDK creates them, and hand-written protobuf for bodies that no SDK sends.

import { type Link, SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";

export const TRACE = "0af7651916cd43dd8448eb211c80319c";

/** A span with a value for every field. */
export function sdkSpan(id: string, more: Partial<ReadableSpan> = {}): ReadableSpan {
  const link: Link = { context: { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: TraceFlags.SAMPLED }, attributes: { why: "queue" } };
  return {
    name: "tests/test_a.py::test_b",
    kind: SpanKind.INTERNAL,
    spanContext: () => ({ traceId: TRACE, spanId: id, traceFlags: TraceFlags.SAMPLED }),
    parentSpanContext: { traceId: TRACE, spanId: "b7ad6b7169203331", traceFlags: TraceFlags.SAMPLED },
    startTime: [1_795_398_984, 123_456_789],
    endTime: [1_795_398_985, 987_654_321],
    status: { code: SpanStatusCode.ERROR, message: "it failed" },
    attributes: { text: "ü€😀", count: -3, large: 2 ** 40, ratio: 0.25, yes: true, list: ["a", "b"], numbers: [1, 2.5] },
    links: [link],
    events: [{ name: "exception", time: [1_795_398_985, 5], attributes: { "exception.message": "boom" }, droppedAttributesCount: 1 }],
    duration: [1, 0],
    ended: true,
    resource: resourceFromAttributes({ "service.name": "api", "os.type": "linux" }),
    instrumentationScope: { name: "pytest", version: "1.0", schemaUrl: "https://example.com/schema" },
    droppedAttributesCount: 2,
    droppedEventsCount: 3,
    droppedLinksCount: 4,
    ...more,
  };
}

export function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value);
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

/** A length-delimited field: text, bytes or a message. */
export function field(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(content.length), content]);
}

/** A request around encoded spans. */
export function requestOf(spans: readonly Buffer[]): Buffer {
  return field(1, field(2, Buffer.concat(spans.map((span) => field(2, span)))));
}

/** A span with only ids and times. */
export function plainSpan(number: number): Buffer {
  const id = Buffer.alloc(8);
  id.writeUInt32BE(number + 1, 4);
  const times = Buffer.alloc(18);
  times.writeUInt8((7 << 3) | 1, 0);
  times.writeBigUInt64LE(1_795_398_984_000_000_000n, 1);
  times.writeUInt8((8 << 3) | 1, 9);
  times.writeBigUInt64LE(1_795_398_985_000_000_000n, 10);
  return Buffer.concat([field(1, Buffer.from(TRACE, "hex")), field(2, id), times]);
}
