// A request as both readers make it: OTLP's JSON as it is written out, with hexadecimal ids and
// 64-bit numbers as text. And the bounds that both keep, so that a small body can't fill memory.

/** A value of a message: what JSON.stringify writes as OTLP's JSON. */
export type Value = string | number | boolean | Value[] | Fields;
/** The fields of a message. */
export interface Fields {
  [name: string]: Value;
}

/** A link to another span. */
export interface LinkFields extends Fields {
  traceId: string;
}

/** A span, as far as the action itself looks into it. */
export interface SpanFields extends Fields {
  traceId: string;
  spanId: string;
}


/** `ExportTraceServiceRequest`. */
export interface ExportRequest {
  resourceSpans?: { scopeSpans?: { spans?: SpanFields[] }[] }[];
}

/** Messages nested deeper are no request of any SDK. */
export const DEEPEST = 48;
/** Messages and repeated values in one body: an empty one takes two bytes there and a hundred in memory. */
export const MOST_VALUES = 1_000_000;

/** A body that is not what it says it is; the text says what is wrong. */
export class Malformed extends Error {
  override readonly name = "Malformed";
}

/** Every span of a request. */
export function* spansOf(request: ExportRequest): Generator<SpanFields> {
  for (const { scopeSpans } of request.resourceSpans ?? []) {
    for (const { spans } of scopeSpans ?? []) yield* spans ?? [];
  }
}

/** How many spans a request has. */
export function countSpans(request: ExportRequest): number {
  let count = 0;
  for (const { scopeSpans } of request.resourceSpans ?? []) {
    for (const { spans } of scopeSpans ?? []) count += spans?.length ?? 0;
  }
  return count;
}
