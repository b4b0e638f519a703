// The archive as the run's artifact, with GitHub's own client. It is kept for five days: the
// server fetches it as soon as the run has ended.

import { DefaultArtifactClient } from "@actions/artifact";

import { uncaught } from "../never_fail.ts";

/** GitHub deletes it after so many days. */
const RETENTION_DAYS = 5;
const LONGEST_MS = 60_000;

/** Uploads files of `folder` under `name`; `otherwise` is the name where that one is taken already. Throws. */
export async function uploadArtifact(name: string, otherwise: string, folder: string, paths: readonly string[]): Promise<string> {
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
