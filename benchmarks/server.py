"""The embedded server under load: 20 runs written at once, then read; beside SQLite and orjson alone.

`python -m benchmarks server`, or `python benchmarks/server.py --rows 5000 --writers 20`. The server is a
process of its own, as each writer and reader is; they share the cores, so wall time is what is left of them,
and the server's CPU is the figure to go by. Writers prepare their requests before the clock starts, and send
the next when the last is answered. What is stored is counted at the end.

The limits: the same lines put into one SQLite file in WAL mode by `executemany`, one transaction per request,
and the lines of a page encoded as JSON by orjson, over and over, by one thread.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import multiprocessing
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ENTITY, PROJECT, KEY = "local", "bench", "b" * 40
PAGE = 1000

_SERVE = """
import sys
from wandb_ops.local.serve import serve
serve("127.0.0.1", 0, sys.argv[1], "local", sys.argv[2], lambda url, key: print(url, flush=True))
"""
_SDK = """
import os, sys, wandb
run = wandb.init(project=sys.argv[1], id=sys.argv[2], settings=wandb.Settings(silent=True, console="off"))
for step in range(int(sys.argv[3])):
    run.log({f"train/m{n}": step * 0.1 + n for n in range(11)})
run.finish()
"""


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process took so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    """One connection that is kept open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        token = base64.b64encode(f"api:{KEY}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def post(self, path: str, body: bytes) -> bytes:
        self.http.request("POST", path, body, self.headers)
        answer = self.http.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status} {content[:300]!r}")
        return content

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        envelope = json.loads(self.post("/graphql", body))
        if "errors" in envelope:
            raise SystemExit(str(envelope["errors"]))
        return envelope["data"]


def lines_of(seed: int, rows: int) -> list[str]:
    """History lines of 14 values."""
    chance = random.Random(seed)
    return [
        json.dumps(
            {"_step": step, "_timestamp": 1.7e9 + step * 0.37, "_runtime": step * 0.37}
            | {f"train/m{number}": chance.random() for number in range(9)}
            | {"lr": 1e-3 / (1 + step), "epoch": step // 100}
        )
        for step in range(rows)
    ]


def write(url: str, run: str, rows: int, chunk: int, gate: Any, results: Any) -> None:
    """One writer: its requests one after the other; reports the seconds that each took."""
    lines = lines_of(len(run), rows)
    bodies = [
        json.dumps(
            {"files": {"wandb-history.jsonl": {"offset": at, "content": lines[at : at + chunk]}}}
        ).encode()
        for at in range(0, rows, chunk)
    ]
    client = Client(url)
    client.ask(
        "mutation U($p:String,$r:String){upsertBucket(input:{modelName:$p,name:$r}){inserted}}",
        p=PROJECT,
        r=run,
    )
    gate.wait()
    taken = []
    for body in bodies:
        begin = time.perf_counter()
        client.post(f"/files/{ENTITY}/{PROJECT}/{run}/file_stream", body)
        taken.append(time.perf_counter() - begin)
    results.put(taken)


def read(url: str, run: str, rows: int, rounds: int, gate: Any, results: Any) -> None:
    """One reader: all pages of a run, several times; reports the seconds that each page took."""
    query = (
        "query HistoryPage($p:String!,$r:String!,$a:Int64!,$b:Int64!,$n:Int!)"
        "{project(name:$p){run(name:$r){history(minStep:$a,maxStep:$b,samples:$n)}}}"
    )
    requests = [
        json.dumps({"query": query, "variables": {"p": PROJECT, "r": run, "a": a, "b": a + PAGE, "n": PAGE}})
        for a in range(0, rows, PAGE)
    ]
    client = Client(url)
    gate.wait()
    taken = []
    for _ in range(rounds):
        for body in requests:
            begin = time.perf_counter()
            client.post("/graphql", body.encode())
            taken.append(time.perf_counter() - begin)
    results.put(taken)


def together(
    server: int, work: Callable[..., None], arguments: list[tuple[Any, ...]]
) -> tuple[float, float, list[float]]:
    """Run the work in a process per tuple of arguments; wall seconds, the server's CPU, every latency."""
    context = multiprocessing.get_context("spawn")
    gate, results = context.Barrier(len(arguments) + 1), context.Queue()
    workers = [context.Process(target=work, args=(*each, gate, results)) for each in arguments]
    for worker in workers:
        worker.start()
    gate.wait()
    begin, cpu = time.perf_counter(), cpu_of(server)
    latencies = [seconds for _ in workers for seconds in results.get()]
    wall, cpu = time.perf_counter() - begin, cpu_of(server) - cpu
    for worker in workers:
        worker.join()
    return wall, cpu, latencies


def report(title: str, rows: int, wall: float, cpu: float, latencies: list[float]) -> None:
    ordered = sorted(latencies)
    middle, late = statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"  {title:<44}{rows / wall:>12,.0f}{rows / cpu if cpu else 0:>14,.0f}{cpu / wall:>8.0%}"
        f"{middle * 1000:>9.1f}{late * 1000:>9.1f}",
        flush=True,
    )


