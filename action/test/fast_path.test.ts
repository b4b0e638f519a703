// Sending to the service: what is sent, which answers are believed, which are asked for again.

import { gunzipSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { jobOf, makeManifest } from "../src/archive/manifest.ts";
import { post, within } from "../src/ship/http.ts";
import { upload } from "../src/ship/server.ts";
import { type Answer, type Asked, service } from "./service.ts";

const manifest = makeManifest({}, jobOf({}, null, {}), { startedAtUnixNano: "1", runner: {}, calibration: null, elsewhere: null }, {
  serviceName: null,
  endedAtUnixNano: "2",
  files: [],
  dropped: { spans: 0, bytes: 0, reports: [] },
});
const files = [gzipSync("spans\n"), gzipSync("reports\n")];
const accepted: Answer = { status: 202, body: { spans: 3, rejected: 1, message: "one is odd", verdict_url: "https://p/v" } };

let printed = "";
beforeEach(() => {
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

test("with a token everything goes in one request", async () => {
  const { url, asked } = await service(() => accepted);
  expect(await upload({ serverUrl: url, token: "pgt_x", manifest, files })).toEqual({
    spans: 3,
    rejected: 1,
    message: "one is odd",
    verdictUrl: "https://p/v",
  });
  expect(asked).toHaveLength(1);
  expect(asked[0]?.path).toBe("/api/v1/actions/traces");
  expect(asked[0]?.headers).toMatchObject({
    authorization: "Bearer pgt_x",
    "content-type": "application/jsonl",
    "content-encoding": "gzip",
    "content-length": String(asked[0]?.body.length),
  });
  expect(gunzipSync(asked[0]?.body ?? "").toString()).toBe(`${JSON.stringify({ manifest })}\nspans\nreports\n`);
});

function identity(url: string): void {
  vi.stubEnv("ACTIONS_ID_TOKEN_REQUEST_URL", `${url}/oidc?v=1`);
  vi.stubEnv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-token");
}

test("without a token GitHub's word is exchanged for a grant, and both are masked before they are used", async () => {
  const answers: Record<string, Answer> = {
    "/oidc": { status: 200, body: { value: "jwt-of-github" } },
    "/api/v1/actions/grants": { status: 201, body: { grant: "pgg_secret-grant" } },
    "/api/v1/actions/traces": accepted,
  };
  const { url, asked } = await service(({ path }) => answers[path.split("?", 1)[0] ?? ""] ?? { status: 404 });
  identity(url);
  await upload({ serverUrl: url, token: null, manifest, files });
  expect(asked.map(({ path, headers }) => [path, headers.authorization])).toEqual([
    [`/oidc?v=1&audience=${encodeURIComponent(url)}`, "Bearer runner-token"],
    ["/api/v1/actions/grants", "Bearer jwt-of-github"],
    ["/api/v1/actions/traces", "Bearer pgg_secret-grant"],
  ]);
  expect(printed).toContain("::add-mask::jwt-of-github\n");
  expect(printed).toContain("::add-mask::pgg_secret-grant\n");
});

describe("what is not believed", () => {
  const grants = (answer: Answer): ((asked: Asked) => Answer) =>
    ({ path }) => (path.startsWith("/oidc") ? { status: 200, body: { value: "jwt" } } : answer);
  test.each<[string, (asked: Asked) => Answer, string]>([
    ["a refusal, in its own words", grants({ status: 403, body: { title: "No such repository", detail: "install\nthe App" } }), "(403): No such repository: install the App"],
    ["a redirect", grants({ status: 307, headers: { location: "http://127.0.0.1:1/" } }), "redirect (307)"],
    ["a page", grants({ status: 200, body: "<html>" }), "(200)"],
    ["a grant that is none", grants({ status: 201, body: { grant: "a b\r\nHost: x" } }), "no grant"],
    ["an answer without end", grants({ status: 201, body: "x".repeat(100_000) }), "too long"],
    ["a runner without a token", () => ({ status: 400, body: {} }), "no OIDC token"],
  ])("%s", async (_, answer, words) => {
    const { url, asked } = await service(answer);
    identity(url);
    await expect(upload({ serverUrl: url, token: null, manifest, files })).rejects.toThrow(words);
    expect(asked.filter(({ path }) => path.endsWith("/traces"))).toEqual([]);
  });
});

describe("a second time", () => {
  test.each<[string, Answer, number]>([
    ["when the service asks for it", { status: 503, headers: { "retry-after": "0" } }, 2],
    ["when it is too busy", { status: 429, headers: { "retry-after": "0" } }, 2],
    ["not when it does not say when", { status: 503 }, 1],
    ["not when it is too late then", { status: 429, headers: { "retry-after": "60" } }, 1],
    ["not for other errors", { status: 500, headers: { "retry-after": "0" } }, 1],
  ])("%s", async (_, refusal, times) => {
    const { url, asked } = await service((_asked, number) => (number === 1 ? refusal : accepted));
    const sent = upload({ serverUrl: url, token: "pgt_x", manifest, files });
    if (times === 2) await sent;
    else await expect(sent).rejects.toThrow(`(${refusal.status})`);
    expect(asked).toHaveLength(times);
  });
});

test("nobody is waited for without end", async () => {
  const { url } = await service(() => null);
  await expect(post(url, {}, Buffer.from("x"), 50)).rejects.toThrow("no answer within");
  await expect(within(new Promise(() => undefined), 10)).rejects.toThrow("no answer within");
});
