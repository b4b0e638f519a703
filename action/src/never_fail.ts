// Runs `main` and `post` so that every error becomes a warning and the process exits with 0. The
// measurement must never fail the job.

import * as core from "@actions/core";

const UNCAUGHT = ["uncaughtException", "unhandledRejection"] as const;

/** Rejects with the first uncaught error, for example from a library's stream event handler. */
export function uncaught(): Promise<never> {
  return new Promise((_, reject) => {
    for (const event of UNCAUGHT) process.once(event, reject);
  });
}

/** Runs `part` of the action and ends the process. */
export function neverFail(part: string, run: () => Promise<void>): void {
  const failed = (error: unknown): void => {
    core.warning(`Pacegate could not ${part}: ${messageOf(error)} The job is not affected.`);
  };
  // An uncaught error of a library does not end the process; the remaining work continues.
  for (const event of UNCAUGHT) {
    process.on(event, (error) => {
      if (process.listenerCount(event) === 1) failed(error);
    });
  }
  void run().catch(failed).finally(leave);
}

/** An error's message, ending in a full stop. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /[.!?]$/.test(message.trim()) ? message.trim() : `${message.trim()}.`;
}

function leave(): void {
  // Waits for printed output to be flushed, but not for open connections.
  process.stdout.write("", () => process.exit(0));
}
