// Vitest configuration. Each test file runs in its own process, because tests set environment
// variables.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["test/**/*.test.ts"], pool: "forks", globalSetup: "test/build.ts", testTimeout: 20_000 },
});
