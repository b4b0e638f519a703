// The action's last step: ends the receiver, makes the archive of what it took, ships it, says so,
// and removes every trace of itself. It runs after cancellation too, and never fails.

import * as core from "@actions/core";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { jobOf, makeManifest } from "./archive/manifest.ts";
import type { Manifest } from "./archive/manifest.ts";
import { writeReports } from "./archive/reports.ts";
import { writeSpans } from "./archive/spans.ts";
import { ENDPOINTS } from "./environment.ts";
import { artifactName, jobSpanId } from "./identity.ts";
import { type Inputs, readInputs } from "./inputs.ts";
import { visible } from "./markdown.ts";
import { neverFail, said } from "./never_fail.ts";
import { longestParts } from "./own_time.ts";
import { receiverScript, stopReceiver } from "./receiver_process.ts";
import { runnerFacts } from "./runner.ts";
import { type Session, files, isOwnFolder, makeFolder, readSession, readState } from "./session.ts";
import { uploadArtifact } from "./ship/artifact.ts";
import { hasIdentityToken, upload } from "./ship/server.ts";
import { type Told, logLines, news, spansDropped, summary, took } from "./summary.ts";
import { unixNano } from "./time.ts";

const PARTS_SHOWN = 5;
const LONGEST_MESSAGE = 1_000;

async function post(): Promise<void> {
  const folder = core.getState("folder");
  if (folder === "") {
    core.info("Pacegate: nothing was started in this job, so there is nothing to ship.");
    return;
  }
  // An environment variable of that name, set by a step, is no folder of ours.
  if (!isOwnFolder(folder, process.env.RUNNER_TEMP ?? process.cwd())) {
    core.warning("Pacegate: the state that was kept names a folder that is not the action's. Nothing is shipped.");
    return;
  }
  // Whatever happens, nothing is left behind.
  process.once("exit", () => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  core.startGroup("Pacegate: what happened inside the steps");
  try {
    await ship(folder);
  } finally {
    core.endGroup();
  }
}

async function ship(folder: string): Promise<void> {
  // What is wrong with them was said when the job began.
  const inputs = readInputs(core.getInput, () => undefined);
  if (inputs.token !== null) core.setSecret(inputs.token);
  if (!(await stopReceiver(receiverScript(), folder, inputs.listen.host))) core.warning("Pacegate's receiver did not end when it was told to.");
  const endedAtUnixNano = unixNano();
  const state = readState(folder);
  if (state?.stopped === false) core.warning("Pacegate's receiver was gone before the job's end: spans that were sent after that are missing. The job is not affected.");
  const session: Session = readSession(folder) ?? {
    startedAtUnixNano: endedAtUnixNano,
    runner: runnerFacts(process.env),
    calibration: null,
    elsewhere: null,
  };

  const job = jobOf(process.env, inputs.checkRunId, inputs.matrix);
  const names = { spans: "spans.jsonl.gz", reports: "reports.jsonl.gz", manifest: "manifest.json" };
  // A new one: a step may have put something in the place of files that are to be written.
  const out = makeFolder(folder);
  const at = (name: string): string => join(out, name);
  const spans = await writeSpans(join(folder, files.bodies), at(names.spans), names.spans, job);
  const workspace = process.env.GITHUB_WORKSPACE ?? process.cwd();
  const reports = await writeReports(workspace, inputs.reports, session.startedAtUnixNano, at(names.reports), names.reports);
  const written = [spans.file, ...(reports.file === null ? [] : [reports.file])];
  const dropped = {
    spans: (state?.droppedSpans ?? 0) + spans.dropped,
    bytes: state?.droppedBytes ?? 0,
    reports: reports.dropped,
  };
  const manifest = makeManifest(process.env, job, session, { serviceName: inputs.serviceName, endedAtUnixNano, files: written, dropped });
  writeFileSync(at(names.manifest), JSON.stringify(manifest), { mode: 0o600 });

  const paths = [names.manifest, ...written.map(({ name }) => name)].map(at);
  const failures: string[] = [];
  const [artifact, accepted] = await Promise.all([
    attempt("The artifact was not uploaded", failures, () => {
      const name = artifactName(job);
      return uploadArtifact(name, `${name}-${job.checkRunId ?? jobSpanId(job)}`, out, paths);
    }),
    attempt("The spans were not sent to the service", failures, () => send(inputs, manifest, written.map(({ name }) => readFileSync(at(name))))),
  ]);
  const told: Told = {
    spans: spans.seen.length,
    reports: reports.taken.length,
    parts: longestParts(spans.seen, PARTS_SHOWN),
    dropped,
    refused: state?.refused ?? 0,
    problem: state?.problem ?? null,
    elsewhere: ENDPOINTS.find((name) => name === session.elsewhere) ?? null,
    notStarted: session.notStarted ?? null,
    artifact,
    sent: accepted !== null,
    failures,
    verdictUrl: accepted?.verdictUrl ?? null,
  };
  for (const line of logLines(told)) core.info(line);
  if (dropped.spans > 0) core.warning(`${spansDropped(told)} The job is not affected.`);
  await core.summary.addRaw(summary(told), true).write();
}

/** The fast path. Null when there is none. */
async function send(inputs: Inputs, manifest: Manifest, contents: readonly Buffer[]): Promise<{ verdictUrl: string | null } | null> {
  const { serverUrl, token } = inputs;
  if (serverUrl === null) {
    if (token !== null) core.warning("`token` has no effect without `server-url`.");
    return null;
  }
  if (token === null && !hasIdentityToken(process.env)) {
    core.info(
      "GitHub gives this job no OIDC token (`permissions: id-token: write`; pull requests from forks never get one), so nothing is sent to the service " +
        "at once. If Pacegate's GitHub App is installed on this repository, the service fetches the artifact when the run has ended. If it is not, give an " +
        "ingest token as `token`.",
    );
    return null;
  }
  const accepted = await upload({ serverUrl, token, manifest, files: contents });
  core.info(took(accepted, manifest.files));
  const message = news(accepted.message ?? "");
  if (message !== "") core.warning(`The service says: ${visible(message, LONGEST_MESSAGE)}`);
  // The service's own word, as long as it is an address of the service and nothing else.
  const { verdictUrl } = accepted;
  const believed = verdictUrl?.startsWith(`${serverUrl}/`) === true && /^[\w.~:/%?=&+-]{1,2000}$/.test(verdictUrl);
  return { verdictUrl: believed ? verdictUrl : null };
}

/** One way to ship must not stop the other; what went wrong is told to `failures` too. */
async function attempt<T>(otherwise: string, failures: string[], work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    const failure = `${otherwise}: ${said(error)}`;
    failures.push(failure);
    core.warning(`${failure} The job is not affected.`);
    return null;
  }
}

neverFail("finish", post);
