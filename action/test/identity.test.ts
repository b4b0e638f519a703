// Ids and names of a job. Expected values are those of the server's tests and of `sha256sum`.

import { describe, expect, test } from "vitest";

import { type Job, artifactName, canonical, jobSpanId, rootSpanId, traceId, traceparent } from "../src/identity.ts";

const job = (more: Partial<Job> = {}): Job => ({
  runId: "29679449",
  runAttempt: 1,
  job: "test",
  checkRunId: "399444496",
  matrix: {},
  runnerName: "runner-1",
  ...more,
});

test("ids match those that the server computes", () => {
  // printf 296794491t | sha256sum | cut -c1-32, and for spans cut -c17-32
  expect(traceId(job())).toBe("57ad0e5b5ab9637b07920f96b3520fe2");
  expect(rootSpanId(job())).toBe("af25f139d1b6b31b");
  expect(jobSpanId(job())).toBe("e3075317eec20623");
  expect(traceparent(job())).toBe("00-57ad0e5b5ab9637b07920f96b3520fe2-e3075317eec20623-01");
});

test("jobs without a check run id stay distinct", () => {
  // printf '%s' '296794491-test-{"node":18,"os":"linux"}-runner-1-j' | sha256sum | cut -c17-32
  const unknown = job({ checkRunId: null, matrix: { os: "linux", node: 18 } });
  expect(jobSpanId(unknown)).toBe("56393b831c9ca215");
  const others = [{ job: "lint" }, { matrix: { os: "linux", node: 20 } }, { runnerName: "runner-2" }, { runAttempt: 2 }];
  const ids = others.map((other) => jobSpanId({ ...unknown, ...other }));
  expect(new Set([...ids, jobSpanId(unknown)]).size).toBe(5);
});

describe("canonical JSON", () => {
  test.each([
    [{ b: 1, a: [true, null, { d: "x", c: 0.5 }] }, '{"a":[true,null,{"c":0.5,"d":"x"}],"b":1}'],
    [{}, "{}"],
    ["ü\"", '"ü\\""'],
  ])("%j", (value, text) => {
    expect(canonical(value)).toBe(text);
  });
});

describe("artifact name", () => {
  test.each([
    [{}, "pacegate-1-test"],
    [{ runAttempt: 3 }, "pacegate-3-test"],
    // printf '%s' '{"node":18,"os":"linux"}' | sha256sum | cut -c1-8
    [{ matrix: { os: "linux", node: 18 } }, "pacegate-1-test-70853eb9"],
    [{ job: 'a/b\\c:d*e?f"g<h>i|j\nk' }, "pacegate-1-a-b-c-d-e-f-g-h-i-j-k"],
  ])("%j", (more, name) => {
    expect(artifactName(job(more))).toBe(name);
  });
});
