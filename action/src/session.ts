// The action's own folder below RUNNER_TEMP: what `main` leaves there for the receiver and for
// `post`. Only its owner can read it; no token is ever written to it.

import { randomBytes } from "node:crypto";
import { lstatSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

import type { Calibration } from "./calibration.ts";
import type { Facts } from "./environment.ts";

/** What `main` found, for the manifest that `post` writes. */
export interface Session {
  readonly startedAtUnixNano: string;
  readonly runner: Facts;
  readonly calibration: Calibration | null;
  /** The address that spans go to instead of ours. */
  readonly elsewhere: string | null;
  /** Why no spans could be taken. */
  readonly notStarted?: string;
}

/** What the receiver is told. */
export interface ReceiverSettings {
  readonly host: string;
  readonly port: number;
  readonly maxBytes: number;
  /** Whoever knows it may stop the receiver. */
  readonly secret: string;
}

/** What the receiver says of itself, again and again. */
export interface ReceiverState {
  readonly pid: number;
  readonly port: number;
  readonly stopped: boolean;
  readonly requests: number;
  readonly spans: number;
  readonly bytes: number;
  /** Bodies that could not be read. */
  readonly refused: number;
  readonly droppedSpans: number;
  readonly droppedBytes: number;
  /** Why something was dropped, the last time. */
  readonly problem: string | null;
}

export const files = {
  session: "session.json",
  settings: "settings.json",
  state: "state.json",
  bodies: "bodies.bin",
  log: "receiver.log",
} as const;

const PREFIX = "pacegate-";
/** What the files of a few facts never reach. */
const JSON_BYTES = 1 << 20;

/** A new folder that only this user can read. */
export function makeFolder(parent: string): string {
  return mkdtempSync(join(parent, PREFIX));
}

/** Whether a folder is one that `makeFolder` makes below `parent`: what is removed in the end is nothing else. */
export function isOwnFolder(folder: string, parent: string): boolean {
  return resolve(dirname(folder)) === resolve(parent) && basename(folder).startsWith(PREFIX) && resolve(folder) === folder;
}

/** Whether something is a file of at most so many bytes: a step may have put a pipe in its place, which is read for ever. */
export function isPlainFile(path: string, most: number): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true && found.size <= most;
}

/** Something nobody guesses. */
export function makeSecret(): string {
  return randomBytes(24).toString("hex");
}

/** Writes a file whole or not at all. */
export function writeJson(folder: string, name: string, value: unknown): void {
  const path = join(folder, name);
  // A pipe of that name would be waited for, and with it every step that sends spans.
  rmSync(`${path}.new`, { force: true });
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600, flag: "wx" });
  renameSync(`${path}.new`, path);
}

/** What the receiver says of itself, or null when that is not what a receiver writes: any step can write the file. */
export function readState(folder: string): ReceiverState | null {
  const state = readJson<Partial<Record<keyof ReceiverState, unknown>>>(folder, files.state);
  const { stopped, problem, ...numbers } = state ?? {};
  const counts = ["pid", "port", "requests", "spans", "bytes", "refused", "droppedSpans", "droppedBytes"] as const;
  const usable = counts.every((name) => Number.isSafeInteger(numbers[name]) && Number(numbers[name]) >= 0) && Number(numbers.port) <= 65_535;
  return usable && typeof stopped === "boolean" && (problem === null || typeof problem === "string") ? (state as ReceiverState) : null;
}

/** What `main` found, or null when that is not what it writes. */
export function readSession(folder: string): Session | null {
  const session = readJson<Partial<Record<keyof Session, unknown>>>(folder, files.session);
  const { startedAtUnixNano, runner, calibration, notStarted = null } = session ?? {};
  const usable = typeof startedAtUnixNano === "string" && /^\d{1,20}$/.test(startedAtUnixNano) && (notStarted === null || typeof notStarted === "string");
  return usable && isObject(runner) && (calibration === null || isObject(calibration)) ? (session as Session) : null;
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);

/** What was written, or null while there is nothing that can be read. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the files are our own
export function readJson<T>(folder: string, name: string): T | null {
  const path = join(folder, name);
  try {
    return isPlainFile(path, JSON_BYTES) ? (JSON.parse(readFileSync(path, "utf8")) as T) : null;
  } catch {
    return null;
  }
}
