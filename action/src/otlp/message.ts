// The request that both readers produce: OTLP JSON with hexadecimal ids and 64-bit numbers as text.
// Also the limits of both readers, which keep a small body from filling memory.

/** A value that JSON.stringify writes as OTLP JSON. */
export type Value = string | number | boolean | Value[] | Fields;
export interface Fields {
  [name: string]: Value;
}

export interface LinkFields extends Fields {
  traceId: string;
}

/** The fields of a span that the action itself reads. */
export interface SpanFields extends Fields {
  traceId: string;
  spanId: string;
}

/** `ExportTraceServiceRequest`. */
export interface ExportRequest {
  resourceSpans?: { scopeSpans?: { spans?: SpanFields[] }[] }[];
}

/** Levels of nested messages; no SDK sends more. */
export const MAX_DEPTH = 48;
/** Messages and repeated values in one body. An empty one takes 2 bytes in the body and about 100 in memory. */
export const MAX_VALUES = 1_000_000;

/** A body that is not valid in its format; the message says why. */
export class Malformed extends Error {
  override readonly name = "Malformed";
}

export function* spansOf(request: ExportRequest): Generator<SpanFields> {
  for (const { scopeSpans } of request.resourceSpans ?? []) {
    for (const { spans } of scopeSpans ?? []) yield* spans ?? [];
  }
}

export function countSpans(request: ExportRequest): number {
  let count = 0;
  for (const { scopeSpans } of request.resourceSpans ?? []) {
    for (const { spans } of scopeSpans ?? []) count += spans?.length ?? 0;
  }
  return count;
}
