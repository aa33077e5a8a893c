"""A project's export behind a network that fails, lies and comes back."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import requests
from faults_plugin import SENTINEL_KEY, Answer

from wandb_ops.export import export_project
from wandb_ops.local.serve import LocalServer
from wandb_ops.public.api import Api


class Proxy:
    """The embedded server behind a network that can be told to misbehave."""

    def __init__(self, faults, server, transport):
        self.faults = faults
        self.server = server
        self.api = Api({"base_url": faults.url, "entity": server.entity}, api_key=SENTINEL_KEY)
        self.api._transport = transport
        faults.handler = self.forward

    def forward(self, request):
        headers = {"Content-Type": request.headers.get("content-type", "")}
        auth = ("api", self.server.api_key) if request.credentials else None
        answer = requests.request(
            request.method,
            self.server.url + request.target,
            data=request.body,
            headers=headers,
            auth=auth,
            timeout=30,
        )
        body = answer.content.replace(self.server.url.encode(), self.faults.url.encode())
        return Answer(answer.status_code, body, (("Content-Type", answer.headers.get("Content-Type", "")),))


@pytest.fixture
def network(fault_server, make_transport, tmp_path_factory):
    """A server that exports histories to Parquet, behind such a network, and a client with a fast clock."""
    data = tmp_path_factory.mktemp("server")
    with LocalServer(data, parquet_after_rows=1000) as server:
        yield Proxy(fault_server, server, make_transport(fault_server))


def log_long(network, project, rows):
    from wandb_ops.protocol.filestream import FileStream
    from wandb_ops.protocol.runs import upsert_run
    from wandb_ops.protocol.values import dumps

    api = Api({"base_url": network.server.url, "entity": "local"}, api_key=network.server.api_key)
    where = {"entity": "local", "project": project, "run_id": "r"}
    upsert_run(api.transport, **where)
    stream = FileStream(api.transport, **where, offsets={"wandb-history.jsonl": 0})
    stream.append("wandb-history.jsonl", [dumps(row) for row in rows])
    stream.finish(0)


LONG = [{"_step": i, "_timestamp": 10.0 + i, "loss": i / 7} for i in range(3500)]


def steps_of(path):
    return pq.read_table(path).column("_step").to_pylist()


CUT_GZIP = Answer(
    body=gzip.compress(b'{"data": {}}' * 99)[:40],
    headers=(("Content-Type", "application/json"), ("Content-Encoding", "gzip")),
)


def is_part(request):
    return request.method == "GET" and ".parquet" in request.path


@pytest.mark.parametrize(
    ("matcher", "answer", "nth"),
    [
        ("RunParquetHistory", Answer(status=502, body=b"<html>bad gateway</html>"), {1, 2, 3}),
        ("ExportRuns", Answer(status=502, body=b"<html>bad gateway</html>"), {1, 2}),
        (is_part, Answer(status=403, body=b"<Error>Request has expired</Error>"), {1}),
        (is_part, Answer(reset=True), {1, 2}),
        (is_part, Answer(cut_at=200, apply_first=True, body=b"PAR1" * 500), {1}),
        ("ExportRuns", CUT_GZIP, {1}),
        (None, Answer(status=502, body=b"storm"), set(range(1, 40, 2))),
    ],
    ids=["502 on urls", "502 on list", "expired url", "reset", "cut part", "truncated gzip", "storm"],
)  # fmt: skip
def test_a_network_that_misbehaves_for_a_while_changes_nothing(network, tmp_path, matcher, answer, nth):
    log_long(network, "p", LONG)
    network.faults.on(matcher, answer, nth)
    done = export_project(network.api, project="p", to=tmp_path)
    assert done.ok, done.not_taken
    assert steps_of(tmp_path / "history" / "r.parquet") == [row["_step"] for row in LONG]
    sent = {r.operation for r in network.faults.requests if r.path == "/graphql"}
    assert not [r for r in network.faults.requests if b"mutation" in r.plain_body]
    assert "ExportRuns" in sent


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "delta"])
def test_a_network_that_stays_down_leaves_the_earlier_export(network, tmp_path, kind):
    log_long(network, "p", LONG[:2000])
    assert export_project(network.api, project="p", to=tmp_path, format=kind).ok
    before = {p: p.read_bytes() for p in Path(tmp_path).rglob("*") if p.is_file()}
    log_long_more(network, "p")
    for operation in ("HistoryPage", "RunParquetHistory"):
        network.faults.on(operation, Answer(status=503, body=b"down"), None)
    network.faults.on(is_part, Answer(status=503, body=b"down"), None)
    done = export_project(network.api, project="p", to=tmp_path, format=kind, include=("history",))
    assert [(n.run_id, n.error, n.retryable) for n in done.not_taken] == [("r", "ServerError", True)]
    assert {p: p.read_bytes() for p in Path(tmp_path).rglob("*") if p.is_file()} == before


def log_long_more(network, project):
    from wandb_ops.protocol.filestream import FileStream
    from wandb_ops.protocol.values import dumps

    api = Api({"base_url": network.server.url, "entity": "local"}, api_key=network.server.api_key)
    where = {"entity": "local", "project": project, "run_id": "r"}
    stream = FileStream(api.transport, **where, offsets={"wandb-history.jsonl": 2000})
    stream.append("wandb-history.jsonl", [dumps(row) for row in LONG[2000:]])
    stream.finish(0)
