// The receiver over real HTTP: its responses, stored bodies and counts.

import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { type Server, request } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";

import { type Counts, makeServer } from "../src/receiver/server.ts";
import { Spool, readSpool } from "../src/receiver/spool.ts";
import { makeFolder } from "./folder.ts";
import { plainSpan, requestOf, sdkSpan } from "./otlp_bodies.ts";

const PROTOBUF = "application/x-protobuf";
const JSON_TYPE = "application/json";
const SECRET = "s3cret";
const protobuf = Buffer.from(ProtobufTraceSerializer.serializeRequest([sdkSpan("00f067aa0ba902b7"), sdkSpan("00f067aa0ba902b8")]) ?? []);
const json = Buffer.from(JsonTraceSerializer.serializeRequest([sdkSpan("00f067aa0ba902b7")]) ?? []);

const servers: Server[] = [];
const spools: Spool[] = [];
afterEach(async () => {
  // Some tests have already closed theirs.
  for (const spool of spools.splice(0)) await spool.close().catch(() => undefined);
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

interface Receiver {
  readonly url: string;
  readonly port: number;
  readonly path: string;
  readonly counts: Counts;
  readonly spool: Spool;
  stopped: boolean;
}

async function receiver(maxBytes = 1 << 20): Promise<Receiver> {
  const path = join(makeFolder(), "bodies.bin");
  const spool = await Spool.create(path, maxBytes);
  spools.push(spool);
  const counts: Counts = { requests: 0, spans: 0, refused: 0, droppedSpans: 0, droppedBytes: 0, problem: null };
  const made = { url: "", port: 0, path, counts, spool, stopped: false };
  const server = makeServer(spool, counts, SECRET, { answered: () => undefined, stop: () => (made.stopped = true) });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  made.port = (server.address() as AddressInfo).port;
  made.url = `http://127.0.0.1:${made.port}`;
  return made;
}

async function send(to: Receiver, path: string, type: string, body: Buffer, more: Record<string, string> = {}): Promise<{ status: number; type: string | null; body: Buffer }> {
  const answer = await fetch(`${to.url}${path}`, { method: "POST", body: new Uint8Array(body), headers: { "content-type": type, ...more } });
  return { status: answer.status, type: answer.headers.get("content-type"), body: Buffer.from(await answer.arrayBuffer()) };
}

describe("accepted spans", () => {
  test.each([
    ["protobuf", PROTOBUF, protobuf, "", 2],
    ["JSON", JSON_TYPE, json, "", 1],
    ["JSON with a charset", `${JSON_TYPE}; charset=utf-8`, json, "", 1],
    ["gzip", PROTOBUF, gzipSync(protobuf), "gzip", 2],
    ["deflate", PROTOBUF, deflateSync(protobuf), "deflate", 2],
    ["deflate without the zlib header", PROTOBUF, deflateRawSync(protobuf), "deflate", 2],
    ["identity", PROTOBUF, protobuf, "identity", 2],
  ])("%s", async (_, type, body, encoding, spans) => {
    const to = await receiver();
    const answer = await send(to, "/v1/traces", type, body, encoding === "" ? {} : { "content-encoding": encoding });
    const isJson = type.startsWith(JSON_TYPE);
    expect(answer).toEqual({ status: 200, type: isJson ? JSON_TYPE : PROTOBUF, body: Buffer.from(isJson ? "{}" : "") });
    expect(to.counts).toMatchObject({ requests: 1, spans, refused: 0, droppedSpans: 0 });
    await to.spool.close();
    expect([...readSpool(to.path)]).toEqual([{ encoding: isJson ? "json" : "protobuf", body: isJson ? json : protobuf }]);
  });
});

describe("refused requests", () => {
  const bomb = gzipSync(Buffer.alloc(40 * 1024 * 1024));
  test.each([
    ["not protobuf", "/v1/traces", PROTOBUF, Buffer.from([0xff]), {}, 400, 1],
    ["not JSON", "/v1/traces", JSON_TYPE, Buffer.from("{"), {}, 400, 1],
    ["not gzip", "/v1/traces", JSON_TYPE, json, { "content-encoding": "gzip" }, 400, 1],
    ["truncated gzip", "/v1/traces", JSON_TYPE, gzipSync(json).subarray(0, 50), { "content-encoding": "gzip" }, 400, 1],
    ["unknown encoding", "/v1/traces", JSON_TYPE, json, { "content-encoding": "br" }, 415, 1],
    ["unknown type", "/v1/traces", "text/plain", json, {}, 415, 1],
    ["body that inflates beyond the limit", "/v1/traces", PROTOBUF, bomb, { "content-encoding": "gzip" }, 413, 1],
    ["JSON beyond its size limit", "/v1/traces", JSON_TYPE, gzipSync(`[${"[],".repeat(6_000_000)}0]`), { "content-encoding": "gzip" }, 413, 1],
    ["unknown path", "/v1/profiles", JSON_TYPE, json, {}, 404, 0],
    ["stop with a wrong secret", "/stop/guess", JSON_TYPE, Buffer.alloc(0), {}, 404, 0],
  ])("%s", async (_, path, type, body, headers, status, refused) => {
    const to = await receiver();
    const answer = await send(to, path, type, body, headers);
    expect(answer.status).toBe(status);
    if (answer.type === JSON_TYPE) expect(JSON.parse(answer.body.toString())).toMatchObject({ code: expect.any(Number) as number, message: expect.any(String) as string });
    else expect(answer.body[0]).toBe(0x08);
    expect(to.counts).toMatchObject({ spans: 0, refused });
    expect(to.stopped).toBe(false);
    // The receiver still accepts the next request.
    expect((await send(to, "/v1/traces", PROTOBUF, protobuf)).status).toBe(200);
  });
});

test("oversized body gets a status before disconnect", async () => {
  const to = await receiver(1 << 30);
  const status = await new Promise<number | string>((resolve) => {
    const sent = request(`${to.url}/v1/traces`, { method: "POST", headers: { "content-type": PROTOBUF } });
    sent.on("response", (answer) => {
      resolve(answer.statusCode ?? 0);
    });
    sent.on("error", (error) => {
      resolve(error.message);
    });
    sent.end(Buffer.alloc(17 * 1024 * 1024));
  });
  expect(status).toBe(413);
  expect(to.counts).toMatchObject({ spans: 0, refused: 1 });
});

test("metrics and logs are accepted and discarded", async () => {
  const to = await receiver();
  for (const path of ["/v1/metrics", "/v1/logs"]) {
    expect(await send(to, path, PROTOBUF, Buffer.from("anything"))).toMatchObject({ status: 200 });
  }
  expect(to.spool.bytes).toBe(0);
  expect(to.counts).toMatchObject({ requests: 0, refused: 0 });
});

test("spans beyond max-size get a partial success", async () => {
  const to = await receiver(protobuf.length + 10);
  expect((await send(to, "/v1/traces", PROTOBUF, protobuf)).body).toHaveLength(0);
  const asJson = await send(to, "/v1/traces", JSON_TYPE, json);
  expect(JSON.parse(asJson.body.toString())).toEqual({ partialSuccess: { rejectedSpans: "1", errorMessage: "the action's max-size was reached" } });
  const asProtobuf = await send(to, "/v1/traces", PROTOBUF, protobuf);
  expect(asProtobuf.status).toBe(200);
  expect(ProtobufTraceSerializer.deserializeResponse(asProtobuf.body)).toMatchObject({
    partialSuccess: { rejectedSpans: 2, errorMessage: "the action's max-size was reached" },
  });
  expect(to.counts).toMatchObject({ spans: 2, droppedSpans: 3, droppedBytes: json.length + protobuf.length });
  await to.spool.close();
  expect([...readSpool(to.path)]).toHaveLength(1);
});

test("disk error drops spans and answers 200", async () => {
  const to = await receiver();
  await to.spool.close();
  const answer = await send(to, "/v1/traces", JSON_TYPE, json);
  expect(answer.status).toBe(200);
  expect(to.counts).toMatchObject({ spans: 0, droppedSpans: 1 });
  expect(to.counts.problem).toMatch(/^the spans could not be written to disk: /);
});

test("concurrent bodies are all kept intact", async () => {
  const to = await receiver(1 << 24);
  const bodies = Array.from({ length: 200 }, (_, number) => requestOf(Array.from({ length: number }, (_, span) => plainSpan(span))));
  await Promise.all(bodies.map((body) => send(to, "/v1/traces", PROTOBUF, body)));
  await to.spool.close();
  const kept = [...readSpool(to.path)].map(({ body }) => body.length).sort((a, b) => a - b);
  // A body without spans is not stored.
  expect(kept).toEqual(bodies.slice(1).map((body) => body.length));
});

test("disconnected sender is not counted as refused", async () => {
  const to = await receiver();
  await new Promise<void>((resolve) => {
    const socket = connect(to.port, "127.0.0.1", () => {
      socket.write("POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", () => socket.destroy());
    });
    socket.on("close", () => {
      resolve();
    });
  });
  expect((await send(to, "/v1/traces", JSON_TYPE, json)).status).toBe(200);
  expect(to.counts).toMatchObject({ spans: 1, refused: 0 });
});

test("stop with the secret ends the receiver", async () => {
  const to = await receiver();
  expect((await send(to, `/stop/${SECRET}`, JSON_TYPE, Buffer.alloc(0))).status).toBe(200);
  expect(to.stopped).toBe(true);
});
