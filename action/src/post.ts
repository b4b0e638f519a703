// The action's post step: stops the receiver, packs and uploads the archive, writes the step
// summary, and removes the action's files. It also runs after cancellation, and never fails.

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
import { neverFail, messageOf } from "./never_fail.ts";
import { longestParts } from "./own_time.ts";
import { receiverScript, stopReceiver } from "./receiver_process.ts";
import { runnerFacts } from "./runner.ts";
import { type Session, files, isOwnFolder, makeFolder, readSession, readState } from "./session.ts";
import { uploadArtifact } from "./ship/artifact.ts";
import { hasIdentityToken, upload } from "./ship/server.ts";
import { type JobResult, logLines, withoutKnownNotes, spansDropped, summary, acceptedText } from "./summary.ts";
import { unixNano } from "./time.ts";

const PARTS_SHOWN = 5;
const LONGEST_MESSAGE = 1_000;

async function post(): Promise<void> {
  const folder = core.getState("folder");
  if (folder === "") {
    core.info("Pacegate: nothing was started in this job, so there is nothing to upload.");
    return;
  }
  // A step can set the environment variable that holds this state.
  if (!isOwnFolder(folder, process.env.RUNNER_TEMP ?? process.cwd())) {
    core.warning("Pacegate: the saved state names a folder that the action did not create. Nothing is uploaded.");
    return;
  }
  // Removes the folder on every way out of the process.
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
  // The main step already warned about invalid inputs.
  const inputs = readInputs(core.getInput, () => undefined);
  if (inputs.token !== null) core.setSecret(inputs.token);
  if (!(await stopReceiver(receiverScript(), folder, inputs.listen.host))) core.warning("Pacegate's receiver did not stop on request.");
  const endedAtUnixNano = unixNano();
  const state = readState(folder);
  if (state?.stopped === false) core.warning("Pacegate's receiver ended before the job did. Spans that were sent after that are missing. The job is not affected.");
  const session: Session = readSession(folder) ?? {
    startedAtUnixNano: endedAtUnixNano,
    runner: runnerFacts(process.env),
    calibration: null,
    elsewhere: null,
  };

  const job = jobOf(process.env, inputs.checkRunId, inputs.matrix);
  const names = { spans: "spans.jsonl.gz", reports: "reports.jsonl.gz", manifest: "manifest.json" };
  // A new folder, because a step may have placed a pipe or a link under these names.
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
  const result: JobResult = {
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
  for (const line of logLines(result)) core.info(line);
  if (dropped.spans > 0) core.warning(`${spansDropped(result)} The job is not affected.`);
  await core.summary.addRaw(summary(result), true).write();
}

/** Sends the archive to the service. Returns null without a `server-url` or a credential. */
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
  core.info(acceptedText(accepted, manifest.files));
  const message = withoutKnownNotes(accepted.message ?? "");
  if (message !== "") core.warning(`Message from the service: ${visible(message, LONGEST_MESSAGE)}`);
  // Shown only if it is an address of the service.
  const { verdictUrl } = accepted;
  const isServiceAddress = verdictUrl?.startsWith(`${serverUrl}/`) === true && /^[\w.~:/%?=&+-]{1,2000}$/.test(verdictUrl);
  return { verdictUrl: isServiceAddress ? verdictUrl : null };
}

/** Runs one way of uploading, so that its error does not stop the other. Warns, and adds the error to `failures`. */
async function attempt<T>(consequence: string, failures: string[], work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    const failure = `${consequence}: ${messageOf(error)}`;
    failures.push(failure);
    core.warning(`${failure} The job is not affected.`);
    return null;
  }
}

neverFail("finish", post);
