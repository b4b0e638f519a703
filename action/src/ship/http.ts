// Sends one POST to the server, with limits on time and on the response's size. Follows no
// redirect. Uses the runner's proxy settings (https_proxy, no_proxy).

import { HttpClient } from "@actions/http-client";
import { Readable } from "node:stream";

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  /** Seconds that the server asks to wait, from `Retry-After`. */
  readonly retryAfterS: number | null;
}

const LARGEST_ANSWER_BYTES = 64 * 1024;

/** Sends a body; throws when there is no answer within `timeoutMs`. */
export async function post(url: string, headers: Record<string, string>, body: Buffer, timeoutMs: number): Promise<HttpAnswer> {
  const client = new HttpClient("pacegate-action", [], {
    allowRedirects: false,
    allowRetries: false,
    socketTimeout: timeoutMs,
    keepAlive: false,
  });
  const sent = async (): Promise<HttpAnswer> => {
    const length = { "Content-Length": String(body.length) };
    const { message } = await client.sendStream("POST", url, Readable.from(chunks(body)), { ...headers, ...length });
    const read: Buffer[] = [];
    let size = 0;
    for await (const chunk of message as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > LARGEST_ANSWER_BYTES) throw new Error("the answer is too long");
      read.push(chunk);
    }
    const retryAfter = Number(message.headers["retry-after"]);
    return {
      status: message.statusCode ?? 0,
      body: Buffer.concat(read).toString("utf8"),
      retryAfterS: Number.isFinite(retryAfter) && retryAfter >= 0 ? retryAfter : null,
    };
  };
  return within(sent(), timeoutMs, () => {
    client.dispose();
  });
}

/** A body in chunks, so that sending it does not block for long. */
function* chunks(body: Buffer): Generator<Buffer> {
  for (let at = 0; at < body.length; at += 64 * 1024) yield body.subarray(at, at + 64 * 1024);
}

/** Rejects when `work` takes longer than `timeoutMs`. Always calls `cleanUp` at the end. */
export async function within<T>(work: Promise<T>, timeoutMs: number, cleanUp: () => void = () => undefined): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`there was no answer within ${(timeoutMs / 1000).toFixed(1)} s`));
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
    cleanUp();
  }
}
