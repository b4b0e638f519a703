// Reads and checks the action's inputs (`with:`). Replaces an invalid value by its default, with a
// warning, because a wrong input must never fail a job.

import type { Json } from "./identity.ts";
import { logged } from "./markdown.ts";

/** Whether to collect spans: unless the workflow sends them to another receiver, never, or always. */
export type Capture = "true" | "false" | "force";

/** The inputs with defaults applied. */
export interface Inputs {
  /** Without a trailing slash; null when missing or invalid. */
  readonly serverUrl: string | null;
  readonly token: string | null;
  readonly reports: readonly string[];
  readonly serviceName: string | null;
  readonly capture: Capture;
  readonly maxBytes: number;
  readonly listen: { readonly host: string; readonly port: number };
  readonly calibrate: boolean;
  readonly checkRunId: string | null;
  readonly matrix: Record<string, Json>;
}

export const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
const LARGEST_MAX_BYTES = 1024 * 1024 * 1024;

/** Reads all inputs with `get`; calls `warn` for each invalid one. */
export function readInputs(get: (name: string) => string, warn: (message: string) => void): Inputs {
  const text = (name: string): string | null => {
    const value = get(name).trim();
    return value === "" ? null : value;
  };
  const parsed = <T>(name: string, read: (value: string) => T | null, fallback: T, what: string): T => {
    const value = text(name);
    if (value === null) return fallback;
    const found = read(value);
    if (found === null) warn(`The input \`${name}\` has to be ${what}, but is \`${redacted(value)}\`. Its default is used instead.`);
    return found ?? fallback;
  };
  return {
    serverUrl: parsed<string | null>("server-url", serverUrl, null, "an https address such as https://pacegate.example.com (http only to this machine)"),
    token: text("token"),
    reports: patterns(get("reports")),
    serviceName: text("service-name"),
    capture: parsed<Capture>("capture", capture, "true", "true, false or force"),
    maxBytes: parsed("max-size", size, DEFAULT_MAX_BYTES, "a size such as 32MiB, at most 1GiB"),
    listen: parsed("listen", address, { host: "127.0.0.1", port: 0 }, "an IP address with or without a port, such as 0.0.0.0:4318"),
    calibrate: parsed("calibrate", flag, true, "true or false"),
    checkRunId: parsed("check-run-id", (value) => (/^\d{1,20}$/.test(value) ? value : null), null, "a number that GitHub fills in"),
    matrix: parsed("matrix", matrix, {}, "a JSON object that GitHub fills in"),
  };
}

/** An invalid value for a message, without the parts of an address that may hold a password. */
function redacted(value: string): string {
  return logged(value.replace(/\/\/.*@/s, "//***@").replace(/[?#].*/s, "?***")).replaceAll("`", "'");
}

/** An address that may receive spans: https, or http on this machine. */
export function serverUrl(text: string): string | null {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback)) return null;
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") return null;
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

/** Bytes of a number with an optional unit: k, M or G, then i and B, both optional. Units are powers of 1,024. */
export function size(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text);
  if (match === null) return null;
  const unit = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match[2] ?? "").toLowerCase()] ?? 1;
  const bytes = Math.floor(Number(match[1]) * unit);
  return bytes > 0 && bytes <= LARGEST_MAX_BYTES ? bytes : null;
}

/** Splits at line ends and at commas outside braces; drops comments that start with `#`. */
export function patterns(text: string): string[] {
  return text
    .split(/\r?\n/)
    .flatMap((line) => line.split(/,(?![^{]*\})/))
    .map((pattern) => pattern.trim())
    .filter((pattern) => pattern !== "" && !pattern.startsWith("#"));
}

function capture(text: string): Capture | null {
  const lower = text.toLowerCase();
  if (lower === "force") return lower;
  const on = flag(lower);
  return on === null ? null : on ? "true" : "false";
}

function flag(text: string): boolean | null {
  if (/^(true|yes|on|1)$/i.test(text)) return true;
  return /^(false|no|off|0)$/i.test(text) ? false : null;
}

function address(text: string): { host: string; port: number } | null {
  const match = /^(\d{1,3}(?:\.\d{1,3}){3}|localhost|\[[0-9a-f:]+\])(?::(\d{1,5}))?$/i.exec(text);
  const port = Number(match?.[2] ?? 0);
  if (match?.[1] === undefined || port > 65_535) return null;
  return { host: match[1].replace(/^\[|\]$/g, ""), port };
}

function matrix(text: string): Record<string, Json> | null {
  try {
    const value = JSON.parse(text) as Json;
    // A job without a matrix has `null`.
    if (value === null) return {};
    return typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
