// The local OTLP receiver over HTTP. Keeps spans on disk and answers so that no sender waits, fails
// or retries forever. Accepts and discards metrics and logs.

import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";

import { Malformed, countSpans } from "../otlp/message.ts";
import { readJsonRequest } from "../otlp/json.ts";
import { scanRequest } from "../otlp/protobuf.ts";
import { type Answer, partialSuccess, refusal, success } from "./answer.ts";
import { Refused, inflated, malformed, readBody, tooLarge } from "./body.ts";
import type { Encoding, Spool } from "./spool.ts";

export interface Counts {
  requests: number;
  spans: number;
  refused: number;
  droppedSpans: number;
  droppedBytes: number;
  problem: string | null;
}

export interface Events {
  /** Called after each response. */
  answered: () => void;
  /** Called on a stop request with the right secret. */
  stop: () => void;
}

const MOST_CONNECTIONS = 256;
/** Bytes of an inflated JSON body. Two of them can take 100 bytes of memory while they are parsed. */
const LARGEST_JSON_BYTES = 16 * 1024 * 1024;
const INTERNAL = 13;
const NOT_FOUND = 5;

/** Creates the server; the caller makes it listen. */
export function makeServer(spool: Spool, counts: Counts, secret: string, events: Events): Server {
  const server = createServer(
    { requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 5_000, connectionsCheckingInterval: 5_000 },
    (request, response) => {
      void handle(request, response).finally(events.answered);
    },
  );
  server.maxConnections = MOST_CONNECTIONS;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => undefined);
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    if (request.method === "POST" && path === `/stop/${secret}`) {
      send(response, success("json"), true);
      events.stop();
      return;
    }
    const encoding = encodingOf(request);
    try {
      send(response, await answer(request, path, encoding), false);
    } catch (error) {
      // The client disconnected before its request was complete.
      if (request.destroyed && !request.complete && !(error instanceof Refused)) return;
      const refused = error instanceof Refused ? error : new Refused(500, INTERNAL, "the receiver has an error");
      if (!(error instanceof Refused)) console.error(error);
      if (refused.status !== 404) {
        counts.refused += 1;
        counts.problem = `a body was refused: ${refused.message}`;
      }
      send(response, refusal(encoding ?? "json", refused.status, refused.code, refused.message), true);
    }
  }

  async function answer(request: IncomingMessage, path: string, encoding: Encoding | null): Promise<Answer> {
    const signal = request.method === "POST" ? /^\/v1\/(traces|metrics|logs)\/?$/.exec(path)?.[1] : undefined;
    if (signal === undefined) throw new Refused(404, NOT_FOUND, "this receiver accepts only POST /v1/traces");
    if (encoding === null) throw new Refused(415, 3, "its Content-Type is neither application/x-protobuf nor application/json");
    if (signal !== "traces") {
      await readBody(request, "none");
      return success(encoding);
    }
    counts.requests += 1;
    const body = await inflated(await readBody(request, "keep"), request.headers["content-encoding"]);
    return keep(encoding, body);
  }

  async function keep(encoding: Encoding, body: Buffer): Promise<Answer> {
    const spans = counted(encoding, body);
    if (spans === 0) return success(encoding);
    const kept = await spool.append(encoding, body);
    if (kept === "kept") {
      counts.spans += spans;
      return success(encoding);
    }
    counts.droppedSpans += spans;
    counts.droppedBytes += body.length;
    counts.problem = kept === "full" ? "the action's max-size was reached" : `the spans could not be written to disk: ${kept.error}`;
    return partialSuccess(encoding, spans, counts.problem);
  }

  return server;
}

function counted(encoding: Encoding, body: Buffer): number {
  if (encoding === "json" && body.length > LARGEST_JSON_BYTES) throw tooLarge(`it is JSON of more than ${LARGEST_JSON_BYTES} bytes`);
  try {
    return encoding === "json" ? countSpans(readJsonRequest(body)) : scanRequest(body);
  } catch (error) {
    if (error instanceof Malformed) throw malformed(error.message);
    throw error;
  }
}

function encodingOf(request: IncomingMessage): Encoding | null {
  const type = (request.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/json") return "json";
  return type === "application/x-protobuf" || type === "application/protobuf" ? "protobuf" : null;
}

function send(response: ServerResponse, { status, contentType, body }: Answer, close: boolean): void {
  if (response.destroyed) return;
  response.writeHead(status, {
    "Content-Type": contentType,
    "Content-Length": body.length,
    // The unread rest of a refused body is not waited for.
    ...(close ? { Connection: "close" } : {}),
  });
  response.end(body);
}
