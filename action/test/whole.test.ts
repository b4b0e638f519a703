// Whole jobs on the built bundle: main, steps that send spans, post. The action never fails a job
// and leaves nothing behind.

import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { type SpawnSyncReturns, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, describe, expect, test, vi } from "vitest";

import type { Manifest } from "../src/archive/manifest.ts";
import { code } from "../src/markdown.ts";
import type { ReceiverState } from "../src/session.ts";
import { makeFolder } from "./folder.ts";
import { sdkSpan } from "./otlp_bodies.ts";
import { service } from "./service.ts";

const dist = join(import.meta.dirname, "..", "dist");
const SPAN = Buffer.from(ProtobufTraceSerializer.serializeRequest([sdkSpan("00f067aa0ba902b7")]) ?? []);
const DEFAULTS = { MATRIX: "null", CAPTURE: "true", "CHECK-RUN-ID": "399444496", LISTEN: "127.0.0.1", "MAX-SIZE": "64MiB" };

/** One job: its files, and the environment that steps see. */
class TestJob {
  readonly folder = makeFolder();
  readonly temp = join(this.folder, "temp");
  readonly workspace = join(this.folder, "workspace");
  private readonly inputs: Record<string, string>;
  readonly more: Record<string, string>;

  constructor(inputs: Record<string, string> = {}, more: Record<string, string> = {}) {
    for (const folder of [this.temp, this.workspace]) mkdirSync(folder);
    for (const file of ["ENV", "OUTPUT", "STATE", "STEP_SUMMARY"]) writeFileSync(join(this.folder, file), "");
    this.inputs = { ...DEFAULTS, ...inputs };
    this.more = more;
    jobs.push(this);
  }

  /** Parses `name<<delimiter`, lines, delimiter, as the runner does. */
  values(file: string): Record<string, string> {
    const text = readFileSync(join(this.folder, file), "utf8");
    return Object.fromEntries([...text.matchAll(/^(\S+?)<<(ghadelimiter_\S+)\n([\s\S]*?)\n\2$/gm)].map(([, name, , value]) => [name ?? "", value ?? ""]));
  }

  environment(): Record<string, string> {
    const files = Object.fromEntries(["ENV", "OUTPUT", "STATE", "STEP_SUMMARY"].map((file) => [`GITHUB_${file}`, join(this.folder, file)]));
    return {
      PATH: process.env.PATH ?? "",
      ...files,
      RUNNER_TEMP: this.temp,
      GITHUB_WORKSPACE: this.workspace,
      GITHUB_RUN_ID: "29679449",
      GITHUB_RUN_ATTEMPT: "1",
      GITHUB_JOB: "test",
      GITHUB_REPOSITORY: "o/n",
      GITHUB_REPOSITORY_ID: "5",
      GITHUB_SHA: "1".repeat(40),
      RUNNER_NAME: "runner-1",
      RUNNER_TRACKING_ID: "tracked",
      ACTIONS_RUNTIME_TOKEN: "never-seen-1",
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: "never-seen-2",
      ...this.more,
      ...this.values("ENV"),
    };
  }

  private actionEnvironment(): Record<string, string> {
    const inputs = Object.fromEntries(Object.entries(this.inputs).map(([name, value]) => [`INPUT_${name}`, value]));
    const state = Object.fromEntries(Object.entries(this.values("STATE")).map(([name, value]) => [`STATE_${name}`, value]));
    return { ...this.environment(), ...inputs, ...state };
  }

  run(file: "main" | "post"): SpawnSyncReturns<string> {
    return spawnSync(process.execPath, [join(dist, `${file}.js`)], { env: this.actionEnvironment(), cwd: this.workspace, encoding: "utf8" });
  }

  /** Runs post asynchronously, for tests whose fake service runs in this process. */
  async post(): Promise<{ status: number | null; stdout: string }> {
    const child = spawn(process.execPath, [join(dist, "post.js")], { env: this.actionEnvironment(), cwd: this.workspace });
    let stdout = "";
    child.stdout.on("data", (piece: Buffer) => (stdout += piece.toString()));
    const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { status, stdout };
  }

