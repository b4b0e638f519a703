// Checks plain language as far as a program can: the length of sentences, phrases that make a reader
// stop, the length of test names and of commit titles, the width of tables in documents.
//   node tests/language.mjs                 everything
//   node tests/language.mjs crates/engine   the files below a folder, or single files
//   node tests/language.mjs --figures       lengths of names, sentences, files and functions

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

// A document may have a few long sentences; a comment is read in passing and has none.
const DOCUMENT_P90_WORDS = 28;
const COMMENT_MAX_WORDS = 30;
const TEST_NAME_WORDS = 8;
const TITLE_CHARACTERS = 72;
const TABLE_LINE_CHARACTERS = 200;
// Titles before this commit are older than the rule.
const RULE_BEGINS_AFTER = "9de6621";

const CRUTCHES = [
  ["tells, told", /\b(tells?|told|telling)\b/i],
  ["a word for a value or a statement", /('s|\b(the|its|own|last|no|one)) words?\b(?! (count|length|boundar|character))/i],
  ["whoever, whatever", /\b(whoever|whatever)\b/i],
  ["so many", /\bso (many|much)\b/i],
  ["one that", /\bone that\b/i],
  ["of which", /\bof which\b/i],
  ["as it stands", /\bas (it|they) stands?\b/i],
  ["by itself", /\bby (itself|themselves)\b/i],
  ["is no (say: is not a)", /(?<!\bthere )\b(is|are|was|were) no (?!longer|more than|less than|fewer than|such|\w+er than)\w/i],
  ["nobody, somebody", /\b(nobody|somebody)\b/i],
  ["personification", /\b(testif\w+|witness\w*|believe[sd]?|excuses?|innocent|guilty|confess\w*)\b/i],
  ["hands full", /\bhands full\b/i],
];
// A statement that begins so leaves out its subject. A question may.
const RIDDLE = /^(What|Who|Whose)\b(?![^.]*\?)/;

const isRust = (name) => name.endsWith(".rs");
const isScript = (name) => /\.(ts|mjs)$/.test(name);
const isHashed = (name) => /\.(sh|py|ya?ml|toml)$|(^|\/)(Makefile|Dockerfile)$|^\.ci\/run$/.test(name);
const isDocument = (name) => name.endsWith(".md");

/** Splits text without line breaks into sentences. Inline code counts as one word. */
export function sentences(text) {
  return text
    .replace(/``?[^`]+``?/g, (code) => (/^`+\S{0,40}`+$/.test(code) ? code : "`code`"))
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\b(e\.g|i\.e|etc|vs|cf)\./gi, "$1")
    .split(/(?<=[.!?]["')*_`]*)\s+|(?<=:)\s+(?=[A-Z`"])|;\s+/)
    .map((sentence) => sentence.trim())
    .filter((sentence) => words(sentence) > 0);
}

export function words(sentence) {
  return sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}

/** Joins neighbouring lines to paragraphs: `[line number, text]`. Lists and fences are taken apart. */
export function paragraphs(lines) {
  const found = [];
  let open = null;
  let fenced = false;
  let previous = -1;
  const close = () => {
    if (open) found.push(open);
    open = null;
  };
  for (const [number, text] of lines) {
    const line = text.trim();
    if (number !== previous + 1) {
      close();
      fenced = false;
    }
    previous = number;
    if (/^(```|~~~)/.test(line)) {
      fenced = !fenced;
      close();
    } else if (fenced || line === "" || /^(<|\||#|---)/.test(line) || /^ {4}/.test(text)) {
      close();
      if (!fenced && /^(#|\|)/.test(line)) {
        for (const cell of line.replace(/^#+/, "").split(/(?<!\\)\|/)) {
          if (words(cell) > 0) found.push([number, cell.trim()]);
        }
      }
    } else if (/^([-*+]|\d+\.)\s/.test(line)) {
      close();
      open = [number, line.replace(/^([-*+]|\d+\.)\s+/, "")];
    } else if (open) {
      open[1] += ` ${line}`;
    } else {
      open = [number, line];
    }
  }
  close();
  return found;
}

/** The comments of a source file as numbered lines, `///` and `//` apart. */
export function comments(name, text) {
  const groups = [];
  let kind = null;
  text.split("\n").forEach((line, index) => {
    const match = isHashed(name)
      ? line.match(/^\s*(#+)(?!!)\s?(.*)$/)
      : line.match(/^\s*(\/\/[/!]?|\/?\*+(?!\/))\s?(.*)$/) ?? line.match(/\s(\/\/)\s(.*)$/);
    if (!match || /^(shellcheck|hadolint|eslint|@ts|prettier)/.test(match[2])) {
      kind = null;
      return;
    }
    const text = match[2].replace(/\*\/\s*$/, "");
    if (match[1] !== kind) groups.push([]);
    kind = match[1];
    groups.at(-1).push([index + 1, text]);
  });
  return groups.flatMap(paragraphs);
}

/** The names of tests: `[line number, words]`. */
export function testNames(name, text) {
  const found = [];
  const at = (index) => text.slice(0, index).split("\n").length;
  if (isRust(name)) {
    const rust = /#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)|\b(?:store_test|on_both)!\(\s*(\w+)/g;
    for (const match of text.matchAll(rust)) {
      found.push([at(match.index), (match[1] ?? match[2]).split("_").filter(Boolean)]);
    }
  } else if (/\.test\.ts$/.test(name)) {
    for (const match of text.matchAll(/\b(?:test|it|describe)(?:\.\w+\([^)]*\))?\(\s*(["'`])(.*?)\1/g)) {
      found.push([at(match.index), match[2].split(/\s+/).filter(Boolean)]);
    }
  }
  return found;
}

function strings(text) {
  const found = [];
  text.split("\n").forEach((line, index) => {
    if (/^\s*\/\//.test(line)) return;
    for (const match of line.matchAll(/"((?:[^"\\]|\\.)*)"/g)) {
      if (words(match[1]) > 3) found.push([index + 1, match[1]]);
    }
  });
  return found;
}

export function percentile90(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.9))] ?? 0;
}

/** Everything that is wrong in one file. */
export function check(name, text) {
  const wrong = [];
  const crutches = (line, prose) => {
    const plain = prose.replace(/`[^`]*`/g, "`code`");
    for (const [what, pattern] of CRUTCHES) {
      const match = plain.match(pattern);
      if (match) wrong.push(`${name}:${line}: “${match[0]}” (${what})`);
    }
  };
  if (isDocument(name)) {
    const lines = text.split("\n").map((line, index) => [index + 1, line]);
    const lengths = [];
    for (const [line, prose] of paragraphs(lines)) {
      crutches(line, prose);
      lengths.push(...sentences(prose).map(words));
    }
    const p90 = percentile90(lengths);
    if (p90 > DOCUMENT_P90_WORDS) {
      wrong.push(`${name}: one sentence in ten has ${p90} words or more; at most ${DOCUMENT_P90_WORDS}`);
    }
    for (const [line, content] of lines) {
      if (content.startsWith("|") && content.length > TABLE_LINE_CHARACTERS) {
        wrong.push(`${name}:${line}: a table line of ${content.length} characters`);
      }
    }
    return wrong;
  }
  for (const [line, prose] of comments(name, text)) {
    crutches(line, prose);
    for (const sentence of sentences(prose)) {
      if (words(sentence) > COMMENT_MAX_WORDS) {
        wrong.push(`${name}:${line}: a sentence of ${words(sentence)} words: ${sentence.slice(0, 60)}…`);
      }
      if (RIDDLE.test(sentence)) wrong.push(`${name}:${line}: no subject: ${sentence.slice(0, 60)}`);
    }
  }
  for (const [line, parts] of testNames(name, text)) {
    if (parts.length > TEST_NAME_WORDS) {
      wrong.push(`${name}:${line}: a test name of ${parts.length} words: ${parts.join(" ")}`);
    }
  }
  if (isRust(name) && /^(src|crates)\//.test(name) && !/(^|\/)tests(\.rs$|\/)/.test(name)) {
    const [production] = text.split(/^#\[cfg\(test\)\]\nmod tests \{/m);
    for (const [line, string] of strings(production)) crutches(line, string);
  }
  return wrong;
}

export function checkTitle(title) {
  if (/^Merge /.test(title)) return [];
  const wrong = [];
  if (title.length > TITLE_CHARACTERS) wrong.push(`a commit title of ${title.length} characters: ${title}`);
  if (/\.$/.test(title)) wrong.push(`a commit title that ends with a full stop: ${title}`);
  return wrong;
}

/** Lines of each function of rustfmt's output: from `fn` to the brace at the same indentation. */
export function functionLengths(text) {
  const found = [];
  const lines = text.split("\n");
  lines.forEach((line, at) => {
    const indentation = line.match(/^( *)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe )*fn /)?.[1];
    if (indentation === undefined || line.endsWith(";")) return;
    const end = lines.findIndex((other, index) => index >= at && other === `${indentation}}`);
    found.push(end < 0 || /[{}] *}$/.test(line) ? 1 : end - at + 1);
  });
  return found;
}

function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  const median = sorted[Math.floor(sorted.length / 2)];
  return `mean ${mean.toFixed(1)}, median ${median}, 90% within ${percentile90(sorted)}, longest ${sorted.at(-1)} (${sorted.length})`;
}

function figures(names) {
  const texts = names.map((name) => [name, readFileSync(join(root, name), "utf8")]);
  const rust = texts.filter(([name]) => isRust(name));
  const production = rust.filter(([name]) => /^(src|crates)\//.test(name) && !/(^|\/)tests(\.rs$|\/)/.test(name));
  console.log(`words of a test name    ${summary(texts.flatMap(([name, text]) => testNames(name, text)).map(([, parts]) => parts.length))}`);
  console.log(`lines of a Rust file    ${summary(rust.map(([, text]) => text.split("\n").length - 1))}`);
  console.log(`lines of a function     ${summary(production.flatMap(([, text]) => functionLengths(text)))}`);
  console.log(`words of a comment's sentence  ${summary(rust.flatMap(([name, text]) => comments(name, text)).flatMap(([, prose]) => sentences(prose).map(words)))}`);
  for (const [name, text] of texts.filter(([name]) => isDocument(name))) {
    const prose = paragraphs(text.split("\n").map((line, index) => [index + 1, line]));
    console.log(`${name.padEnd(32)} ${summary(prose.flatMap(([, part]) => sentences(part).map(words)))}`);
  }
}

// Applies the rules to made-up text first, so that a rule that never fails is noticed.
function selfTest() {
  assert.equal(check("a.rs", `// ${"word ".repeat(31)}.\n`).length, 1);
  assert.deepEqual(check("a.rs", "// Returns the newest run. Takes seconds.\n"), []);
  assert.equal(check("a.rs", "/// What people call.\n").length, 1);
  assert.equal(check("a.rs", "/// It tells a lie.\n").length, 1);
  assert.equal(check("src/a.rs", 'let a = "the server told us more";\n').length, 1);
  assert.equal(check("a.rs", "#[test]\nfn a_b_c_d_e_f_g_h_i() {}\n").length, 1);
  assert.equal(check("a.rs", "store_test!(a_b_c_d_e_f_g_h_i, x);\n").length, 1);
  assert.equal(check("a.test.ts", '\n// A.\ntest("a b c d e f g h i", () => {});\n').length, 1);
  assert.equal(check("a.md", `| ${"x".repeat(210)} |\n`).length, 1);
  assert.equal(check("a.md", `${"word ".repeat(40)}.\n`).length, 1);
  assert.deepEqual(check("a.md", `\`\`\`\n${"word ".repeat(40)}.\n\`\`\`\n`), []);
  assert.equal(check("a.sh", "#!/bin/sh\n# Whoever reads.\n").length, 1);
  assert.deepEqual(functionLengths("fn a() {\n    b\n}\n\n    pub fn c(&self) {}\n"), [3, 1]);
  assert.equal(checkTitle("x".repeat(73)).length, 1);
  assert.equal(checkTitle("Merge branch 'x'").length, 0);
}

const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim().split("\n").filter(Boolean);

function newTitles() {
  try {
    return git("log", "--format=%s", `${RULE_BEGINS_AFTER}..HEAD`);
  } catch {
    // A shallow clone does not have that commit: its own newest commit is new.
    return git("log", "--format=%s", "-1");
  }
}

selfTest();
const wantsFigures = process.argv.includes("--figures");
const only = process.argv.slice(2).filter((name) => name !== "--figures").map((name) => name.replace(/\/$/, ""));
const wanted = (name) => only.length === 0 || only.some((part) => name === part || name.startsWith(`${part}/`));
const names = git("ls-files", "--cached", "--others", "--exclude-standard")
  .filter((name) => isRust(name) || isScript(name) || isHashed(name) || isDocument(name))
  // The rules themselves hold the phrases; samples are other programs' text.
  .filter((name) => name !== "tests/language.mjs" && !name.startsWith("tests/samples/") && !name.startsWith("migrations/"))
  .filter(wanted);
const wrong = [];
if (wantsFigures) figures(names);
for (const name of wantsFigures ? [] : names) {
  try {
    wrong.push(...check(name, readFileSync(join(root, name), "utf8")));
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}
if (only.length === 0 && !wantsFigures) wrong.push(...newTitles().flatMap(checkTitle));
if (names.length === 0) wrong.push("no file was found");
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  console.error(`\n${wrong.length} places are not in plain language: see "House style" in CONTRIBUTING.md`);
  process.exitCode = 1;
} else if (!wantsFigures) {
  console.log(`${names.length} files are in plain language`);
}
