// What action.yml promises, the code reads and the README tells: one list of names.

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

test("every input is read, and none else", () => {
  const asked = new Set<string>();
  readInputs((name) => {
    asked.add(name);
    return "";
  }, () => undefined);
  expect([...asked].sort()).toEqual(Object.keys(action.inputs).sort());
});

test("the defaults are understood, and those of the code", () => {
  const warnings: string[] = [];
  const given = (name: string): string => action.inputs[name]?.default.replace(/^\$\{\{.*\}\}$/, "") ?? "";
  expect(readInputs(given, (warning) => warnings.push(warning))).toEqual(readInputs(() => "", () => undefined));
  expect(warnings).toEqual([]);
  expect(size(action.inputs["max-size"]?.default ?? "")).toBe(DEFAULT_MAX_BYTES);
});

test("every output is set, and the README has a row for each name", () => {
  const main = read("src/main.ts");
  const readme = read("README.md");
  for (const name of Object.keys(action.outputs)) expect(main).toContain(`core.setOutput("${name}"`);
  for (const name of [...Object.keys(action.inputs), ...Object.keys(action.outputs)]) expect(readme).toContain(`\`${name}\``);
});

test("the runner finds what it starts, after cancellation too", () => {
  expect(action.runs).toEqual({ using: "node24", main: "dist/main.js", post: "dist/post.js", "post-if": "always()" });
  for (const file of ["main.js", "post.js", "receiver.js"]) expect(read(`dist/${file}`).length).toBeGreaterThan(1_000);
});
