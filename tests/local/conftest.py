"""Servers and a bare client for the tests of the embedded server.

The client is `requests` and nothing of the package's own, so that the server is judged by the protocol.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from wandb_ops.local.serve import LocalServer

_TYPES = {
    "low": "Int64",
    "high": "Int64",
    "samples": "Int",
    "specs": "[JSONString!]",
    "names": "[String]",
    "first": "Int",
    "last": "Int",
    "after": "String",
    "pattern": "String",
}


class Clock:
    """Seconds since the epoch that a test moves."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


class Bare:
    """Requests to one server, with its key."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.auth = ("api", server.api_key)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The whole envelope."""
        response = self.http.post(
            f"{self.server.url}/graphql", json={"query": query, "variables": variables, "operationName": ""}
        )
        assert response.status_code == 200, response.text
        envelope: dict[str, Any] = response.json()
        return envelope

    def data(self, query: str, **variables: Any) -> Any:
        """`data` of an answer without errors."""
        envelope = self.ask(query, **variables)
        assert "errors" not in envelope, envelope
        return envelope["data"]

    def errors(self, query: str, **variables: Any) -> list[str]:
        """Messages of the errors."""
        return [error["message"] for error in self.ask(query, **variables).get("errors", [])]

    def upsert(self, **given: Any) -> Any:
        """`upsertBucket`: the payload, every field of the bucket that tests look at."""
        return self.data(
            "mutation U($input: UpsertBucketInput!) { upsertBucket(input: $input) { inserted bucket {"
            " id name displayName description notes config summaryMetrics tags group jobType state"
            " commit exitcode sweepName historyLineCount createdAt heartbeatAt"
            " project { name entity { name } } } } }",
            input=given,
        )["upsertBucket"]

    def stream(self, project: str, run: str, **body: Any) -> requests.Response:
        """`file_stream` of a run."""
        url = f"{self.server.url}/files/{self.server.entity}/{project}/{run}/file_stream"
        return self.http.post(url, data=json.dumps(body))

    def log(self, project: str, run: str, offset: int, rows: list[Any]) -> None:
        """History lines from `offset` on."""
        content = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        answer = self.stream(
            project, run, files={"wandb-history.jsonl": {"offset": offset, "content": content}}
        )
        assert answer.status_code == 200, answer.text

    def of_run(self, project: str, run: str, fields: str, **variables: Any) -> Any:
        """Fields of a run."""
        declared = "".join(f", ${name}: {_TYPES[name]}" for name in variables)
        return self.data(
            f"query Q($p: String!, $r: String!{declared})"
            f" {{ project(name: $p) {{ run(name: $r) {{ {fields} }} }} }}",
            p=project,
            r=run,
            **variables,
        )["project"]["run"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One server for the tests of a module; each test uses a project of its own."""
    with LocalServer(data=tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def bare(server: LocalServer) -> Bare:
    return Bare(server)


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """A project name of the test's own."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", request.node.name)[:80]
    return f"{plain}-{zlib.crc32(request.node.name.encode()):08x}"


@pytest.fixture(scope="session")
def bare_client() -> Callable[[LocalServer], Bare]:
    """Makes a client of a server that the test starts itself."""
    return Bare


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def run_sdk_script() -> Callable[[LocalServer, str, Path], dict[str, Any]]:
    """`(server, script, folder)` runs a script of this folder with the real SDK; the answers it wrote.

    In a process of its own, with nothing of the developer's settings and everything it writes below `folder`.
    """

    def run(server: LocalServer, script: str, folder: Path) -> dict[str, Any]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WANDB_")},
            **server.env,
            "HOME": str(folder),
            "WANDB_DIR": str(folder),
            "WANDB_CACHE_DIR": str(folder / "cache"),
            "WANDB_CONFIG_DIR": str(folder / "config"),
            "WANDB_DATA_DIR": str(folder / "staging"),
            "WANDB_SILENT": "true",
            "WANDB_CONSOLE": "off",
            "WANDB_DISABLE_GIT": "true",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_X_DISABLE_STATS": "true",
        }
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script)), str(folder)],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answers: dict[str, Any] = json.loads((folder / "answers.json").read_text())
        return answers

    return run
