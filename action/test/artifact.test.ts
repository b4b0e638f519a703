// The built bundle with GitHub's artifact client against a fake artifact service: the uploaded
// content, its name, and that a service which refuses the upload does not fail the job.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

import { makeFolder } from "./folder.ts";
import { type Answer, type ReceivedRequest, type Service, service } from "./service.ts";

const dist = join(import.meta.dirname, "..", "dist");
const token = ["{}", JSON.stringify({ scp: "Actions.Results:run-backend:job-backend" }), "x"].map((part) => Buffer.from(part).toString("base64url")).join(".");
const CALL = "/twirp/github.actions.results.api.v1.ArtifactService/";

/** Accepts every call for which `refused` returns no answer. */
async function artifactService(refused: (name: string, method: string) => Answer | undefined): Promise<Service> {
  const made = await service((request: ReceivedRequest) => {
    const method = request.path.replace(CALL, "");
    if (request.path.startsWith("/blob")) return { status: 201 };
    const { name } = JSON.parse(request.body.toString()) as { name: string };
    const refusal = refused(name, method);
    if (refusal !== undefined) return refusal;
    if (method === "CreateArtifact") return { status: 200, body: { ok: true, signed_upload_url: `${made.url}/blob/container/name?sig=signed-secret` } };
    return { status: 200, body: { ok: true, artifact_id: "7" } };
  });
  return made;
}

async function job(results: string): Promise<{ status: number | null; stdout: string; summary: string }> {
  const folder = makeFolder();
  const at = (name: string): string => join(folder, name);
  for (const file of ["env", "output", "state", "summary"]) writeFileSync(at(file), "");
  mkdirSync(at("temp"));
  const environment = {
    PATH: process.env.PATH ?? "",
    GITHUB_ENV: at("env"),
    GITHUB_OUTPUT: at("output"),
    GITHUB_STATE: at("state"),
    GITHUB_STEP_SUMMARY: at("summary"),
    GITHUB_WORKSPACE: folder,
    GITHUB_RUN_ID: "1",
    GITHUB_RUN_ATTEMPT: "2",
    GITHUB_JOB: "test",
    RUNNER_TEMP: at("temp"),
    ACTIONS_RUNTIME_TOKEN: token,
    ACTIONS_RESULTS_URL: results,
    "INPUT_CHECK-RUN-ID": "77",
    INPUT_CALIBRATE: "false",
  };
  const run = async (part: string, more: Record<string, string>): Promise<{ status: number | null; stdout: string }> => {
    const child = spawn(process.execPath, [join(dist, `${part}.js`)], { env: { ...environment, ...more } });
    let stdout = "";
    child.stdout.on("data", (piece: Buffer) => (stdout += piece.toString()));
    const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { status, stdout };
  };
  await run("main", {});
  const state = readFileSync(at("state"), "utf8").split("\n")[1] ?? "";
  return { ...(await run("post", { STATE_folder: state })), summary: readFileSync(at("summary"), "utf8") };
}

const created = ({ requests }: Service): unknown[] =>
  requests.filter(({ path }) => path.endsWith("/CreateArtifact")).map(({ body }) => (JSON.parse(body.toString()) as { name: string }).name);

test("archive becomes an artifact that expires", async () => {
  const github = await artifactService(() => undefined);
  const { status, stdout, summary } = await job(github.url);
  expect(status).toBe(0);
  expect(stdout).not.toContain("::warning");
  expect(stdout).toContain("::add-mask::signed-secret");
  expect(summary).toContain("Uploaded as the artifact pacegate-2-test.");
  expect(created(github)).toEqual(["pacegate-2-test"]);
  const ask = JSON.parse(github.requests[0]?.body.toString() ?? "") as { expires_at: string };
  const days = (Date.parse(ask.expires_at) - Date.now()) / 86_400_000;
  expect(Math.round(days)).toBe(5);
  const zip = github.requests.find(({ path, body }) => path.startsWith("/blob") && body.subarray(0, 2).toString() === "PK")?.body ?? Buffer.alloc(0);
  for (const name of ["manifest.json", "spans.jsonl.gz"]) expect(zip.includes(name)).toBe(true);
  const finalized = JSON.parse(github.requests.at(-1)?.body.toString() ?? "") as { hash: string; size: string };
  expect(finalized).toMatchObject({ hash: `sha256:${createHash("sha256").update(zip).digest("hex")}`, size: String(zip.length) });
});

test("taken artifact name gets the job's id appended", async () => {
  const github = await artifactService((name, method) =>
    method === "CreateArtifact" && name === "pacegate-2-test"
      ? { status: 409, body: { code: "already_exists", msg: "an artifact with this name already exists on the workflow run" } }
      : undefined,
  );
  const { stdout } = await job(github.url);
  expect(created(github)).toEqual(["pacegate-2-test", "pacegate-2-test-77"]);
  expect(stdout).not.toContain("::warning");
  expect(stdout).toContain("Uploaded as the artifact pacegate-2-test-77.");
});

describe("refused artifact is only a warning", () => {
  test.each<[string, Answer]>([
    ["refused", { status: 403, body: { code: "permission_denied", msg: "no" } }],
    ["full", { status: 402, body: { code: "resource_exhausted", msg: "Artifact storage quota has been hit" } }],
    ["not ok", { status: 200, body: { ok: false } }],
  ])("%s", async (_, answer) => {
    const { status, stdout } = await job((await artifactService(() => answer)).url);
    expect(status).toBe(0);
    expect(stdout).toContain("::warning::The artifact was not uploaded");
    expect(stdout).not.toContain("::error");
  });
});
