"""User code of the public API, checked with mypy --strict and never run."""

from __future__ import annotations

import pickle
from typing import Any

import wandb_ops as wandb
from wandb_ops.public import File, Project, QueuedRun, Run, RunQueue, Runs, User


def read(api: wandb.Api) -> None:
    runs: Runs = api.runs(
        "team/project", filters={"config.lr": {"$gt": 0.1}}, order="-created_at", per_page=100
    )
    count: int = len(runs)
    first: Run = runs[0]
    some: list[Run] = runs[1:count]
    for run in some:
        name: str | None = run.name
        state: str = run.state
        config: dict[str, Any] = run.config
        loss = run.summary.get("loss", 0.0)
        plain: dict[str, Any] = run.summary._json_dict
        del name, state, config, loss, plain
    for row in first.scan_history(keys=["loss"], page_size=100):
        step: int = row["_step"]
        del step
    user: User | None = first.user
    tags: list[str] = first.tags
    viewer: User = api.viewer
    entity: str | None = api.default_entity
    projects: list[Project] = list(api.projects("team"))
    del user, tags, viewer, entity, projects


def write(api: wandb.Api) -> Run:
    run = api.create_run(project="project", run_id="id")
    run.name = "name"
    run.tags = ["a", "b"]
    run.config["key"] = 10
    run.summary["histogram"] = wandb.Histogram([1, 2, 3])
    run.summary.update({"accuracy": 0.9})
    run.update()
    run.upload_file("model.bin")
    file: File = run.file("model.bin")
    with file.download(replace=True) as handle:
        text: str = handle.read()
    for each in run.files(pattern="%.json"):
        size: int = each.size
        del size
    del text
    run.wait_until_finished(timeout=60.0)
    return run


def launch(api: wandb.Api) -> None:
    queue: RunQueue = api.upsert_run_queue("queue", {"image": "x"}, "kubernetes", prioritization_mode="V0")
    config: dict[str, Any] = queue.default_resource_config
    item: QueuedRun = queue.items[0]
    run: Run = item.wait_until_finished()
    del config, run


def handle(api: wandb.Api) -> str | None:
    try:
        return api.run("team/project/id").name
    except wandb.RateLimited as error:
        seconds: float | None = error.retry_after
        return str(seconds)
    except wandb.NotFoundError as error:
        return error.hint
    except wandb.Error as error:
        return error.where


def travel(api: wandb.Api) -> wandb.Api:
    copy: wandb.Api = pickle.loads(pickle.dumps(api))
    return copy
