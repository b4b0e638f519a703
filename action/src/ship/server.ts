// Sends the archive directly to the Pacegate service, so that the verdict need not wait for the
// run's artifacts. Authorized by an ingest token, or by the job's OIDC token from GitHub, which the
// service exchanges for a grant. Masks every secret before using it.

import * as core from "@actions/core";
import { gzipSync } from "node:zlib";

import type { Manifest } from "../archive/manifest.ts";
import { type HttpAnswer, post, within } from "./http.ts";

/** Longest wait for one response. */
export const ATTEMPT_MS = 3_000;
/** Longest time for all requests. */
export const BUDGET_MS = 10_000;

export interface Accepted {
  readonly spans: number;
  readonly rejected: number;
  readonly message: string | null;
  readonly verdictUrl: string | null;
}

export interface Upload {
  readonly serverUrl: string;
  readonly token: string | null;
  readonly manifest: Manifest;
  /** The bytes of the archive's files, in the manifest's order. */
  readonly files: readonly Buffer[];
}

/** Whether this job can get an OIDC token (`permissions: id-token: write`). */
export function hasIdentityToken(environment: NodeJS.ProcessEnv): boolean {
  return (environment.ACTIONS_ID_TOKEN_REQUEST_URL ?? "") !== "" && (environment.ACTIONS_ID_TOKEN_REQUEST_TOKEN ?? "") !== "";
}

/** Sends the archive. Throws when the service does not accept it. */
export async function upload({ serverUrl, token, manifest, files }: Upload): Promise<Accepted> {
  const deadline = performance.now() + BUDGET_MS;
  const bearer = token ?? (await grant(serverUrl, deadline));
  const body = Buffer.concat([gzipSync(`${JSON.stringify({ manifest })}\n`), ...files]);
  const headers = { Authorization: `Bearer ${bearer}`, "Content-Type": "application/jsonl", "Content-Encoding": "gzip" };
  const answer = await withRetry(`${serverUrl}/api/v1/actions/traces`, headers, body, deadline);
  if (answer.status !== 202) throw new Error(refusal("the upload", answer));
  const result = fields(answer);
  return {
    spans: typeof result.spans === "number" ? result.spans : 0,
    rejected: typeof result.rejected === "number" ? result.rejected : 0,
    message: typeof result.message === "string" ? result.message : null,
    verdictUrl: typeof result.verdict_url === "string" ? result.verdict_url : null,
  };
}

async function grant(serverUrl: string, deadline: number): Promise<string> {
  const identity = await within(core.getIDToken(serverUrl), left(deadline)).catch((error: unknown) => {
    throw new Error(`GitHub issued no OIDC token: ${error instanceof Error ? error.message : String(error)}`);
  });
  core.setSecret(identity);
  const answer = await withRetry(`${serverUrl}/api/v1/actions/grants`, { Authorization: `Bearer ${identity}` }, Buffer.alloc(0), deadline);
  if (answer.status !== 201) throw new Error(refusal("the job's OIDC token", answer));
  const found = fields(answer).grant;
  if (typeof found !== "string" || !/^[\x21-\x7e]{8,4096}$/.test(found)) throw new Error(`${serverUrl} answered without a valid grant`);
  core.setSecret(found);
  return found;
}

/** Retries once if the service asks for it and the time suffices. */
async function withRetry(url: string, headers: Record<string, string>, body: Buffer, deadline: number): Promise<HttpAnswer> {
  const first = await post(url, headers, body, left(deadline));
  if ((first.status !== 429 && first.status !== 503) || first.retryAfterS === null) return first;
  const waitMs = first.retryAfterS * 1_000;
  if (performance.now() + waitMs + ATTEMPT_MS > deadline) return first;
  await new Promise((resolve) => setTimeout(resolve, waitMs));
  return post(url, headers, body, left(deadline));
}

function left(deadline: number): number {
  const rest = Math.min(ATTEMPT_MS, deadline - performance.now());
  if (rest <= 0) throw new Error(`it took longer than ${BUDGET_MS / 1000} s`);
  return rest;
}

function fields({ body }: HttpAnswer): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(body);
    return parsed !== null && typeof parsed === "object" ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** The service's reason for a refusal, in one line. */
function refusal(what: string, answer: HttpAnswer): string {
  if (answer.status >= 300 && answer.status < 400) {
    return `the service answered ${what} with a redirect (${answer.status}), which is not followed: set \`server-url\` to the final address`;
  }
  const problem = fields(answer);
  const texts = [problem.title, problem.detail].filter((text): text is string => typeof text === "string");
  const reason = texts.join(": ").replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, 500);
  return `the service refused ${what} (${answer.status})${reason === "" ? "" : `: ${reason}`}`;
}
