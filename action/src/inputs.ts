// What the workflow's author wrote in `with:`, read and checked. A value that can't be understood
// is replaced by its default and said: a wrong word must never stop a job.

import type { Json } from "./identity.ts";
import { logged } from "./markdown.ts";

/** Whether spans are caught: as long as nobody else does, not at all, or in any case. */
export type Capture = "true" | "false" | "force";

/** The inputs, after defaults. */
export interface Inputs {
  /** Without a slash at its end; null when there is none or it can't be used. */
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

/** Bytes kept on disk unless told otherwise. */
export const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
const LARGEST_MAX_BYTES = 1024 * 1024 * 1024;

/** Reads all inputs with `get`; `warn` is told what is wrong with them. */
export function readInputs(get: (name: string) => string, warn: (message: string) => void): Inputs {
  const text = (name: string): string | null => {
    const value = get(name).trim();
    return value === "" ? null : value;
  };
  const understood = <T>(name: string, read: (value: string) => T | null, otherwise: T, what: string): T => {
    const value = text(name);
    if (value === null) return otherwise;
    const found = read(value);
    if (found === null) warn(`The input \`${name}\` has to be ${what}, but is \`${shown(value)}\`. Its default is used instead.`);
    return found ?? otherwise;
  };
  return {
    serverUrl: understood<string | null>("server-url", serverUrl, null, "an https address such as https://pacegate.example.com (http only to this machine)"),
    token: text("token"),
    reports: patterns(get("reports")),
    serviceName: text("service-name"),
    capture: understood<Capture>("capture", capture, "true", "true, false or force"),
    maxBytes: understood("max-size", size, DEFAULT_MAX_BYTES, "a size such as 32MiB, at most 1GiB"),
    listen: understood("listen", address, { host: "127.0.0.1", port: 0 }, "an IP address with or without a port, such as 0.0.0.0:4318"),
    calibrate: understood("calibrate", truth, true, "true or false"),
    checkRunId: understood("check-run-id", (value) => (/^\d{1,20}$/.test(value) ? value : null), null, "a number that GitHub fills in"),
    matrix: understood("matrix", matrix, {}, "a JSON object that GitHub fills in"),
  };
}

/** A value that was not understood, without what may be a password in an address. */
function shown(value: string): string {
  return logged(value.replace(/\/\/.*@/s, "//***@").replace(/[?#].*/s, "?***")).replaceAll("`", "'");
}

/** An address spans may be sent to: https, or http where no network is between. */
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

/** Bytes: a number alone, or with k, M, G and optionally i and B. All are powers of 1,024. */
export function size(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text);
  if (match === null) return null;
  const unit = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match[2] ?? "").toLowerCase()] ?? 1;
  const bytes = Math.floor(Number(match[1]) * unit);
  return bytes > 0 && bytes <= LARGEST_MAX_BYTES ? bytes : null;
}

/** One pattern on each line; commas separate too, but not those inside braces. */
export function patterns(text: string): string[] {
  return text
    .split(/\r?\n/)
    .flatMap((line) => line.split(/,(?![^{]*\})/))
    .map((pattern) => pattern.trim())
    .filter((pattern) => pattern !== "" && !pattern.startsWith("#"));
}

function capture(text: string): Capture | null {
  const word = text.toLowerCase();
  if (word === "force") return word;
  const on = truth(word);
  return on === null ? null : on ? "true" : "false";
}

function truth(text: string): boolean | null {
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
