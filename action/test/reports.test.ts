// Files that patterns find, and which of them are packed.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";

import { findFiles } from "../src/archive/find_files.ts";
import { LARGEST_REPORT_BYTES, writeReports } from "../src/archive/reports.ts";
import { makeFolder } from "./folder.ts";

const STARTED = "1795398984500000000";
const DURING = 1_795_398_990;

function workspace(files: Record<string, string | Buffer>): string {
  const folder = makeFolder();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
    utimesSync(join(folder, name), DURING, DURING);
  }
  return folder;
}

const found = (folder: string, patterns: readonly string[]): string[] =>
  findFiles(folder, patterns, () => 0).found.map(({ path }) => path).sort();

describe("patterns", () => {
  const files = ["a.xml", "b/c.xml", "b/d/e.json", "b/d/f.txt", "b/.hidden/g.xml", "node_modules/p/h.xml", "target [1]/i.xml"];
  test.each([
    [["a.xml"], ["a.xml"]],
    [["./a.xml"], ["a.xml"]],
    [["*.xml"], ["a.xml"]],
    [["**/*.xml"], ["a.xml", "b/.hidden/g.xml", "b/c.xml", "target [1]/i.xml"]],
    [["**/*.xml", "!b/**"], ["a.xml", "target [1]/i.xml"]],
    [["b/**/*.{xml,json}"], ["b/.hidden/g.xml", "b/c.xml", "b/d/e.json"]],
    [["b"], ["b/.hidden/g.xml", "b/c.xml", "b/d/e.json"]],
    [["b/d/f.txt"], ["b/d/f.txt"]],
    [["node_modules/**/*.xml"], ["node_modules/p/h.xml"]],
    [["target [1]/i.xml"], ["target [1]/i.xml"]],
    [["a.xml", "a.xml", "*.xml"], ["a.xml"]],
    [["none/*.xml", "../*.xml", "/etc/passwd"], []],
  ])("%j", (patterns, paths) => {
    expect(found(workspace(Object.fromEntries(files.map((name) => [name, "x"]))), patterns)).toEqual(paths);
  });
});

test("patterns without a match are reported", () => {
  const { refused } = findFiles(workspace({}), ["none.xml", "../x", "/etc/*"], () => 0);
  expect(refused).toEqual(["none.xml: no such file", "../x: outside the workspace", "/etc/*: outside the workspace"]);
});

test("absolute pattern inside the workspace matches", () => {
  const folder = workspace({ "a/b.xml": "x" });
  expect(found(folder, [join(folder, "a/*.xml")])).toEqual(["a/b.xml"]);
});

test("outside links, pipes and cycles are refused", () => {
  const outside = workspace({ "secret.xml": "x" });
  const folder = workspace({ "a.xml": "x" });
  symlinkSync(join(outside, "secret.xml"), join(folder, "out.xml"));
  symlinkSync("a.xml", join(folder, "in.xml"));
  symlinkSync("nowhere", join(folder, "broken.xml"));
  symlinkSync(outside, join(folder, "away"));
  symlinkSync(".", join(folder, "circle"));
  execFileSync("mkfifo", [join(folder, "pipe.xml")]);
  const search = findFiles(folder, ["**/*.xml", "away/secret.xml"], () => 0);
  expect(search.found.map(({ path }) => path).sort()).toEqual(["a.xml", "in.xml"]);
  expect([...search.refused].sort()).toEqual([
    "away/secret.xml: a link that leaves the workspace",
    "broken.xml: cannot be read",
    "out.xml: a link that leaves the workspace",
    "pipe.xml: not a regular file",
  ]);
});

test("search stops at its time limit", () => {
  let now = 0;
  const search = findFiles(workspace({ "a/b.xml": "x" }), ["**/*.xml"], () => (now += 600));
  expect(search.refused[0]).toMatch(/the search stopped/);
});

test("only reports of this job are packed", async () => {
  const folder = workspace({ "r/a.xml": "<a/>", "r/old.xml": "<a/>", "r/empty.xml": "", "r/large.xml": Buffer.alloc(LARGEST_REPORT_BYTES + 1) });
  utimesSync(join(folder, "r/old.xml"), DURING - 1_000, DURING - 1_000);
  const out = join(makeFolder(), "reports.jsonl.gz");
  const { file, taken, dropped } = await writeReports(folder, ["r"], STARTED, out, "reports.jsonl.gz");
  expect(taken).toEqual(["r/a.xml"]);
  expect([...dropped].sort()).toEqual(["r/empty.xml: empty", "r/large.xml: larger than 8 MiB", "r/old.xml: older than this job"]);
  const lines = gunzipSync(readFileSync(out)).toString().split("\n").slice(0, -1);
  expect(file).toMatchObject({ name: "reports.jsonl.gz", lines: 1 });
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    {
      report: {
        path: "r/a.xml",
        modified_at_unix_nano: `${DURING}000000000`,
        bytes: 4,
        sha256: createHash("sha256").update("<a/>").digest("hex"),
        content_base64: Buffer.from("<a/>").toString("base64"),
      },
    },
  ]);
});

test("no reports give no file", async () => {
  const out = join(makeFolder(), "reports.jsonl.gz");
  expect(await writeReports("/nowhere", [], STARTED, out, "r")).toEqual({ file: null, taken: [], dropped: [] });
  expect(await writeReports(workspace({}), ["*.xml"], STARTED, out, "r")).toEqual({ file: null, taken: [], dropped: ["*.xml: no such file"] });
});
