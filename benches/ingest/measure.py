"""Sends requests of 512 spans to each subject in turn, so that other load on the machine affects all
of them alike. Prints Markdown; `benches/ingest.sh` describes the arguments. Compares every count with
the stored spans and stops if they differ."""

import gzip
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import subjects

SPANS = 512
HERE = Path(__file__).resolve().parent
SECONDS = int(os.environ.get("SECONDS_EACH", "10"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
# Concurrent requests.
AT_ONCE = 16
BINARY, COLLECTOR, FOLDER = sys.argv[1:4]
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

# Title, file of requests, content type and content encoding.
WAYS = {
    "protobuf": ("OTLP protobuf, eight traces in a request", "mixed.protobuf", "application/x-protobuf", None),
    "single": ("OTLP protobuf, one trace in a request", "single.protobuf", "application/x-protobuf", None),
    "run": ("OTLP protobuf, one whole run in a request", "run.protobuf", "application/x-protobuf", None),
    "gzip": ("OTLP protobuf with gzip, eight traces in a request", "mixed.gzip", "application/x-protobuf", "gzip"),
    "json": ("OTLP JSON, eight traces in a request", "mixed.json", "application/json", None),
    "grpc": ("OTLP over gRPC, eight traces in a request", "mixed.protobuf", None, None),
}


def say(text=""):
    print(text, flush=True)


def requests(name):
    """The bodies of a file, each after its length in four bytes."""
    with Path(FOLDER, name).open("rb") as file:
        while head := file.read(4):
            yield file.read(struct.unpack(">I", head)[0])


def write_gzip():
    with Path(FOLDER, "mixed.gzip").open("wb") as file:
        for body in requests("mixed.protobuf"):
            small = gzip.compress(body, 6)
            file.write(struct.pack(">I", len(small)) + small)


def wrk(subject, way, seconds, at_once, threads=1):
    """Responses by status. Responses after the end are not counted."""
    _, file, content_type, encoding = WAYS[way]
    headers = [f"Authorization: Bearer {subject.token}", f"Content-Type: {content_type}"]
    headers += [f"Content-Encoding: {encoding}"] if encoding else []
    command = ["wrk", f"-t{threads}", f"-c{at_once}", f"-d{seconds}s", "--timeout", "30s"]
    command += [argument for header in headers for argument in ("-H", header)]
    command += ["-s", str(HERE / "requests.lua"), subject.http, "--", str(Path(FOLDER, file))]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {int(status): int(n) for status, n in re.findall(r"^answered (\d+) (\d+)", printed, re.MULTILINE)}


def h2load(subject, seconds, bodies):
    """Like `wrk`, over gRPC. h2load sends only one body, so each second uses another."""
    answered = 0
    for _ in range(seconds):
        body = next(bodies)
        path = Path(FOLDER, "grpc-frame")
        path.write_bytes(struct.pack(">BI", 0, len(body)) + body)
        command = ["h2load", "-D1", "-c4", f"-m{AT_ONCE // 4}", "-d", str(path)]
        for header in ("content-type: application/grpc", "te: trailers", f"authorization: Bearer {subject.token}"):
            command += ["-H", header]
        printed = subprocess.run([*command, subject.grpc + EXPORT], check=True, capture_output=True, text=True).stdout
        answered += int(re.search(r"^status codes: (\d+) 2xx", printed, re.MULTILINE)[1])
    return {200: answered}


def check_counts(subject, accepted, acknowledged, senders):
    """Checks that acknowledged spans were counted and that counted spans are stored. More may be stored:
    requests that were open when a sender stopped are not counted."""
    if acknowledged > accepted:
        raise SystemExit(f"{subject.name}: {acknowledged} spans were acknowledged, {accepted} counted")
    stored = subject.spans_stored()
    if stored is not None and not accepted <= stored <= accepted + senders * AT_ONCE * SPANS:
        raise SystemExit(f"{subject.name}: {accepted} spans were counted as accepted, {stored} are stored")


def measure(subject, way):
    """Spans a second, processor seconds for a million spans, and peak memory in MiB."""
    bodies = requests(WAYS[way][1]) if way == "grpc" else None

    def load(seconds):
        return h2load(subject, seconds, bodies) if bodies else wrk(subject, way, seconds, AT_ONCE)

    subject.start()
    warm = load(2)
    accepted, processor, begun = subject.spans_accepted(), subject.processor_seconds(), time.monotonic()
    answers = load(SECONDS)
    took = time.monotonic() - begun
    accepted, processor = subject.spans_accepted() - accepted, subject.processor_seconds() - processor
    peak = subject.peak_memory()
    # Requests that were open at the end are still being committed.
    time.sleep(0.5)
    total = subject.spans_accepted()
    subject.end()
    others = {status: n for answered in (warm, answers) for status, n in answered.items() if status != 200}
    if others or accepted == 0:
        raise SystemExit(f"{subject.name}, {way}: {accepted} spans were accepted, and answers were {others}")
    senders = SECONDS + 2 if bodies else 2
    check_counts(subject, total, SPANS * (warm.get(200, 0) + answers.get(200, 0)), senders)
    return accepted / took, processor / accepted * 1e6, peak


def in_a_folder(make, use):
    """Runs `use` on a subject in a new folder. Removes the folder and ends the process afterwards."""
    folder = Path(FOLDER, "subject")
    folder.mkdir()
    subject = None
    try:
        subject = make(folder)
        return use(subject)
    finally:
        if subject is not None:
            subject.end(signal.SIGKILL)
            if isinstance(subject, subjects.OnPostgres):
                subject.drop()
        shutil.rmtree(folder)


def rates(ways):
    kinds = [(subjects.OnSqlite, BINARY), (subjects.ToFile, COLLECTOR), (subjects.OnPostgres, BINARY),
             (subjects.ToNothing, COLLECTOR)]
    for way in ways:
        figures = {kind: [] for kind, _ in kinds}
        for _ in range(ROUNDS):
            for kind, binary in kinds:
                figure = in_a_folder(lambda folder, k=kind, b=binary: k(folder, b), lambda s, w=way: measure(s, w))
                figures[kind].append(figure)
                print(kind.name, way, "%.0f spans/s, %.2f s, %.0f MiB" % figure, file=sys.stderr, flush=True)
        say(f"{WAYS[way][0]} (load average {os.getloadavg()[0]:.1f})\n")
        say("| | Spans a second | least to most | Processor seconds a million spans | Most memory |")
        say("|---|---|---|---|---|")
        for kind, of_kind in figures.items():
            a_second, processor, memory = zip(*of_kind)
            say(f"| {kind.name} | {statistics.median(a_second):,.0f} | {min(a_second):,.0f} to {max(a_second):,.0f} "
                f"| {statistics.median(processor):.2f} | {max(memory):.0f} MiB |")
        say()


# ---- more than it can take ----

LIMIT = 512
OFFERED_AT_ONCE = 400


def overload(subject, seconds):
    """Loads the subject with many connections that retry at once, and kills it under that load."""
    subject.start()
    answers, most, over = {}, [0.0], threading.Event()

    def offer():
        answers.update(wrk(subject, "protobuf", seconds, OFFERED_AT_ONCE, threads=2))

    def watch():
        while not over.wait(0.1):
            most[0] = max(most[0], subjects.mebibytes(subject.process.pid, "VmRSS"))

    threads = [threading.Thread(target=offer), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    # The kill has to happen while requests arrive.
    time.sleep(seconds - 1)
    over.set()
    threads[1].join()
    peak = subject.peak_memory()
    subject.end(signal.SIGKILL)
    threads[0].join()
    subject.start()
    stored = subject.spans_stored()
    subject.end()
    acknowledged = SPANS * answers.get(200, 0)
    refused = sum(n for status, n in answers.items() if status != 200)
    if stored < acknowledged:
        raise SystemExit(f"{subject.name}: {acknowledged} spans were acknowledged, but {stored} are stored after a kill")
    offered = (answers.get(200, 0) + refused) / max(answers.get(200, 0), 1)
    return acknowledged, stored, offered, peak


def overloads():
    seconds = max(SECONDS, int(os.environ.get("OVERLOAD_SECONDS", "30")))
    say(f"Overload for {seconds} s, {OFFERED_AT_ONCE} connections, PACEGATE_MEMORY_LIMIT={LIMIT}MiB, SIGKILL at the end "
        f"(load average {os.getloadavg()[0]:.1f})\n")
    say("| | Offered for each accepted | Spans acknowledged | There after the restart | Most memory |")
    say("|---|---|---|---|---|")
    more = {"PACEGATE_MEMORY_LIMIT": f"{LIMIT}MiB"}
    for kind in (subjects.OnSqlite, subjects.OnPostgres):
        acknowledged, stored, offered, peak = in_a_folder(
            lambda folder, k=kind: k(folder, BINARY, more), lambda s: overload(s, seconds))
        say(f"| {kind.name} | {offered:.1f} | {acknowledged:,} | {stored:,} | {peak:.0f} MiB |")
    say()


def main():
    asked = sys.argv[4:] or [*WAYS, "overload"]
    unknown = set(asked) - {*WAYS, "overload"}
    if unknown:
        raise SystemExit(f"unknown: {unknown}; choose from {[*WAYS, 'overload']}")
    if "gzip" in asked:
        write_gzip()
    say(f"{ROUNDS} rounds of {SECONDS} s in turns, {AT_ONCE} requests at once; {os.cpu_count()} processors, which "
        "the senders share.\n")
    rates([way for way in WAYS if way in asked])
    if "overload" in asked:
        overloads()


main()