  async send(body: Buffer): Promise<number> {
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = this.values("ENV");
    const answer = await fetch(`${endpoint ?? ""}/v1/traces`, { method: "POST", body: new Uint8Array(body), headers: { "content-type": "application/x-protobuf" } });
    await answer.arrayBuffer();
    return answer.status;
  }

  receiver(): ReceiverState {
    const { folder } = this.values("STATE");
    return JSON.parse(readFileSync(join(folder ?? "", "state.json"), "utf8")) as ReceiverState;
  }

  summary(): string {
    return readFileSync(join(this.folder, "STEP_SUMMARY"), "utf8");
  }
}

const jobs: TestJob[] = [];
afterEach(() => {
  for (const job of jobs.splice(0)) {
    try {
      process.kill(job.receiver().pid, "SIGKILL");
    } catch {
      // The receiver has already ended, as expected.
    }
  }
});

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

test("job sends spans and reports, leaving nothing behind", async () => {
  const { url, requests } = await service(() => ({ status: 202, body: { spans: 1, rejected: 0, message: null, verdict_url: null } }));
  const job = new TestJob({ "SERVER-URL": url, TOKEN: "pgt_secret", REPORTS: "*.xml", "SERVICE-NAME": "api" }, { PACEGATE_CACHE_CARGO: "true" });
  const main = job.run("main");
  expect([main.status, main.stderr]).toEqual([0, ""]);
  expect(job.values("OUTPUT")).toEqual({
    traceparent: "00-57ad0e5b5ab9637b07920f96b3520fe2-e3075317eec20623-01",
    "otlp-endpoint": job.values("ENV").OTEL_EXPORTER_OTLP_ENDPOINT,
    "verdict-url": `${url}/api/v1/repos/o/n/commits/${"1".repeat(40)}/verdict`,
  });
  expect(job.values("ENV")).toMatchObject({ OTEL_SERVICE_NAME: "api", TRACEPARENT: job.values("OUTPUT").traceparent });

  const { pid } = job.receiver();
  expect(await job.send(SPAN)).toBe(200);
  expect(await job.send(Buffer.from([0xff]))).toBe(400);
  writeFileSync(join(job.workspace, "junit.xml"), '<testsuite name="a"/>');

  const post = await job.post();
  expect(post.status).toBe(0);
  const [manifestLine, ...rest] = gunzipSync(requests[0]?.body ?? "").toString().split("\n").slice(0, -1);
  const { manifest } = JSON.parse(manifestLine ?? "") as { manifest: Manifest };
  expect(manifest).toMatchObject({
    repository: "o/n",
    job: "test",
    trace_id: "57ad0e5b5ab9637b07920f96b3520fe2",
    job_span_id: "e3075317eec20623",
    service_name: "api",
    caches: { cargo: "hit" },
    dropped: { spans: 0, bytes: 0, reports: [] },
  });
  expect(manifest.files.map(({ name, lines }) => [name, lines])).toEqual([["spans.jsonl.gz", 1], ["reports.jsonl.gz", 1]]);
  expect(manifest.calibration?.integer_ns).toBeGreaterThan(0);
  expect(rest[0]).toContain('"traceId":"57ad0e5b5ab9637b07920f96b3520fe2"');
  expect(rest[1]).toContain('"path":"junit.xml"');

  expect(job.summary()).toContain("Collected **1 span and 1 report**");
  expect(readdirSync(job.temp)).toEqual([]);
  expect(isAlive(pid)).toBe(false);
  // This test has no artifact service, which is only a warning.
  expect(post.stdout).toContain("::warning::The artifact was not uploaded");
});

