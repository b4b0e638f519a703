// Request bodies in one file on disk, each as encoding, length and bytes. The file is bounded. A
// failed write is truncated, so that earlier bodies stay intact. `post` reads the file and stops at
// a truncated or invalid record.

import { type FileHandle, open } from "node:fs/promises";
import { closeSync, openSync, readSync } from "node:fs";

import { isPlainFile } from "../session.ts";

export type Encoding = "protobuf" | "json";
const ENCODINGS: readonly Encoding[] = ["protobuf", "json"];
const HEAD_BYTES = 5;

/** Whether a body was kept, and the reason if not. */
export type Kept = "kept" | "full" | { readonly error: string };

export class Spool {
  private readonly file: FileHandle;
  private readonly maxBytes: number;
  private last: Promise<unknown> = Promise.resolve();
  /** Bytes on disk. */
  bytes = 0;

  private constructor(file: FileHandle, maxBytes: number) {
    this.file = file;
    this.maxBytes = maxBytes;
  }

  static async create(path: string, maxBytes: number): Promise<Spool> {
    return new Spool(await open(path, "wx", 0o600), maxBytes);
  }

  /** Writes a body after all earlier ones. */
  append(encoding: Encoding, body: Buffer): Promise<Kept> {
    const written = this.last.then(() => this.write(encoding, body));
    this.last = written;
    return written;
  }

  /** Waits for pending writes, then closes the file. */
  async close(): Promise<void> {
    await this.last;
    await this.file.close();
  }

  private async write(encoding: Encoding, body: Buffer): Promise<Kept> {
    const size = HEAD_BYTES + body.length;
    if (this.bytes + size > this.maxBytes) return "full";
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt8(ENCODINGS.indexOf(encoding), 0);
    head.writeUInt32LE(body.length, 1);
    try {
      await writeAll(this.file, Buffer.concat([head, body]), this.bytes);
      this.bytes += size;
      return "kept";
    } catch (error) {
      await this.file.truncate(this.bytes).catch(() => undefined);
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

/** Every complete body of a file; none if the file is missing. */
export function* readSpool(path: string): Generator<{ encoding: Encoding; body: Buffer }> {
  let file: number;
  try {
    if (!isPlainFile(path, Number.MAX_SAFE_INTEGER)) return;
    file = openSync(path, "r");
  } catch {
    return;
  }
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    while (fill(file, head)) {
      const encoding = ENCODINGS[head.readUInt8(0)];
      const length = head.readUInt32LE(1);
      // A body with spans is never empty. A step could leave a huge sparse file, whose zeros read as empty bodies.
      if (encoding === undefined || length === 0 || length > LARGEST_INFLATED_BYTES) return;
      const body = Buffer.alloc(length);
      if (!fill(file, body)) return;
      yield { encoding, body };
    }
  } finally {
    closeSync(file);
  }
}

/** Bytes of one body after inflation. */
export const LARGEST_INFLATED_BYTES = 32 * 1024 * 1024;

function fill(file: number, into: Buffer): boolean {
  for (let at = 0; at < into.length; ) {
    const read = readSync(file, into, at, into.length - at, null);
    if (read === 0) return false;
    at += read;
  }
  return true;
}
