"""Jobs: listed, downloaded, put on a queue; the same from the real SDK and from ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from wandb_ops import Api, DataError, NotFoundError, UsageError
from wandb_ops.public import Artifact

INFO = {
    "_version": "v0",
    "source_type": "image",
    "source": {"image": "python:3.12", "entrypoint": ["python", "train.py"]},
    "input_types": {"wb_type": "unknown"},
    "output_types": {"wb_type": "unknown"},
    "_partial": True,
}
POP = """mutation P($e: String!, $q: String!) { popFromRunQueue(input: {
  entityName: $e, projectName: "model-registry", queueName: $q}) { runSpec } }"""


def publish(api: Api, project: str, name: str, content: Any = INFO) -> None:
    """Log a job, as `wandb job create` does."""
    artifact = Artifact(name, type="job")
    with artifact.new_file("wandb-job.json") as handle:
        json.dump(content, handle)
    api.create_run(project=project).log_artifact(artifact)


def popped(writer: Any, entity: str, queue: str) -> dict[str, Any]:
    spec = writer.graphql(POP, {"e": entity, "q": queue})["popFromRunQueue"]["runSpec"]
    found: dict[str, Any] = json.loads(spec) if isinstance(spec, str) else spec
    return found


@pytest.fixture
def queue(api: Api, project: str) -> str:
    name = f"jobs-{project}"
    api.create_run_queue(name, type="kubernetes", config={"a": 1})
    return name


def test_the_jobs_of_a_project_are_listed_with_their_versions(api: Api, entity: str, project: str) -> None:
    for version in range(2):
        publish(api, project, "train", INFO | {"version": version})
    publish(api, project, "score")
    jobs = api.list_jobs(entity, project)
    found = {
        job["edges"][0]["node"]["artifactSequence"]["name"]: [
            sorted(alias["alias"] for alias in edge["node"]["aliases"]) for edge in job["edges"]
        ]
        for job in jobs
    }
    assert sorted(found) == ["score", "train"]
    assert sorted(found["train"]) == [[], ["latest"]]
    assert all(edge["node"]["state"] == "COMMITTED" for job in jobs for edge in job["edges"])
    with pytest.raises(NotFoundError):
        api.list_jobs(entity, "no-such-project")
    with pytest.raises(UsageError):
        api.list_jobs(entity, "")


def test_a_job_is_downloaded_and_called(
    api: Api, entity: str, project: str, queue: str, writer: Any, tmp_path: Any
) -> None:
    publish(api, project, "train")
    name = f"{entity}/{project}/train:latest"
    job = api.job(name, path=str(tmp_path))
    assert (job.name, job.info, job.entrypoint) == (name, INFO, ["python", "train.py"])
    assert json.loads((tmp_path / "wandb-job.json").read_text()) == INFO
    data = Artifact("data", type="dataset")
    with data.new_file("x") as handle:
        handle.write("x")
    api.create_run(project=project).log_artifact(data)
    logged = api.artifact(f"{entity}/{project}/data:v0")
    queued = job.call({"lr": 0.1, "data": logged}, queue=queue, resource="kubernetes", priority=2)
    assert (queued.state, queued.entity, queued.project) == ("pending", entity, project)
    spec = popped(writer, entity, queue)
    assert (spec["job"], spec["project"], spec["resource"]) == (name, project, "kubernetes")
    config = spec["overrides"]["run_config"]
    assert config["lr"] == 0.1
    assert (config["data"]["_type"], config["data"]["sequenceName"]) == ("artifactVersion", "data")
    assert config["data"]["id"] == logged.id
    assert "entry_point" not in spec["overrides"]
    job.set_entrypoint(["python", "other.py"])
    job.call({}, queue=queue, project="elsewhere")
    spec = popped(writer, entity, queue)
    assert (spec["overrides"]["entry_point"], spec["project"]) == (["python", "other.py"], "elsewhere")


def test_what_is_no_job_is_named(api: Api, entity: str, project: str, tmp_path: Any) -> None:
    for name in (None, "train", f"{entity}/{project}/train"):
        with pytest.raises(UsageError, match="job-name:alias"):
            api.job(name)
    publish(api, project, "broken", content=[])
    with pytest.raises(DataError, match=r"wandb-job\.json"):
        api.job(f"{entity}/{project}/broken:v0", path=str(tmp_path))
    with pytest.raises(NotFoundError):
        api.job(f"{entity}/{project}/nothing:v0")


@pytest.fixture
def theirs(wandb_server_session: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The real `wandb.Api`, in this process, on the embedded server."""
    wandb = pytest.importorskip("wandb")
    for name, value in wandb_server_session.env.items():
        monkeypatch.setenv(name, value)
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield wandb.Api(timeout=60)
    wandb.teardown()


@pytest.mark.sdk
def test_jobs_are_the_same_from_the_sdk(
    api: Api, entity: str, project: str, queue: str, writer: Any, theirs: Any, tmp_path: Any
) -> None:
    publish(api, project, "train")
    publish(api, project, "train", INFO | {"version": 1})
    assert api.list_jobs(entity, project) == theirs.list_jobs(entity, project)
    name = f"{entity}/{project}/train:v1"
    our_job, their_job = api.job(name, path=str(tmp_path / "a")), theirs.job(name, path=str(tmp_path / "b"))
    assert our_job.name == their_job.name
    arguments = {"config": {"lr": 0.1}, "project": project, "entity": entity, "queue": queue}
    our_run = our_job.call(**arguments, resource="kubernetes")
    our_spec = popped(writer, entity, queue)
    their_run = their_job.call(**arguments, resource="kubernetes", project_queue="model-registry")
    their_spec = popped(writer, entity, queue)
    assert {key: our_spec[key] for key in ("job", "entity", "project", "resource")} == {
        key: their_spec[key] for key in ("job", "entity", "project", "resource")
    }
    assert our_spec["overrides"]["run_config"] == their_spec["overrides"]["run_config"]
    assert our_run.state == their_run.state == "leased"
