// Uploads the archive as an artifact of the run, with GitHub's own client. The artifact is kept for
// five days; the server fetches it as soon as the run has ended.

import { DefaultArtifactClient } from "@actions/artifact";

import { uncaught } from "../never_fail.ts";

const RETENTION_DAYS = 5;
const LONGEST_MS = 60_000;

/** The reason why this job's GitHub server has no usable artifact service; null if it has one. GitHub's client would report it less clearly. */
export function whyNoArtifacts(environment: NodeJS.ProcessEnv): string | null {
  const set = (name: string): boolean => (environment[name] ?? "") !== "";
  const ours = set("ACTIONS_RUNTIME_TOKEN") && set("ACTIONS_RESULTS_URL");
  let host = "github.com";
  try {
    host = new URL(environment.GITHUB_SERVER_URL ?? "").hostname;
  } catch {
    // GitHub's client also assumes github.com.
  }
  const known = /^github\.com$|\.ghe\.com$|\.localhost$/i.test(host);
  return ours && known ? null : "This server has no artifact service that the action can use. Set `server-url` to send the spans directly to the service.";
}

/** Uploads files of `folder` as the artifact `name`, or `fallback` if that name exists. Returns the name; throws on failure. */
export async function uploadArtifact(name: string, fallback: string, folder: string, paths: readonly string[]): Promise<string> {
  const reason = whyNoArtifacts(process.env);
  if (reason !== null) throw new Error(reason);
  const client = new DefaultArtifactClient();
  const upload = async (as: string): Promise<string> => {
    // The files are already compressed.
    await client.uploadArtifact(as, [...paths], folder, { retentionDays: RETENTION_DAYS, compressionLevel: 0 });
    return as;
  };
  const first = upload(name).catch((error: unknown) => {
    if (!isTaken(error)) throw error;
    return upload(fallback);
  });
  return Promise.race([first, tooLong(), uncaught()]);
}

/** Jobs of a reusable workflow that is called twice share a key, and so an artifact name. */
function isTaken(error: unknown): boolean {
  return error instanceof Error && /\b409\b|conflict|already exists/i.test(error.message);
}

function tooLong(): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => {
      reject(new Error(`GitHub did not accept the artifact within ${LONGEST_MS / 1000} s`));
    }, LONGEST_MS).unref();
  });
}
