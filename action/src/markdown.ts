// Text of unknown origin in Markdown: a span's name may be anything, and must be read as nothing
// but text. Everything untrusted goes through here before it reaches the step summary or the log.

const LONGEST = 120;
/** Controls, and marks that change the direction of text or are not seen. */
 
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\u{e0000}-\u{e007f}]+/gu;

/** One line of visible text, at most 120 characters unless told otherwise. */
export function visible(text: string, longest = LONGEST): string {
  const line = text.toWellFormed().replace(UNSEEN, " ").replace(/\s+/g, " ").trim();
  // By code points, which is all that must not be cut in two.
  const characters = Array.from(line);
  return characters.length <= longest ? line : `${characters.slice(0, longest - 1).join("")}…`;
}

/** The same for the job's log, where `##[` begins a command of the runner's wherever it stands. */
export function logged(text: string, longest = LONGEST): string {
  return visible(text, longest).replaceAll("##[", "##(");
}

/** Text as a code span, inside of a table too. */
export function code(text: string, longest = LONGEST): string {
  const line = visible(text, longest);
  if (line === "") return "(no name)";
  // In HTML, because a code span of Markdown has no way to write a pipe and every number of backticks.
  const escaped = line.replace(/[&<>"'`|*_~[\]()\\@#:$]/gu, (character) => `&#${character.codePointAt(0) ?? 0};`);
  return `<code>${escaped}</code>`;
}
