// What a person reads when the job has ended: one paragraph, the parts that took longest, and what
// did not come along. Names come from spans and files, so each is escaped.

import type { WrittenFile } from "./archive/gzip_lines.ts";
import type { Dropped } from "./archive/manifest.ts";
import { code, logged, visible } from "./markdown.ts";
import type { Part } from "./own_time.ts";

/** What there is to tell. */
export interface Told {
  readonly spans: number;
  readonly reports: number;
  readonly parts: readonly Part[];
  readonly dropped: Dropped;
  /** Bodies that could not be read. */
  readonly refused: number;
  /** Why something was dropped, the last time. */
  readonly problem: string | null;
  /** The variable that sends spans elsewhere. */
  readonly elsewhere: string | null;
  /** Why the receiver could not start. */
  readonly notStarted: string | null;
  readonly artifact: string | null;
  /** Whether the service has it. */
  readonly sent: boolean;
  /** Which way of shipping did not work, and why. */
  readonly failures: readonly string[];
  readonly verdictUrl: string | null;
}

const MOST_DROPPED = 10;
const LONGEST_FAILURE = 600;

/** The step summary, as Markdown. */
export function summary(told: Told): string {
  const lines = ["### Pacegate", "", caught(told), ""];
  if (told.parts.length > 0) {
    lines.push("| Where the time went | Took | Own time |", "| --- | ---: | ---: |");
    for (const { span, totalNs, ownNs } of told.parts) {
      const service = span.service === "" ? "" : ` in ${code(span.service)}`;
      lines.push(`| ${code(span.name)}${service} | ${duration(totalNs)} | ${duration(ownNs)} |`);
    }
    lines.push("");
  }
  for (const sentence of missing(told, code)) lines.push(`- ${sentence}`);
  for (const failure of told.failures) lines.push(`- ${code(failure, LONGEST_FAILURE)}`);
  for (const report of told.dropped.reports.slice(0, MOST_DROPPED)) lines.push(`- Not read: ${code(report)}`);
  const more = told.dropped.reports.length - MOST_DROPPED;
  if (more > 0) lines.push(`- And ${more} more reports that were not read.`);
  if (told.verdictUrl !== null) lines.push("", `[The verdict on this commit](${told.verdictUrl}), as soon as the run has ended.`);
  return `${lines.join("\n").trimEnd()}\n`;
}

/** The same for the job's log: sentences without Markdown. None begins with what somebody else wrote, so none is a command. */
export function logLines(told: Told): string[] {
  const lines = [caught(told).replaceAll("**", "")];
  for (const { span, totalNs, ownNs } of told.parts) {
    lines.push(`- ${logged(span.name)}: ${duration(totalNs)}, ${duration(ownNs)} own time`);
  }
  return [...lines, ...missing(told, logged), ...told.dropped.reports.map((report) => `Not read: ${logged(report)}`)];
}

function caught({ spans, reports, artifact, sent }: Told): string {
  const what = [counted(spans, "span"), ...(reports > 0 ? [counted(reports, "report")] : [])].join(" and ");
  const ways = [...(artifact === null ? [] : [` Shipped as the artifact ${visible(artifact)}.`]), ...(sent ? [" Sent to the service."] : [])];
  const where = ways.length === 0 ? " **Not shipped**: nobody will see it." : ways.join("");
  if (spans + reports > 0) return `Caught **${what}** inside this job's steps.${where}`;
  return `Caught no spans and no reports inside this job's steps: only facts about the runner are known.${where}`;
}

/** How many spans were dropped, and why, which is what a file says: `shown` makes it text. */
export function spansDropped({ dropped, problem }: Pick<Told, "dropped" | "problem">, shown: typeof code = logged): string {
  return `${counted(dropped.spans, "span")} dropped${problem === null ? "" : `: ${shown(problem)}`}.`;
}

function missing({ dropped, refused, problem, elsewhere, notStarted }: Told, shown: typeof code): string[] {
  const sentences: string[] = [];
  if (notStarted !== null) sentences.push(shown(notStarted, LONGEST_FAILURE));
  if (elsewhere !== null) sentences.push(`${elsewhere} was set already, so the steps' spans went there and not here.`);
  if (dropped.spans > 0) sentences.push(spansDropped({ dropped, problem }, shown));
  if (refused > 0) sentences.push(`${counted(refused, "request")} could not be read${problem === null || dropped.spans > 0 ? "" : `: ${shown(problem)}`}.`);
  return sentences;
}

/** How many spans the service has, of which it makes some itself of the reports. */
export function took({ spans, rejected }: { spans: number; rejected: number }, files: readonly WrittenFile[]): string {
  const caught = files.find((file) => file.spans !== undefined)?.spans ?? 0;
  const made = spans - caught;
  if (rejected > 0) return `The service took ${counted(spans, "span")} and refused ${rejected}.`;
  if (made <= 0) return `The service took ${counted(spans, "span")}.`;
  return `The service took ${counted(caught, "span")}, and made ${made} more of the reports.`;
}

/** The service's message without what this job said already: which reports the archive left out. */
export function news(message: string): string {
  return message
    .split("; ")
    .filter((note) => !note.startsWith("the action left out "))
    .join("; ");
}

function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Nanoseconds in words: `480 ms`, `12.3 s`, `4 min 5 s`. */
export function duration(ns: bigint): string {
  const milliseconds = Number(ns) / 1e6;
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1_000;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}
