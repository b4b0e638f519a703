// OTLP responses in the encoding of the request: success, partial success, and google.rpc.Status
// for a refusal.

import type { Encoding } from "./spool.ts";

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

const CONTENT_TYPES: Readonly<Record<Encoding, string>> = {
  protobuf: "application/x-protobuf",
  json: "application/json",
};

export function success(encoding: Encoding): Answer {
  return answer(200, encoding, encoding === "json" ? Buffer.from("{}") : Buffer.alloc(0));
}

/** Some spans were rejected. OTLP forbids senders to retry them. */
export function partialSuccess(encoding: Encoding, rejectedSpans: number, errorMessage: string): Answer {
  if (encoding === "json") {
    return answer(200, encoding, Buffer.from(JSON.stringify({ partialSuccess: { rejectedSpans: String(rejectedSpans), errorMessage } })));
  }
  const inner = Buffer.concat([Buffer.from([0x08]), varint(rejectedSpans), text(2, errorMessage)]);
  return answer(200, encoding, Buffer.concat([Buffer.from([0x0a]), varint(inner.length), inner]));
}

/** Nothing was accepted; `code` is gRPC's status code. */
export function refusal(encoding: Encoding, status: number, code: number, message: string): Answer {
  const body =
    encoding === "json"
      ? Buffer.from(JSON.stringify({ code, message }))
      : Buffer.concat([Buffer.from([0x08]), varint(code), text(2, message)]);
  return answer(status, encoding, body);
}

function answer(status: number, encoding: Encoding, body: Buffer): Answer {
  return { status, contentType: CONTENT_TYPES[encoding], body };
}

function text(field: number, value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint((field << 3) | 2), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
