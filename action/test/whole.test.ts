// The bundle as a runner starts it: main, steps that send spans, post. No job is ever failed, and
// nothing is left behind.

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

/** Of one job: its files, and the environment that steps see. */
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

  /** `name<<delimiter`, lines, delimiter: as the runner reads them. */
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

  /** Where this process has to stay alive to answer. */
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
      // It ended as it should.
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

test("a whole job: spans and a report come to the service, and nothing stays", async () => {
  const { url, asked } = await service(() => ({ status: 202, body: { spans: 1, rejected: 0, message: null, verdict_url: null } }));
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
  const [manifestLine, ...rest] = gunzipSync(asked[0]?.body ?? "").toString().split("\n").slice(0, -1);
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

  expect(job.summary()).toContain("Caught **1 span and 1 report**");
  expect(readdirSync(job.temp)).toEqual([]);
  expect(isAlive(pid)).toBe(false);
  // The artifact service is not there: said, and no more.
  expect(post.stdout).toContain("::warning::The artifact was not uploaded");
});

test("no secret reaches the steps, the receiver or the disk", () => {
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
  // By this the runner finds what a job left behind.
  expect(seen[3]).toContain("RUNNER_TRACKING_ID=tracked");
  expect(job.run("post").status).toBe(0);
});

test("a step that kills its own process group does not reach the receiver", async () => {
  const job = new TestJob();
  job.run("main");
  const step = spawn("sh", ["-c", "kill -TERM 0; kill -KILL 0"], { detached: true, stdio: "ignore" });
  await new Promise((resolve) => step.on("close", resolve));
  expect(await job.send(SPAN)).toBe(200);
  expect(job.run("post").stdout).toContain("Caught 1 span ");
});

test("a receiver that was killed loses nothing that it had answered", async () => {
  const job = new TestJob();
  job.run("main");
  expect(await job.send(SPAN)).toBe(200);
  process.kill(job.receiver().pid, "SIGKILL");
  const post = job.run("post");
  expect(post.status).toBe(0);
  expect(post.stdout).toContain("Caught 1 span ");
  expect(readdirSync(job.temp)).toEqual([]);
});

test("a second use in the same job says so and leaves the first alone", async () => {
  const first = new TestJob();
  first.run("main");
  const second = new TestJob({}, first.values("ENV"));
  expect(second.run("main").stdout).toContain("::warning::Pacegate's action is used a second time");
  expect(second.values("ENV")).toEqual({});
  expect(second.run("post").stdout).toContain("nothing to ship");
  expect(await first.send(SPAN)).toBe(200);
  expect(first.run("post").stdout).toContain("Caught 1 span ");
});

test("capture: false does nothing, and says so", () => {
  const job = new TestJob({ CAPTURE: "false" });
  const main = job.run("main");
  expect([main.status, main.stdout]).toEqual([0, "Pacegate: `capture` is false, so nothing is caught and nothing is shipped.\n"]);
  expect([job.values("ENV"), job.values("STATE"), readdirSync(job.temp)]).toEqual([{}, {}, []]);
  expect(job.run("post").status).toBe(0);
});

test("an exporter of the workflow's own is left alone, with a word", () => {
  const job = new TestJob({}, { OTEL_EXPORTER_OTLP_ENDPOINT: "https://collector.example.com" });
  expect(job.run("main").stdout).toContain("::warning::OTEL_EXPORTER_OTLP_ENDPOINT is set already");
  expect(job.values("ENV")).not.toHaveProperty("OTEL_EXPORTER_OTLP_ENDPOINT");
  // Spans that go elsewhere must not hang below a parent that is not there.
  expect(job.values("ENV")).not.toHaveProperty("TRACEPARENT");
  expect(job.run("post").status).toBe(0);
  expect(job.summary()).toContain("OTEL_EXPORTER_OTLP_ENDPOINT was set already");
});

test("a port that somebody has already is said in a sentence, at the start and in the summary", () => {
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
  expect(second.summary()).toContain("**Not shipped**");
  expect(second.summary()).toContain("no artifact service");
  first.run("post");
});

