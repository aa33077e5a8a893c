"""Buttons on a task's page that open the run, queue, project or artifact in W&B.

The address is the client's, made from the server's own address; nothing a server answers can point it
elsewhere. The task leaves it on itself while it runs, since Airflow asks for links in the same process right
after; a look-up among the XComs would log an error for each task that ends before it has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

RUN_URL = "wandb_run_url"
QUEUE_URL = "wandb_queue_url"
PROJECT_URL = "wandb_project_url"
ARTIFACT_URL = "wandb_artifact_url"
SWEEP_URL = "wandb_sweep_url"

_ATTRIBUTE = "_wandb_urls"


def remember_url(task: BaseOperator, context: Context, *, key: str, url: str) -> None:
    """Keep an address for the button on the task's page, and as an XCom for later tasks.

    :param task: the operator that runs.
    :param context: its context.
    :param key: one of this module's keys; also the XCom's key.
    :param url: the address.
    """
    vars(task).setdefault(_ATTRIBUTE, {})[key] = url
    context["ti"].xcom_push(key=key, value=url)


class _StoredLink(BaseOperatorLink):
    """Opens the address kept under the key `stored_as`; no button when the task kept none."""

    stored_as: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's
        """The address, or an empty string."""
        url = str(getattr(operator, _ATTRIBUTE, {}).get(self.stored_as, ""))
        return url if url.startswith(("https://", "http://")) else ""


class WandbRunLink(_StoredLink):
    """Opens the run that the task made, filled, waited for or exported."""

    name = "W&B run"
    stored_as = RUN_URL


class WandbQueueLink(_StoredLink):
    """Opens the launch queue that the task upserted, or put a job on."""

    name = "W&B launch queue"
    stored_as = QUEUE_URL


class WandbProjectLink(_StoredLink):
    """Opens the project that the task exported, or took a snapshot of."""

    name = "W&B project"
    stored_as = PROJECT_URL


class WandbArtifactLink(_StoredLink):
    """Opens the version of an artifact that the task logged, downloaded, promoted or waited for."""

    name = "W&B artifact"
    stored_as = ARTIFACT_URL


class WandbSweepLink(_StoredLink):
    """Opens the sweep that the task made or waited for."""

    name = "W&B sweep"
    stored_as = SWEEP_URL
