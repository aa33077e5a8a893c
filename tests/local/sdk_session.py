"""What a user of the real `wandb` SDK does, in a process of its own; run by test_sdk.py, not collected.

    python sdk_session.py FOLDER

FOLDER holds `rows.jsonl` (what to log) and takes the answers of `wandb.Api` as `answers.json`. The server is
the one in the environment.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import wandb

CONFIG = {"lr": 0.1, "nested": {"layers": [64, 32], "deep": {"flag": True, "none": None}}, "text": "ü ☃"}


def write(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    run = wandb.init(
        project="sdk",
        id="big",
        name="the big one",
        config=CONFIG,
        tags=["first", "second"],
        group="group-1",
        job_type="train",
        notes="some notes",
    )
    for row in rows:
        run.log(row)
    run.summary["best"] = {"value": 0.5, "at": {"step": 7}}
    run.config.update({"late": 3})
    (folder / "kept.txt").write_text("kept by the run\n")
    run.save(str(folder / "kept.txt"), base_path=str(folder), policy="now")
    run.finish(exit_code=1)

    run = wandb.init(project="sdk", id="big", resume="must")
    run.log({"resumed": 1})
    run.finish()

    for number in range(3):
        run = wandb.init(
            project="sdk", id=f"small{number}", config={"lr": number, "kind": "small"}, reinit=True
        )
        run.log({"loss": float(number)})
        run.finish()


def numbers(value: Any) -> Any:
    """NaN and infinities as names, so that the answers are plain JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"not finite": str(value)}
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    return [numbers(item) for item in value] if isinstance(value, list) else value


def read(folder: Path) -> dict[str, Any]:
    api = wandb.Api()
    entity = os.environ["WANDB_ENTITY"]
    big = api.run(f"{entity}/sdk/big")
    download = folder / "down"

    def found(**arguments: Any) -> list[str]:
        return [run.id for run in api.runs(f"{entity}/sdk", **arguments)]

    answers = {
        "default_entity": api.default_entity,
        "viewer": api.viewer.username,
        "projects": [project.name for project in api.projects(entity)],
        "state": big.state,
        "name": big.name,
        "tags": big.tags,
        "group": big.group,
        "job_type": big.job_type,
        "notes": big.notes,
        "config": dict(big.config),
        "summary": numbers(dict(big.summary._json_dict)),
        "last_step": big.lastHistoryStep,
        "user": big.user.username,
        "scan": numbers([dict(row) for row in big.scan_history()]),
        "scan_no_cache": len(list(big.scan_history(use_cache=False, page_size=100))),
        "scan_window": [row["_step"] for row in big.scan_history(min_step=10, max_step=20)],
        "scan_keys": numbers([dict(row) for row in big.scan_history(keys=["_step", "sparse"])]),
        "history": len(big.history(pandas=False)),
        "history_keys": numbers(big.history(keys=["sparse"], samples=10, pandas=False)),
        "files": sorted(file.name for file in big.files()),
        "kept": big.file("kept.txt").download(root=str(download)).read(),
        "runs": found(),
        "runs_newest_first": found(order="-created_at", per_page=2),
        "runs_by_loss": found(order="+summary_metrics.loss", filters={"config.kind": "small"}),
        "runs_filtered": found(filters={"$and": [{"config.lr": {"$gte": 1}}, {"state": "finished"}]}),
        "runs_by_regex": found(filters={"display_name": {"$regex": "^the"}}),
        "runs_by_tag": found(filters={"tags": {"$in": ["first"]}}),
        "counted": len(api.runs(f"{entity}/sdk", filters={"group": None})),
    }
    made = api.create_run(run_id="by-api", project="sdk", entity=entity)
    made = api.run("/".join(made.path))
    made.config["x"] = 1
    made.tags = ["api"]
    made.summary.update({"y": 2})
    made.update()
    upload = folder / "up.txt"
    upload.write_text("uploaded")
    made.upload_file(str(upload), root=str(folder))
    again = api.run(f"{entity}/sdk/by-api")
    answers["by_api"] = [
        again.id,
        dict(again.config),
        again.tags,
        again.summary["y"],
        [f.name for f in again.files()],
    ]
    again.file("up.txt").delete()
    answers["after_file_delete"] = [file.name for file in api.run(f"{entity}/sdk/by-api").files()]
    again.delete()
    api.flush()
    answers["after_delete"] = found()
    return {**answers, **queues(api, entity)}


def queues(api: wandb.Api, entity: str) -> dict[str, Any]:
    created = api.create_run_queue(
        name="created", type="kubernetes", config={"a": 1}, entity=entity, prioritization_mode="V0"
    )
    upserted = api.upsert_run_queue(
        name="upserted",
        resource_type="kubernetes",
        resource_config={"image": "{{image}}"},
        entity=entity,
        template_variables={"image": {"schema": {"type": "string", "default": "python"}}},
        external_links={"docs": "https://example.org"},
    )
    from wandb.sdk.launch.api import LaunchApi

    launch = LaunchApi()
    pushed = launch.push_to_run_queue_by_name(
        entity, "model-registry", "upserted", '{"job":"j"}', {"image": "x"}, 1
    )
    queue = api.run_queue(entity, "upserted")
    assert pushed is not None
    queued = api.queued_run(
        entity, "sdk", "upserted", pushed["runQueueItemId"], project_queue="model-registry"
    )
    answers = {
        "created": [created.name, created.type, created.prioritization_mode, created.default_resource_config],
        "upserted": [queue.type, queue.default_resource_config, queue.external_links, upserted.name],
        "pushed": pushed["runSpec"],
        "items": [item.id for item in queue.items] == [pushed["runQueueItemId"]],
        "item_state": queued.state,
    }
    popped = launch.pop_from_run_queue("upserted", entity, "model-registry")
    assert popped is not None
    answers["popped"] = popped["runSpec"]
    answers["acknowledged"] = launch.ack_run_queue_item(popped["runQueueItemId"], "big")
    answers["claimed"] = queued.state
    created.delete()
    return {"queues": answers}


def main() -> None:
    folder = Path(sys.argv[1])
    try:
        write(folder)
        (folder / "answers.json").write_text(json.dumps(read(folder)))
    finally:
        wandb.teardown()


if __name__ == "__main__":
    main()
