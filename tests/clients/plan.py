#!/usr/bin/env python3
"""Writes the plan for the programs of tests/clients.

One line for each run on stdout, with tabs between the fields: start (seconds since the epoch), number,
OTEL_RESOURCE_ATTRIBUTES, and the operations (`stage/operation=seconds`, separated by semicolons).

Without --change the runs are of main, a day apart. With it they are of that pull request, an hour apart.
The same arguments give the same lines.
"""

import argparse
import hashlib
import random

# Seconds of each operation, by program and stage, in order of execution.
PROGRAMS = {
    "pipeline": {
        "checkout": {"git-checkout": 6},
        "build": {"build-compile": 80, "build-package": 20, "build-artifact-upload": 5},
        "test": {"test-unit": 40, "test-integration": 60, "test-security": 15},
        "deploy": {"deploy-staging": 25, "deploy-production": 30},
    },
    "queue": {
        "build": {"build-compile": 60},
        "publish": {"send-message": 2, "receive-message": 1, "process-message": 45},
    },
    "artifacts": {
        "build": {"build-compile": 60},
        "artifacts": {"upload-artifact": 3, "store-artifact": 25, "download-artifact": 8},
    },
    "operations": {
        "checkout": {"git-checkout": 6},
        "build": {"build-artifact": 60},
        "test": {"run-tests": 45},
    },
}

HOUR = 3600
DAY = 24 * HOUR
NOISE = 0.04


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", choices=PROGRAMS, default="pipeline")
    parser.add_argument("--pipeline", required=True, help="the pipeline's name")
    parser.add_argument("--repo", required=True, help="OWNER/NAME")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--change", type=int, help="the pull request's number")
    parser.add_argument("--slow", action="append", default=[], metavar="OPERATION=FACTOR")
    parser.add_argument("--until", type=int, required=True, help="when the last run starts, in seconds since the epoch")
    return parser.parse_args()


def run(options, number):
    """One line of the plan."""
    line = f"pr-{options.change}" if options.change else "main"
    name = f"{options.pipeline} {line} {number}"
    rng = random.Random(name)
    slow = {operation: float(factor) for operation, factor in (pair.split("=") for pair in options.slow)}
    operations = ";".join(
        f"{stage}/{operation}={usual * slow.get(operation, 1.0) * (1 + NOISE * rng.uniform(-1, 1)):.6f}"
        for stage, within in PROGRAMS[options.program].items()
        for operation, usual in within.items()
    )
    owner, _, repository = options.repo.partition("/")
    resource = {
        "vcs.owner.name": owner,
        "vcs.repository.name": repository,
        "vcs.ref.head.revision": hashlib.sha1(name.encode()).hexdigest(),
        "vcs.ref.head.name": f"change-{options.change}" if options.change else "main",
        "cicd.pipeline.name": options.pipeline,
    }
    if options.change:
        resource["vcs.change.id"] = options.change
    apart = HOUR if options.change else DAY
    start = options.until - (options.runs - 1 - number) * apart
    attributes = ",".join(f"{key}={value}" for key, value in resource.items())
    return "\t".join([str(start), f"{options.change or 0}{number:03}", attributes, operations])


if __name__ == "__main__":
    options = arguments()
    for number in range(options.runs):
        print(run(options, number))
