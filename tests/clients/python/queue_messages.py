"""A message queue: the engine publishes a build, and a worker, which is another service, receives and
processes the message. The message's attributes carry the trace context.

`queue_messages.py EXPORTER` makes the worker's spans children of the sent message. With `linked`, the
worker starts its own trace, which links to the message and names the same run.
"""

import sys

from opentelemetry import propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from runs import clock, each_run

LINKED = "linked" in sys.argv[2:]
QUEUE = "build-queue"


class Queue:
    """A broker in memory."""

    def __init__(self):
        self.messages = []

    def send(self, body, attributes):
        self.messages.append({"message_id": f"msg-{len(self.messages)}", "body": body, "attributes": attributes})
        return self.messages[-1]

    def receive(self):
        return self.messages.pop(0)


class TracedMessageQueue:
    def __init__(self, tracer, queue):
        self.tracer = tracer
        self.queue = queue

    def describe(self, span, operation, message=None):
        span.set_attribute("messaging.system", "custom-queue")
        span.set_attribute("messaging.destination", QUEUE)
        span.set_attribute("messaging.operation", operation)
        if message:
            span.set_attribute("messaging.message_id", message["message_id"])

    def send_message(self, body, seconds):
        with self.tracer.start_span(f"send-message-{QUEUE}", kind=SpanKind.PRODUCER) as span:
            attributes = {"priority": "high"}
            propagate.inject(attributes, context=trace.set_span_in_context(span))
            clock.sleep(seconds)
            self.describe(span, "send", self.queue.send(body, attributes))

    def receive_message(self, run_id, seconds, work):
        message = self.queue.receive()
        sent = propagate.extract(message["attributes"])
        links = [Link(trace.get_current_span(sent).get_span_context())] if LINKED else []
        context = trace.set_span_in_context(trace.INVALID_SPAN) if LINKED else sent
        with self.tracer.start_as_current_span(
            f"receive-message-{QUEUE}", context=context, kind=SpanKind.CONSUMER, links=links
        ) as span:
            self.describe(span, "receive", message)
            span.set_attribute("pipeline.id", run_id)
            clock.sleep(seconds)
            with self.tracer.start_span(f"process-message-{QUEUE}", kind=SpanKind.CONSUMER) as process:
                self.describe(process, "process", message)
                clock.sleep(work)
                process.set_status(Status(StatusCode.OK))


def publish(run):
    engine, worker = run.tracer("pipeline-engine"), run.tracer("queue-worker")
    queue, run_id = Queue(), f"pipeline-{run.number}"
    compile_s, times = run.stages["build"]["build-compile"], run.stages["publish"]
    with engine.start_as_current_span("pipeline-execution", kind=SpanKind.SERVER) as pipeline:
        pipeline.set_attribute("pipeline.id", run_id)
        with engine.start_as_current_span("build-stage") as stage:
            stage.set_attribute("stage.name", "build")
            with engine.start_span("build-compile"):
                clock.sleep(compile_s)
        with engine.start_as_current_span("publish-stage") as stage:
            stage.set_attribute("stage.name", "publish")
            TracedMessageQueue(engine, queue).send_message("a build", times["send-message"])
    # The engine has ended; the worker has no surrounding span.
    TracedMessageQueue(worker, queue).receive_message(run_id, times["receive-message"], times["process-message"])


if __name__ == "__main__":
    each_run(publish)
