// What the receiver kept, as lines of OTLP JSON. Spans of a program that did not take TRACEPARENT
// are moved into the job's trace, and links between them with them. The spans that GitHub's API
// tells of are never claimed; what the server would not take is left out here and counted.

import { jobSpanId, rootSpanId, traceId, type Job } from "../identity.ts";
import { readJsonRequest } from "../otlp/json.ts";
import { type ExportRequest, type LinkFields, type SpanFields, countSpans, spansOf } from "../otlp/message.ts";
import { readRequest } from "../otlp/protobuf.ts";
import { readSpool } from "../receiver/spool.ts";
import { GzipLines, type WrittenFile } from "./gzip_lines.ts";

/** Spans of one archive; the server reads no more. */
export const MOST_SPANS = 50_000;
/** Bytes of all lines before compression. */
export const MOST_INFLATED_BYTES = 96 * 1024 * 1024;
/** Bytes of all lines after compression: an archive of more than 32 MiB is not taken, and reports have 20 of them. */
export const MOST_BYTES = 10 * 1024 * 1024;
const SPANS_OF_A_LINE = 1_000;

/** A span as the summary sees it. */
export interface Seen {
  readonly id: string;
  readonly parent: string;
  readonly name: string;
  readonly service: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
}

/** What became of the spans. */
export interface WrittenSpans {
  readonly file: WrittenFile;
  readonly seen: readonly Seen[];
  /** Spans left out because there were too many, or because they had no id or no times. */
  readonly dropped: number;
}

/** Writes `spans.jsonl.gz` of what is in a spool. */
export async function writeSpans(spool: string, path: string, name: string, job: Job): Promise<WrittenSpans> {
  const lines = new GzipLines(path, name);
  const identity = { trace: traceId(job), own: new Set([jobSpanId(job), rootSpanId(job)]), moved: new Set<string>() };
  const seen: Seen[] = [];
  let dropped = 0;
  for (const { encoding, body } of readSpool(spool)) {
    const whole = encoding === "json" ? readJsonRequest(body) : readRequest(body);
    dropped += settle(whole, identity, MOST_SPANS - seen.length);
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

/** The job's trace, the spans in it that are GitHub's to tell, and the traces whose spans were moved into it. */
interface Identity {
  readonly trace: string;
  readonly own: ReadonlySet<string>;
  readonly moved: Set<string>;
}

/** A request of many spans as several, so that no line is very long. */
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

/** Puts a request's spans into the job's trace, at most `room` of them; returns how many were left out. */
export function settle(request: ExportRequest, job: Identity, room: number): number {
  for (const { traceId: trace } of spansOf(request)) job.moved.add(trace);
  let dropped = 0;
  let left = room;
  const settled = (span: SpanFields): boolean => {
    // GitHub's own word on the run and the job is not ours to give.
    if (job.own.has(span.spanId)) return false;
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
    for (const scope of scopeSpans ?? []) scope.spans = scope.spans?.filter(settled) ?? [];
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
  // What SDKs say when nobody named the service.
  return service.startsWith("unknown_service") ? "" : service;
}
