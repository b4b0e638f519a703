"""The measured programs: Pacegate on either database, and an OpenTelemetry Collector. Each is a separate
process in an empty folder. Reports accepted spans, stored spans, processor time and memory, and does
not judge them."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = "acme/my-app"
TICKS = os.sysconf("SC_CLK_TCK")
# Ports outside the usual ones.
PORTS = {"http": 28080, "grpc": 24317, "collector": 24318, "metrics": 28888}


def processor_seconds(process_id):
    """User and system time of a process and of the children that it waited for."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS


def mebibytes(process_id, what):
    """Resident memory: `VmHWM` for the peak, `VmRSS` for the current value."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


class Subject:
    """A process under load."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.process = None

    def launch(self, command, environment, ready):
        self.process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("ab"))
        for _ in range(300):
            with contextlib.suppress(OSError):
                get(ready)
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"{command[0]} did not start:\n{(self.folder / 'log').read_text()}")

    def spans_accepted(self):
        """From the process's own metrics."""
        return sum(int(float(n)) for n in re.findall(self.counter, get(self.metrics), re.MULTILINE))

    def processor_seconds(self):
        return processor_seconds(self.process.pid)

    def peak_memory(self):
        return mebibytes(self.process.pid, "VmHWM")

    def end(self, how=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def spans_stored(self):
        """None if the count is not readable from outside the process."""
        return None


class Pacegate(Subject):
    metrics = f"http://127.0.0.1:{PORTS['http']}/metrics"
    counter = r'^pacegate_spans_total\{.*outcome="accepted".*\} (\d+)'
    http = f"http://127.0.0.1:{PORTS['http']}/v1/traces"
    grpc = f"http://127.0.0.1:{PORTS['grpc']}"

    def __init__(self, folder, binary, more=None):
        super().__init__(folder)
        self.binary = binary
        self.environment = {
            "PACEGATE_DATABASE_URL": self.database_url(),
            "PACEGATE_TRACES_URL": f"file:{self.folder}/traces",
            "PACEGATE_TOKEN_RATE": "0",
            "PACEGATE_LOG": "error",
            **(more or {}),
        }
        self.token = subprocess.run(
            [binary, "token", "create", "--repo", REPOSITORY], check=True, capture_output=True, text=True,
            env={**os.environ, **self.environment}).stdout.strip()

    def start(self):
        ports = ("OTLP_HTTP", "ZIPKIN", "JAEGER_HTTP", "JAEGER_GRPC")
        self.launch([self.binary, "serve", "--no-setup"], {
            **self.environment,
            "PACEGATE_LISTEN": f"127.0.0.1:{PORTS['http']}",
            "PACEGATE_OTLP_GRPC_LISTEN": f"127.0.0.1:{PORTS['grpc']}",
            **{f"PACEGATE_{port}_LISTEN": "off" for port in ports},
        }, f"http://127.0.0.1:{PORTS['http']}/readyz")
        return self


# Open traces count spans and batches; the batches must be stored as well.
STORED = """SELECT SUM(spans), SUM(batches), (SELECT COUNT(*) FROM span_batches) FROM open_traces"""


def stored(spans, batches, rows):
    if batches != rows:
        raise SystemExit(f"{batches} batches of spans were counted, {rows} are stored")
    return spans or 0


class OnSqlite(Pacegate):
    name = "Pacegate, SQLite"

    def database_url(self):
        return f"sqlite://{self.folder}/pacegate.db"

    def spans_stored(self):
        with contextlib.closing(sqlite3.connect(self.folder / "pacegate.db")) as database:
            return stored(*(int(n or 0) for n in database.execute(STORED).fetchone()))


class OnPostgres(Pacegate):
    """On a new database of the cluster that `tests/postgres.sh` created. The server's processor time
    counts. Its memory does not, because the operator configures it."""

    name = "Pacegate, PostgreSQL"
    databases = 0

    def database_url(self):
        OnPostgres.databases += 1
        self.database = f"ingest_{OnPostgres.databases}"
        self.server = os.environ["PACEGATE_TEST_POSTGRES_URL"]
        self.ask(f"CREATE DATABASE {self.database}", "postgres")
        return self.url(self.database)

    def url(self, database):
        return self.server.replace("/postgres?", f"/{database}?")

    def ask(self, query, database):
        command = ["psql", "-XAtq", "-F", " ", "-c", query, self.url(database)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def processor_seconds(self):
        folder = self.server.partition("host=")[2]
        main = int(Path(folder, "data", "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return super().processor_seconds() + sum(processor_seconds(process) for process in [main, *children])

    def spans_stored(self):
        return stored(*(int(n or 0) for n in self.ask(STORED, self.database).strip("\n").split(" ")))

    def drop(self):
        self.ask(f"DROP DATABASE {self.database} WITH (FORCE)", "postgres")


class Collector(Subject):
    metrics = f"http://127.0.0.1:{PORTS['metrics']}/metrics"
    counter = r"^otelcol_receiver_accepted_spans(?:_total)?\{.*\} (\d\S*)"
    http = f"http://127.0.0.1:{PORTS['collector']}/v1/traces"
    grpc = f"http://127.0.0.1:{PORTS['grpc']}"
    token = "none"

    def __init__(self, folder, binary, more=None):
        super().__init__(folder)
        self.binary = binary

    def start(self):
        self.launch([self.binary, "--config", str(HERE / "collector.yaml")], {
            "COLLECTOR_OTLP_GRPC": f"127.0.0.1:{PORTS['grpc']}",
            "COLLECTOR_OTLP_HTTP": f"127.0.0.1:{PORTS['collector']}",
            "COLLECTOR_METRICS_PORT": str(PORTS["metrics"]),
            "COLLECTOR_FILE": str(self.folder / "spans"),
            "COLLECTOR_EXPORTER": self.exporter,
        }, self.metrics)
        return self


class ToFile(Collector):
    name = "Collector, file"
    exporter = "file"


class ToNothing(Collector):
    name = "Collector, discarding"
    exporter = "debug"
