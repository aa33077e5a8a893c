"""What several tests look at: team crew with runs, a sweep, artifacts, queues and a registry."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import wandb_ops

if TYPE_CHECKING:
    from pathlib import Path

SWEEP_CONFIG = {
    "method": "random",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"min": 0.0, "max": 1.0}},
    "run_cap": 7,
}
JOB = {
    "_version": "v0",
    "source_type": "image",
    "source": {"image": "python:3.12", "entrypoint": ["python", "train.py"]},
    "input_types": {"wb_type": "unknown"},
    "output_types": {"wb_type": "unknown"},
    "_partial": True,
}
REPORT = {
    "panelGroups": [
        {
            "openRunSet": 0,
            "runSets": [
                {
                    "filters": {"op": "OR", "filters": [{"op": "AND", "filters": []}]},
                    "sort": {"key": {"section": "summary", "name": "loss"}, "ascending": True},
                    "selections": {"root": 1, "tree": []},
                }
            ],
        }
    ]
}
ROWS = [
    {"_step": step, "_timestamp": 1.7e9 + step, "loss": 1 / (step + 1), "acc": step} for step in range(12)
]
VARIABLES = {"gpus": {"schema": {"type": "integer", "default": 1}}}
PUSH = "mutation P($i: PushToRunQueueByNameInput!) { pushToRunQueueByName(input: $i) { runQueueItemId } }"
POP = "mutation P($i: PopFromRunQueueInput!) { popFromRunQueue(input: $i) { runQueueItemId } }"
ACK = "mutation A($i: AckRunQueueItemInput!) { ackRunQueueItem(input: $i) { success } }"
SWEEP = "mutation U($i: UpsertSweepInput!) { upsertSweep(input: $i) { sweep { name } } }"
VIEW = "mutation U($i: UpsertViewInput!) { upsertView(input: $i) { view { id } } }"
AGENT = "mutation A($i: CreateAgentInput!) { createAgent(input: $i) { agent { id } } }"
HOOK = (
    "mutation M($i: CreateGenericWebhookIntegrationInput!)"
    " { createGenericWebhookIntegration(input: $i) { integration { id } } }"
)


class World:
    """What both sides look at: team crew with project work, written over plain HTTP and by ours."""

    def __init__(self, company: Any, folder: Path, writer_type: Any) -> None:
        server = company.server
        self.company, self.folder = company, folder
        server.add_organization("Acme", teams=["crew"])
        place = SimpleNamespace(url=server.url, api_key=company.users["ann"].api_key, entity="crew")
        self.writer = writer_type(place)
        self.queued = 0
        self._runs()
        self._launch()
        self._artifacts()
        self._rest(server)

    def ask(self, query: str, **given: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.writer.graphql(query, {"i": given})
        return data

    def _runs(self) -> None:
        where = {"projectName": "work", "entityName": "crew"}
        self.sweep: str = self.ask(SWEEP, **where, config=json.dumps(SWEEP_CONFIG))["upsertSweep"]["sweep"][
            "name"
        ]
        self.agent: str = self.ask(AGENT, **where, sweep=self.sweep, host="box")["createAgent"]["agent"]["id"]
        for number in range(3):
            self.writer.run(
                "work",
                f"a{number}",
                displayName=f"name {number}",
                config={"lr": 10.0**-number, "nested": {"layers": [1, {"x": None}]}},
                summary={"loss": 0.3 - 0.1 * number, "best": {"acc": number}, "text": "é"},
                rows=ROWS[: 4 * (number + 1)],
                events=[{"system.cpu": 1.5, "_timestamp": 1.7e9, "_runtime": 1}],
                exit_code=number % 2,
                tags=["a", f"t{number}"],
                groupName="g",
                jobType="train",
                notes="notes",
                sweep=self.sweep if number else None,
            )
        url = f"{self.writer.server.url}/files/crew/work/a0/file_stream"
        lines = [f"2026-01-31T12:00:0{number}.250000 line {number}" for number in range(5)]
        body = {"files": {"output.log": {"offset": 0, "content": lines}}, "complete": True, "exitcode": 0}
        assert self.writer.session.post(url, json=body, timeout=30).status_code == 200
        given = {**where, "displayName": "Shown", "description": "about", "spec": json.dumps(REPORT)}
        self.report: str = self.ask(VIEW, **given, type="runs")["upsertView"]["view"]["id"]

    def _launch(self) -> None:
        api = self.company.ours("ann", entity="crew")
        api.create_run_queue("q", "kubernetes", config={"a": 1}, template_variables=VARIABLES)
        self.item = self.push("q")
        self.started = self.push("q", start="a0")
        api.create_project("made", "crew")

    def push(self, queue: str, start: str | None = None) -> str:
        """Queue a job, and let an agent start it as a run, if one is named."""
        place = {"entityName": "crew", "projectName": "model-registry", "queueName": queue}
        spec = {"docker": {"docker_image": "x"}, "project": "work", "entity": "crew"}
        pushed = self.ask(PUSH, **place, runSpec=json.dumps(spec))
        item = str(pushed["pushToRunQueueByName"]["runQueueItemId"])
        if start is not None:
            while self.ask(POP, **place)["popFromRunQueue"]["runQueueItemId"] != item:
                pass
            self.ask(ACK, runQueueItemId=item, runName=start)
        return item

    def _artifacts(self) -> None:
        run = self.company.ours("ann").run("crew/work/a0")
        (self.folder / "a.txt").write_text("from a run\n")
        run.upload_file(str(self.folder / "a.txt"), root=str(self.folder))
        for number in range(3):
            artifact = wandb_ops.Artifact("weights", "model", "about", metadata={"n": number})
            artifact.add_bytes(f"{number}".encode(), "deep/w.bin")
            artifact.add_bytes(b"same", "same.txt")
            run.log_artifact(artifact, aliases=["best"] if number == 1 else [], tags=[f"t{number}", "all"])
        run.log_artifact(wandb_ops.Artifact("rows", "dataset"))
        job = wandb_ops.Artifact("train", "job")
        job.add_bytes(json.dumps(JOB).encode(), "wandb-job.json")
        run.log_artifact(job)
        api = self.company.ours("ann")
        api.create_registry("model", "organization", "Acme", "what is served")
        weights = api.artifact("crew/work/weights:v2")
        weights.link("Acme-org/wandb-registry-model/classifier", aliases=["prod"])
        api.run("crew/work/a1").use_artifact(weights)

    def _rest(self, server: Any) -> None:
        server.add_slack_integration("crew", team="Acme Inc", channel="#alerts")
        self.ask(HOOK, entityName="crew", name="deploy", urlEndpoint="https://hooks.example/deploy")
        api = self.company.ours("ann")
        event = wandb_ops.AutomationEvent.run_state(api.project("work", "crew"), "failed")
        api.create_automation(name="watch", event=event, action=wandb_ops.AutomationAction.no_op())
