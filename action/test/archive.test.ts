// From the receiver's file to the archive: trace ids, dropped spans, counts, and the manifest.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";

import { cachesOf, headSha, jobOf, makeManifest } from "../src/archive/manifest.ts";
import { MOST_SPANS, writeSpans } from "../src/archive/spans.ts";
import { type Job, jobSpanId, rootSpanId, traceId } from "../src/identity.ts";
import type { ExportRequest } from "../src/otlp/message.ts";
import { Spool } from "../src/receiver/spool.ts";
import { makeFolder } from "./folder.ts";
import { plainSpan, requestOf } from "./otlp_bodies.ts";

const job: Job = { runId: "29679449", runAttempt: 1, job: "test", checkRunId: "399444496", matrix: {}, runnerName: "r" };

async function written(bodies: readonly Buffer[], after = Buffer.alloc(0)): Promise<{ lines: ExportRequest[]; result: Awaited<ReturnType<typeof writeSpans>> }> {
  const folder = makeFolder();
  const spool = await Spool.create(join(folder, "bodies.bin"), 1 << 30);
  for (const body of bodies) await spool.append(body[0] === 0x7b ? "json" : "protobuf", body);
  await spool.close();
  appendFileSync(join(folder, "bodies.bin"), after);
  const result = await writeSpans(join(folder, "bodies.bin"), join(folder, "out.gz"), "spans.jsonl.gz", job);
  const bytes = readFileSync(join(folder, "out.gz"));
  const inflated = gunzipSync(bytes);
  const lines = inflated.toString().split("\n").slice(0, -1);
  expect(result.file).toEqual({
    name: "spans.jsonl.gz",
    sha256: createHash("sha256").update(bytes).digest("hex"),
    bytes: bytes.length,
    inflated_bytes: inflated.length,
    lines: lines.length,
    spans: result.seen.length,
  });
  return { lines: lines.map((line) => JSON.parse(line) as ExportRequest), result };
}

const span = (id: string, more: object = {}): object => ({
  traceId: "f".repeat(32),
  spanId: id,
  name: "work",
  startTimeUnixNano: "5",
  endTimeUnixNano: "9",
  ...more,
});
const body = (spans: readonly object[]): Buffer =>
  Buffer.from(
    JSON.stringify({ resourceSpans: [{ resource: { attributes: [{ key: "service.name", value: { stringValue: "api" } }] }, scopeSpans: [{ spans }] }] }),
  );

test("empty spool gives a file without lines", async () => {
  const { lines, result } = await written([]);
  expect(lines).toEqual([]);
  expect(result).toMatchObject({ seen: [], dropped: 0 });
});

test("foreign trace is moved into the job's trace", async () => {
  const { lines, result } = await written([body([span("a".repeat(16)), span("b".repeat(16), { parentSpanId: "a".repeat(16) })])]);
  const spans = lines[0]?.resourceSpans?.[0]?.scopeSpans?.[0]?.spans;
  expect(spans?.map((one) => one.traceId)).toEqual([traceId(job), traceId(job)]);
  expect(spans?.map((one) => one.parentSpanId)).toEqual([undefined, "a".repeat(16)]);
  expect(result.seen[1]).toEqual({ id: "b".repeat(16), parent: "a".repeat(16), name: "work", service: "api", startNs: 5n, endNs: 9n });
});

test("links between moved traces follow them", async () => {
  const [producer, consumer, elsewhere] = ["1", "2", "3"].map((digit) => digit.repeat(32));
  const { lines } = await written([
    body([span("a".repeat(16), { traceId: producer })]),
    body([span("b".repeat(16), { traceId: consumer, links: [{ traceId: producer, spanId: "a".repeat(16) }, { traceId: elsewhere, spanId: "c".repeat(16) }] })]),
  ]);
  const [linked] = lines[1]?.resourceSpans?.[0]?.scopeSpans?.[0]?.spans ?? [];
  expect(linked?.links).toEqual([
    { traceId: traceId(job), spanId: "a".repeat(16) },
    { traceId: elsewhere, spanId: "c".repeat(16) },
  ]);
});

