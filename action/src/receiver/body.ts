// The bytes of a request: read within a limit and inflated within another. A body that would grow
// beyond is refused while it grows, not afterwards.

import type { IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { gunzip, inflate, inflateRaw } from "node:zlib";

import { LARGEST_INFLATED_BYTES } from "./spool.ts";

/** What a body may have on the wire. */
export const LARGEST_BODY_BYTES = 16 * 1024 * 1024;
/** What is read of a body that is refused. */
const MOST_READ_BYTES = 256 * 1024 * 1024;
/** What all bodies together may have that are being read. */
const LARGEST_TOGETHER_BYTES = 64 * 1024 * 1024;

/** A body that is not taken, with HTTP's and gRPC's number of why. */
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

/** A body that says something untrue of itself. */
export function malformed(message: string): Refused {
  return new Refused(400, INVALID_ARGUMENT, message);
}

let together = 0;

/** Reads a body; `none` only counts it. Throws `Refused`. */
export async function readBody(request: IncomingMessage, keep: "keep" | "none"): Promise<Buffer> {
  let pieces: Buffer[] = [];
  let length = 0;
  let kept = 0;
  let refused: Refused | null = null;
  try {
    // To its end even when it is refused: who is still sending does not see an answer.
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

/** A body of more than is taken. */
export function tooLarge(message: string): Refused {
  return new Refused(413, RESOURCE_EXHAUSTED, message);
}

const inflaters = { gzip: promisify(gunzip), deflate: promisify(inflate), raw: promisify(inflateRaw) };
let inflating: Promise<unknown> = Promise.resolve();

/** Inflates a body as its `Content-Encoding` says. One at a time, so that only one is large. Throws `Refused`. */
export function inflated(body: Buffer, encoding: string | undefined): Promise<Buffer> {
  const word = (encoding ?? "").trim().toLowerCase();
  if (word === "" || word === "identity") return Promise.resolve(body);
  if (word !== "gzip" && word !== "deflate") {
    return Promise.reject(new Refused(415, INVALID_ARGUMENT, "its Content-Encoding is neither gzip nor deflate"));
  }
  // Some send the bare stream as deflate, without the two bytes that zlib puts before it.
  const bare = word === "deflate" && ((body[0] ?? 0) & 0x0f) !== 8;
  const result = inflating.then(() => inflaters[bare ? "raw" : word](body, { maxOutputLength: LARGEST_INFLATED_BYTES }));
  inflating = result.catch(() => undefined);
  return result.catch((error: unknown) => {
    const code = (error as NodeJS.ErrnoException).code;
    throw code === "ERR_BUFFER_TOO_LARGE"
      ? tooLarge(`it is inflated to more than ${LARGEST_INFLATED_BYTES} bytes`)
      : malformed(`it is not ${word}`);
  });
}
