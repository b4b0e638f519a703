// Inputs in the forms that people write. Invalid ones give a warning and the default.

import { describe, expect, test } from "vitest";

import { patterns, readInputs, serverUrl, size } from "../src/inputs.ts";

function read(inputs: Record<string, string>): { warnings: string[]; inputs: ReturnType<typeof readInputs> } {
  const warnings: string[] = [];
  const found = readInputs((name) => inputs[name] ?? "", (warning) => warnings.push(warning));
  return { warnings, inputs: found };
}

test("empty inputs give defaults without warnings", () => {
  const { warnings, inputs } = read({ matrix: "null" });
  expect(warnings).toEqual([]);
  expect(inputs).toEqual({
    serverUrl: null,
    token: null,
    reports: [],
    serviceName: null,
    capture: "true",
    maxBytes: 64 * 1024 * 1024,
    listen: { host: "127.0.0.1", port: 0 },
    calibrate: true,
    checkRunId: null,
    matrix: {},
  });
});

test("invalid inputs each give one warning", () => {
  const wrong = {
    "server-url": "http://pacegate.example.com",
    capture: "maybe",
    "max-size": "lots",
    listen: "example.com:1",
    calibrate: "perhaps",
    "check-run-id": "${{ job.check_run_id }}",
    matrix: "[1]",
  };
  const { warnings, inputs } = read(wrong);
  expect(inputs).toEqual(read({}).inputs);
  for (const name of Object.keys(wrong)) expect(warnings.filter((warning) => warning.includes(`\`${name}\``))).toHaveLength(1);
});

test.each([
  [{ capture: "X" }, "The input `capture` has to be true, false or force, but is `X`. Its default is used instead."],
  [{ "max-size": "::error::`a`\nb" }, "The input `max-size` has to be a size such as 32MiB, at most 1GiB, but is `::error::'a' b`. Its default is used instead."],
  [{ "server-url": "https://me:word@example.com" }, "`https://***@example.com`"],
  [{ "server-url": "https://example.com/?key=word" }, "`https://example.com/?***`"],
])("%j", (inputs, text) => {
  expect(read(inputs).warnings).toEqual([expect.stringContaining(text)]);
});

describe("server-url", () => {
  test.each([
    ["https://pacegate.example.com", "https://pacegate.example.com"],
    ["https://example.com:8443/pacegate//", "https://example.com:8443/pacegate"],
    ["http://127.0.0.1:8080/", "http://127.0.0.1:8080"],
    ["http://localhost:8080", "http://localhost:8080"],
    ["http://[::1]:8080", "http://[::1]:8080"],
    ["http://127.0.0.1.example.com", null],
    ["http://10.0.0.1", null],
    ["https://user:word@example.com", null],
    ["https://example.com/?a=b", null],
    ["ftp://example.com", null],
    ["pacegate.example.com", null],
  ])("%s", (text, url) => {
    expect(serverUrl(text)).toBe(url);
  });
});

describe("max-size", () => {
  test.each([
    ["1024", 1024],
    ["64MiB", 64 * 1024 ** 2],
    ["64 mb", 64 * 1024 ** 2],
    ["1.5k", 1536],
    ["1G", 1024 ** 3],
    ["2GiB", null],
    ["0", null],
    ["-1", null],
    ["1e6", null],
  ])("%s", (text, bytes) => {
    expect(size(text)).toBe(bytes);
  });
});

describe("reports", () => {
  test.each([
    ["a.xml, b/*.xml\n\n# comment\nc.{xml,json}\r\n", ["a.xml", "b/*.xml", "c.{xml,json}"]],
    ["", []],
    [" , ", []],
  ])("%j", (text, list) => {
    expect(patterns(text)).toEqual(list);
  });
});

describe("listen", () => {
  test.each([
    ["0.0.0.0", { host: "0.0.0.0", port: 0 }],
    ["172.17.0.1:4318", { host: "172.17.0.1", port: 4318 }],
    ["[::1]:4318", { host: "::1", port: 4318 }],
  ])("%s", (text, listen) => {
    expect(read({ listen: text }).inputs.listen).toEqual(listen);
  });
});

test.each([
  ["force", "force"],
  ["False", "false"],
  ["0", "false"],
  ["yes", "true"],
])("capture: %s", (text, capture) => {
  expect(read({ capture: text }).inputs.capture).toBe(capture);
});
