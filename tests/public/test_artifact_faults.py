"""Artifacts over a bad line: every step's request or answer is lost once, and the state is as if nothing was.

A relay stands between the client and the embedded server; its faults are scripted. Time is faked: no waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from faults_plugin import Answer, FaultServer, Recorded

from wandb_ops import Artifact
from wandb_ops.errors import ChecksumMismatch, GraphQLError
from wandb_ops.public.artifacts.paths import ArtifactPath
from wandb_ops.public.runs.run import Run

FILES = {"a.txt": b"alpha\n", "d/b.bin": bytes(range(256)) * 20}


@pytest.fixture
def relay(fault_server: FaultServer, wandb_server_session: Any) -> FaultServer:
    """Carries requests to the embedded server, under the relay's own address and with the server's key."""
    session = requests.Session()
    session.trust_env = False

    def carry(request: Recorded) -> Answer:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in {"content-length", "connection", "authorization"}
        }
        auth = ("api", wandb_server_session.api_key) if request.credentials else None
        answer = session.request(
            request.method,
            wandb_server_session.url + request.target,
            headers=headers,
            data=request.body,
            auth=auth,
            timeout=30,
        )
        kept = (("Content-Type", answer.headers.get("Content-Type", "text/plain")),)
        return Answer(answer.status_code, answer.content, kept)

    fault_server.handler = carry
    return fault_server


@pytest.fixture
def run(
    relay: FaultServer, writer: Any, project: str, make_transport: Callable[..., Any], entity: str
) -> Run:
    writer.run(project, "maker")
    return Run(make_transport(relay), entity, project, "maker")


def built() -> Artifact:
    artifact = Artifact("ds", type="dataset")
    for name, data in FILES.items():
        artifact.add_bytes(data, name)
    return artifact


def upload_of(kind: str) -> Callable[[Recorded], bool]:
    return lambda request: request.method == "PUT" and request.path.startswith(f"/artifact-{kind}/")


STEPS: dict[str, Any] = {
    "create": "CreateArtifact",
    "manifest": "CreateArtifactManifest",
    "files": "CreateArtifactFiles",
    "upload": upload_of("uploads"),
    "manifest upload": upload_of("manifests"),
    "commit": "CommitArtifact",
    "read": "ArtifactByID",
}
FAULTS = {
    "request lost": Answer(reset=True),
    "answer lost": Answer(reset=True, apply_first=True),
    "unavailable": Answer(503, b"{}"),
}


def stored(run: Run) -> list[str]:
    return [f"{artifact.name} {sorted(artifact.aliases)}" for artifact in run.logged_artifacts()]


@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize("step", sorted(STEPS))
def test_a_lost_request_or_answer_makes_one_version(
    relay: FaultServer, run: Run, step: str, fault: str, tmp_path: Path
) -> None:
    relay.on(STEPS[step], FAULTS[fault])
    logged = run.log_artifact(built(), aliases=["best"])
    assert stored(run) == ["ds:v0 ['best', 'latest']"]
    logged.download(root=tmp_path)
    assert {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")
    } == FILES


def test_a_commit_that_may_not_be_repeated_is_found_done(relay: FaultServer, run: Run) -> None:
    """A server that refuses the second commit: the first one's answer was lost, so the state decides."""
    refused = Answer(200, b'{"data": null, "errors": [{"message": "artifact is committed already"}]}')
    relay.on("CommitArtifact", Answer(reset=True, apply_first=True), nth=1)
    relay.on("CommitArtifact", refused, nth=2)
    assert run.log_artifact(built()).name == "ds:v0"


def test_a_commit_that_is_refused_is_an_error(relay: FaultServer, run: Run) -> None:
    refused = Answer(200, b'{"data": null, "errors": [{"message": "the disk is full of eels"}]}')
    relay.on("CommitArtifact", refused, nth=None)
    with pytest.raises(GraphQLError, match="eels"):
        run.log_artifact(built())
    assert stored(run) == []


@pytest.mark.parametrize(
    "fault", [Answer(503, b"{}"), Answer(cut_at=1000, apply_first=True), Answer(reset=True)]
)
def test_a_download_that_breaks_off_begins_anew(
    relay: FaultServer, run: Run, fault: Answer, tmp_path: Path
) -> None:
    logged = run.log_artifact(built())
    body = FILES["d/b.bin"] if fault.cut_at else fault.body
    spoilt = Answer(
        fault.status, body, fault.headers, cut_at=fault.cut_at, reset=fault.reset, length=fault.length
    )
    relay.on(lambda request: request.method == "GET" and request.path.endswith("b.bin"), spoilt)
    logged.download(root=tmp_path)
    assert (tmp_path / "d" / "b.bin").read_bytes() == FILES["d/b.bin"]


def test_wrong_bytes_are_never_put_in_place(relay: FaultServer, run: Run, tmp_path: Path) -> None:
    logged = run.log_artifact(built())
    wrong = Answer(200, b"x" * len(FILES["d/b.bin"]))
    relay.on(lambda request: request.method == "GET" and request.path.endswith("b.bin"), wrong, nth=None)
    with pytest.raises(ChecksumMismatch, match="MD5"):
        logged.download(root=tmp_path)
    assert not (tmp_path / "d" / "b.bin").exists()
    assert [path.name for path in (tmp_path / "d").iterdir()] == []


def test_a_delete_whose_answer_was_lost_is_done(
    relay: FaultServer, run: Run, entity: str, project: str
) -> None:
    logged = run.log_artifact(built())
    relay.on("DeleteArtifact", Answer(reset=True, apply_first=True))
    logged.delete(delete_aliases=True)
    with pytest.raises(ValueError, match="no such artifact"):
        Artifact._by_path(run._transport, ArtifactPath(entity, project, "ds:v0"))


def test_the_key_goes_to_the_api_and_not_into_signed_addresses(relay: FaultServer, run: Run) -> None:
    run.log_artifact(built())
    puts = [request for request in relay.requests if request.method == "PUT"]
    assert len(puts) == len(FILES) + 1
    assert all("signature" in request.query for request in puts)
    assert all(run._transport.settings.api_key not in request.target for request in relay.requests)
