// Checks that action.yml, the code and the README name the same inputs and outputs.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

import { DEFAULT_MAX_BYTES, readInputs, size } from "../src/inputs.ts";

const here = join(import.meta.dirname, "..");
const read = (name: string): string => readFileSync(join(here, name), "utf8");

interface Action {
  readonly inputs: Record<string, { default: string; description: string }>;
  readonly outputs: Record<string, { description: string }>;
  readonly runs: Record<string, string>;
}
const action = parse(read("action.yml")) as Action;

test("only inputs of action.yml are read", () => {
  const namesRead = new Set<string>();
  readInputs((name) => {
    namesRead.add(name);
    return "";
  }, () => undefined);
  expect([...namesRead].sort()).toEqual(Object.keys(action.inputs).sort());
});

test("defaults are valid and match the code", () => {
  const warnings: string[] = [];
  const given = (name: string): string => action.inputs[name]?.default.replace(/^\$\{\{.*\}\}$/, "") ?? "";
  expect(readInputs(given, (warning) => warnings.push(warning))).toEqual(readInputs(() => "", () => undefined));
  expect(warnings).toEqual([]);
  expect(size(action.inputs["max-size"]?.default ?? "")).toBe(DEFAULT_MAX_BYTES);
});

test("outputs are set and names are documented", () => {
  const main = read("src/main.ts");
  const readme = read("README.md");
  for (const name of Object.keys(action.outputs)) expect(main).toContain(`core.setOutput("${name}"`);
  for (const name of [...Object.keys(action.inputs), ...Object.keys(action.outputs)]) expect(readme).toContain(`\`${name}\``);
});

test("entry points exist and post always runs", () => {
  expect(action.runs).toEqual({ using: "node24", main: "dist/main.js", post: "dist/post.js", "post-if": "always()" });
  for (const file of ["main.js", "post.js", "receiver.js"]) expect(read(`dist/${file}`).length).toBeGreaterThan(1_000);
});
