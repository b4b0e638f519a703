// The archive's manifest: the job's identity, runner, files and dropped data. All of it is a claim,
// which the server checks against GitHub's API. Times are nanoseconds since the epoch, as text.

import { readFileSync } from "node:fs";

import { jobSpanId, traceId, type Job, type Json } from "../identity.ts";
import { type Session, isPlainFile } from "../session.ts";
import type { WrittenFile } from "./gzip_lines.ts";

/** The manifest in schema 1. */
export interface Manifest {
  readonly schema: 1;
  readonly repository: string;
  readonly repository_id: string;
  readonly run_id: string;
  readonly run_attempt: number;
  readonly job: string;
  readonly check_run_id: string | null;
  readonly head_sha: string;
  readonly workflow: string;
  readonly event_name: string;
  readonly ref: string;
  readonly trace_id: string;
  readonly job_span_id: string;
  readonly runner_name: string;
  readonly matrix: Record<string, Json>;
  readonly service_name: string | null;
  readonly started_at_unix_nano: string;
  readonly ended_at_unix_nano: string;
  readonly runner: Session["runner"];
  readonly caches: Readonly<Record<string, "hit" | "miss">>;
  readonly calibration: Session["calibration"];
  readonly files: readonly WrittenFile[];
  readonly dropped: Dropped;
}

/** Data that is not in the archive. */
export interface Dropped {
  readonly spans: number;
  readonly bytes: number;
  /** `path: reason`. */
  readonly reports: readonly string[];
}

/** Characters as JSON. A larger matrix is left out; its digest is still in the artifact's name. */
const LARGEST_MATRIX = 64 * 1024;
const MOST_DROPPED_REPORTS = 50;
/** GitHub limits events to 25 MB. */
const LARGEST_EVENT_BYTES = 32 * 1024 * 1024;

/** Identifies this job by the variables that the runner sets. */
export function jobOf(environment: NodeJS.ProcessEnv, checkRunId: string | null, matrix: Record<string, Json>): Job {
  return {
    runId: environment.GITHUB_RUN_ID ?? "",
    runAttempt: Number(environment.GITHUB_RUN_ATTEMPT ?? 1),
    job: environment.GITHUB_JOB ?? "",
    checkRunId,
    matrix,
    runnerName: environment.RUNNER_NAME ?? "",
  };
}

/**
 * The commit that GitHub's API names as the run's head. For a pull request that is its newest
 * commit; GITHUB_SHA is then a merge commit that GitHub created for the run.
 */
export function headSha(environment: NodeJS.ProcessEnv): string {
  const sha = environment.GITHUB_SHA ?? "";
  if (!/^pull_request(_review|_review_comment|_target)?$/.test(environment.GITHUB_EVENT_NAME ?? "")) return sha;
  const path = environment.GITHUB_EVENT_PATH ?? "";
  try {
    if (!isPlainFile(path, LARGEST_EVENT_BYTES)) return sha;
    const event = JSON.parse(readFileSync(path, "utf8")) as {
      pull_request?: { head?: { sha?: unknown } };
    };
    const head = event.pull_request?.head?.sha;
    return typeof head === "string" && /^[0-9a-f]{40,64}$/.test(head) ? head : sha;
  } catch {
    return sha;
  }
}

/** Cache hits and misses that steps recorded as `PACEGATE_CACHE_<NAME>`. */
export function cachesOf(environment: NodeJS.ProcessEnv): Record<string, "hit" | "miss"> {
  const caches: Record<string, "hit" | "miss"> = {};
  for (const [variable, value] of Object.entries(environment)) {
    const name = /^PACEGATE_CACHE_([A-Z0-9_]{1,60})$/i.exec(variable)?.[1];
    if (name !== undefined) caches[name.toLowerCase()] = value?.trim().toLowerCase() === "true" ? "hit" : "miss";
  }
  return caches;
}

export function makeManifest(
  environment: NodeJS.ProcessEnv,
  job: Job,
  session: Session,
  rest: { serviceName: string | null; endedAtUnixNano: string; files: readonly WrittenFile[]; dropped: Dropped },
): Manifest {
  const variable = (name: string): string => environment[name] ?? "";
  return {
    schema: 1,
    repository: variable("GITHUB_REPOSITORY"),
    repository_id: variable("GITHUB_REPOSITORY_ID"),
    run_id: job.runId,
    run_attempt: job.runAttempt,
    job: job.job,
    check_run_id: job.checkRunId,
    head_sha: headSha(environment),
    workflow: variable("GITHUB_WORKFLOW"),
    event_name: variable("GITHUB_EVENT_NAME"),
    ref: variable("GITHUB_REF"),
    trace_id: traceId(job),
    job_span_id: jobSpanId(job),
    runner_name: job.runnerName,
    matrix: JSON.stringify(job.matrix).length > LARGEST_MATRIX ? {} : job.matrix,
    service_name: rest.serviceName,
    started_at_unix_nano: session.startedAtUnixNano,
    ended_at_unix_nano: rest.endedAtUnixNano,
    runner: session.runner,
    caches: cachesOf(environment),
    calibration: session.calibration,
    files: rest.files,
    dropped: { ...rest.dropped, reports: shortened(rest.dropped.reports) },
  };
}

function shortened(reports: readonly string[]): readonly string[] {
  const more = reports.length - MOST_DROPPED_REPORTS;
  const first = reports.slice(0, MOST_DROPPED_REPORTS).map((report) => report.slice(0, 300));
  return more > 0 ? [...first, `and ${more} more`] : first;
}
