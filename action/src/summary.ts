// Formats the step summary and the log lines at the end of the job: a sentence, the longest spans,
// and the data that is missing. Escapes every name, because names come from spans and files.

import type { WrittenFile } from "./archive/gzip_lines.ts";
import type { Dropped } from "./archive/manifest.ts";
import { code, logged, visible } from "./markdown.ts";
import type { Part } from "./own_time.ts";

export interface JobResult {
  readonly spans: number;
  readonly reports: number;
  readonly parts: readonly Part[];
  readonly dropped: Dropped;
  /** Bodies that the receiver refused. */
  readonly refused: number;
  /** The latest reason for a drop or a refusal. */
  readonly problem: string | null;
  /** The variable by which the workflow sends spans to another receiver. */
  readonly elsewhere: string | null;
  /** The error that kept the receiver from starting. */
  readonly notStarted: string | null;
  readonly artifact: string | null;
  /** Whether the service accepted the archive. */
  readonly sent: boolean;
  /** Failed uploads, each with its reason. */
  readonly failures: readonly string[];
  readonly verdictUrl: string | null;
}

const MOST_DROPPED = 10;
const LONGEST_FAILURE = 600;

/** The step summary, as Markdown. */
export function summary(result: JobResult): string {
  const lines = ["### Pacegate", "", collected(result), ""];
  if (result.parts.length > 0) {
    lines.push("| Where the time went | Duration | Own time |", "| --- | ---: | ---: |");
    for (const { span, totalNs, ownNs } of result.parts) {
      const service = span.service === "" ? "" : ` in ${code(span.service)}`;
      lines.push(`| ${code(span.name)}${service} | ${duration(totalNs)} | ${duration(ownNs)} |`);
    }
    lines.push("");
  }
  for (const sentence of missing(result, code)) lines.push(`- ${sentence}`);
  for (const failure of result.failures) lines.push(`- ${code(failure, LONGEST_FAILURE)}`);
  for (const report of result.dropped.reports.slice(0, MOST_DROPPED)) lines.push(`- Not read: ${code(report)}`);
  const more = result.dropped.reports.length - MOST_DROPPED;
  if (more > 0) lines.push(`- And ${more} more reports that were not read.`);
  if (result.verdictUrl !== null) lines.push("", `[The verdict on this commit](${result.verdictUrl}), as soon as the run has ended.`);
  return `${lines.join("\n").trimEnd()}\n`;
}

/** The summary for the job's log, without Markdown. No line begins with untrusted text, so the runner takes none for a command. */
export function logLines(result: JobResult): string[] {
  const lines = [collected(result).replaceAll("**", "")];
  for (const { span, totalNs, ownNs } of result.parts) {
    lines.push(`- ${logged(span.name)}: ${duration(totalNs)}, ${duration(ownNs)} own time`);
  }
  return [...lines, ...missing(result, logged), ...result.dropped.reports.map((report) => `Not read: ${logged(report)}`)];
}

function collected({ spans, reports, artifact, sent }: JobResult): string {
  const what = [counted(spans, "span"), ...(reports > 0 ? [counted(reports, "report")] : [])].join(" and ");
  const ways = [...(artifact === null ? [] : [` Uploaded as the artifact ${visible(artifact)}.`]), ...(sent ? [" Sent to the service."] : [])];
  const where = ways.length === 0 ? " **Not uploaded**: this data is lost." : ways.join("");
  if (spans + reports > 0) return `Collected **${what}** inside this job's steps.${where}`;
  return `Collected no spans and no reports inside this job's steps, only facts about the runner.${where}`;
}

/** The number of dropped spans and the reason. The reason is from a file, so `escape` makes it plain text. */
export function spansDropped({ dropped, problem }: Pick<JobResult, "dropped" | "problem">, escape: typeof code = logged): string {
  return `${counted(dropped.spans, "span")} dropped${problem === null ? "" : `: ${escape(problem)}`}.`;
}

function missing({ dropped, refused, problem, elsewhere, notStarted }: JobResult, escape: typeof code): string[] {
  const sentences: string[] = [];
  if (notStarted !== null) sentences.push(escape(notStarted, LONGEST_FAILURE));
  if (elsewhere !== null) sentences.push(`${elsewhere} was already set, so the steps' spans went there and not to Pacegate.`);
  if (dropped.spans > 0) sentences.push(spansDropped({ dropped, problem }, escape));
  if (refused > 0) sentences.push(`${counted(refused, "request")} could not be read${problem === null || dropped.spans > 0 ? "" : `: ${escape(problem)}`}.`);
  return sentences;
}

/** The number of spans that the service accepted. It creates some of them from reports. */
export function acceptedText({ spans, rejected }: { spans: number; rejected: number }, files: readonly WrittenFile[]): string {
  const collected = files.find((file) => file.spans !== undefined)?.spans ?? 0;
  const created = spans - collected;
  if (rejected > 0) return `The service accepted ${counted(spans, "span")} and rejected ${rejected}.`;
  if (created <= 0) return `The service accepted ${counted(spans, "span")}.`;
  return `The service accepted ${counted(collected, "span")} and created ${created} more from the reports.`;
}

/** The service's message without notes that this job's log already has: what the archive left out. */
export function withoutKnownNotes(message: string): string {
  return message
    .split("; ")
    .filter((note) => !note.startsWith("the action left out "))
    .join("; ");
}

function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Nanoseconds as text: `480 ms`, `12.3 s`, `4 min 5 s`. */
export function duration(ns: bigint): string {
  const milliseconds = Number(ns) / 1e6;
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1_000;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}
