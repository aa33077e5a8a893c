"""A scripted W&B server that keeps rows as texts and does wrong what a test tells it to do wrong."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from wandb_ops.history.ref import RunRef
from wandb_ops.settings import Settings
from wandb_ops.transport.retry import RetryPolicy
from wandb_ops.transport.session import Transport

KEY = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class ScriptedRun:
    """One run: what it holds, and what is wrong with its server."""

    url: str
    run_id: str
    texts: list[str] = field(default_factory=list)
    steps: list[int | None] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    state: str = "finished"
    line_count: int | None = None  # what the server claims, when it is not the truth
    last_step: int | None = None
    parts: dict[str, bytes] = field(default_factory=dict)
    live: list[Any] = field(default_factory=list)
    expired: int = 0  # signatures up to this number are refused
    signature: int = 0
    on_request: Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]] | None] | None = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def ref(self) -> RunRef:
        return RunRef("ent", "proj", self.run_id)

    @property
    def pages(self) -> list[tuple[int, int]]:
        """Step windows asked for, in order."""
        return [(v["minStep"], v["maxStep"]) for name, v in self.asked if name == "HistoryPage"]

    def log(self, *rows: dict[str, Any] | str) -> None:
        """Rows as dicts, or as the JSON text itself."""
        for row in rows:
            text = row if isinstance(row, str) else json.dumps(row)
            self.texts.append(text)
            self.steps.append(json.loads(text).get("_step"))

    def export(self, name: str, columns: dict[str, Any]) -> None:
        """One Parquet part."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        out = io.BytesIO()
        pq.write_table(pa.table(columns), out)
        self.parts[name] = out.getvalue()

    def answer(self, name: str, variables: dict[str, Any]) -> dict[str, Any]:
        if name == "RunHistorySources":
            return self.answer("RunHistoryCounts", variables) | self.answer("RunParquetHistory", variables)
        if name == "RunHistoryCounts":
            known = [step for step in self.steps if step is not None]
            last = self.last_step if self.last_step is not None else max(known, default=-1)
            return {
                "id": "UnVu",
                "state": self.state,
                "heartbeatAt": "2026-01-01T00:00:00Z",
                "historyLineCount": len(self.texts) if self.line_count is None else self.line_count,
                "historyKeys": {"lastStep": last, "keys": {}},
            }
        if name == "RunEventsCount":
            return {"id": "UnVu", "eventsLineCount": len(self.events)}
        if name == "HistoryPage":
            low, high = variables["minStep"], variables["maxStep"]
            inside = [
                (step, text)
                for step, text in zip(self.steps, self.texts, strict=True)
                if step is not None and low <= step < high
            ]
            inside.sort(key=lambda pair: pair[0])
            return {"history": thinned([text for _, text in inside], variables["pageSize"])}
        if name == "RunFullHistory":
            rows = {"history": thinned(self.texts, variables["samples"])}
            return rows | {"events": thinned(self.events, variables["samples"])}
        if name == "RunParquetHistory":
            self.signature += 1
            urls = [
                f"{self.url}/parts/{self.run_id}/{part}?signature={self.signature}" for part in self.parts
            ]
            return {"parquetHistory": {"parquetUrls": urls, "liveData": self.live}}
        raise AssertionError(f"unexpected operation {name}")


def thinned(texts: list[str], samples: int) -> list[str]:
    """W&B's way with too many rows: some of them."""
    if len(texts) <= samples:
        return texts
    return [texts[index * len(texts) // samples] for index in range(samples)]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement
    runs: dict[str, ScriptedRun]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, variables = body["operationName"], body["variables"]
        run = self.runs.get(variables["run"])
        if run is None:
            self.reply(200, json.dumps({"data": {"project": {"run": None}}}).encode())
            return
        run.asked.append((name, variables))
        scripted = run.on_request(name, variables) if run.on_request else None
        if scripted is not None:
            status, answer = scripted
        else:
            status, answer = 200, {"data": {"project": {"run": run.answer(name, variables)}}}
        self.reply(status, json.dumps(answer).encode())

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        _, _, run_id, name = parts.path.split("/")
        run = self.runs[run_id]
        run.asked.append(("GET", {"name": name}))
        if int(parse_qs(parts.query)["signature"][0]) <= run.expired:
            self.reply(403, b"<Error><Code>ExpiredToken</Code></Error>", "application/xml")
            return
        self.reply(200, run.parts[name], "application/octet-stream")

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def scripted_server() -> Iterator[tuple[str, dict[str, ScriptedRun]]]:
    runs: dict[str, ScriptedRun] = {}
    handler = type("Handler", (_Handler,), {"runs": runs})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", runs
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run(scripted_server: tuple[str, dict[str, ScriptedRun]]) -> ScriptedRun:
    """A new, empty run on the scripted server."""
    url, runs = scripted_server
    made = ScriptedRun(url, f"run{len(runs)}")
    runs[made.run_id] = made
    return made


@pytest.fixture
def new_run(scripted_server: tuple[str, dict[str, ScriptedRun]]) -> Callable[[], ScriptedRun]:
    """Makes runs, for tests that need one per example."""
    url, runs = scripted_server

    def make() -> ScriptedRun:
        made = ScriptedRun(url, f"run{len(runs)}")
        runs[made.run_id] = made
        return made

    return make


@pytest.fixture(scope="session")
def transport(scripted_server: tuple[str, dict[str, ScriptedRun]]) -> Iterator[Transport]:
    """A connection to the scripted server that tries each request twice and never waits."""
    made = client(scripted_server[0], KEY, policy=RetryPolicy(attempts=2))
    yield made
    made.close()


def client(url: str, key: str, policy: RetryPolicy | None = None) -> Transport:
    settings = Settings(
        base_url=url,
        api_key=key,
        key_source="argument",
        base_url_source="argument",
        entity=None,
        project=None,
        run=None,
        timeout=30.0,
    )
    return Transport(settings, policy=policy, sleep=lambda seconds: None)


@pytest.fixture(scope="session")
def connect() -> Callable[[str, str], Transport]:
    """A connection to any server."""
    return client
