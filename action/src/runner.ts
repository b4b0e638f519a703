// Collects facts about the job's runner, under OpenTelemetry's attribute names where they exist.
// Leaves out unknown facts. Makes no network requests.

import { availableParallelism, cpus, totalmem } from "node:os";

import type { Facts } from "./environment.ts";

const TYPES: Readonly<Record<string, string>> = { win32: "windows", sunos: "solaris" };
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: "amd64",
  ia32: "x86",
  arm: "arm32",
  ppc: "ppc32",
};

/** Facts about the runner: system, processor, memory and image. */
export function runnerFacts(environment: NodeJS.ProcessEnv): Facts {
  const facts: Record<string, string | number> = {
    "os.type": TYPES[process.platform] ?? process.platform,
    "host.arch": ARCHITECTURES[process.arch] ?? process.arch,
    "host.cpu.count": availableParallelism(),
    "host.memory.bytes": totalmem(),
  };
  const model = cpus()[0]?.model.replace(/\s+/g, " ").trim() ?? "";
  const texts = {
    "host.cpu.model.name": model === "unknown" ? "" : model,
    "host.image.name": environment.ImageOS,
    "host.image.version": environment.ImageVersion,
    "runner.environment": environment.RUNNER_ENVIRONMENT,
  };
  for (const [name, text] of Object.entries(texts)) {
    if (text !== undefined && text !== "") facts[name] = text.slice(0, 200);
  }
  return facts;
}
