"""Reading a long history: this project and the real wandb client, side by side on the same embedded server.

Run it with `make bench`, or `python benchmarks/history.py --rows 200000 --rounds 3`. Every reading is made in
a fresh interpreter, the two clients in turns, so that neither profits from a quiet minute; medians are shown,
and the ratio of the medians. Wall time is from the first call to the last row, without imports. CPU is that
of the client with its child processes (the wandb client does its work in one). Peak is the resident memory
of the interpreter alone, imports included.

What was read is checked in each child: the number of rows and the sum of a column.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import multiprocessing
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

ENTITY, PROJECT, KEY = "local", "bench", "b" * 40
PAGES, EXPORTED = "pages", "exported"  # run ids: a run that goes on is not exported, one that ended is
CHUNK = 5000


# ---------------------------------------------------------------- readings, each in an interpreter of its own


def ours_scan(run: str) -> tuple[int, float]:
    from wandb_ops.history.read import scan_rows

    rows = list(scan_rows(_transport(), _ref(run)))
    return len(rows), sum(row["train/m3"] for row in rows)


def ours_frame(run: str) -> tuple[int, float]:
    from wandb_ops.history.read import read_table

    frame = read_table(_transport(), _ref(run)).to_pandas()
    return len(frame), float(frame["train/m3"].sum())


def wandb_scan(run: str) -> tuple[int, float]:
    rows = list(_wandb_run(run).scan_history())
    return len(rows), sum(row["train/m3"] for row in rows)


def wandb_frame(run: str) -> tuple[int, float]:
    import pandas as pd

    frame = pd.DataFrame(_wandb_run(run).scan_history())
    return len(frame), float(frame["train/m3"].sum())


def limit_scan(run: str) -> tuple[int, float]:
    """The least that any client must do: fetch the same pages and have a C parser make dicts of them."""
    import orjson

    query = (
        "query Q($e:String!,$p:String!,$r:String!,$a:Int64!,$b:Int64!){project(name:$p,entityName:$e)"
        "{run(name:$r){history(minStep:$a,maxStep:$b,samples:1001)}}}"
    )
    session = requests.Session()
    session.auth = ("api", KEY)
    rows: list[dict[str, Any]] = []
    while True:
        variables = {"e": ENTITY, "p": PROJECT, "r": run, "a": len(rows), "b": len(rows) + 1000}
        body = json.dumps({"query": query, "variables": variables})
        answer = session.post(
            f"{os.environ['WANDB_BASE_URL']}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        texts = orjson.loads(answer.content)["data"]["project"]["run"]["history"]
        if not texts:
            return len(rows), sum(row["train/m3"] for row in rows)
        rows += orjson.loads("[" + ",".join(texts) + "]")


READINGS: dict[str, Callable[[str], tuple[int, float]]] = {
    f.__name__: f for f in (ours_scan, ours_frame, wandb_scan, wandb_frame, limit_scan)
}


def _transport() -> Any:
    from wandb_ops.settings import resolve
    from wandb_ops.transport.session import Transport

    return Transport(resolve())


def _ref(run: str) -> Any:
    from wandb_ops.history.ref import RunRef

    return RunRef(ENTITY, PROJECT, run)


def _wandb_run(run: str) -> Any:
    import wandb

    return wandb.Api(timeout=600).run(f"{ENTITY}/{PROJECT}/{run}")


def child(reading: str, run: str) -> None:
    """One reading; its figures as one line of JSON."""
    import pandas as pd  # noqa: F401 - imports are not what is measured here
    import pyarrow.parquet as pq  # noqa: F401 - the same

    if reading.startswith("wandb"):
        import wandb  # noqa: F401 - the same
    read = READINGS[reading]
    gc.collect()
    before, started = _cpu(), time.perf_counter()
    rows, total = read(run)
    wall = time.perf_counter() - started
    figures = {
        "wall": wall,
        "cpu": _cpu() - before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": rows,
        "sum": total,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    os._exit(0)  # the wandb client's child would be waited for otherwise


def _cpu() -> float:
    """CPU seconds of this process and of its living children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    ticks = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


# ---------------------------------------------------------------- the server and its data


def serve_in_process(data: str, channel: Any) -> None:
    """The embedded server, until the process is ended."""
    from wandb_ops.local.serve import LocalServer

    with LocalServer(data=Path(data), entity=ENTITY, api_key=KEY, parquet_after_rows=1) as server:
        channel.send(server.url)
        channel.recv()


