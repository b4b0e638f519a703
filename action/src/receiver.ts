// The receiver's process: takes spans until it is told to stop, until nobody has sent anything for
// longer than a job may last, or until its folder is gone. It says how it is doing in a file.

import { readFileSync, statSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { type Counts, makeServer } from "./receiver/server.ts";
import { Spool } from "./receiver/spool.ts";
import { type ReceiverSettings, type ReceiverState, files, writeJson } from "./session.ts";

/** GitHub's jobs last six hours at most. */
const LONGEST_SILENCE_MS = (6 * 60 + 10) * 60_000;
const LOOK_MS = 1_000;
/** How long the end waits for what is being sent. */
const LAST_WORDS_MS = 800;

async function run(folder: string): Promise<void> {
  const settings = JSON.parse(readFileSync(join(folder, files.settings), "utf8")) as ReceiverSettings;
  const spool = await Spool.create(join(folder, files.bodies), settings.maxBytes);
  const counts: Counts = { requests: 0, spans: 0, refused: 0, droppedSpans: 0, droppedBytes: 0, problem: null };
  let heard = performance.now();
  let changed = false;
  let stopping = false;
  let port = 0;

  const server = makeServer(spool, counts, settings.secret, {
    answered: () => {
      heard = performance.now();
      changed = true;
    },
    stop: () => void stop(),
  });

  const say = (stopped: boolean): void => {
    const state: ReceiverState = { pid: process.pid, port, stopped, bytes: spool.bytes, ...counts };
    try {
      writeJson(folder, files.state, state);
      changed = false;
    } catch (error) {
      // A full disk: what is in memory is said when there is room again.
      console.error(error);
    }
  };

  async function stop(): Promise<void> {
    if (stopping) return;
    stopping = true;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeIdleConnections();
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
    server.closeAllConnections();
    await spool.close();
    say(true);
    process.exit(0);
  }

  // Whoever wants the process to end gets what was taken written first. A closed terminal is no reason.
  process.on("SIGTERM", () => void stop());
  process.on("SIGINT", () => void stop());
  process.on("SIGHUP", () => undefined);

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(settings.port, settings.host, resolve);
  });
  server.on("error", console.error);
  ({ port } = server.address() as AddressInfo);
  say(false);

  setInterval(() => {
    if (isGone(folder)) process.exit(0);
    if (changed && !stopping) say(false);
    if (performance.now() - heard > LONGEST_SILENCE_MS) void stop();
  }, LOOK_MS);
}

/** What to do about a receiver that can't start. */
function whyNot({ code, message, address, port }: NodeJS.ErrnoException & { address?: string; port?: number }): string {
  if (code === "EADDRINUSE") return `\`listen\`: port ${port ?? ""} is in use; choose another, or leave it out.`;
  if (code === "EADDRNOTAVAIL") return `\`listen\`: this machine has no address ${address ?? ""}; choose one that it has.`;
  if (code === "EACCES" && port !== undefined) return `\`listen\`: port ${port} is not for everybody; choose one above 1023.`;
  return message;
}

function isGone(folder: string): boolean {
  try {
    statSync(folder);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

process.on("uncaughtException", (error) => {
  // One odd request must not end what all later steps rely on.
  console.error(error);
});
run(process.argv[2] ?? "").catch((error: unknown) => {
  // One sentence: it is what people read in the job's log.
  console.error(whyNot(error as NodeJS.ErrnoException & { address?: string; port?: number }));
  process.exit(1);
});
