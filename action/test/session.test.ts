// Recognizing the action's folder, and never reading from pipes.

import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

import { readSpool } from "../src/receiver/spool.ts";
import { isOwnFolder, isPlainFile, makeFolder, readJson, writeJson } from "../src/session.ts";
import { makeFolder as newFolder } from "./folder.ts";

test("only folders made by the action are accepted", () => {
  const parent = newFolder();
  expect(isOwnFolder(makeFolder(parent), parent)).toBe(true);
  for (const other of ["/", parent, join(parent, "other"), `${parent}/pacegate-x/../..`, `${parent}/pacegate-x/`, "/pacegate-x", "pacegate-x"]) {
    expect(isOwnFolder(other, parent)).toBe(false);
  }
});

test("only regular files are read", () => {
  const folder = newFolder();
  const at = (name: string): string => join(folder, name);
  execFileSync("mkfifo", [at("pipe")]);
  mkdirSync(at("folder"));
  writeFileSync(at("file"), '{"a":1}');
  symlinkSync(at("file"), at("link"));
  expect(["pipe", "folder", "link", "nothing", "file"].map((name) => readJson(folder, name))).toEqual([null, null, null, null, { a: 1 }]);
  expect([...readSpool(at("pipe"))]).toEqual([]);
  expect(isPlainFile(at("file"), 6)).toBe(false);
});

test("pipe in place of a file is replaced", () => {
  const folder = newFolder();
  execFileSync("mkfifo", [join(folder, "state.json.new")]);
  writeJson(folder, "state.json", { a: 1 });
  expect(readJson(folder, "state.json")).toEqual({ a: 1 });
});