test("told to listen everywhere, it is reached by other addresses too, as containers do, and steps still see 127.0.0.1", async () => {
  for (const [listen, reached] of [["0.0.0.0", true], ["127.0.0.1", false]] as const) {
    const job = new TestJob({ LISTEN: listen });
    job.run("main");
    const { port } = job.receiver();
    expect(job.values("ENV").OTEL_EXPORTER_OTLP_ENDPOINT).toBe(`http://127.0.0.1:${port}`);
    const sent = fetch(`http://127.0.0.2:${port}/v1/traces`, { method: "POST", body: new Uint8Array(SPAN), headers: { "content-type": "application/x-protobuf" } });
    if (reached) expect((await sent).status).toBe(200);
    else await expect(sent).rejects.toThrow();
    expect(job.run("post").stdout).toContain(reached ? "Caught 1 span " : "Caught no spans");
  }
});

describe("whatever is broken, the job is not", () => {
  test.each<[string, string, object]>([
    ["a port that is none", "state.json", { port: 70_000 }],
    ["a port that is a text", "state.json", { port: "x y" }],
    ["counts that are none", "state.json", { droppedSpans: "9", problem: 5 }],
    ["a secret that is none", "settings.json", { secret: "a b\n" }],
    ["a host of somebody else", "settings.json", { host: "192.0.2.1" }],
    ["a beginning that is none", "session.json", { startedAtUnixNano: "x", runner: 7 }],
  ])("a step changed a file: %s", (_, file, change) => {
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

  test("a step left a pipe in place of the event, and zeros in place of spans", () => {
    const job = new TestJob({}, { GITHUB_EVENT_NAME: "pull_request" });
    const event = join(job.folder, "event.json");
    job.more.GITHUB_EVENT_PATH = event;
    job.run("main");
    execFileSync("mkfifo", [event]);
    truncateSync(join(job.values("STATE").folder ?? "", "bodies.bin"), 2 ** 40);
    expect(job.run("post").status).toBe(0);
    expect(job.summary()).toContain("Caught no spans");
  });

  test.each<[string, (job: TestJob) => void]>([
    ["the folder is gone", (job) => { rmSync(job.values("STATE").folder ?? "", { recursive: true }); }],
    ["main did not get far", (job) => { rmSync(join(job.values("STATE").folder ?? "", "session.json")); }],
    ["the session is no JSON", (job) => { writeFileSync(join(job.values("STATE").folder ?? "", "session.json"), "{"); }],
    ["the state is no JSON", (job) => { writeFileSync(join(job.values("STATE").folder ?? "", "state.json"), ""); }],
    ["the workspace is gone", (job) => { rmSync(job.workspace, { recursive: true }); mkdirSync(job.workspace); }],
  ])("%s", async (_, harm) => {
    const job = new TestJob({ REPORTS: "**/*.xml" });
    job.run("main");
    const { pid } = job.receiver();
    harm(job);
    const post = job.run("post");
    expect([post.status, post.stderr]).toEqual([0, ""]);
    expect(existsSync(job.values("STATE").folder ?? "")).toBe(false);
    // Whom nobody could tell sees that its folder is gone.
    await vi.waitFor(() => { expect(isAlive(pid)).toBe(false); }, { timeout: 10_000 });
  });

  test("RUNNER_TEMP can't be written to", () => {
    const job = new TestJob({}, { RUNNER_TEMP: "/proc/nowhere" });
    const main = job.run("main");
    expect([main.status, main.stderr]).toEqual([0, ""]);
    expect(main.stdout).toContain("::warning::Pacegate could not start: ");
    expect(job.run("post").status).toBe(0);
  });

  test("the service is not there", () => {
    const job = new TestJob({ "SERVER-URL": "http://127.0.0.1:1", TOKEN: "pgt_x" });
    job.run("main");
    const post = job.run("post");
    expect(post.status).toBe(0);
    expect(post.stdout).toContain("::warning::The spans were not sent to the service: ");
    expect(post.stdout).not.toContain("::error");
  });
});
