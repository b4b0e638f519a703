// Packs reports of test and build tools as JSON lines with their content. The server parses them
// with the readers of `pacegate exec --attach`. Refuses reports that are too old, too large or too
// many, and does not parse them.

import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";

import { unixNano } from "../time.ts";
import { type Found, findFiles } from "./find_files.ts";
import { GzipLines, type WrittenFile } from "./gzip_lines.ts";

/** Bytes of one report. */
export const LARGEST_REPORT_BYTES = 8 * 1024 * 1024;
/** Bytes of all reports of a job. */
export const MOST_REPORT_BYTES = 20 * 1024 * 1024;
/** Reports of a job. */
export const MOST_REPORTS = 500;
/** Follows no link and does not block on a pipe. Systems without these flags have `undefined`, which counts as 0. */
const NO_LINK_NO_WAIT = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** `file` is null when no report was packed. */
export interface WrittenReports {
  readonly file: WrittenFile | null;
  /** Paths of the packed reports. */
  readonly taken: readonly string[];
  /** `path: reason`. */
  readonly dropped: readonly string[];
}

/** Writes the reports that match `patterns` and were modified during the job to `path`. */
export async function writeReports(
  workspace: string,
  patterns: readonly string[],
  startedAtUnixNano: string,
  path: string,
  name: string,
): Promise<WrittenReports> {
  if (patterns.length === 0) return { file: null, taken: [], dropped: [] };
  const { found, refused } = findFiles(workspace, patterns, () => performance.now());
  const dropped = [...refused];
  const taken: string[] = [];
  const lines = new GzipLines(path, name);
  // Some file systems store times in whole seconds.
  const oldestMs = Number(BigInt(startedAtUnixNano) / 1_000_000_000n) * 1_000;
  let left = MOST_REPORT_BYTES;
  // Smallest first, so that one large report does not exclude the others.
  for (const file of [...found].sort((a, b) => a.stats.size - b.stats.size || (a.path < b.path ? -1 : 1))) {
    const reason = skipReason(file, oldestMs, left, taken.length);
    const line = reason ?? lineOf(file);
    if (reason !== null || line === null) {
      dropped.push(`${file.path}: ${reason ?? "cannot be read"}`);
      continue;
    }
    left -= file.stats.size;
    taken.push(file.path);
    await lines.write(line);
  }
  const file = await lines.end();
  return { file: taken.length === 0 ? null : file, taken, dropped };
}

function skipReason({ stats }: Found, oldestMs: number, left: number, taken: number): string | null {
  if (stats.mtimeMs < oldestMs) return "older than this job";
  if (stats.size === 0) return "empty";
  if (stats.size > LARGEST_REPORT_BYTES) return `larger than ${LARGEST_REPORT_BYTES / 1024 / 1024} MiB`;
  if (stats.size > left) return `all reports together are larger than ${MOST_REPORT_BYTES / 1024 / 1024} MiB`;
  if (taken >= MOST_REPORTS) return `more than ${MOST_REPORTS} reports`;
  return null;
}

function lineOf({ path, real, stats }: Found): string | null {
  try {
    // A step may have replaced the file by a link or a pipe since it was found.
    const file = openSync(real, constants.O_RDONLY | NO_LINK_NO_WAIT);
    try {
      const now = fstatSync(file);
      if (!now.isFile() || now.size > stats.size) return null;
      const content = readFileSync(file);
      return JSON.stringify({
        report: {
          path,
          modified_at_unix_nano: unixNano(stats.mtimeMs),
          bytes: content.length,
          sha256: createHash("sha256").update(content).digest("hex"),
          content_base64: content.toString("base64"),
        },
      });
    } finally {
      closeSync(file);
    }
  } catch {
    return null;
  }
}