test("reserved and incomplete spans are left out", async () => {
  const { lines, result } = await written([
    body([span(jobSpanId(job)), span(rootSpanId(job))]),
    body([span("0".repeat(16)), span(""), span("c".repeat(16), { endTimeUnixNano: null }), span("d".repeat(16))]),
  ]);
  expect(lines).toHaveLength(1);
  expect(result.seen.map(({ id }) => id)).toEqual(["d".repeat(16)]);
  expect(result.dropped).toBe(3);
});

test("truncated body ends the file, keeping earlier ones", async () => {
  const cut = Buffer.from([1, 255, 0, 0, 0, 0x7b]);
  expect((await written([body([span("a".repeat(16))])], cut)).result.seen).toHaveLength(1);
  const garbage = Buffer.from([9, 255, 255, 255, 255, 1, 2]);
  expect((await written([body([span("a".repeat(16))])], garbage)).result.seen).toHaveLength(1);
});

test("many spans are split and capped", async () => {
  const many = requestOf(Array.from({ length: MOST_SPANS + 10 }, (_, number) => plainSpan(number)));
  const { lines, result } = await written([many]);
  expect(lines).toHaveLength(MOST_SPANS / 1_000);
  expect(result.seen).toHaveLength(MOST_SPANS);
  expect(result.dropped).toBe(10);
});

const environment = {
  GITHUB_REPOSITORY: "o/n",
  GITHUB_REPOSITORY_ID: "5",
  GITHUB_RUN_ID: "29679449",
  GITHUB_RUN_ATTEMPT: "2",
  GITHUB_JOB: "test",
  GITHUB_SHA: "1".repeat(40),
  GITHUB_WORKFLOW: "CI",
  GITHUB_EVENT_NAME: "push",
  GITHUB_REF: "refs/heads/main",
  RUNNER_NAME: "runner-1",
  PACEGATE_CACHE_CARGO: "true",
  PACEGATE_CACHE_NPM: "",
};

test("manifest identifies the job", () => {
  const matrix = { node: 18 };
  const session = { startedAtUnixNano: "1", runner: { "os.type": "linux" }, calibration: { integer_ns: 1, memory_ns: 2 }, elsewhere: null };
  const manifest = makeManifest(environment, jobOf(environment, "7", matrix), session, {
    serviceName: null,
    endedAtUnixNano: "2",
    files: [],
    dropped: { spans: 1, bytes: 2, reports: Array.from({ length: 60 }, (_, number) => `${number}: ${"x".repeat(400)}`) },
  });
  expect(manifest).toMatchObject({
    schema: 1,
    repository: "o/n",
    repository_id: "5",
    run_id: "29679449",
    run_attempt: 2,
    job: "test",
    check_run_id: "7",
    head_sha: "1".repeat(40),
    workflow: "CI",
    event_name: "push",
    ref: "refs/heads/main",
    runner_name: "runner-1",
    matrix,
    caches: { cargo: "hit", npm: "miss" },
    calibration: { integer_ns: 1, memory_ns: 2 },
  });
  expect(manifest.dropped.reports).toHaveLength(51);
  expect(JSON.stringify(manifest).length).toBeLessThan(256 * 1024);
});

describe("head of a pull request is its commit", () => {
  const head = "2".repeat(40);
  test.each([
    ["pull_request", { pull_request: { head: { sha: head } } }, head],
    ["pull_request", { pull_request: { head: { sha: "main; rm" } } }, "1".repeat(40)],
    ["pull_request", {}, "1".repeat(40)],
    ["pull_request_target", { pull_request: { head: { sha: head } } }, head],
    ["push", { pull_request: { head: { sha: head } } }, "1".repeat(40)],
  ])("%s %j", (event, payload, sha) => {
    const path = join(makeFolder(), "event.json");
    writeFileSync(path, JSON.stringify(payload));
    expect(headSha({ ...environment, GITHUB_EVENT_NAME: event, GITHUB_EVENT_PATH: path })).toBe(sha);
  });
});

test("cache is a hit only for true", () => {
  expect(cachesOf({ PACEGATE_CACHE_A: "True", PACEGATE_CACHE_B: "false", PACEGATE_CACHE_: "true", OTHER: "true" })).toEqual({ a: "hit", b: "miss" });
});
