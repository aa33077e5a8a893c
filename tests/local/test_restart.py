"""What was acknowledged is there after a restart and after a kill; two servers never share a folder."""

from __future__ import annotations

import contextlib
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


def start(data: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, str(data)], stdout=subprocess.PIPE, text=True
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


def test_acknowledged_lines_survive_a_kill_and_a_signal_ends_cleanly(tmp_path: Path) -> None:
    process, url = start(tmp_path)
    acknowledged = 0
    try:
        http = requests.Session()
        http.auth = ("api", (tmp_path / "api_key").read_text())
        query = 'mutation { upsertBucket(input: {name: "r", modelName: "p"}) { inserted } }'
        assert http.post(f"{url}/graphql", json={"query": query}, timeout=10).status_code == 200

        def write() -> None:
            nonlocal acknowledged
            for number in range(100_000):
                content = [f'{{"_step":{number}}}']
                body = {"files": {"wandb-history.jsonl": {"offset": number, "content": content}}}
                try:
                    answer = http.post(f"{url}/files/local/p/r/file_stream", json=body, timeout=10)
                except requests.RequestException:
                    return
                assert answer.status_code == 200
                acknowledged = number + 1
                if acknowledged == 30:
                    enough.set()

        enough = threading.Event()
        writer = threading.Thread(target=write)
        writer.start()
        assert enough.wait(20)
        os.kill(process.pid, signal.SIGKILL)
        writer.join()
    finally:
        process.kill()
        process.communicate()
    with LocalServer(data=tmp_path) as server:
        lines = server.run("p", "r").history_lines
        assert lines == [f'{{"_step":{number}}}' for number in range(len(lines))]
        assert acknowledged <= len(lines) <= acknowledged + 1
    process, url = start(tmp_path)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert not (tmp_path / "server.db-wal").exists()


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
