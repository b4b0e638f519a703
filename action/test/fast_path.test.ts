// Sending to the service: the requests, rejected responses, and retries.

import { gunzipSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { jobOf, makeManifest } from "../src/archive/manifest.ts";
import { post, within } from "../src/ship/http.ts";
import { upload } from "../src/ship/server.ts";
import { type Answer, type ReceivedRequest, service } from "./service.ts";

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

test("upload with a token is one request", async () => {
  const { url, requests } = await service(() => accepted);
  expect(await upload({ serverUrl: url, token: "pgt_x", manifest, files })).toEqual({
    spans: 3,
    rejected: 1,
    message: "one is odd",
    verdictUrl: "https://p/v",
  });
  expect(requests).toHaveLength(1);
  expect(requests[0]?.path).toBe("/api/v1/actions/traces");
  expect(requests[0]?.headers).toMatchObject({
    authorization: "Bearer pgt_x",
    "content-type": "application/jsonl",
    "content-encoding": "gzip",
    "content-length": String(requests[0]?.body.length),
  });
  expect(gunzipSync(requests[0]?.body ?? "").toString()).toBe(`${JSON.stringify({ manifest })}\nspans\nreports\n`);
});

function identity(url: string): void {
  vi.stubEnv("ACTIONS_ID_TOKEN_REQUEST_URL", `${url}/oidc?v=1`);
  vi.stubEnv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-token");
}

test("OIDC token is exchanged for a masked grant", async () => {
  const answers: Record<string, Answer> = {
    "/oidc": { status: 200, body: { value: "jwt-of-github" } },
    "/api/v1/actions/grants": { status: 201, body: { grant: "pgg_secret-grant" } },
    "/api/v1/actions/traces": accepted,
  };
  const { url, requests } = await service(({ path }) => answers[path.split("?", 1)[0] ?? ""] ?? { status: 404 });
  identity(url);
  await upload({ serverUrl: url, token: null, manifest, files });
  expect(requests.map(({ path, headers }) => [path, headers.authorization])).toEqual([
    [`/oidc?v=1&audience=${encodeURIComponent(url)}`, "Bearer runner-token"],
    ["/api/v1/actions/grants", "Bearer jwt-of-github"],
    ["/api/v1/actions/traces", "Bearer pgg_secret-grant"],
  ]);
  expect(printed).toContain("::add-mask::jwt-of-github\n");
  expect(printed).toContain("::add-mask::pgg_secret-grant\n");
});

describe("rejected responses", () => {
  const grants = (answer: Answer): ((request: ReceivedRequest) => Answer) =>
    ({ path }) => (path.startsWith("/oidc") ? { status: 200, body: { value: "jwt" } } : answer);
  test.each<[string, (request: ReceivedRequest) => Answer, string]>([
    ["refusal with a reason", grants({ status: 403, body: { title: "No such repository", detail: "install\nthe App" } }), "(403): No such repository: install the App"],
    ["redirect", grants({ status: 307, headers: { location: "http://127.0.0.1:1/" } }), "redirect (307)"],
    ["HTML page", grants({ status: 200, body: "<html>" }), "(200)"],
    ["invalid grant", grants({ status: 201, body: { grant: "a b\r\nHost: x" } }), "without a valid grant"],
    ["very long response", grants({ status: 201, body: "x".repeat(100_000) }), "too long"],
    ["runner without an OIDC token", () => ({ status: 400, body: {} }), "no OIDC token"],
  ])("%s", async (_, answer, message) => {
    const { url, requests } = await service(answer);
    identity(url);
    await expect(upload({ serverUrl: url, token: null, manifest, files })).rejects.toThrow(message);
    expect(requests.filter(({ path }) => path.endsWith("/traces"))).toEqual([]);
  });
});

describe("retry", () => {
  test.each<[string, Answer, number]>([
    ["unavailable service with Retry-After is retried", { status: 503, headers: { "retry-after": "0" } }, 2],
    ["overloaded service with Retry-After is retried", { status: 429, headers: { "retry-after": "0" } }, 2],
    ["response without Retry-After is not retried", { status: 503 }, 1],
    ["Retry-After beyond the deadline is not retried", { status: 429, headers: { "retry-after": "60" } }, 1],
    ["other errors are not retried", { status: 500, headers: { "retry-after": "0" } }, 1],
  ])("%s", async (_, refusal, times) => {
    const { url, requests } = await service((_request, number) => (number === 1 ? refusal : accepted));
    const sent = upload({ serverUrl: url, token: "pgt_x", manifest, files });
    if (times === 2) await sent;
    else await expect(sent).rejects.toThrow(`(${refusal.status})`);
    expect(requests).toHaveLength(times);
  });
});

test("missing response times out", async () => {
  const { url } = await service(() => null);
  await expect(post(url, {}, Buffer.from("x"), 50)).rejects.toThrow("no answer within");
  await expect(within(new Promise(() => undefined), 10)).rejects.toThrow("no answer within");
});
