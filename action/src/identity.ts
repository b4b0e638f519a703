// Who a job is: the ids of its trace and span, and the name of its artifact. The server computes
// the same from GitHub's API, so both sides agree without a word. Pure; refuses nothing, because
// a job without a number still gets an id.

import { createHash } from "node:crypto";

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What tells one job of a run from the others. */
export interface Job {
  readonly runId: string;
  readonly runAttempt: number;
  /** The job's key in the workflow file. */
  readonly job: string;
  /** GitHub's number of the job; null on servers that do not tell it. */
  readonly checkRunId: string | null;
  readonly matrix: Record<string, Json>;
  readonly runnerName: string;
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** The trace of one attempt of a run: 32 hexadecimal digits. */
export function traceId({ runId, runAttempt }: Job): string {
  return sha256(`${runId}${runAttempt}t`).slice(0, 32);
}

/** The run's own span, which GitHub's API tells of: 16 hexadecimal digits. */
export function rootSpanId({ runId, runAttempt }: Job): string {
  return sha256(`${runId}${runAttempt}s`).slice(16, 32);
}

/** The job's own span, which GitHub's API tells of: 16 hexadecimal digits. */
export function jobSpanId({ runId, runAttempt, job, checkRunId, matrix, runnerName }: Job): string {
  const text =
    checkRunId === null ? `${runId}${runAttempt}-${job}-${canonical(matrix)}-${runnerName}-j` : `${checkRunId}-j`;
  return sha256(text).slice(16, 32);
}

/** W3C trace context below which the job's steps make their spans. */
export function traceparent(job: Job): string {
  return `00-${traceId(job)}-${jobSpanId(job)}-01`;
}

/** JSON with sorted keys and no blanks, so that equal values are equal texts. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** The job's artifact: `pacegate-<attempt>-<job>`, and a digest where a matrix makes several. */
export function artifactName({ runAttempt, job, matrix }: Job): string {
  const digest = Object.keys(matrix).length === 0 ? "" : `-${sha256(canonical(matrix)).slice(0, 8)}`;
  // What an artifact's name may not have, and controls.
   
  return `pacegate-${runAttempt}-${job}${digest}`.replace(/["<>|*?:\\/\u0000-\u001f]/g, "-");
}
