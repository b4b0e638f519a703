// OTLP's messages as tables: the number, JSON name and kind of each field that is kept. The
// protobuf and JSON readers use these tables and skip every other field.

/** A field's encoding in protobuf and in JSON. */
export type Kind =
  | "string"
  | "bool"
  | "double"
  /** Unsigned 32-bit numbers, and enums. */
  | "uint32"
  | "fixed32"
  /** 64-bit numbers, which are text in JSON. */
  | "fixed64"
  | "int64"
  /** Ids: bytes that are hexadecimal in OTLP JSON. */
  | "id"
  /** Bytes that are base64 in JSON. */
  | "bytes"
  | "message";

export interface Field {
  readonly name: string;
  readonly kind: Kind;
  readonly repeated: boolean;
  /** Only for the kind `message`. */
  readonly message?: Message;
}

export interface Message {
  readonly name: string;
  readonly byNumber: ReadonlyMap<number, Field>;
  readonly byName: ReadonlyMap<string, Field>;
}

type Row = readonly [number: number, name: string, kind: Kind | Message, repeated?: "repeated"];

function define(message: { name: string; byNumber: Map<number, Field>; byName: Map<string, Field> }, rows: readonly Row[]): Message {
  for (const [number, name, kind, repeated] of rows) {
    const field: Field =
      typeof kind === "string"
        ? { name, kind, repeated: repeated !== undefined }
        : { name, kind: "message", message: kind, repeated: repeated !== undefined };
    message.byNumber.set(number, field);
    message.byName.set(name, field);
  }
  return message;
}

const empty = (name: string): { name: string; byNumber: Map<number, Field>; byName: Map<string, Field> } => ({
  name,
  byNumber: new Map(),
  byName: new Map(),
});
const message = (name: string, rows: readonly Row[]): Message => define(empty(name), rows);

// A value may contain values, so the message exists before its fields are defined.
const anyValue = empty("AnyValue");
const keyValue = message("KeyValue", [
  [1, "key", "string"],
  [2, "value", anyValue],
]);
define(anyValue, [
  [1, "stringValue", "string"],
  [2, "boolValue", "bool"],
  [3, "intValue", "int64"],
  [4, "doubleValue", "double"],
  [5, "arrayValue", message("ArrayValue", [[1, "values", anyValue, "repeated"]])],
  [6, "kvlistValue", message("KeyValueList", [[1, "values", keyValue, "repeated"]])],
  [7, "bytesValue", "bytes"],
]);

const attributes = (number: number): Row => [number, "attributes", keyValue, "repeated"];

const event = message("Event", [
  [1, "timeUnixNano", "fixed64"],
  [2, "name", "string"],
  attributes(3),
  [4, "droppedAttributesCount", "uint32"],
]);
const link = message("Link", [
  [1, "traceId", "id"],
  [2, "spanId", "id"],
  [3, "traceState", "string"],
  attributes(4),
  [5, "droppedAttributesCount", "uint32"],
  [6, "flags", "fixed32"],
]);
const status = message("Status", [
  [2, "message", "string"],
  [3, "code", "uint32"],
]);
export const span = message("Span", [
  [1, "traceId", "id"],
  [2, "spanId", "id"],
  [3, "traceState", "string"],
  [4, "parentSpanId", "id"],
  [5, "name", "string"],
  [6, "kind", "uint32"],
  [7, "startTimeUnixNano", "fixed64"],
  [8, "endTimeUnixNano", "fixed64"],
  attributes(9),
  [10, "droppedAttributesCount", "uint32"],
  [11, "events", event, "repeated"],
  [12, "droppedEventsCount", "uint32"],
  [13, "links", link, "repeated"],
  [14, "droppedLinksCount", "uint32"],
  [15, "status", status],
  [16, "flags", "fixed32"],
]);
const scope = message("InstrumentationScope", [
  [1, "name", "string"],
  [2, "version", "string"],
  attributes(3),
  [4, "droppedAttributesCount", "uint32"],
]);
const scopeSpans = message("ScopeSpans", [
  [1, "scope", scope],
  [2, "spans", span, "repeated"],
  [3, "schemaUrl", "string"],
]);
const resource = message("Resource", [attributes(1), [2, "droppedAttributesCount", "uint32"]]);
const resourceSpans = message("ResourceSpans", [
  [1, "resource", resource],
  [2, "scopeSpans", scopeSpans, "repeated"],
  [3, "schemaUrl", "string"],
]);
/** The request that SDKs send to `/v1/traces`. */
export const exportRequest = message("ExportTraceServiceRequest", [[1, "resourceSpans", resourceSpans, "repeated"]]);
