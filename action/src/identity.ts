// Identifies a job: the ids of its trace and span, and the name of its artifact. The server
// computes the same values from GitHub's API. Pure. Refuses nothing: a job without a check run id
// still gets an id.

import { createHash } from "node:crypto";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Distinguishes one job of a run from the others. */
export interface Job {
  readonly runId: string;
  readonly runAttempt: number;
  /** The job's key in the workflow file. */
  readonly job: string;
  /** GitHub's id of the job; null on servers that do not provide it. */
  readonly checkRunId: string | null;
  readonly matrix: Record<string, Json>;
  readonly runnerName: string;
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** The trace of one attempt of a run: 32 hexadecimal digits. */
export function traceId({ runId, runAttempt }: Job): string {
  return sha256(`${runId}${runAttempt}t`).slice(0, 32);
}

/** The span of the run, which the server creates from GitHub's API: 16 hexadecimal digits. */
export function rootSpanId({ runId, runAttempt }: Job): string {
  return sha256(`${runId}${runAttempt}s`).slice(16, 32);
}

/** The span of the job, which the server creates from GitHub's API: 16 hexadecimal digits. */
export function jobSpanId({ runId, runAttempt, job, checkRunId, matrix, runnerName }: Job): string {
  const text =
    checkRunId === null ? `${runId}${runAttempt}-${job}-${canonical(matrix)}-${runnerName}-j` : `${checkRunId}-j`;
  return sha256(text).slice(16, 32);
}

/** W3C trace context that is the parent of the steps' spans. */
export function traceparent(job: Job): string {
  return `00-${traceId(job)}-${jobSpanId(job)}-01`;
}

/** JSON with sorted keys and no spaces, so that equal values give equal text. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** `pacegate-<attempt>-<job>`, followed by a digest of the matrix if there is one. */
export function artifactName({ runAttempt, job, matrix }: Job): string {
  const digest = Object.keys(matrix).length === 0 ? "" : `-${sha256(canonical(matrix)).slice(0, 8)}`;
  // Characters that artifact names cannot have, and control characters.
   
  return `pacegate-${runAttempt}-${job}${digest}`.replace(/["<>|*?:\\/\u0000-\u001f]/g, "-");
}
