// Builds the bundle once before the tests that start it: what they run is what a job runs.

import { execFileSync } from "node:child_process";
import { join } from "node:path";

export default function setup(): void {
  execFileSync(process.execPath, [join(import.meta.dirname, "..", "build.mjs")], { stdio: "inherit" });
}
