// The receiver's process. Accepts spans until a stop request, until its folder is removed, or until
// no request came for longer than a job may last. Writes its state to a file.

import { readFileSync, statSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { type Counts, makeServer } from "./receiver/server.ts";
import { Spool } from "./receiver/spool.ts";
import { type ReceiverSettings, type ReceiverState, files, writeJson } from "./session.ts";

/** GitHub ends jobs after six hours. */
const LONGEST_SILENCE_MS = (6 * 60 + 10) * 60_000;
const TICK_MS = 1_000;
/** Longest wait for open requests when stopping. */
const DRAIN_MS = 800;

async function run(folder: string): Promise<void> {
  const settings = JSON.parse(readFileSync(join(folder, files.settings), "utf8")) as ReceiverSettings;
  const spool = await Spool.create(join(folder, files.bodies), settings.maxBytes);
  const counts: Counts = { requests: 0, spans: 0, refused: 0, droppedSpans: 0, droppedBytes: 0, problem: null };
  let lastRequestAt = performance.now();
  let changed = false;
  let stopping = false;
  let port = 0;

  const server = makeServer(spool, counts, settings.secret, {
    answered: () => {
      lastRequestAt = performance.now();
      changed = true;
    },
    stop: () => void stop(),
  });

  const writeState = (stopped: boolean): void => {
    const state: ReceiverState = { pid: process.pid, port, stopped, bytes: spool.bytes, ...counts };
    try {
      writeJson(folder, files.state, state);
      changed = false;
    } catch (error) {
      // The disk may be full. `changed` stays set, so the next tick writes again.
      console.error(error);
    }
  };

  async function stop(): Promise<void> {
    if (stopping) return;
    stopping = true;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeIdleConnections();
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, DRAIN_MS))]);
    server.closeAllConnections();
    await spool.close();
    writeState(true);
    process.exit(0);
  }

  // On a signal to end, accepted spans are written first. A closed terminal does not end the receiver.
  process.on("SIGTERM", () => void stop());
  process.on("SIGINT", () => void stop());
  process.on("SIGHUP", () => undefined);

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(settings.port, settings.host, resolve);
  });
  server.on("error", console.error);
  ({ port } = server.address() as AddressInfo);
  writeState(false);

  setInterval(() => {
    if (isGone(folder)) process.exit(0);
    if (changed && !stopping) writeState(false);
    if (performance.now() - lastRequestAt > LONGEST_SILENCE_MS) void stop();
  }, TICK_MS);
}

/** A start error with advice on the input `listen`. */
function startError({ code, message, address, port }: NodeJS.ErrnoException & { address?: string; port?: number }): string {
  if (code === "EADDRINUSE") return `\`listen\`: port ${port ?? ""} is in use; choose another, or leave it out.`;
  if (code === "EADDRNOTAVAIL") return `\`listen\`: this machine has no address ${address ?? ""}; choose one that it has.`;
  if (code === "EACCES" && port !== undefined) return `\`listen\`: port ${port} needs more privileges; choose one above 1023.`;
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
  // One faulty request must not end the receiver, which all later steps use.
  console.error(error);
});
run(process.argv[2] ?? "").catch((error: unknown) => {
  // One sentence, because it appears in the job's log.
  console.error(startError(error as NodeJS.ErrnoException & { address?: string; port?: number }));
  process.exit(1);
});
