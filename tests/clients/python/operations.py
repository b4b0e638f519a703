"""Operations with a decorator that starts a span and records start, completion and exceptions.
Usage: `operations.py EXPORTER`."""

import functools

from opentelemetry.trace import SpanKind, Status, StatusCode

from runs import clock, each_run


def traced_operation(tracer, name):
    def decorator(function):
        @functools.wraps(function)
        def wrapper(*positional, **named):
            with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
                try:
                    span.add_event("operation-started")
                    began = clock.now
                    result = function(*positional, **named)
                    span.add_event("operation-completed", {"duration_ms": (clock.now - began) / 1e6})
                    span.set_status(Status(StatusCode.OK))
                    return result
                except Exception as error:
                    span.record_exception(error)
                    span.set_status(Status(StatusCode.ERROR, str(error)))
                    raise

        return wrapper

    return decorator


class FlakyTests(Exception):
    """Raised and caught in every run. A known error must not be reported as the cause of a slow run."""


def operations(run):
    tracer = run.tracer("build-worker")

    def operation(stage, name):
        return traced_operation(tracer, name)(lambda: clock.sleep(run.stages[stage][name]))

    @traced_operation(tracer, "report-results")
    def report_results():
        raise FlakyTests("no answer from the report server")

    with tracer.start_as_current_span("pipeline-execution", kind=SpanKind.SERVER) as pipeline:
        pipeline.set_attribute("pipeline.id", f"pipeline-{run.number}")
        for stage, within in run.stages.items():
            with tracer.start_as_current_span(f"{stage}-stage") as span:
                span.set_attribute("stage.name", stage)
                for name in within:
                    operation(stage, name)()
        try:
            report_results()
        except FlakyTests as error:
            pipeline.add_event("not-reported", {"error": str(error)})


if __name__ == "__main__":
    each_run(operations)
