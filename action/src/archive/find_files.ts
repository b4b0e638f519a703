// Finds the files below a folder that match patterns. Refuses links that leave the folder and
// anything that is not a regular file. The search is bounded in time and entries.

import picomatch from "picomatch";
import { type Stats, lstatSync, readdirSync, realpathSync, statSync } from "node:fs";
import { isAbsolute, join, relative, resolve, sep } from "node:path";

export interface Found {
  /** Relative to the workspace, with slashes. */
  readonly path: string;
  /** The path with links resolved. */
  readonly real: string;
  readonly stats: Stats;
}

export interface Search {
  readonly found: readonly Found[];
  /** `path: reason`. */
  readonly refused: readonly string[];
}

/** Files that count as reports when a pattern names their folder. */
const REPORT = /\.(xml|json|jsonl|html|gz)$/i;
const MOST_ENTRIES = 200_000;
const LONGEST_MS = 1_000;
/** Large folders without reports; searched only if a pattern names them. */
const SKIPPED = new Set([".git", "node_modules"]);

/** Finds the files below `workspace` that match `patterns`; a leading `!` excludes. `now` is in milliseconds. */
export function findFiles(workspace: string, patterns: readonly string[], now: () => number): Search {
  const root = realpathSync(workspace);
  const found = new Map<string, Found>();
  const refused: string[] = [];
  const budget = { entries: MOST_ENTRIES, until: now() + LONGEST_MS, now };
  const excluded = patterns.filter((pattern) => pattern.startsWith("!")).map((pattern) => normalized(root, workspace, pattern.slice(1)));
  const isExcluded = excluded.length === 0 ? () => false : picomatch(excluded, { dot: true });

  for (const pattern of patterns.filter((one) => !one.startsWith("!"))) {
    const wanted = normalized(root, workspace, pattern);
    if (isAbsolute(wanted) || wanted.startsWith("..")) {
      refused.push(`${pattern}: outside the workspace`);
      continue;
    }
    let any = false;
    for (const path of matches(root, wanted, budget)) {
      any = true;
      if (isExcluded(path) || found.has(path)) continue;
      const file = inspect(root, path);
      if (typeof file === "string") refused.push(`${path}: ${file}`);
      else found.set(path, file);
    }
    if (budget.entries <= 0 || now() > budget.until) {
      refused.push(`${pattern}: the search stopped after ${LONGEST_MS} ms or ${MOST_ENTRIES} entries; name a folder before the first *`);
      break;
    }
    if (!any) refused.push(`${pattern}: no such file`);
  }
  return { found: [...found.values()], refused };
}

/** A pattern relative to the workspace, with slashes. */
function normalized(root: string, workspace: string, pattern: string): string {
  const slashed = sep === "\\" ? pattern.replaceAll("\\", "/") : pattern;
  if (!isAbsolute(slashed)) return slashed.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
  for (const base of [root, resolve(workspace)]) {
    const inside = relative(base, slashed).split(sep).join("/");
    if (!inside.startsWith("..") && !isAbsolute(inside)) return inside;
  }
  return slashed;
}

interface Budget {
  entries: number;
  readonly until: number;
  readonly now: () => number;
}

function* matches(root: string, pattern: string, budget: Budget): Generator<string> {
  const plain = statOf(join(root, pattern));
  if (plain !== null && !plain.isDirectory()) {
    yield pattern;
    return;
  }
  if (plain !== null) {
    yield* walk(root, pattern, (path) => REPORT.test(path), new Set(), budget);
    return;
  }
  const { base, isGlob } = picomatch.scan(pattern);
  if (!isGlob) return;
  const named = new Set(pattern.split("/"));
  yield* walk(root, base, picomatch(pattern, { dot: true }), named, budget);
}

function* walk(root: string, folder: string, wanted: (path: string) => boolean, named: ReadonlySet<string>, budget: Budget): Generator<string> {
  const folders = [folder === "." ? "" : folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    let entries;
    try {
      entries = readdirSync(join(root, next), { withFileTypes: true });
    } catch {
      // It does not exist or is not readable.
      continue;
    }
    for (const entry of entries) {
      budget.entries -= 1;
      if (budget.entries <= 0 || budget.now() > budget.until) return;
      const path = next === "" ? entry.name : `${next}/${entry.name}`;
      // A link to a folder is not followed: it may form a cycle.
      if (entry.isDirectory()) {
        if (!SKIPPED.has(entry.name) || named.has(entry.name)) folders.push(path);
      } else if (wanted(path)) {
        yield path;
      }
    }
  }
}

function statOf(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch {
    return null;
  }
}

/** The file at a path, or the reason why it is refused. */
function inspect(root: string, path: string): Found | string {
  try {
    const real = realpathSync(join(root, path));
    if (real !== root && !real.startsWith(root + sep)) return "a link that leaves the workspace";
    const stats = statSync(real);
    return stats.isFile() ? { path, real, stats } : "not a regular file";
  } catch {
    return "cannot be read";
  }
}
