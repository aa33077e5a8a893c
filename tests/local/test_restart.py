"""What was acknowledged is there after a restart and after a kill; two servers never share a folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from wandb_ops.local.serve import LocalServer

FOREGROUND = """
import sys
from wandb_ops.local.serve import serve
serve("127.0.0.1", 0, sys.argv[1], "local", None, lambda url, key: print(url, flush=True))
"""


def start(data: Path, before: str = "") -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", before + FOREGROUND, str(data)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    return process, url


def test_everything_survives_a_restart(tmp_path: Path, bare_client: Any) -> None:
    with LocalServer(data=tmp_path) as server:
        key, secret_files = server.api_key, [tmp_path / "api_key", tmp_path / "signing_key"]
        bare = bare_client(server)
        made = bare.upsert(name="r", modelName="p", config='{"a":{"value":NaN}}', tags=["t"])["bucket"]
        bare.log("p", "r", 0, [{"_step": 0, "x": 1}])
        (file,) = bare.data(
            """mutation { createRunFiles(input: {projectName: "p", runName: "r", files: ["f"]})
               { files { uploadUrl } } }"""
        )["createRunFiles"]["files"]
        requests.put(file["uploadUrl"], data=b"hello", timeout=5)
        before = server.run("p", "r")
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secret_files)
    with LocalServer(data=tmp_path) as again:
        assert again.api_key == key
        assert again.run("p", "r") == before
        bare = bare_client(again)
        assert bare.upsert(name="r", modelName="p")["bucket"]["id"] == made["id"]
        bare.log("p", "r", 1, [{"_step": 1}])
        assert len(again.run("p", "r").history_lines) == 2


def test_the_same_object_starts_again_on_the_same_port(tmp_path: Path, bare_client: Any) -> None:
    server = LocalServer(data=tmp_path, api_key="k" * 40)
    urls = []
    for _ in range(2):
        with server:
            urls.append(server.url)
            assert bare_client(server).data("{ viewer { entity } }") == {"viewer": {"entity": "local"}}
    assert urls[0] == urls[1]
    server.stop()


def test_a_temporary_folder_goes_with_the_server() -> None:
    with LocalServer() as server:
        assert server.data.is_dir()
    assert not server.data.exists()


def test_a_folder_belongs_to_one_server(tmp_path: Path) -> None:
    with LocalServer(data=tmp_path), pytest.raises(RuntimeError, match="in use"):
        LocalServer(data=tmp_path).start()


def test_a_taken_port_is_an_error_and_lets_the_folder_go(tmp_path: Path) -> None:
    with LocalServer(data=tmp_path / "a") as first:
        with pytest.raises(OSError, match="in use"):
            LocalServer(data=tmp_path / "b", port=first.port).start()
    with LocalServer(data=tmp_path / "b"):
        pass


class Writer(threading.Thread):
    """Streams chunks of a run until the server is gone; knows what was acknowledged."""

    def __init__(self, url: str, key: str, run: str, start: int) -> None:
        super().__init__()
        self.url, self.run_id, self.acknowledged = url, run, start
        self.http = requests.Session()
        self.http.auth = ("api", key)
        self.some = threading.Event()
        self.begun = start

    def run(self) -> None:
        while True:
            lines = [line(self.run_id, self.acknowledged + at) for at in range(CHUNK)]
            body = {"files": {"wandb-history.jsonl": {"offset": self.acknowledged, "content": lines}}}
            path = f"{self.url}/files/local/p/{self.run_id}/file_stream"
            try:
                answer = self.http.post(path, json=body, timeout=10)
            except requests.RequestException:
                return
            assert answer.status_code == 200
            self.acknowledged += CHUNK
            if self.acknowledged >= self.begun + 5 * CHUNK:
                self.some.set()


CHUNK = 7


def line(run: str, number: int) -> str:
    return f'{{"_step":{number},"run":"{run}"}}'


def test_no_acknowledged_line_is_lost_when_the_server_is_killed_again_and_again(tmp_path: Path) -> None:
    """Six runs stream at once; the server is killed in the middle, three times; each run stays whole."""
    acknowledged = {f"r{number}": 0 for number in range(6)}
    for _ in range(3):
        process, url = start(tmp_path)
        try:
            key = (tmp_path / "api_key").read_text()
            for run in acknowledged:
                query = (
                    f'mutation {{ upsertBucket(input: {{name: "{run}", modelName: "p"}}) {{ inserted }} }}'
                )
                made = requests.post(f"{url}/graphql", json={"query": query}, auth=("api", key), timeout=10)
                assert made.status_code == 200
            writers = [Writer(url, key, run, done) for run, done in acknowledged.items()]
            for writer in writers:
                writer.start()
            assert all(writer.some.wait(20) for writer in writers)
            os.kill(process.pid, signal.SIGKILL)
            for writer in writers:
                writer.join()
        finally:
            process.kill()
            process.communicate()
        with LocalServer(data=tmp_path) as server:
            for writer in writers:
                lines = server.run("p", writer.run_id).history_lines
                # What was under way may have been stored, whole; a chunk is never there in part.
                assert len(lines) in {writer.acknowledged, writer.acknowledged + CHUNK}
                assert lines == [line(writer.run_id, number) for number in range(len(lines))]
                acknowledged[writer.run_id] = len(lines)


def test_a_signal_ends_it_cleanly(tmp_path: Path) -> None:
    process, _ = start(tmp_path)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert not (tmp_path / "server.db-wal").exists()


def test_a_full_disk_is_507_in_words_and_what_was_stored_stays(tmp_path: Path, bare_client: Any) -> None:
    with LocalServer(data=tmp_path) as server:
        bare = bare_client(server)
        bare.upsert(name="r", modelName="p")
        rows = [{"_step": step, "text": "x" * 2000} for step in range(20)]
        bare.log("p", "r", 0, rows)
        with server.service.store.writing() as db:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
        server.service.store._writer.execute(f"PRAGMA max_page_count={pages}")
        content = [json.dumps({"_step": 20 + at, "text": "y" * 5000}) for at in range(50)]
        body = {"files": {"wandb-history.jsonl": {"offset": 20, "content": content}}}
        for _ in range(2):
            answer = bare.stream("p", "r", **body)
            assert answer.status_code == 507
            assert "disk is full" in answer.json()["error"]
        query = "mutation U($input: UpsertBucketInput!) { upsertBucket(input: $input) { inserted } }"
        large = {"name": "s", "modelName": "p", "notes": "z" * 200_000}
        answer = bare.http.post(
            f"{server.url}/graphql", json={"query": query, "variables": {"input": large}}, timeout=10
        )
        assert answer.status_code == 507
        assert "disk is full" in answer.json()["errors"][0]["message"]
        assert server.run("p", "r").history_rows() == rows
        with pytest.raises(LookupError):
            server.run("p", "s")
        server.service.store._writer.execute("PRAGMA max_page_count=1000000")
        assert bare.stream("p", "r", **body).status_code == 200
        assert len(server.run("p", "r").history_lines) == 70


SMALL_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
"""


