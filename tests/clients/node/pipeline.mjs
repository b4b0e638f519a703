// The pipeline engine: a pipeline, its stages, their operations. Usage: `node pipeline.mjs EXPORTER`

import { SpanKind, SpanStatusCode, context, trace } from "@opentelemetry/api";

import { eachRun } from "./runs.mjs";

await eachRun(async (run) => {
  const { clock } = run;
  const tracer = run.tracer("pipeline-engine");
  const within = (parent) => trace.setSpan(context.active(), parent);

  const pipeline = tracer.startSpan("pipeline-execution", {
    kind: SpanKind.SERVER,
    startTime: clock.now(),
    attributes: { "pipeline.id": `pipeline-${run.number}`, "pipeline.trigger": "push" },
  });
  for (const [name, operations] of run.stages) {
    const stage = tracer.startSpan(
      `${name}-stage`,
      { startTime: clock.now(), attributes: { "stage.name": name } },
      within(pipeline),
    );
    stage.addEvent("stage-started", clock.now());
    for (const [operation, seconds] of operations) {
      const span = tracer.startSpan(operation, { startTime: clock.now() }, within(stage));
      span.setAttribute("operation", operation);
      clock.sleep(seconds);
      span.end(clock.now());
    }
    stage.addEvent("stage-completed", clock.now());
    stage.setStatus({ code: SpanStatusCode.OK });
    stage.end(clock.now());
  }
  pipeline.setStatus({ code: SpanStatusCode.OK });
  pipeline.end(clock.now());
});
