"""A project's export under fire: killed at every point, starved of disk, lied to by the network."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import requests
from faults_plugin import SENTINEL_KEY, Answer

from wandb_ops.export import export_project
from wandb_ops.local.serve import LocalServer
from wandb_ops.public.api import Api

ROWS = {
    "a": [{"_step": i, "_timestamp": 100.0 + i, "loss": 1 / (i + 1), "text": f"t{i}"} for i in range(40)],
    "b": [{"_step": i * 1000, "x": i} for i in range(5)],
}

CRASHES = textwrap.dedent(
    """
    import hashlib, json, os, signal, sys
    from pathlib import Path

    import pandas, pyarrow.compute, pyarrow.parquet  # here, not in each of the children
    from wandb_ops.export import export_project, filesink, stream
    from wandb_ops.public.api import Api

    folder, project, kind = sys.argv[1:]

    def export(to):
        done = export_project(Api(), project=project, to=to, format=kind, concurrency=1,
                              include=("runs", "history", "system")[: 3 if kind == "parquet" else 2])
        assert done.ok, done.not_taken

    def content(to):
        return {str(p.relative_to(to)): hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted(Path(to).rglob("*")) if p.is_file()}

    class Counter:
        seen, at = 0, 0

    def counted(real):
        def call(*args, **kwargs):
            Counter.seen += 1
            if Counter.seen == Counter.at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

    for name in ("fsync", "replace", "fchmod"):
        setattr(os, name, counted(getattr(os, name)))

    def child(work):
        # Arrow's and the export's threads must not live in the process that forks.
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def counting():
        export(f"{folder}/whole")
        Path(folder, "points").write_text(str(Counter.seen))

    assert child(counting) == 0
    points, expected, report = int(Path(folder, "points").read_text()), content(f"{folder}/whole"), []
    for at in range(1, points + 1):
        to = f"{folder}/{at}"

        def killed():
            Counter.seen, Counter.at = 0, at
            export(to)

        code = child(killed)
        between = content(to)
        torn = [name for name, digest in between.items()
                if "wandb-ops-part" not in name and expected.get(name) != digest]
        again = child(lambda: export(to))
        after = content(to)
        report.append({"killed": code, "torn": torn, "again": again, "same": after == expected,
                       "litter": sorted(after.keys() - expected.keys())})
    print(json.dumps(report))
    """
)


@pytest.fixture
def two(project):
    for name, rows in ROWS.items():
        project.log(name, rows, config={"lr": 0.1})
    return project


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_killed_at_every_flush_and_rename_the_next_export_ends_with_the_same_files(two, tmp_path, kind):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CRASHES, str(tmp_path), two.name, kind],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **two.server.env},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert 12 <= len(report) <= 60
    for point in report:
        assert point == {"killed": -9, "torn": [], "again": 0, "same": True, "litter": []}


FULL_DISK = textwrap.dedent(
    """
    import json, os, resource, signal, sys
    from pathlib import Path

    import pandas, pyarrow.compute, pyarrow.parquet, pyarrow.dataset, deltalake
    from wandb_ops.export import export_project, filesink, lakesink, stream
    from wandb_ops.public.api import Api

    project, folder = sys.argv[1:]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def export(kind, limit):
        pid = os.fork()
        if pid == 0:
            try:
                if limit:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                done = export_project(Api(), project=project, to=f"{folder}/{kind}", format=kind)
                outcome = [[n.run_id, n.what, n.error] for n in done.not_taken], done.unchanged
                Path(folder, "outcome").write_text(json.dumps(outcome))
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return json.loads(Path(folder, "outcome").read_text())

    kinds = ("parquet", "csv", "delta")
    print(json.dumps({kind: [export(kind, limit) for limit in (20_000, 0, 0)] for kind in kinds}))
    """
)


def test_a_disk_that_takes_no_more_leaves_what_was_there_and_the_rest_follows_later(two, tmp_path):
    """The kernel refuses to let any file of the process grow beyond 20 kB."""
    two.log("big", [{"_step": i, "t": hashlib.sha256(str(i).encode()).hexdigest()} for i in range(3000)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FULL_DISK, two.name, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **two.server.env},
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    for starved, relieved, again in json.loads(done.stdout).values():
        assert ["big", "history", "OutputError"] in starved[0]
        assert relieved[0] == []
        assert again == [[], 3]


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
