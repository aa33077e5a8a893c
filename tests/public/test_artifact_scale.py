"""Artifacts of many files, killed tasks, and two tasks at once: how many requests, and what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests
from faults_plugin import Answer, FaultServer, Recorded

from wandb_ops import Api, Artifact, VerificationFailed
from wandb_ops.protocol import artifacts as protocol
from wandb_ops.public.artifacts import download as downloads
from wandb_ops.public.runs.run import Run

FILES = {f"d{n % 7}/f{n:03}.bin": n.to_bytes(2, "big") * 40 for n in range(120)}

LOG = textwrap.dedent(
    """
    import sys
    from wandb_ops import Api, Artifact

    folder, run, name = sys.argv[1:]
    artifact = Artifact(name, type="dataset")
    artifact.add_dir(folder)
    print(Api().run(run).log_artifact(artifact).source_name, flush=True)
    """
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "source"


@pytest.fixture
def run(api: Api, project: str) -> Run:
    return api.create_run(run_id="maker", project=project)


def content(root: Path | str) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in Path(root).rglob("*")
        if path.is_file()
    }


class Wire:
    """Carries requests to the embedded server and counts what is uploaded; may kill who sends them."""

    def __init__(self, server: Any, relay: FaultServer) -> None:
        self.server = server
        self.url = relay.url
        self.uploads: Counter[str] = Counter()
        self.kill_after: int | None = None
        self.victim: subprocess.Popen[str] | None = None
        self.session = requests.Session()
        self.session.trust_env = False
        relay.handler = self.carry

    def carry(self, request: Recorded) -> Answer:
        kept = {
            name: value
            for name, value in request.headers.items()
            if name not in {"content-length", "connection", "authorization"}
        }
        if request.method == "PUT":
            if self.kill_after is not None and sum(self.uploads.values()) >= self.kill_after:
                if self.victim is not None:
                    os.kill(self.victim.pid, signal.SIGKILL)
                return Answer(reset=True)
            self.uploads[request.path] += 1
        answer = self.session.request(
            request.method,
            self.server.url + request.target,
            headers=kept,
            data=request.body,
            auth=("api", self.server.api_key) if request.credentials else None,
            timeout=30,
        )
        kind = answer.headers.get("Content-Type", "text/plain")
        return Answer(answer.status_code, answer.content, (("Content-Type", kind),))

    def start(self, folder: Path, run: Run, name: str) -> subprocess.Popen[str]:
        """A task of its own that logs a folder."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        self.victim = subprocess.Popen(
            [sys.executable, "-c", LOG, str(folder), "/".join(run.path), name],
            env={**environment, "WANDB_BASE_URL": self.url, "WANDB_API_KEY": "k" * 40},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self.victim


@pytest.fixture
def wire(wandb_server_session: Any, fault_server: FaultServer) -> Wire:
    return Wire(wandb_server_session, fault_server)


def test_a_task_killed_in_the_middle_sends_the_rest_when_it_runs_again(
    wire: Wire, run: Run, folder: Path, tmp_path: Path
) -> None:
    wire.kill_after = 50
    first = wire.start(folder, run, "ds")
    _, errors = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL, errors
    assert len(run.logged_artifacts()) == 0
    before, wire.kill_after = dict(wire.uploads), None
    assert len(before) == 50
    second = wire.start(folder, run, "ds")
    found, errors = second.communicate(timeout=60)
    assert found == "ds:v0\n", errors
    sent_again = [path for path in before if wire.uploads[path] > 1]
    assert not sent_again
    assert len(wire.uploads) == len(FILES) + 1  # and the manifest
    (logged,) = run.logged_artifacts()
    assert content(logged.download(root=tmp_path / "down")) == FILES


def test_two_tasks_that_log_the_same_at_once_make_one_version(
    wire: Wire, run: Run, folder: Path, tmp_path: Path
) -> None:
    tasks = [wire.start(folder, run, "ds") for _ in range(2)]
    answers = [task.communicate(timeout=60) for task in tasks]
    assert [found for found, _ in answers] == ["ds:v0\n"] * 2, answers
    (logged,) = run.logged_artifacts()
    assert content(logged.download(root=tmp_path / "down")) == FILES


def test_requests_grow_with_batches_not_with_files(
    run: Run, folder: Path, tmp_path: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_BATCH", 50)
    monkeypatch.setattr(downloads, "_BATCH", 50)
    artifact = Artifact("ds", type="dataset")
    artifact.add_dir(folder)
    sent.clear()
    logged = run.log_artifact(artifact)
    assert Counter(sent) == {
        "CreateArtifact": 1,
        "CreateArtifactManifest": 2,
        "CreateArtifactFiles": 3,  # 120 files, 50 at once
        "CommitArtifact": 1,
        "ArtifactByID": 1,
    }
    sent.clear()
    logged.download(root=tmp_path / "down")
    assert Counter(sent) == {"FetchArtifactManifest": 1, "ArtifactFileURLsByManifestEntries": 3}
    sent.clear()
    again = Artifact("ds", type="dataset")
    again.add_dir(folder)
    assert run.log_artifact(again).id == logged.id
    assert Counter(sent) == {"CreateArtifact": 1, "ArtifactByID": 1}


def test_references_into_another_artifact_are_looked_up_together(
    run: Run, folder: Path, tmp_path: Path, sent: list[str]
) -> None:
    artifact = Artifact("ds", type="dataset")
    artifact.add_dir(folder)
    logged = run.log_artifact(artifact)
    second = Artifact("refers", type="dataset")
    for name in FILES:
        second.add_reference(logged.get_entry(name), name=f"r/{name}")
    refers = run.log_artifact(second)
    sent.clear()
    assert content(refers.download(root=tmp_path / "down")) == {
        f"r/{name}": data for name, data in FILES.items()
    }
    assert Counter(sent) == {
        "FetchArtifactManifest": 2,
        "ArtifactByID": 1,
        "ArtifactFileURLsByManifestEntries": 1,
    }
    sent.clear()
    refers.download(root=tmp_path / "down")  # what is there is not asked for
    assert "ArtifactFileURLsByManifestEntries" not in sent


def test_no_more_files_are_sent_at_once_than_workers(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    now: list[int] = [0, 0]
    lock = threading.Lock()
    upload = type(run._transport).upload

    def counted(*arguments: Any, **options: Any) -> None:
        with lock:
            now[0] += 1
            now[1] = max(now)
        try:
            upload(*arguments, **options)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(type(run._transport), "upload", counted)
    artifact = Artifact("ds", type="dataset")
    artifact.add_dir(folder)
    run.log_artifact(artifact)
    assert 1 < now[1] <= 8


def test_what_a_killed_download_left_does_not_count(run: Run, folder: Path, tmp_path: Path) -> None:
    artifact = Artifact("ds", type="dataset")
    artifact.add_dir(folder)
    logged = run.log_artifact(artifact)
    down = Path(logged.download(root=tmp_path / "down"))
    left = down / "d0" / f".f000.bin.{'0a' * 8}.part"
    left.write_bytes(b"half")
    logged.verify(root=str(down))
    logged.checkout(root=str(down))
    assert content(down) == FILES
    (down / ".hidden.part").write_bytes(b"")
    with pytest.raises(VerificationFailed, match="hidden"):
        logged.verify(root=str(down))
