// Writes JSON lines to a gzip file and computes the file's manifest entry. Uses the fastest
// compression level, because the job waits for it.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createGzip } from "node:zlib";

/** A file's entry in the manifest. Sizes are in bytes. */
export interface WrittenFile {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly inflated_bytes: number;
  readonly lines: number;
  readonly spans?: number;
}

export class GzipLines {
  private readonly name: string;
  private readonly gzip = createGzip({ level: constants.Z_BEST_SPEED, chunkSize: 256 * 1024 });
  private readonly hash = createHash("sha256");
  private readonly done: Promise<void>;
  /** Compressed bytes written so far; lags behind `inflatedBytes`. */
  bytes = 0;
  /** Bytes before compression. */
  inflatedBytes = 0;
  lines = 0;

  constructor(path: string, name: string) {
    this.name = name;
    const measured = new Transform({
      transform: (chunk: Buffer, _, pass) => {
        this.hash.update(chunk);
        this.bytes += chunk.length;
        pass(null, chunk);
      },
    });
    this.done = pipeline(this.gzip, measured, createWriteStream(path, { mode: 0o600 }));
    // `end` or the next `write` reports the error.
    this.done.catch(() => undefined);
  }

  /** Writes a line; waits while the disk is behind. */
  async write(line: string): Promise<void> {
    const bytes = Buffer.from(`${line}\n`);
    this.inflatedBytes += bytes.length;
    this.lines += 1;
    if (!this.gzip.write(bytes)) await Promise.race([once(this.gzip, "drain"), this.done]);
  }

  /** Closes the file. Throws any earlier write error. */
  async end(): Promise<WrittenFile> {
    this.gzip.end();
    await this.done;
    return {
      name: this.name,
      sha256: this.hash.digest("hex"),
      bytes: this.bytes,
      inflated_bytes: this.inflatedBytes,
      lines: this.lines,
    };
  }
}