def log_runs(url: str, rows: int) -> float:
    """Log the same rows to both runs; the sum of one column."""
    session = requests.Session()
    session.headers["Authorization"] = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
    rng = random.Random(7)
    total = 0.0
    upsert = (
        "mutation UpsertBucket($n:String!,$p:String!,$e:String!){upsertBucket(input:"
        "{name:$n,modelName:$p,entityName:$e}){bucket{id}}}"
    )
    for run in (PAGES, EXPORTED):
        variables = {"n": run, "p": PROJECT, "e": ENTITY}
        answer = session.post(f"{url}/graphql", json={"query": upsert, "variables": variables}).json()
        if "errors" in answer:
            raise SystemExit(f"the server refused a run: {answer['errors']}")
    for start in range(0, rows, CHUNK):
        lines = []
        for step in range(start, min(start + CHUNK, rows)):
            row: dict[str, Any] = {"_step": step, "_timestamp": 1.7e9 + step * 0.37, "_runtime": step * 0.37}
            row |= {f"train/m{n}": rng.random() for n in range(9)}
            row |= {"lr": 1e-3 / (1 + step), "epoch": step // 100}
            total += row["train/m3"]
            lines.append(json.dumps(row))
        for run in (PAGES, EXPORTED):
            body = {"files": {"wandb-history.jsonl": {"offset": start, "content": lines}}}
            session.post(f"{url}/files/{ENTITY}/{PROJECT}/{run}/file_stream", json=body).raise_for_status()
    finish = {"complete": True, "exitcode": 0}
    session.post(f"{url}/files/{ENTITY}/{PROJECT}/{EXPORTED}/file_stream", json=finish).raise_for_status()
    # The server counts a run's keys when it is first asked for them: nobody's reading should pay for that.
    keys = (
        "query Q($n:String!,$p:String!,$e:String!){project(name:$p,entityName:$e){run(name:$n){historyKeys}}}"
    )
    for run in (PAGES, EXPORTED):
        variables = {"n": run, "p": PROJECT, "e": ENTITY}
        session.post(f"{url}/graphql", json={"query": keys, "variables": variables}).raise_for_status()
    return total


class _Delay(BaseHTTPRequestHandler):
    """Passes requests on to the server, `seconds` late."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    upstream = ""
    seconds = 0.0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {k: v for k, v in self.headers.items() if k.lower() in ("authorization", "content-type")}
        time.sleep(self.seconds)
        answer = requests.post(self.upstream + self.path, data=body, headers=headers, timeout=600)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def delayed(url: str, seconds: float) -> tuple[ThreadingHTTPServer, str]:
    """A server in front of `url` that answers late."""
    handler = type("Delay", (_Delay,), {"upstream": url, "seconds": seconds})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


# ---------------------------------------------------------------- the comparison


def measure(reading: str, run: str, url: str, expected: tuple[int, float]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
        places = {f"WANDB_{name}_DIR": home for name in ("CACHE", "DATA", "CONFIG", "ARTIFACT")}
        env = (
            clean
            | places
            | {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_DIR": home, "WANDB_SILENT": "true"}
        )
        done = subprocess.run(
            [sys.executable, __file__, "--child", reading, "--run", run],
            env=env, capture_output=True, text=True, timeout=1200, check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{reading} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    if (figures["rows"], round(figures["sum"], 6)) != (expected[0], round(expected[1], 6)):
        raise SystemExit(
            f"{reading} read {figures['rows']:.0f} rows with sum {figures['sum']}, not {expected}"
        )
    return figures


def compare(
    title: str, readings: list[str], run: str, url: str, expected: tuple[int, float], rounds: int
) -> list[dict[str, Any]]:
    """One table: medians of each reading, and how many times slower than the first it is."""
    seen: dict[str, list[dict[str, float]]] = {reading: [] for reading in readings}
    for _ in range(rounds):
        for reading in readings:
            seen[reading].append(measure(reading, run, url, expected))
    print(f"\n{title} ({expected[0]:,} rows, median of {rounds})")
    print(f"  {'':<14}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'wall x':>8}{'CPU x':>8}")
    results = []
    for reading in readings:
        middle = {k: statistics.median(f[k] for f in seen[reading]) for k in ("wall", "cpu", "peak_mb")}
        first = results[0] if results else middle
        ratio = {"wall_x": middle["wall"] / first["wall"], "cpu_x": middle["cpu"] / first["cpu"]}
        results.append({"work": title, "reading": reading, **middle, **ratio})
        print(
            f"  {reading:<14}{middle['wall']:>9.2f}{middle['cpu']:>9.2f}{middle['peak_mb']:>9.0f}"
            f"{ratio['wall_x']:>8.1f}{ratio['cpu_x']:>8.1f}",
            flush=True,
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.3, help="seconds; 0 leaves that table out")
    parser.add_argument("--ours-only", action="store_true", help="leave the wandb client out")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--child", choices=sorted(READINGS), help=argparse.SUPPRESS)
    parser.add_argument("--run", default=PAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.run)
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as data:
        here, there = context.Pipe()
        server = context.Process(target=serve_in_process, args=(data, there), daemon=True)
        server.start()
        try:
            url = here.recv()
            expected = (options.rows, log_runs(url, options.rows))
            results = tables(options, url, expected)
        finally:
            server.terminate()
            server.join()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def tables(options: argparse.Namespace, url: str, expected: tuple[int, float]) -> list[dict[str, Any]]:
    def theirs(name: str) -> list[str]:
        return [] if options.ours_only else [name]

    results = compare(
        "rows as dicts, from pages",
        ["ours_scan", *theirs("wandb_scan"), "limit_scan"],
        PAGES,
        url,
        expected,
        options.rounds,
    )
    results += compare(
        "DataFrame, from pages", ["ours_frame", *theirs("wandb_frame")], PAGES, url, expected, options.rounds
    )
    results += compare(
        "rows as dicts, from Parquet exports",
        ["ours_scan", *theirs("wandb_scan")],
        EXPORTED,
        url,
        expected,
        options.rounds,
    )
    results += compare(
        "DataFrame, from Parquet exports",
        ["ours_frame", *theirs("wandb_frame")],
        EXPORTED,
        url,
        expected,
        options.rounds,
    )
    if options.latency:
        proxy, slow = delayed(url, options.latency)
        title = f"DataFrame, from pages, {options.latency * 1000:.0f} ms latency"
        results += compare(title, ["ours_frame", *theirs("wandb_frame")], PAGES, slow, expected, 1)
        proxy.shutdown()
    return results


if __name__ == "__main__":
    main()
