// Writes the received spans as lines of OTLP JSON. Spans of a program that ignored TRACEPARENT are
// moved into the job's trace, together with the links between them. Spans with the ids of the run
// or the job are removed, because the server creates those from GitHub's API. Spans that the
// server would refuse are dropped and counted.

import { jobSpanId, rootSpanId, traceId, type Job } from "../identity.ts";
import { readJsonRequest } from "../otlp/json.ts";
import { type ExportRequest, type LinkFields, type SpanFields, countSpans, spansOf } from "../otlp/message.ts";
import { readRequest } from "../otlp/protobuf.ts";
import { readSpool } from "../receiver/spool.ts";
import { GzipLines, type WrittenFile } from "./gzip_lines.ts";

/** Spans in one archive; the server's limit. */
export const MOST_SPANS = 50_000;
/** Bytes of all lines before compression. */
export const MOST_INFLATED_BYTES = 96 * 1024 * 1024;
/** Bytes of all lines after compression. The server refuses an archive of more than 32 MiB; reports use up to 20 MiB of them. */
export const MOST_BYTES = 10 * 1024 * 1024;
const SPANS_OF_A_LINE = 1_000;

/** The parts of a span that the summary uses. */
export interface Seen {
  readonly id: string;
  readonly parent: string;
  readonly name: string;
  readonly service: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
}

export interface WrittenSpans {
  readonly file: WrittenFile;
  readonly seen: readonly Seen[];
  /** Spans left out because there were too many, or because they had no id or no times. */
  readonly dropped: number;
}

/** Writes the spans of a spool to `path`. */
export async function writeSpans(spool: string, path: string, name: string, job: Job): Promise<WrittenSpans> {
  const lines = new GzipLines(path, name);
  const identity = { trace: traceId(job), reserved: new Set([jobSpanId(job), rootSpanId(job)]), moved: new Set<string>() };
  const seen: Seen[] = [];
  let dropped = 0;
  for (const { encoding, body } of readSpool(spool)) {
    const whole = encoding === "json" ? readJsonRequest(body) : readRequest(body);
    dropped += moveToJobTrace(whole, identity, MOST_SPANS - seen.length);
    for (const request of split(whole)) {
      const found = [...seenOf(request)];
      if (found.length === 0) continue;
      const line = JSON.stringify(request);
      if (lines.inflatedBytes + line.length > MOST_INFLATED_BYTES || lines.bytes > MOST_BYTES) {
        dropped += found.length;
        continue;
      }
      for (const span of found) seen.push(span);
      await lines.write(line);
    }
  }
  const file = await lines.end();
  return { file: { ...file, spans: seen.length }, seen, dropped };
}

/** Where the job's spans belong. */
interface Identity {
  readonly trace: string;
  /** Ids of the run's and the job's spans, which come from GitHub's API. */
  readonly reserved: ReadonlySet<string>;
  /** Traces whose spans were moved into the job's trace. */
  readonly moved: Set<string>;
}

/** Splits a request into requests of at most 1,000 spans, which bounds the length of a line. */
export function* split(request: ExportRequest): Generator<ExportRequest> {
  if (countSpans(request) <= SPANS_OF_A_LINE) {
    yield request;
    return;
  }
  for (const resource of request.resourceSpans ?? []) {
    for (const scope of resource.scopeSpans ?? []) {
      const spans = scope.spans ?? [];
      for (let at = 0; at < spans.length; at += SPANS_OF_A_LINE) {
        yield { resourceSpans: [{ ...resource, scopeSpans: [{ ...scope, spans: spans.slice(at, at + SPANS_OF_A_LINE) }] }] };
      }
    }
  }
}

/** Moves at most `limit` of a request's spans into the job's trace and removes the others. Returns the number of dropped spans. */
export function moveToJobTrace(request: ExportRequest, job: Identity, limit: number): number {
  for (const { traceId: trace } of spansOf(request)) job.moved.add(trace);
  let dropped = 0;
  let left = limit;
  const isKept = (span: SpanFields): boolean => {
    // The server creates the spans of the run and the job from GitHub's API.
    if (job.reserved.has(span.spanId)) return false;
    if (left <= 0 || !isUsable(span)) {
      dropped += 1;
      return false;
    }
    left -= 1;
    span.traceId = job.trace;
    for (const link of linksOf(span)) {
      if (job.moved.has(link.traceId)) link.traceId = job.trace;
    }
    return true;
  };
  for (const { scopeSpans } of request.resourceSpans ?? []) {
    for (const scope of scopeSpans ?? []) scope.spans = scope.spans?.filter(isKept) ?? [];
  }
  return dropped;
}

function linksOf(span: SpanFields): LinkFields[] {
  return (span.links as LinkFields[] | undefined) ?? [];
}

function isUsable(span: SpanFields): boolean {
  return (
    /^[0-9a-f]{16}$/.test(text(span.spanId)) &&
    !/^0+$/.test(span.spanId) &&
    typeof span.startTimeUnixNano === "string" &&
    typeof span.endTimeUnixNano === "string"
  );
}

function* seenOf(request: ExportRequest): Generator<Seen> {
  for (const resource of request.resourceSpans ?? []) {
    const service = serviceOf(resource);
    for (const span of spansOf({ resourceSpans: [resource] })) {
      yield {
        id: span.spanId,
        parent: text(span.parentSpanId),
        name: text(span.name),
        service,
        startNs: BigInt(text(span.startTimeUnixNano)),
        endNs: BigInt(text(span.endTimeUnixNano)),
      };
    }
  }
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");

function serviceOf(resourceSpans: unknown): string {
  const attributes = (resourceSpans as { resource?: { attributes?: { key?: string; value?: { stringValue?: string } }[] } }).resource?.attributes;
  const service = attributes?.find(({ key }) => key === "service.name")?.value?.stringValue ?? "";
  // SDKs use this name when no service name is set.
  return service.startsWith("unknown_service") ? "" : service;
}