def sqlite_limit(folder: Path, writers: int, rows: int, chunk: int) -> float:
    """CPU seconds of the same lines put straight into one file."""
    every = [lines_of(3, rows) for _ in range(writers)]
    database = sqlite3.connect(folder / "limit.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute(
        "CREATE TABLE lines(run INTEGER, line INTEGER, text TEXT, PRIMARY KEY(run, line)) WITHOUT ROWID"
    )
    begin = time.process_time()
    for at in range(0, rows, chunk):
        for run, lines in enumerate(every):
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                f"INSERT INTO lines VALUES({run},?,?)",
                enumerate(lines[at : at + chunk], at),
            )
            database.execute("COMMIT")
    taken = time.process_time() - begin
    database.close()
    return taken


def orjson_limit(pages: int) -> float:
    """CPU seconds of encoding that many pages."""
    import orjson

    answer = {"data": {"project": {"run": {"history": lines_of(1, PAGE)}}}}
    begin = time.process_time()
    for _ in range(pages):
        orjson.dumps(answer)
    return time.process_time() - begin


def with_the_sdk(server: int, url: str, home: str, runs: int, rows: int) -> None:
    """Real `wandb` runs at once; the wall time includes their start."""
    project = "sdk"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    env = {
        **clean, "WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_ENTITY": ENTITY, "WANDB_DIR": home,
        "HOME": home, "WANDB_ERROR_REPORTING": "false", "WANDB_X_DISABLE_STATS": "true",
    }  # fmt: skip
    begin, cpu = time.perf_counter(), cpu_of(server)
    command = [sys.executable, "-c", _SDK, project]
    started = [subprocess.Popen([*command, f"r{at}", str(rows)], env=env, cwd=home) for at in range(runs)]
    if any(process.wait() for process in started):
        raise SystemExit("a run of the SDK failed")
    wall, cpu = time.perf_counter() - begin, cpu_of(server) - cpu
    check(url, project, [f"r{at}" for at in range(runs)], rows)
    report(f"{runs} runs of the wandb SDK, start included", runs * rows, wall, cpu, [0.0])


def check(url: str, project: str, runs: list[str], rows: int) -> None:
    """Every row is there."""
    client = Client(url)
    query = "query Q($p:String!,$r:String!){project(name:$p){run(name:$r){historyLineCount}}}"
    for run in runs:
        found = client.ask(query, p=project, r=run)["project"]["run"]["historyLineCount"]
        if found != rows:
            raise SystemExit(f"{run} has {found} rows of {rows}")


def loads(options: argparse.Namespace, server: int, url: str, folder: Path) -> None:
    head = ("rows/s", "rows/s of CPU", "CPU", "p50 ms", "p99 ms")
    print(f"  {'':<44}{head[0]:>12}{head[1]:>14}{head[2]:>8}{head[3]:>9}{head[4]:>9}")
    for chunk, rows in ((100, options.rows), (1000, options.rows), (1, options.rows // 20)):
        runs = [f"chunk{chunk}-{at}" for at in range(options.writers)]
        figures = together(server, write, [(url, run, rows, chunk) for run in runs])
        check(url, PROJECT, runs, rows)
        report(f"{options.writers} writers, {chunk} rows a request", options.writers * rows, *figures)
        limit = sqlite_limit(folder, options.writers, rows, chunk)
        (folder / "limit.db").unlink()
        report("  limit: SQLite alone", options.writers * rows, limit, limit, [0.0])
    for readers in (1, 4):
        jobs = [(url, f"chunk100-{at}", options.rows, 4) for at in range(readers)]
        wall, cpu, latencies = together(server, read, jobs)
        report(f"{readers} readers, pages of {PAGE}", readers * 4 * options.rows, wall, cpu, latencies)
    limit = orjson_limit(200)
    report("  limit: orjson alone", 200 * PAGE, limit, limit, [0.0])
    if options.sdk:
        with_the_sdk(server, url, str(folder), options.sdk, options.rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=20)
    parser.add_argument("--rows", type=int, default=10_000, help="of each writer")
    parser.add_argument("--sdk", type=int, default=4, help="runs of the real SDK; 0 leaves them out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _SERVE, str(Path(folder) / "data"), KEY]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            loads(options, server.pid, server.stdout.readline().strip(), Path(folder))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
