// Entry point of the action's step: starts the receiver and exports its address to later steps.
// Every error becomes a warning; the job never fails.

import * as core from "@actions/core";

import { jobOf, headSha } from "./archive/manifest.ts";
import { calibrate } from "./calibration.ts";
import { MARKER, exported, jobFacts } from "./environment.ts";
import { jobSpanId, traceparent } from "./identity.ts";
import { type Inputs, readInputs } from "./inputs.ts";
import { neverFail, messageOf } from "./never_fail.ts";
import { receiverScript, startReceiver } from "./receiver_process.ts";
import { runnerFacts } from "./runner.ts";
import { type Session, files, makeFolder, makeSecret, writeJson } from "./session.ts";
import { unixNano } from "./time.ts";

async function main(): Promise<void> {
  const startedAtUnixNano = unixNano();
  const inputs = readInputs(core.getInput, core.warning);
  if (inputs.token !== null) core.setSecret(inputs.token);
  if (inputs.capture === "false") {
    core.info("Pacegate: `capture` is false, so nothing is collected and nothing is uploaded.");
    return;
  }
  const job = jobOf(process.env, inputs.checkRunId, inputs.matrix);
  if (process.env[MARKER] === jobSpanId(job)) {
    core.warning("Pacegate's action is used a second time in this job. The first use collects all spans; this one does nothing.");
    return;
  }

  const folder = makeFolder(process.env.RUNNER_TEMP ?? process.cwd());
  core.saveState("folder", folder);
  const facts = runnerFacts(process.env);
  const session = (more: Partial<Session>): Session => ({ startedAtUnixNano, runner: facts, calibration: null, elsewhere: null, ...more });
  writeJson(folder, files.session, session({}));

  const { port } = await startReceiver(receiverScript(), folder, { ...inputs.listen, maxBytes: inputs.maxBytes, secret: makeSecret() }).catch((error: unknown) => {
    writeJson(folder, files.session, session({ notStarted: messageOf(error) }));
    throw error;
  });
  const endpoint = endpointOf(inputs.listen.host, port);
  const { variables, elsewhere, replaced } = exported(process.env, {
    endpoint,
    traceparent: traceparent(job),
    jobSpanId: jobSpanId(job),
    facts: { ...facts, ...jobFacts(job.job, job.matrix) },
    serviceName: inputs.serviceName,
    capture: inputs.capture,
  });
  for (const [name, value] of Object.entries(variables)) core.exportVariable(name, value);
  core.setOutput("traceparent", traceparent(job));
  core.setOutput("otlp-endpoint", endpoint);
  core.setOutput("verdict-url", verdictUrl(inputs));
  announce(endpoint, elsewhere);
  if (replaced !== null) {
    core.warning(`${replaced} was already set. Later steps get the job's trace context (the output \`traceparent\`) instead, so that their spans belong to this job.`);
  }
  const calibration = inputs.calibrate ? calibrate(() => process.hrtime.bigint()) : null;
  writeJson(folder, files.session, session({ calibration, elsewhere }));
}

/** Steps use loopback to reach a receiver that listens on all addresses. */
function endpointOf(host: string, port: number): string {
  const reached = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
  return `http://${reached.includes(":") ? `[${reached}]` : reached}:${port}`;
}

function verdictUrl({ serverUrl }: Inputs): string {
  const repository = process.env.GITHUB_REPOSITORY ?? "";
  return serverUrl === null ? "" : `${serverUrl}/api/v1/repos/${repository}/commits/${headSha(process.env)}/verdict`;
}

function announce(endpoint: string, elsewhere: string | null): void {
  if (elsewhere === null) {
    core.info(`Pacegate: the receiver accepts spans at ${endpoint} (OTLP over HTTP) until the job ends.`);
    return;
  }
  core.warning(
    `${elsewhere} is already set, so the steps' spans go there and not to Pacegate. Reports and facts about the runner are still uploaded. ` +
      `To collect the spans, unset it, also send to ${endpoint}, or set \`capture: force\`.`,
  );
}

neverFail("start", main);
