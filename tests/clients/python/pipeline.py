"""The pipeline executor: a pipeline, its stages, their operations.

`pipeline.py EXPORTER` nests them. With `as-written`, operations run within a stage but are children of
the pipeline, because `start_span` does not make a stage the current span. The root's name then contains
the pipeline's number, and the service's name is an attribute of the root.
"""

import sys

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from runs import clock, each_run

AS_WRITTEN = "as-written" in sys.argv[2:]


class PipelineExecutor:
    def __init__(self, tracer):
        self.tracer = tracer

    def execute_pipeline(self, pipeline_id, stages):
        name = f"pipeline-execution-{pipeline_id}" if AS_WRITTEN else "pipeline-execution"
        with self.tracer.start_as_current_span(name, kind=SpanKind.SERVER) as span:
            span.set_attribute("pipeline.id", pipeline_id)
            span.set_attribute("pipeline.stage_count", len(stages))
            if AS_WRITTEN:
                span.set_attribute("service.name", "pipeline-executor")
            for name, operations in stages.items():
                self.execute_stage(span, name, operations)
            span.set_status(Status(StatusCode.OK))

    def execute_stage(self, parent, name, operations):
        context = trace.set_span_in_context(parent)
        with self.tracer.start_span(f"stage-{name}", context=context, kind=SpanKind.INTERNAL) as span:
            span.set_attribute("stage.name", name)
            span.set_attribute("stage.type", name)
            span.set_attribute("stage.timeout", 300)
            span.add_event("stage-started")
            if AS_WRITTEN:
                self.run_operations(operations)
            else:
                with trace.use_span(span):
                    self.run_operations(operations)
            span.set_status(Status(StatusCode.OK))
            span.add_event("stage-completed")

    def run_operations(self, operations):
        for name, seconds in operations.items():
            with self.tracer.start_span(name) as span:
                span.set_attribute("operation", name)
                clock.sleep(seconds)


def pipeline(run):
    PipelineExecutor(run.tracer("pipeline-executor")).execute_pipeline(f"pipeline-{run.number}", run.stages)


if __name__ == "__main__":
    each_run(pipeline)
