// Unit tests of a job. Node's own test runner writes a JUnit report of them.

import assert from "node:assert";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

describe("prices", () => {
  it("adds tax", async () => {
    await sleep(900);
    assert.equal(Math.round(100 * 1.19), 119);
  });
  it("rounds half to even", async () => {
    await sleep(400);
    assert.ok(true);
  });
});
