#!/usr/bin/env python3
"""Writes what the programs of tests/clients are to do: on stdout one line for each run, with tabs
between its parts: when it starts (seconds since the epoch), its number, OTEL_RESOURCE_ATTRIBUTES,
and the seconds of each operation (`stage/operation=seconds`, with semicolons between them).

Without --change the runs are of main, a day apart; with it, of that pull request, an hour apart.
The same arguments give the same lines.
"""

import argparse
import hashlib
import random

# What takes how many seconds, in its order.
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


def run(asked, number):
    """One line."""
    line = f"pr-{asked.change}" if asked.change else "main"
    name = f"{asked.pipeline} {line} {number}"
    chance = random.Random(name)
    slow = {operation: float(factor) for operation, factor in (pair.split("=") for pair in asked.slow)}
    operations = ";".join(
        f"{stage}/{operation}={usual * slow.get(operation, 1.0) * (1 + NOISE * chance.uniform(-1, 1)):.6f}"
        for stage, within in PROGRAMS[asked.program].items()
        for operation, usual in within.items()
    )
    owner, _, repository = asked.repo.partition("/")
    resource = {
        "vcs.owner.name": owner,
        "vcs.repository.name": repository,
        "vcs.ref.head.revision": hashlib.sha1(name.encode()).hexdigest(),
        "vcs.ref.head.name": f"change-{asked.change}" if asked.change else "main",
        "cicd.pipeline.name": asked.pipeline,
    }
    if asked.change:
        resource["vcs.change.id"] = asked.change
    apart = HOUR if asked.change else DAY
    start = asked.until - (asked.runs - 1 - number) * apart
    attributes = ",".join(f"{key}={value}" for key, value in resource.items())
    return "\t".join([str(start), f"{asked.change or 0}{number:03}", attributes, operations])


if __name__ == "__main__":
    asked = arguments()
    for number in range(asked.runs):
        print(run(asked, number))