def test_a_file_that_the_disk_does_not_take_is_507_and_leaves_nothing(
    tmp_path: Path, bare_client: Any
) -> None:
    """A limit on the size of files is the full disk that a test can have."""
    process, url = start(tmp_path, SMALL_FILES)
    try:
        http = requests.Session()
        http.auth = ("api", (tmp_path / "api_key").read_text())
        http.post(f"{url}/graphql", json={"query": MAKE}, timeout=10).raise_for_status()
        made = http.post(f"{url}/graphql", json={"query": DECLARE}, timeout=10).json()
        target = made["data"]["createRunFiles"]["files"][0]["uploadUrl"]
        answer = requests.put(target, data=b"x" * 4_000_000, timeout=10)
        assert answer.status_code == 507
        assert "disk is full" in answer.json()["error"]
        assert list((tmp_path / "storage").glob("*/*")) == []
        assert requests.put(target, data=b"small", timeout=10).status_code == 200
        content = [json.dumps({"_step": at, "text": "y" * 90_000}) for at in range(60)]
        body = {"files": {"wandb-history.jsonl": {"offset": 0, "content": content}}}
        answer = http.post(f"{url}/files/local/p/r/file_stream", json=body, timeout=10)
        assert answer.status_code == 507
        assert "disk fails" in answer.json()["error"]
    finally:
        process.kill()
        process.communicate()
    with LocalServer(data=tmp_path) as server:
        run = server.run("p", "r")
        assert (run.history_lines, run.files) == ([], {"f": b"small"})


