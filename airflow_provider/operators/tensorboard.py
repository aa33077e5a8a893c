"""The operator that turns a folder of tfevents into a run's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provider.lineage import Dataset, Lineage, run_uri
from airflow_provider.links.run import WandbRunLink
from airflow_provider.operators.base import WandbOperator, own_run_id, remember_run, templated

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api


class WandbSyncTensorboardOperator(WandbOperator):
    """Send what the tfevents below a folder hold and the run does not have yet.

    The server's line count says what was sent: a retry after a lost answer duplicates nothing, and a folder
    that has grown sends only what is new. The folder is read on the worker that runs the task.

    Returns `wandb_ops.steps.SyncResult`: ``path``, ``run_id``, ``rows``, ``scalars``, ``history_lines``,
    ``left_out`` and so on. XCom keys ``run_id`` (before the first request), ``run_path``, ``wandb_run_url``.

    :param root_dir: (templated) folder with tfevents at any depth, or its URL in a store (``s3://bucket/logs``,
        with the store's credentials in the worker's environment); sub-folders become key prefixes.
    :param run_id: (templated) run to fill, made when it does not exist. None derives it from DAG, DAG run,
        task and map index; give the id of `WandbCreateRunOperator` to fill the run made there.
    :param project: (templated) project; None for the connection's.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param finish: end the run as finished afterwards; False while the training still writes.
    :param on_finished: without ``finish``, when the run has ended and there is something to send: fail
        (``"error"``), or reopen it (``"resume"``), and leave it open.
    :param prefixed_step: also give each row ``<directory>/global_step``, as wandb 0.29 did.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("root_dir", "run_id", "project", "entity", "wandb_conn_id")
    operator_extra_links = (WandbRunLink(),)

    def __init__(
        self,
        *,
        root_dir: str | os.PathLike[str],
        run_id: str | None = None,
        project: str | None = None,
        entity: str | None = None,
        finish: bool = True,
        on_finished: Literal["error", "resume"] = "error",
        prefixed_step: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root_dir = templated(root_dir)
        self.run_id = run_id
        self.project = project
        self.entity = entity
        self.finish = finish
        self.on_finished = on_finished
        self.prefixed_step = prefixed_step

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Send the rows that are missing."""
        from wandb_ops import steps

        run_id = self.run_id or own_run_id(context)
        context["ti"].xcom_push(key="run_id", value=run_id)
        result = steps.sync_tensorboard(
            api,
            self.root_dir,
            run_id=run_id,
            project=self.project_of(api),
            entity=self.entity,
            finish=self.finish,
            on_finished=self.on_finished,
            prefixed_step=self.prefixed_step,
        )
        remember_run(self, context, path=result.path, url=result.url)
        self.log.info(
            "Sent %d rows with %d scalars from %d files: %s",
            result.rows,
            result.scalars,
            result.files,
            result.url,
        )
        if result.left_out:
            self.log.warning("Left out: %s", result.left_out)
        return result.to_json()

    def lineage(self, result: Mapping[str, Any]) -> Lineage:
        """From the folder to the run."""
        folder = Dataset(uri=str(self.root_dir))
        return Lineage((folder,), (Dataset(uri=run_uri(result["path"]), rows=result["rows"]),))