test("secrets stay out of steps, receiver and disk", () => {
  const job = new TestJob({ TOKEN: "never-seen-0" });
  const main = job.run("main");
  expect(main.stdout).toContain("::add-mask::never-seen-0\n");
  const { pid } = job.receiver();
  const seen = [
    ...["ENV", "OUTPUT", "STATE"].map((file) => readFileSync(join(job.folder, file), "utf8")),
    ...["environ", "cmdline"].map((file) => readFileSync(`/proc/${pid}/${file}`, "utf8")),
    ...readdirSync(job.temp, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8")),
  ];
  expect(seen.join("\n")).not.toContain("never-seen");
  // The runner finds leftover processes by this variable.
  expect(seen[3]).toContain("RUNNER_TRACKING_ID=tracked");
  expect(job.run("post").status).toBe(0);
});

test("receiver survives a step killing its process group", async () => {
  const job = new TestJob();
  job.run("main");
  const step = spawn("sh", ["-c", "kill -TERM 0; kill -KILL 0"], { detached: true, stdio: "ignore" });
  await new Promise((resolve) => step.on("close", resolve));
  expect(await job.send(SPAN)).toBe(200);
  expect(job.run("post").stdout).toContain("Collected 1 span ");
});

test("killed receiver loses no acknowledged spans", async () => {
  const job = new TestJob();
  job.run("main");
  expect(await job.send(SPAN)).toBe(200);
  process.kill(job.receiver().pid, "SIGKILL");
  const post = job.run("post");
  expect(post.status).toBe(0);
  expect(post.stdout).toContain("Collected 1 span ");
  expect(readdirSync(job.temp)).toEqual([]);
});

test("second use in a job only warns", async () => {
  const first = new TestJob();
  first.run("main");
  const second = new TestJob({}, first.values("ENV"));
  expect(second.run("main").stdout).toContain("::warning::Pacegate's action is used a second time");
  expect(second.values("ENV")).toEqual({});
  expect(second.run("post").stdout).toContain("nothing to upload");
  expect(await first.send(SPAN)).toBe(200);
  expect(first.run("post").stdout).toContain("Collected 1 span ");
});

test("capture: false only logs a message", () => {
  const job = new TestJob({ CAPTURE: "false" });
  const main = job.run("main");
  expect([main.status, main.stdout]).toEqual([0, "Pacegate: `capture` is false, so nothing is collected and nothing is uploaded.\n"]);
  expect([job.values("ENV"), job.values("STATE"), readdirSync(job.temp)]).toEqual([{}, {}, []]);
  expect(job.run("post").status).toBe(0);
});

test("existing exporter is kept, with a warning", () => {
  const job = new TestJob({}, { OTEL_EXPORTER_OTLP_ENDPOINT: "https://collector.example.com" });
  expect(job.run("main").stdout).toContain("::warning::OTEL_EXPORTER_OTLP_ENDPOINT is already set");
  expect(job.values("ENV")).not.toHaveProperty("OTEL_EXPORTER_OTLP_ENDPOINT");
  // Spans at another receiver must not refer to a parent that is missing there.
  expect(job.values("ENV")).not.toHaveProperty("TRACEPARENT");
  expect(job.run("post").status).toBe(0);
  expect(job.summary()).toContain("OTEL_EXPORTER_OTLP_ENDPOINT was already set");
});

test("port in use appears in log and summary", () => {
  const first = new TestJob();
  first.run("main");
  const { port } = first.receiver();
  const second = new TestJob({ LISTEN: `127.0.0.1:${port}`, CAPTURE: "X" });
  const main = second.run("main");
  const sentence = `\`listen\`: port ${port} is in use; choose another`;
  expect(main.stdout).toContain(`::warning::Pacegate could not start: The receiver did not start: ${sentence}`);
  expect(main.stdout).not.toMatch(/\bat .*receiver\.js|node:/);
  expect(main.stdout).toContain("has to be true, false or force, but is `X`");
  const post = second.run("post");
  expect(post.stdout).not.toContain("has to be");
  expect(second.summary()).toContain(code(sentence).replace(/<.?code>/g, ""));
  expect(second.summary()).toContain("**Not uploaded**");
  expect(second.summary()).toContain("no artifact service");
  first.run("post");
});

test("listening on all addresses accepts other local addresses", async () => {
  for (const [listen, reached] of [["0.0.0.0", true], ["127.0.0.1", false]] as const) {
    const job = new TestJob({ LISTEN: listen });
    job.run("main");
    const { port } = job.receiver();
    expect(job.values("ENV").OTEL_EXPORTER_OTLP_ENDPOINT).toBe(`http://127.0.0.1:${port}`);
    const sent = fetch(`http://127.0.0.2:${port}/v1/traces`, { method: "POST", body: new Uint8Array(SPAN), headers: { "content-type": "application/x-protobuf" } });
    if (reached) expect((await sent).status).toBe(200);
    else await expect(sent).rejects.toThrow();
    expect(job.run("post").stdout).toContain(reached ? "Collected 1 span " : "Collected no spans");
  }
});

describe("damaged state does not fail the job", () => {
  test.each<[string, string, object]>([
    ["port out of range", "state.json", { port: 70_000 }],
    ["port as text", "state.json", { port: "x y" }],
    ["invalid counts", "state.json", { droppedSpans: "9", problem: 5 }],
    ["invalid secret", "settings.json", { secret: "a b\n" }],
    ["foreign host", "settings.json", { host: "192.0.2.1" }],
    ["invalid start time", "session.json", { startedAtUnixNano: "x", runner: 7 }],
  ])("step changed a file: %s", (_, file, change) => {
    const job = new TestJob({ REPORTS: "*.xml" });
    job.run("main");
    const { pid } = job.receiver();
    process.kill(pid, "SIGKILL");
    const path = join(job.values("STATE").folder ?? "", file);
    writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, "utf8")) as object), ...change }));
    const post = job.run("post");
    expect([post.status, post.stderr]).toEqual([0, ""]);
    expect(post.stdout).not.toContain("could not finish");
    expect(job.summary()).toContain("### Pacegate");
  });

  test("step replaced event by pipe, spans by zeros", () => {
    const job = new TestJob({}, { GITHUB_EVENT_NAME: "pull_request" });
    const event = join(job.folder, "event.json");
    job.more.GITHUB_EVENT_PATH = event;
    job.run("main");
    execFileSync("mkfifo", [event]);
    truncateSync(join(job.values("STATE").folder ?? "", "bodies.bin"), 2 ** 40);
    expect(job.run("post").status).toBe(0);
    expect(job.summary()).toContain("Collected no spans");
  });

  test.each<[string, (job: TestJob) => void]>([
    ["missing folder", (job) => { rmSync(job.values("STATE").folder ?? "", { recursive: true }); }],
    ["missing session", (job) => { rmSync(join(job.values("STATE").folder ?? "", "session.json")); }],
    ["session that is not JSON", (job) => { writeFileSync(join(job.values("STATE").folder ?? "", "session.json"), "{"); }],
    ["state that is not JSON", (job) => { writeFileSync(join(job.values("STATE").folder ?? "", "state.json"), ""); }],
    ["emptied workspace", (job) => { rmSync(job.workspace, { recursive: true }); mkdirSync(job.workspace); }],
  ])("%s", async (_, harm) => {
    const job = new TestJob({ REPORTS: "**/*.xml" });
    job.run("main");
    const { pid } = job.receiver();
    harm(job);
    const post = job.run("post");
    expect([post.status, post.stderr]).toEqual([0, ""]);
    expect(existsSync(job.values("STATE").folder ?? "")).toBe(false);
    // A receiver that got no stop request ends when its folder is gone.
    await vi.waitFor(() => { expect(isAlive(pid)).toBe(false); }, { timeout: 10_000 });
  });

  test("unwritable RUNNER_TEMP is a warning", () => {
    const job = new TestJob({}, { RUNNER_TEMP: "/proc/nowhere" });
    const main = job.run("main");
    expect([main.status, main.stderr]).toEqual([0, ""]);
    expect(main.stdout).toContain("::warning::Pacegate could not start: ");
    expect(job.run("post").status).toBe(0);
  });

  test("unreachable service is a warning", () => {
    const job = new TestJob({ "SERVER-URL": "http://127.0.0.1:1", TOKEN: "pgt_x" });
    job.run("main");
    const post = job.run("post");
    expect(post.status).toBe(0);
    expect(post.stdout).toContain("::warning::The spans were not sent to the service: ");
    expect(post.stdout).not.toContain("::error");
  });
});
