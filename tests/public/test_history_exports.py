"""`Run.download_history_exports`: the same files as the SDK's, whole, counted, and gone on with."""

from __future__ import annotations

import inspect
import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

import wandb_ops
from wandb_ops import DataError, IncompleteRunHistoryError, UsageError
from wandb_ops.local.serve import LocalServer
from wandb_ops.public import DownloadHistoryResult

ROWS = [{"_step": step, "loss": step / 4, "name": f"é{step}"} for step in range(25)]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    settings = {"parquet_after_rows": 5, "parquet_rows_per_part": 10}
    with LocalServer(data=tmp_path_factory.mktemp("exports"), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def session(server: LocalServer) -> requests.Session:
    session = requests.Session()
    session.auth = ("api", server.api_key)
    session.trust_env = False
    return session


def write(
    server: LocalServer,
    session: requests.Session,
    rows: list[dict[str, Any]],
    *,
    exit_code: int | None = 0,
    run_id: str | None = None,
    offset: int = 0,
) -> str:
    """A run with these rows, written without wandb_ops; returns its path."""
    name = run_id or f"r{next(_numbers)}"
    created = session.post(
        f"{server.url}/graphql",
        json={
            "query": "mutation M($i: UpsertBucketInput!) { upsertBucket(input: $i) { inserted } }",
            "variables": {"i": {"name": name, "modelName": "p", "entityName": server.entity}},
        },
        timeout=30,
    )
    assert "errors" not in created.json()
    body: dict[str, Any] = {
        "files": {"wandb-history.jsonl": {"offset": offset, "content": [json.dumps(row) for row in rows]}}
    }
    if exit_code is not None:
        body |= {"complete": True, "exitcode": exit_code}
    url = f"{server.url}/files/{server.entity}/p/{name}/file_stream"
    assert session.post(url, json=body, timeout=30).status_code == 200
    return f"{server.entity}/p/{name}"


def api_of(server: LocalServer) -> wandb_ops.Api:
    return wandb_ops.Api(overrides={"base_url": server.url}, api_key=server.api_key)


def rows_of(result: DownloadHistoryResult) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found = []
    for path in result.paths:
        found += [
            {key: value for key, value in row.items() if value is not None}
            for row in pq.read_table(path).to_pylist()
        ]
    return found


def test_the_files_hold_the_rows_that_were_logged(
    server: LocalServer, session: requests.Session, tmp_path: Path
) -> None:
    path = write(server, session, ROWS)
    result = api_of(server).run(path).download_history_exports(tmp_path / "deep" / "folder")
    stem = path.replace("/", "_")
    assert [each.name for each in result.paths] == [f"{stem}_{n}.runhistory.parquet" for n in range(3)]
    assert rows_of(result) == ROWS
    assert (result.contains_live_data, result.errors) == (False, {})
    assert sorted(each.name for each in (tmp_path / "deep" / "folder").iterdir()) == [
        each.name for each in result.paths
    ]


@pytest.mark.sdk
def test_the_sdk_downloads_the_same_files(
    server: LocalServer, session: requests.Session, tmp_path: Path, sdk_home: None
) -> None:
    import wandb
    from wandb.apis.public import Run

    finished = write(server, session, ROWS)
    resumed = write(server, session, ROWS[:10])
    run_id = resumed.rpartition("/")[2]
    write(server, session, ROWS[10:12], exit_code=None, run_id=run_id, offset=10)
    theirs = wandb.Api(overrides={"base_url": server.url}, api_key=server.api_key, timeout=60)
    ours = api_of(server)
    # Ours come in order of step, the SDK's in that in which their downloads ended.
    one = theirs.run(finished).download_history_exports(tmp_path / "theirs")
    other = ours.run(finished).download_history_exports(tmp_path / "ours")
    assert [path.name for path in other.paths] == sorted(path.name for path in one.paths)
    assert [path.read_bytes() for path in other.paths] == [path.read_bytes() for path in sorted(one.paths)]
    assert (other.contains_live_data, other.errors) == (one.contains_live_data, one.errors)
    partly = [
        api.run(resumed).download_history_exports(tmp_path / name, require_complete_history=False)
        for name, api in {"theirs": theirs, "ours": ours}.items()
    ]
    assert [path.name for path in partly[0].paths] == [path.name for path in partly[1].paths]
    assert partly[0].contains_live_data is partly[1].contains_live_data is True
    for api in (theirs, ours):
        with pytest.raises(Exception) as caught:
            api.run(resumed).download_history_exports(tmp_path / "none")
        assert type(caught.value).__name__ == "IncompleteRunHistoryError"
    assert list((tmp_path / "none").glob("*")) == []
    signatures = [inspect.signature(each.download_history_exports) for each in (Run, wandb_ops.public.Run)]
    names = [[(p.name, p.default) for p in each.parameters.values()] for each in signatures]
    assert names[0] == names[1]


def test_rows_that_nobody_says_are_missing_are_missed(
    server: LocalServer, session: requests.Session, tmp_path: Path
) -> None:
    """The SDK returns no files and `contains_live_data=False` for such a run."""
    path = write(server, session, [*ROWS[:3], {"_step": 3, "loss": None}, {"_step": 4, "loss": 1.0}])
    run = api_of(server).run(path)
    with pytest.raises(IncompleteRunHistoryError, match="5 rows") as caught:
        run.download_history_exports(tmp_path)
    assert caught.value.retryable
    assert caught.value.where == path
    assert run.download_history_exports(tmp_path, require_complete_history=False) == DownloadHistoryResult(
        [], contains_live_data=True
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_history_is_complete(
    server: LocalServer, session: requests.Session, tmp_path: Path
) -> None:
    path = write(server, session, [])
    assert api_of(server).run(path).download_history_exports(tmp_path) == DownloadHistoryResult(
        [], contains_live_data=False
    )


class Between:
    """A proxy that counts downloads and spoils those it is told to."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.asked: list[str] = []
        self.spoil: dict[int, bytes | int] = {}  # number of a download -> status, or other content
        between = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                between.asked.append(self.path.split("?")[0])
                spoiled = between.spoil.get(len(between.asked))
                if isinstance(spoiled, int):
                    self.send_response(spoiled)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self._pass(None, spoiled)

            def do_POST(self) -> None:
                self._pass(self.rfile.read(int(self.headers["Content-Length"])), None)

            def _pass(self, body: bytes | None, instead: bytes | None) -> None:
                headers = {
                    k: v for k, v in self.headers.items() if k.lower() in {"authorization", "content-type"}
                }
                answer = requests.request(
                    self.command, between.server.url + self.path, data=body, headers=headers, timeout=30
                )
                content = instead if instead is not None else answer.content
                content = content.replace(between.server.url.encode(), between.url.encode())
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: Any) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def run(self, path: str) -> wandb_ops.public.Run:
        api = wandb_ops.Api(overrides={"base_url": self.url}, api_key=self.server.api_key)
        return api.run(path)


@pytest.fixture
def between(server: LocalServer) -> Iterator[Between]:
    made = Between(server)
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_after_an_interruption_it_goes_on_where_it_stopped(
    server: LocalServer, session: requests.Session, between: Between, tmp_path: Path
) -> None:
    path = write(server, session, ROWS)
    between.spoil = {2: 422}
    with pytest.raises(wandb_ops.StatusError):
        between.run(path).download_history_exports(tmp_path)
    assert list(tmp_path.glob("*.parquet")) == []  # no file appears before all are there
    (tmp_path / ".somebody-elses.wandb-ops-waiting").write_text("x")
    begun = len(between.asked)
    result = between.run(path).download_history_exports(tmp_path)
    assert rows_of(result) == ROWS
    assert len(between.asked) - begun == 2  # the first file was there
    assert {each.name for each in tmp_path.iterdir() if each not in result.paths} == {
        ".somebody-elses.wandb-ops-waiting"
    }


def test_a_url_that_ran_out_is_asked_for_again(
    server: LocalServer, session: requests.Session, between: Between, tmp_path: Path
) -> None:
    path = write(server, session, ROWS)
    between.spoil = {2: 403}
    assert rows_of(between.run(path).download_history_exports(tmp_path)) == ROWS
    assert len(between.asked) == 4


def test_what_is_no_parquet_is_refused_and_not_kept(
    server: LocalServer, session: requests.Session, between: Between, tmp_path: Path
) -> None:
    path = write(server, session, ROWS)
    between.spoil = {1: b"PAR1 is not enough"}
    with pytest.raises(DataError, match="exported file 1 of 3"):
        between.run(path).download_history_exports(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_there_twice_are_refused(
    server: LocalServer, session: requests.Session, between: Between, tmp_path: Path
) -> None:
    path = write(server, session, ROWS)
    whole = api_of(server).run(path).download_history_exports(tmp_path / "whole")
    between.spoil = {2: whole.paths[0].read_bytes(), 3: whole.paths[0].read_bytes()}
    with pytest.raises(DataError, match=r"hold 30 rows, the run 25"):
        between.run(path).download_history_exports(tmp_path / "twice")
    assert list((tmp_path / "twice").glob("*.parquet")) == []


def test_an_older_export_is_replaced_and_never_taken_for_the_new_one(
    server: LocalServer, session: requests.Session, between: Between, tmp_path: Path
) -> None:
    path = write(server, session, ROWS[:20])
    first = between.run(path).download_history_exports(tmp_path)
    assert rows_of(first) == ROWS[:20]
    write(server, session, ROWS[20:], run_id=path.rpartition("/")[2], offset=20)
    again = between.run(path).download_history_exports(tmp_path)
    assert rows_of(again) == ROWS
    assert len(again.paths) == 3


def test_the_folder_must_be_one(server: LocalServer, session: requests.Session, tmp_path: Path) -> None:
    path = write(server, session, ROWS[:6])
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="no folder"):
        api_of(server).run(path).download_history_exports(str(tmp_path / "file"))
