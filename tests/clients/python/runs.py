"""Shared by every Python program. Reads the plan from stdin and sets up the SDK for each run as a
separate process would. Programs advance its clock instead of sleeping."""

import os
import sys

import opentelemetry.sdk.trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from exporters import EXPORTERS


class Clock:
    """Replaces the SDK's clock, so that a simulated minute takes no real time. Nanoseconds since the epoch."""

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
        """The tracer of a service, with its own provider and exporter."""
        provider = TracerProvider(resource=Resource.create({"service.name": service}))
        provider.add_span_processor(BatchSpanProcessor(self.exporter()))
        self.providers.append(provider)
        return provider.get_tracer(service)

    def end(self):
        for provider in self.providers:
            provider.shutdown()


def each_run(program):
    """Runs `program` for each line of stdin, with the exporter that argv names. Prints each sent run."""
    exporter = EXPORTERS[sys.argv[1]]
    for line in sys.stdin:
        run = Run(line, exporter)
        program(run)
        run.end()
        print("sent", run.number, flush=True)
