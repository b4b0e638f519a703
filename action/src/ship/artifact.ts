// The archive as the run's artifact, with GitHub's own client. It is kept for five days: the
// server fetches it as soon as the run has ended.

import { DefaultArtifactClient } from "@actions/artifact";

import { uncaught } from "../never_fail.ts";

/** GitHub deletes it after so many days. */
const RETENTION_DAYS = 5;
const LONGEST_MS = 60_000;

/** Why this job's server can't take an artifact, if it can't; GitHub's client would say it in its own terms. */
export function whyNoArtifacts(environment: NodeJS.ProcessEnv): string | null {
  const set = (name: string): boolean => (environment[name] ?? "") !== "";
  const ours = set("ACTIONS_RUNTIME_TOKEN") && set("ACTIONS_RESULTS_URL");
  let host = "github.com";
  try {
    host = new URL(environment.GITHUB_SERVER_URL ?? "").hostname;
  } catch {
    // GitHub's own client takes it for github.com too.
  }
  const known = /^github\.com$|\.ghe\.com$|\.localhost$/i.test(host);
  return ours && known ? null : "This server has no artifact service that the action can use. Send the spans to the service at once instead, with `server-url`.";
}

/** Uploads files of `folder` under `name`; `otherwise` is the name where that one is taken already. Throws. */
export async function uploadArtifact(name: string, otherwise: string, folder: string, paths: readonly string[]): Promise<string> {
  const reason = whyNoArtifacts(process.env);
  if (reason !== null) throw new Error(reason);
  const client = new DefaultArtifactClient();
  const upload = async (as: string): Promise<string> => {
    // The content is compressed already.
    await client.uploadArtifact(as, [...paths], folder, { retentionDays: RETENTION_DAYS, compressionLevel: 0 });
    return as;
  };
  const first = upload(name).catch((error: unknown) => {
    if (!isTaken(error)) throw error;
    return upload(otherwise);
  });
  return Promise.race([first, tooLong(), uncaught()]);
}

/** Two jobs of a reusable workflow that is called twice have one key, and so one name. */
function isTaken(error: unknown): boolean {
  return error instanceof Error && /\b409\b|conflict|already exists/i.test(error.message);
}

function tooLong(): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => {
      reject(new Error(`GitHub did not take the artifact within ${LONGEST_MS / 1000} s`));
    }, LONGEST_MS).unref();
  });
}
