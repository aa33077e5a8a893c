"""A launch agent for the demo: takes jobs off a queue and trains what they say, in a thread.

It stands for what runs in a cluster: W&B's own agents do the same with containers. The orchestrator that put
the job on the queue knows nothing of it but the run that comes of it.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import requests

import wandb_ops
from example_dags.train import CONFIGURATIONS, train
from wandb_ops import steps

POP = """
mutation PopFromRunQueue($entity: String!, $queue: String!) {
  popFromRunQueue(input: {entityName: $entity, projectName: "model-registry", queueName: $queue}) {
    runQueueItemId
    runSpec
  }
}
"""
ACK = """
mutation AckRunQueueItem($item: ID!, $run: String!) {
  ackRunQueueItem(input: {runQueueItemId: $item, runName: $run}) { success }
}
"""
_POLL = 0.5


class Agent(threading.Thread):
    """Works off one queue of an embedded server until `stop()`.

    Args:
        api: A client of that server.
        queue: Name of the queue; it need not exist yet.
        folder: Where trainings write their tfevents.
    """

    def __init__(self, api: wandb_ops.Api, queue: str, folder: Path) -> None:
        super().__init__(name="launch-agent", daemon=True)
        self.api = api
        self.queue = queue
        self.folder = folder
        self.done: list[str] = []  # paths of the runs
        self._ending = threading.Event()
        self._http = requests.Session()
        self._http.auth = ("api", api.api_key)
        self._http.trust_env = False

    def run(self) -> None:
        """Take jobs as they come."""
        while not self._ending.wait(_POLL):
            answer = self._ask(POP, entity=self.api.entity_or_default(None), queue=self.queue)
            item = (answer or {}).get("popFromRunQueue")
            if item:
                spec = item["runSpec"]
                self._work(item["runQueueItemId"], json.loads(spec) if isinstance(spec, str) else spec)

    def stop(self) -> None:
        """End after the job at hand."""
        self._ending.set()
        self.join()
        self._http.close()

    def _work(self, item: str, spec: dict[str, Any]) -> None:
        """One job: its run begins, is trained, and ends."""
        given = spec.get("overrides", {}).get("run_config", {})
        config = {**CONFIGURATIONS["small-fast"], **given}
        run = steps.create_run(
            self.api,
            project=spec["project"],
            run_id=spec["run_id"],
            display_name=spec.get("name") or "launched",
            config=config,
            job_type="launched",
        )
        self._ask(ACK, item=item, run=run.run_id)
        train(config, self.folder / run.run_id)
        steps.sync_tensorboard(self.api, self.folder / run.run_id, run_id=run.run_id, project=run.project)
        self.done.append(run.path)

    def _ask(self, query: str, **variables: str) -> dict[str, Any] | None:
        url = f"{self.api.settings['base_url']}/graphql"
        answer = self._http.post(url, json={"query": query, "variables": variables}, timeout=30)
        data: dict[str, Any] | None = answer.json().get("data")
        return data
