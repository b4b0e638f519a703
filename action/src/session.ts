// The action's own folder below RUNNER_TEMP: what `main` leaves there for the receiver and for
// `post`. Only its owner can read it; no token is ever written to it.

import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

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

/** A new folder that only this user can read. */
export function makeFolder(parent: string): string {
  return mkdtempSync(join(parent, "pacegate-"));
}

/** Something nobody guesses. */
export function makeSecret(): string {
  return randomBytes(24).toString("hex");
}

/** Writes a file whole or not at all. */
export function writeJson(folder: string, name: string, value: unknown): void {
  const path = join(folder, name);
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** What was written, or null while there is nothing that can be read. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the files are our own
export function readJson<T>(folder: string, name: string): T | null {
  try {
    return JSON.parse(readFileSync(join(folder, name), "utf8")) as T;
  } catch {
    return null;
  }
}
