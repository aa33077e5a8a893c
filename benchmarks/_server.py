"""The embedded server in its own process, histories on it, and a proxy that counts or delays requests."""

from __future__ import annotations

import base64
import contextlib
import json
import multiprocessing
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

ENTITY, PROJECT, KEY = "local", "bench", "b" * 40
PAGES, EXPORTED = "pages", "exported"  # run ids: a run that goes on is not exported, one that ended is
CHUNK = 5000

_UPSERT = (
    "mutation UpsertBucket($n:String!,$p:String!,$e:String!,$c:JSONString,$s:JSONString){upsertBucket(input:"
    "{name:$n,modelName:$p,entityName:$e,config:$c,summaryMetrics:$s}){bucket{id}}}"
)


def serve_in_process(data: str, channel: Any) -> None:
    """The embedded server, until the process is ended."""
    from wandb_ops.local.serve import LocalServer

    with LocalServer(data=Path(data), entity=ENTITY, api_key=KEY, parquet_after_rows=1) as server:
        channel.send(server.url)
        channel.recv()


@contextlib.contextmanager
def embedded() -> Iterator[str]:
    """The address of a new server."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as data:
        here, there = context.Pipe()
        server = context.Process(target=serve_in_process, args=(data, there), daemon=True)
        server.start()
        try:
            yield here.recv()
        finally:
            server.terminate()
            server.join()


def session_to() -> requests.Session:
    """A session that may write."""
    session = requests.Session()
    session.headers["Authorization"] = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
    return session


def _upsert(session: requests.Session, url: str, run: str, project: str, **more: Any) -> None:
    variables = {"n": run, "p": project, "e": ENTITY, **more}
    answer = session.post(f"{url}/graphql", json={"query": _UPSERT, "variables": variables}).json()
    if "errors" in answer:
        raise SystemExit(f"the server refused a run: {answer['errors']}")


def log_runs(url: str, rows: int, runs: tuple[str, ...] = (PAGES, EXPORTED)) -> float:
    """Log the same rows to each of the runs; the sum of one column. `EXPORTED` is finished."""
    session = session_to()
    rng = random.Random(7)
    total = 0.0
    for run in runs:
        _upsert(session, url, run, PROJECT)
    for start in range(0, rows, CHUNK):
        lines = []
        for step in range(start, min(start + CHUNK, rows)):
            row: dict[str, Any] = {"_step": step, "_timestamp": 1.7e9 + step * 0.37, "_runtime": step * 0.37}
            row |= {f"train/m{n}": rng.random() for n in range(9)}
            row |= {"lr": 1e-3 / (1 + step), "epoch": step // 100}
            total += row["train/m3"]
            lines.append(json.dumps(row))
        for run in runs:
            body = {"files": {"wandb-history.jsonl": {"offset": start, "content": lines}}}
            session.post(f"{url}/files/{ENTITY}/{PROJECT}/{run}/file_stream", json=body).raise_for_status()
    if EXPORTED in runs:
        finish = {"complete": True, "exitcode": 0}
        session.post(f"{url}/files/{ENTITY}/{PROJECT}/{EXPORTED}/file_stream", json=finish).raise_for_status()
    # The server counts a run's keys when it is first asked for them: nobody's reading should pay for that.
    keys = (
        "query Q($n:String!,$p:String!,$e:String!){project(name:$p,entityName:$e){run(name:$n){historyKeys}}}"
    )
    for run in runs:
        variables = {"n": run, "p": PROJECT, "e": ENTITY}
        session.post(f"{url}/graphql", json={"query": keys, "variables": variables}).raise_for_status()
    return total


def log_configs(url: str, project: str, runs: int) -> float:
    """Many runs with a config and a summary; the sum over both."""
    session = session_to()
    total = 0.0
    for number in range(runs):
        config = {f"p{n}": {"value": number * n} for n in range(20)}
        summary = {f"m{n}": number / (n + 1) for n in range(20)}
        total += config["p3"]["value"] + summary["m3"]
        _upsert(session, url, f"run{number}", project, c=json.dumps(config), s=json.dumps(summary))
    return total


class _Proxy(BaseHTTPRequestHandler):
    """Passes requests on to the server, `seconds` late, and counts them."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    upstream = ""
    seconds = 0.0
    counted: list[str]
    sessions = threading.local()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {k: v for k, v in self.headers.items() if k.lower() in ("authorization", "content-type")}
        self.counted.append(self.path)
        time.sleep(self.seconds)
        session = self.sessions.__dict__.setdefault("session", requests.Session())
        answer = session.post(self.upstream + self.path, data=body, headers=headers, timeout=600)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that ended without closing its connection is none."""


@contextlib.contextmanager
def proxied(url: str, seconds: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """A server in front of `url` that answers late: its address, and the path of every request."""
    counted: list[str] = []
    handler = type("Proxy", (_Proxy,), {"upstream": url, "seconds": seconds, "counted": counted})
    server = _Quiet(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", counted
    finally:
        server.shutdown()
        server.server_close()
