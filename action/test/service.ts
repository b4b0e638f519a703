// A fake Pacegate service and OIDC endpoint of the runner. Gives scripted answers and records the
// requests.

import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach } from "vitest";

export interface ReceivedRequest {
  readonly path: string;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}
export interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

export interface Service {
  readonly url: string;
  readonly requests: ReceivedRequest[];
}

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

/** Answers each request with the result of `answer`; null means that it never answers. `number` counts from 1. */
export async function service(answer: (request: ReceivedRequest, number: number) => Answer | null): Promise<Service> {
  const requests: ReceivedRequest[] = [];
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const received = { path: request.url ?? "", headers: request.headers, body: Buffer.concat(pieces) };
      requests.push(received);
      const result = answer(received, requests.length);
      if (result === null) return;
      response.writeHead(result.status, { "content-type": "application/json", ...result.headers });
      response.end(typeof result.body === "string" ? result.body : JSON.stringify(result.body ?? {}));
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}
