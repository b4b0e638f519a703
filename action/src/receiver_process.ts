// Starts the receiver as a process in its own session, waits for its port, and stops it. The
// receiver inherits only a few environment variables, so it sees none of this process's tokens.

import { execFileSync, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { type ReceiverSettings, type ReceiverState, files, isPlainFile, readJson, readState, writeJson } from "./session.ts";

/** Variables that a process needs on some systems, and the one by which the runner finds leftover processes. */
const INHERITED = ["PATH", "SystemRoot", "TEMP", "TMP", "TMPDIR", "RUNNER_TRACKING_ID"];

const START_MS = 5_000;
const STOP_MS = 2_000;
const REQUEST_MS = 1_000;
const LOG_BYTES = 1 << 20;
const POLL_MS = 10;

/** The receiver's script in the bundle, beside the running one. */
export function receiverScript(): string {
  return join(dirname(process.argv[1] ?? ""), "receiver.js");
}

/** Starts `script` on `folder` and resolves when it accepts spans. Throws when it does not within 5 seconds. */
export async function startReceiver(script: string, folder: string, settings: ReceiverSettings): Promise<ReceiverState> {
  writeJson(folder, files.settings, settings);
  const log = openSync(join(folder, files.log), "a", 0o600);
  const environment = Object.fromEntries(
    INHERITED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
  const child = spawn(process.execPath, [script, folder], {
    // Its own session, so that a step that kills its process group does not reach it.
    detached: true,
    stdio: ["ignore", log, log],
    env: environment,
    cwd: folder,
    windowsHide: true,
  });
  closeSync(log);
  let ended = null as string | null;
  child.once("error", (error) => (ended = error.message));
  child.once("exit", (code, signal) => (ended = `it ended with ${String(signal ?? code)}`));
  const deadline = Date.now() + START_MS;
  try {
    while (Date.now() < deadline) {
      const state = readState(folder);
      if (state !== null) return state;
      if (ended !== null) throw new Error(`The receiver did not start: ${logTail(folder) || ended}`);
      await pause(POLL_MS);
    }
    child.kill("SIGKILL");
    throw new Error(`The receiver reported no port within ${START_MS / 1000} s. ${logTail(folder)}`);
  } finally {
    child.removeAllListeners();
    child.unref();
  }
}

/** Stops the receiver that listens at `host`; all accepted spans are then on disk. False if the process may still run. */
export async function stopReceiver(script: string, folder: string, host: string): Promise<boolean> {
  const settings = readJson<ReceiverSettings>(folder, files.settings);
  const state = readState(folder);
  if (settings === null || state === null) return true;
  // A step may have changed the port in the file. The host comes from the input, so the request stays on this machine.
  const deadline = Date.now() + STOP_MS;
  const answered = await requestStop(host, state.port, settings.secret);
  if (!answered && isReceiver(state.pid, script, folder)) signal(state.pid, "SIGTERM");
  while (Date.now() < deadline) {
    const reportedStop = readState(folder)?.stopped === true;
    if (!isReceiver(state.pid, script, folder) && (reportedStop || process.platform !== "win32")) return true;
    await pause(POLL_MS);
  }
  if (isReceiver(state.pid, script, folder)) signal(state.pid, "SIGKILL");
  await pause(POLL_MS);
  return !isReceiver(state.pid, script, folder);
}

/** Sends a stop request; false without a successful response. */
function requestStop(listen: string, port: number, secret: unknown): Promise<boolean> {
  if (typeof secret !== "string" || !/^[0-9a-f]+$/.test(secret)) return Promise.resolve(false);
  const host = listen === "0.0.0.0" || listen === "::" ? "127.0.0.1" : listen;
  return new Promise((resolve) => {
    const sent = request({ host, port, method: "POST", path: `/stop/${secret}`, agent: false, signal: AbortSignal.timeout(REQUEST_MS) });
    sent.on("response", (answer) => {
      // Another program may answer at this port, and its response may never end.
      answer.on("error", () => undefined);
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    sent.on("error", () => {
      resolve(false);
    });
    sent.end();
  });
}

/** Whether a process is the receiver of this folder; process ids are reused. */
export function isReceiver(pid: number, script: string, folder: string): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 1) return false;
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const command = commandLine(pid);
  return command?.includes(folder) === true && command.includes(script);
}

function commandLine(pid: number): string | null {
  try {
    if (process.platform === "linux") return readFileSync(`/proc/${pid}/cmdline`, "utf8");
    if (process.platform === "win32") return null;
    return execFileSync("ps", ["-o", "command=", "-ww", "-p", String(pid)], { encoding: "utf8", timeout: 500 });
  } catch {
    return null;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // The process has already ended.
  }
}

/** The end of the receiver's log. */
function logTail(folder: string): string {
  try {
    const path = join(folder, files.log);
    return isPlainFile(path, LOG_BYTES) ? readFileSync(path, "utf8").slice(-500).trim() : "";
  } catch {
    return "";
  }
}
