// Reads and inflates the body of a request. Refuses a body as soon as it exceeds a limit, before it
// is complete.

import type { IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { gunzip, inflate, inflateRaw } from "node:zlib";

import { LARGEST_INFLATED_BYTES } from "./spool.ts";

/** Bytes of one body on the wire. */
export const LARGEST_BODY_BYTES = 16 * 1024 * 1024;
/** Bytes that are read of a refused body before the connection is dropped. */
const MOST_READ_BYTES = 256 * 1024 * 1024;
/** Bytes of all bodies that are being read at the same time. */
const LARGEST_TOGETHER_BYTES = 64 * 1024 * 1024;

/** A refused body, with the HTTP status and the gRPC code of the reason. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  readonly code: number;

  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;

/** A body that does not match its declared type or encoding. */
export function malformed(message: string): Refused {
  return new Refused(400, INVALID_ARGUMENT, message);
}

let together = 0;

/** Reads a body; with `none` its bytes are only counted. Throws `Refused`. */
export async function readBody(request: IncomingMessage, keep: "keep" | "none"): Promise<Buffer> {
  let pieces: Buffer[] = [];
  let length = 0;
  let kept = 0;
  let refused: Refused | null = null;
  try {
    // A refused body is read to its end, because a client that is still sending does not see the response.
    for await (const piece of request as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length > MOST_READ_BYTES) break;
      if (keep === "none" || refused !== null) continue;
      if (length > LARGEST_BODY_BYTES) refused = tooLarge(`it is larger than ${LARGEST_BODY_BYTES} bytes`);
      else if (together + piece.length > LARGEST_TOGETHER_BYTES) refused = tooLarge("too much is being sent at once");
      if (refused !== null) {
        pieces = [];
        continue;
      }
      kept += piece.length;
      together += piece.length;
      pieces.push(piece);
    }
    if (refused !== null) throw refused;
    return Buffer.concat(pieces);
  } finally {
    together -= kept;
  }
}

export function tooLarge(message: string): Refused {
  return new Refused(413, RESOURCE_EXHAUSTED, message);
}

const inflaters = { gzip: promisify(gunzip), deflate: promisify(inflate), raw: promisify(inflateRaw) };
let inflating: Promise<unknown> = Promise.resolve();

/** Inflates a body by its `Content-Encoding`. One body at a time, which bounds memory. Throws `Refused`. */
export function inflated(body: Buffer, encoding: string | undefined): Promise<Buffer> {
  const coding = (encoding ?? "").trim().toLowerCase();
  if (coding === "" || coding === "identity") return Promise.resolve(body);
  if (coding !== "gzip" && coding !== "deflate") {
    return Promise.reject(new Refused(415, INVALID_ARGUMENT, "its Content-Encoding is neither gzip nor deflate"));
  }
  // Some clients send a raw deflate stream, without zlib's two header bytes.
  const isRaw = coding === "deflate" && ((body[0] ?? 0) & 0x0f) !== 8;
  const result = inflating.then(() => inflaters[isRaw ? "raw" : coding](body, { maxOutputLength: LARGEST_INFLATED_BYTES }));
  inflating = result.catch(() => undefined);
  return result.catch((error: unknown) => {
    const code = (error as NodeJS.ErrnoException).code;
    throw code === "ERR_BUFFER_TOO_LARGE"
      ? tooLarge(`it is inflated to more than ${LARGEST_INFLATED_BYTES} bytes`)
      : malformed(`it is not ${coding}`);
  });
}
