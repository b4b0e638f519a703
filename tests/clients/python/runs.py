"""What is the same in every Python program: the plan on stdin, the SDK set up as it is in a
process of its own, and a clock that programs set forward instead of sleeping."""

import os
import sys

import opentelemetry.sdk.trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from exporters import EXPORTERS


class Clock:
    """The time the SDK reads. A minute of a made-up pipeline takes no time at all."""

    def __init__(self):
        self.now = 0
        sdk.time_ns = lambda: self.now

    def sleep(self, seconds):
        self.now += round(seconds * 1e9)


clock = Clock()


class Run:
    """One line of the plan."""

    def __init__(self, line, exporter):
        start, self.number, resource, operations = line.rstrip("\n").split("\t")
        clock.now = int(start) * 1_000_000_000
        os.environ["OTEL_RESOURCE_ATTRIBUTES"] = resource
        self.exporter = exporter
        self.providers = []
        # stage -> operation -> seconds, in the plan's order.
        self.stages = {}
        for pair in operations.split(";"):
            path, seconds = pair.split("=")
            stage, operation = path.split("/")
            self.stages.setdefault(stage, {})[operation] = float(seconds)

    def tracer(self, service):
        """The tracer of a service, with a provider and an exporter of its own."""
        provider = TracerProvider(resource=Resource.create({"service.name": service}))
        provider.add_span_processor(BatchSpanProcessor(self.exporter()))
        self.providers.append(provider)
        return provider.get_tracer(service)

    def end(self):
        for provider in self.providers:
            provider.shutdown()


def each_run(program):
    """Does with `program` what stdin says; argv names the exporter. Says when a run was sent."""
    exporter = EXPORTERS[sys.argv[1]]
    for line in sys.stdin:
        run = Run(line, exporter)
        program(run)
        run.end()
        print("sent", run.number, flush=True)
