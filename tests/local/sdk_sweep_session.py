"""What a user of the real `wandb` SDK does with sweeps, alerts and resumed runs, in a process of its own;
run by test_sdk_sweeps.py, not collected.

    python sdk_sweep_session.py FOLDER

FOLDER takes what the SDK was answered, as `answers.json`. The server is the one in the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import wandb
from wandb.agents import pyagent

ENTITY = os.environ["WANDB_ENTITY"]
GRID = {
    "method": "grid",
    "name": "the grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"values": [0.1, 0.2]}, "nested": {"parameters": {"layers": {"values": [1, 2]}}}},
}


def trial() -> None:
    with wandb.init() as run:
        run.log({"loss": run.config["lr"] * run.config["nested"]["layers"]})


def sweep(answers: dict[str, Any]) -> None:
    # As the SDK's own tests do: between two looks at the server it would sleep for 5 seconds.
    pyagent.Agent.HEARTBEAT_SLEEP_SECONDS = 0.2
    name = wandb.sweep(GRID, project="swept", entity=ENTITY)
    answers["sweep"] = name
    wandb.agent(name, function=trial, project="swept", entity=ENTITY, count=3)
    api = wandb.Api()
    found = api.sweep(f"{ENTITY}/swept/{name}")
    answers["after three"] = [found.state, len(found.runs), found.expected_run_count, found.best_run().id]
    answers["configs"] = sorted((run.config["lr"], run.config["nested"]["layers"]) for run in found.runs)
    answers["sweep name of a run"] = found.runs[0].sweep_name
    answers["agents"] = [
        [agent.name, len(agent.runs()), sorted(run.id for run in agent.runs())] for agent in found.agents()
    ]
    answers["runs"] = sorted(run.id for run in found.runs)


def write(answers: dict[str, Any], folder: Path) -> None:
    with wandb.init(project="events", id="alerting") as run:
        run.alert("first", "a text", level="WARN", wait_duration=300)
        run.alert("first", "too soon")
        run.alert("second", "another")
        for step in range(6):
            run.log({"loss": 10 - step, "late": step} if step > 2 else {"loss": 10 - step})
    with wandb.init(project="events", id="alerting", resume="must") as run:
        answers["resumed at"] = run.starting_step
        run.log({"loss": 1})
    with wandb.init(project="events", id="alerting", resume_from="alerting?_step=3") as run:
        run.log({"loss": 100})
    # Last, because the process thinks that it goes on with the run of an init that failed.
    for mode, name in (("must", "nobody"), ("never", "alerting")):
        try:
            wandb.init(project="events", id=name, resume=mode)
            answers[mode] = "no error"
        except wandb.errors.UsageError as error:
            answers[mode] = str(error)
    # An offline run, sent afterwards by `wandb sync`.
    with wandb.init(project="events", id="offline", mode="offline", config={"a": 1}) as run:
        for step in range(5):
            run.log({"loss": step})
        where = Path(run.settings.sync_dir)
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", str(where)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def main() -> None:
    folder = Path(sys.argv[1])
    answers: dict[str, Any] = {}
    try:
        sweep(answers)
        write(answers, folder)
        (folder / "answers.json").write_text(json.dumps(answers))
    finally:
        wandb.teardown()


if __name__ == "__main__":
    main()
