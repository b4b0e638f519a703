// Prints how long the built action takes to start and to end: the median and range of five runs in
// an empty folder. Never fails on a slow figure, because it runs on machines of any speed.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const dist = join(import.meta.dirname, "dist");
const taken = { main: [], post: [] };
for (let run = 0; run < 5; run += 1) {
  const folder = mkdtempSync(join(tmpdir(), "pacegate-measure-"));
  const file = (name) => join(folder, name);
  for (const name of ["env", "output", "state", "summary"]) writeFileSync(file(name), "");
  mkdirSync(file("temp"));
  const env = {
    ...{ PATH: process.env.PATH, RUNNER_TEMP: file("temp"), GITHUB_WORKSPACE: folder, GITHUB_RUN_ID: "1", GITHUB_JOB: "measured" },
    ...{ GITHUB_ENV: file("env"), GITHUB_OUTPUT: file("output"), GITHUB_STATE: file("state"), GITHUB_STEP_SUMMARY: file("summary") },
  };
  for (const part of ["main", "post"]) {
    const state = readFileSync(file("state"), "utf8").split("\n")[1] ?? "";
    const begun = performance.now();
    const { status } = spawnSync(process.execPath, [join(dist, `${part}.js`)], { env: { ...env, STATE_folder: state }, cwd: folder });
    taken[part].push(performance.now() - begun);
    if (status !== 0) throw new Error(`${part} ended with ${status}`);
  }
  rmSync(folder, { recursive: true });
}
for (const [part, aim] of [["main", "1.5 s"], ["post", "3 s without the upload"]]) {
  const sorted = taken[part].sort((a, b) => a - b);
  const [quickest, middle, slowest] = [0, 2, 4].map((at) => `${Math.round(sorted[at])} ms`);
  console.log(`The action's ${part}: ${middle} (${quickest} to ${slowest}; aim: below ${aim})`);
}
