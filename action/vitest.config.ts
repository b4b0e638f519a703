// What vitest runs: every test of this folder, each file in a process of its own, because the
// tests set environment variables.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["test/**/*.test.ts"], pool: "forks", globalSetup: "test/build.ts", testTimeout: 20_000 },
});
