// An artifact client and its service: two services with real HTTP between them, and the trace
// context in the request's headers. Usage: `node artifacts.mjs EXPORTER`

import { once } from "node:events";
import { createServer, request } from "node:http";

import { ROOT_CONTEXT, SpanKind, SpanStatusCode, context, propagation, trace } from "@opentelemetry/api";
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from "@opentelemetry/core";

import { eachRun } from "./runs.mjs";

propagation.setGlobalPropagator(
  new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
);

// The tracer, clock and duration that the server uses; each run sets them.
let served;

const server = createServer((incoming, answer) => {
  incoming.resume();
  incoming.on("end", () => {
    const caller = propagation.extract(ROOT_CONTEXT, incoming.headers);
    const { tracer, clock, seconds } = served;
    const options = { kind: SpanKind.SERVER, startTime: clock.now(), attributes: { "http.method": incoming.method } };
    const span = tracer.startSpan("store-artifact", options, caller);
    clock.sleep(seconds);
    span.setAttribute("http.status_code", 201);
    span.end(clock.now());
    answer.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify({ id: "artifact-1" }));
  });
});
server.listen(0, "127.0.0.1");
await once(server, "listening");

/** Sends to the artifact service with the span's context in the headers. */
async function send(method, path, span, body) {
  const headers = {};
  propagation.inject(trace.setSpan(context.active(), span), headers);
  const sent = request({ host: "127.0.0.1", port: server.address().port, method, path, headers }).end(body);
  const [answer] = await once(sent, "response");
  answer.resume();
  await once(answer, "end");
  return answer.statusCode;
}

class ArtifactClient {
  constructor(tracer, clock) {
    Object.assign(this, { tracer, clock });
  }

  async upload(parent, data, seconds) {
    const span = this.tracer.startSpan(
      "upload-artifact",
      { startTime: this.clock.now(), attributes: { "artifact.size": data.length } },
      trace.setSpan(context.active(), parent),
    );
    this.clock.sleep(seconds);
    span.setAttribute("http.status_code", await send("POST", "/artifacts", span, data));
    span.setStatus({ code: SpanStatusCode.OK });
    span.end(this.clock.now());
  }

  download(parent, seconds) {
    const within = trace.setSpan(context.active(), parent);
    const span = this.tracer.startSpan("download-artifact", { startTime: this.clock.now() }, within);
    this.clock.sleep(seconds);
    span.end(this.clock.now());
  }
}

await eachRun(async (run) => {
  const { clock } = run;
  const tracer = run.tracer("pipeline-engine");
  const [build, times] = [run.stages.get("build"), run.stages.get("artifacts")];
  served = { tracer: run.tracer("artifact-service"), clock, seconds: times.get("store-artifact") };

  const pipeline = tracer.startSpan("pipeline-execution", {
    kind: SpanKind.SERVER,
    startTime: clock.now(),
    attributes: { "pipeline.id": `pipeline-${run.number}` },
  });
  const stage = (name) =>
    tracer.startSpan(
      `${name}-stage`,
      { startTime: clock.now(), attributes: { "stage.name": name } },
      trace.setSpan(context.active(), pipeline),
    );
  const building = stage("build");
  const compile = tracer.startSpan("build-compile", { startTime: clock.now() }, trace.setSpan(context.active(), building));
  clock.sleep(build.get("build-compile"));
  compile.end(clock.now());
  building.end(clock.now());

  const client = new ArtifactClient(tracer, clock);
  const artifacts = stage("artifacts");
  await client.upload(artifacts, "an artifact", times.get("upload-artifact"));
  client.download(artifacts, times.get("download-artifact"));
  artifacts.end(clock.now());
  pipeline.end(clock.now());
});
server.close();