MAKE = 'mutation { upsertBucket(input: {name: "r", modelName: "p"}) { inserted } }'
DECLARE = """mutation { createRunFiles(input: {projectName: "p", runName: "r", files: ["f"]})
  { files { uploadUrl } } }"""


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "server.db",
            b"this is no database, and longer than a header of one would be" * 40,
            "cannot be used",
        ),
        ("api_key", b"\n", "is empty"),
        ("signing_key", b"", "is empty"),
    ],
)
def test_a_damaged_folder_is_refused_in_words_and_left_alone(
    tmp_path: Path, file: str, content: bytes, said: str
) -> None:
    with LocalServer(data=tmp_path):
        pass
    (tmp_path / file).write_bytes(content)
    for _ in range(2):  # the first refusal lets go of the folder
        with pytest.raises(RuntimeError, match=said) as caught:
            LocalServer(data=tmp_path).start()
        assert file in str(caught.value)
    assert (tmp_path / file).read_bytes() == content


def test_writers_and_readers_at_once_lose_nothing(tmp_path: Path, bare_client: Any) -> None:
    """Four runs written by four threads while readers page: each run holds exactly its own lines."""
    with LocalServer(data=tmp_path) as server:
        main = bare_client(server)
        for worker in range(4):
            main.upsert(name=f"r{worker}", modelName="p")
        failures: list[BaseException] = []
        done = threading.Event()

        def write(worker: int) -> None:
            try:
                bare = bare_client(server)
                for start_ in range(0, 200, 10):
                    bare.log(
                        "p",
                        f"r{worker}",
                        start_,
                        [{"_step": s, "w": worker} for s in range(start_, start_ + 10)],
                    )
                    count = bare.of_run("p", f"r{worker}", "historyLineCount")["historyLineCount"]
                    assert count == start_ + 10  # its own write is seen at once
            except BaseException as error:
                failures.append(error)

        def read() -> None:
            try:
                bare = bare_client(server)
                while not done.is_set():
                    found = bare.data('{ project(name: "p") { runs { edges { node { name } } } } }')
                    assert len(found["project"]["runs"]["edges"]) == 4
            except BaseException as error:
                failures.append(error)

        reader = threading.Thread(target=read)
        writers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        reader.start()
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        reader.join()
        assert failures == []
        for worker in range(4):
            assert server.run("p", f"r{worker}").history_rows() == [
                {"_step": s, "w": worker} for s in range(200)
            ]


@pytest.mark.parametrize(("version", "said"), [(1, "older version"), (99, "newer version")])
def test_a_folder_of_another_version_is_refused_in_words_and_left_alone(tmp_path, version, said):
    data = tmp_path / "data"
    with LocalServer(data):
        pass
    with contextlib.closing(sqlite3.connect(data / "server.db")) as database:
        database.execute(f"PRAGMA user_version={version}")
    before = (data / "server.db").read_bytes()
    with pytest.raises(RuntimeError, match=said):
        LocalServer(data).start()
    assert (data / "server.db").read_bytes() == before


def test_a_data_folder_keeps_its_key_out_of_repositories(tmp_path):
    with LocalServer(tmp_path / "data"):
        assert (tmp_path / "data" / ".gitignore").read_text() == "*\n"
