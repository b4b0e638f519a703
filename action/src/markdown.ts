// Escapes untrusted text, such as span names, for the step summary (Markdown) and the log. Such
// text must never act as markup or as a command of the runner.

const LONGEST = 120;
/** Control characters, marks that change the direction of text, and invisible characters. */
 
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\u{e0000}-\u{e007f}]+/gu;

/** One line of visible text of at most `longest` characters. */
export function visible(text: string, longest = LONGEST): string {
  const line = text.toWellFormed().replace(UNSEEN, " ").replace(/\s+/g, " ").trim();
  // Cut between code points, never within one.
  const characters = Array.from(line);
  return characters.length <= longest ? line : `${characters.slice(0, longest - 1).join("")}…`;
}

/** Like `visible`, for the job's log, where `##[` anywhere in a line begins a command of the runner. */
export function logged(text: string, longest = LONGEST): string {
  return visible(text, longest).replaceAll("##[", "##(");
}

/** Text as an HTML code element, which also works inside a table. */
export function code(text: string, longest = LONGEST): string {
  const line = visible(text, longest);
  if (line === "") return "(no name)";
  // Not a Markdown code span, because that cannot hold a pipe or arbitrary runs of backticks.
  const escaped = line.replace(/[&<>"'`|*_~[\]()\\@#:$]/gu, (character) => `&#${character.codePointAt(0) ?? 0};`);
  return `<code>${escaped}</code>`;
}
