"""What a user of the real `wandb` SDK does to steer work, in a process of its own: sweeps that stop runs
early or are paused and stopped from the shell, a run that is preempted, a launch agent that runs a queued
job. Run by test_sdk_control.py, not collected.

    python sdk_control_session.py FOLDER

FOLDER takes what the SDK was answered, as `answers.json`. The server is the one in the environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import wandb
from wandb.agents import pyagent
from wandb.cli.cli import cli

ENTITY = os.environ["WANDB_ENTITY"]
RACE = {
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"level": {"values": [1, 50]}},
    "early_terminate": {"type": "hyperband", "min_iter": 2},
}
LIMIT = 1200  # iterations after which a run ends by itself: 60 seconds, when nobody stops it
JOB = "import wandb\nwith wandb.init() as run:\n    run.log({'a': 1})\n"


def shell(*words: str) -> None:
    """`wandb WORDS`, in this process: another one would spend seconds on imports."""
    cli.main(args=list(words), standalone_mode=False)


def trial() -> None:
    with wandb.init() as run:
        level = run.config["level"]
        for number in range(4 if level == 1 else LIMIT):
            run.log({"loss": level + 1 / (number + 1)})
            time.sleep(0.05)


def race(answers: dict[str, Any]) -> None:
    # As the SDK's own tests do: between two looks at the server it would sleep for 5 seconds.
    pyagent.Agent.HEARTBEAT_SLEEP_SECONDS = 0.2
    name = wandb.sweep(RACE, project="race", entity=ENTITY)
    wandb.agent(name, function=trial, project="race", entity=ENTITY)
    found = wandb.Api().sweep(f"{ENTITY}/race/{name}")
    answers["race"] = sorted((run.config["level"], run.id) for run in found.runs)
    answers["race state"] = found.state


def steer(answers: dict[str, Any]) -> None:
    config = {"method": "random", "parameters": {"x": {"min": 0, "max": 9}}}
    name = wandb.sweep(config, project="steered", entity=ENTITY)
    path = f"{ENTITY}/steered/{name}"
    wandb.agent(name, function=nothing, project="steered", entity=ENTITY, count=1)
    answers["states"] = []
    for word in ("--pause", "--resume", "--stop"):
        shell("sweep", word, path)
        answers["states"].append(wandb.Api().sweep(path).state)


def nothing() -> None:
    with wandb.init():
        pass


def preempted() -> None:
    run = wandb.init(project="spot", id="spot")
    run.log({"a": 1})
    run.mark_preempting()
    run.finish(exit_code=3)


def launch(answers: dict[str, Any], folder: Path) -> None:
    source = folder / "job"
    source.mkdir()
    (source / "job.py").write_text(JOB)
    (source / "requirements.txt").write_text("")
    api = wandb.Api()
    api.create_run_queue(name="here", type="local-process", config={}, entity=ENTITY)
    shell("job", "create", "code", "-p", "jobs", "-e", ENTITY, "-n", "job",
          "--entry-point", f"{sys.executable} job.py", str(source))  # fmt: skip
    shell("launch", "-j", f"{ENTITY}/jobs/job:latest", "-r", "local-process", "-q", "here", "-e", ENTITY,
          "-p", "jobs", "--project-queue", "model-registry")  # fmt: skip
    with (folder / "agent.log").open("w") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "wandb", "launch-agent", "-q", "here", "-e", ENTITY],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        for _ in range(300):
            (item,) = api.run_queue(ENTITY, "here").items
            if item.state in {"finished", "failed"}:
                break
            time.sleep(0.1)
    finally:
        os.killpg(agent.pid, signal.SIGKILL)  # it has done its work; gentler signals it may take long to heed
        agent.wait(30)
    answers["item"] = [item.state, (folder / "agent.log").read_text()[-2000:]]


def main() -> None:
    folder = Path(sys.argv[1])
    answers: dict[str, Any] = {}
    try:
        race(answers)
        steer(answers)
        preempted()
        launch(answers, folder)
        (folder / "answers.json").write_text(json.dumps(answers))
    finally:
        wandb.teardown()


if __name__ == "__main__":
    main()
