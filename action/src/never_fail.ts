// The frame around `main` and `post`: whatever happens inside is a warning, and the process ends
// with 0. A job must never be red because of its measurement.

import * as core from "@actions/core";

const UNCAUGHT = ["uncaughtException", "unhandledRejection"] as const;

/** Rejects with what is thrown where nobody can catch it, as libraries do in a stream's events. */
export function uncaught(): Promise<never> {
  return new Promise((_, reject) => {
    for (const event of UNCAUGHT) process.once(event, reject);
  });
}

/** Runs `part` of the action and ends the process. */
export function neverFail(part: string, run: () => Promise<void>): void {
  const failed = (error: unknown): void => {
    core.warning(`Pacegate could not ${part}: ${said(error)} The job is not affected.`);
  };
  // What a library does behind our back ends nothing: what else there is to do is done.
  for (const event of UNCAUGHT) {
    process.on(event, (error) => {
      if (process.listenerCount(event) === 1) failed(error);
    });
  }
  void run().catch(failed).finally(leave);
}

/** An error's own words, ending in a full stop. */
export function said(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /[.!?]$/.test(message.trim()) ? message.trim() : `${message.trim()}.`;
}

function leave(): void {
  // Open connections are not waited for; what was printed is.
  process.stdout.write("", () => process.exit(0));
}
