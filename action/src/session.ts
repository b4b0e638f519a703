// The action's folder below RUNNER_TEMP, where `main` leaves files for the receiver and for `post`.
// Only its owner can read it. Steps run as the same user and can change its files, so `post`
// validates them. No token is ever written to it.

import { randomBytes } from "node:crypto";
import { lstatSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

import type { Calibration } from "./calibration.ts";
import type { Facts } from "./environment.ts";

/** Facts that `main` records for the manifest of `post`. */
export interface Session {
  readonly startedAtUnixNano: string;
  readonly runner: Facts;
  readonly calibration: Calibration | null;
  /** The variable by which the workflow sends spans to another receiver. */
  readonly elsewhere: string | null;
  /** The error that kept the receiver from starting. */
  readonly notStarted?: string;
}

export interface ReceiverSettings {
  readonly host: string;
  readonly port: number;
  readonly maxBytes: number;
  /** Part of the path of a stop request. */
  readonly secret: string;
}

/** State that the receiver writes after changes. */
export interface ReceiverState {
  readonly pid: number;
  readonly port: number;
  readonly stopped: boolean;
  readonly requests: number;
  readonly spans: number;
  readonly bytes: number;
  /** Bodies that were refused. */
  readonly refused: number;
  readonly droppedSpans: number;
  readonly droppedBytes: number;
  /** The latest reason for a drop or a refusal. */
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
/** Larger JSON files are not read. */
const JSON_BYTES = 1 << 20;

/** Creates a folder that only this user can read. */
export function makeFolder(parent: string): string {
  return mkdtempSync(join(parent, PREFIX));
}

/** Whether `makeFolder` could have created `folder` below `parent`. Only such a folder is removed at the end. */
export function isOwnFolder(folder: string, parent: string): boolean {
  return resolve(dirname(folder)) === resolve(parent) && basename(folder).startsWith(PREFIX) && resolve(folder) === folder;
}

/** Whether `path` is a regular file of at most `most` bytes. A step may have left a pipe there, and reading it could block forever. */
export function isPlainFile(path: string, most: number): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true && found.size <= most;
}

/** 24 random bytes in hexadecimal. */
export function makeSecret(): string {
  return randomBytes(24).toString("hex");
}

/** Writes a file atomically. */
export function writeJson(folder: string, name: string, value: unknown): void {
  const path = join(folder, name);
  // A pipe under this name would block the receiver, and with it every step that sends spans.
  rmSync(`${path}.new`, { force: true });
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600, flag: "wx" });
  renameSync(`${path}.new`, path);
}

/** The receiver's state; null when missing or invalid, because any step can write the file. */
export function readState(folder: string): ReceiverState | null {
  const state = readJson<Partial<Record<keyof ReceiverState, unknown>>>(folder, files.state);
  const { stopped, problem, ...numbers } = state ?? {};
  const counts = ["pid", "port", "requests", "spans", "bytes", "refused", "droppedSpans", "droppedBytes"] as const;
  const usable = counts.every((name) => Number.isSafeInteger(numbers[name]) && Number(numbers[name]) >= 0) && Number(numbers.port) <= 65_535;
  return usable && typeof stopped === "boolean" && (problem === null || typeof problem === "string") ? (state as ReceiverState) : null;
}

/** The session that `main` wrote; null when missing or invalid. */
export function readSession(folder: string): Session | null {
  const session = readJson<Partial<Record<keyof Session, unknown>>>(folder, files.session);
  const { startedAtUnixNano, runner, calibration, notStarted = null } = session ?? {};
  const usable = typeof startedAtUnixNano === "string" && /^\d{1,20}$/.test(startedAtUnixNano) && (notStarted === null || typeof notStarted === "string");
  return usable && isObject(runner) && (calibration === null || isObject(calibration)) ? (session as Session) : null;
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);

/** Parsed content; null when the file is missing, too large or not JSON. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the files are our own
export function readJson<T>(folder: string, name: string): T | null {
  const path = join(folder, name);
  try {
    return isPlainFile(path, JSON_BYTES) ? (JSON.parse(readFileSync(path, "utf8")) as T) : null;
  } catch {
    return null;
  }
}
