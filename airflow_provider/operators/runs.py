"""Operators that make, fill and end runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider.lineage import Dataset, Lineage, run_uri
from airflow_provider.links.run import RUN_URL, WandbRunLink, remember_url
from airflow_provider.operators.base import WandbOperator, own_run_id, remember_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api


class WandbCreateRunOperator(WandbOperator):
    """Make a run, or find the one that an earlier try of this task made.

    Returns the run as `wandb_ops.steps.RunResult`: ``path``, ``run_id``, ``url``, ``state``, ``created`` and
    so on; also stored one by one under the XCom keys ``run_id`` (before the first request), ``run_path`` and
    ``wandb_run_url``.

    .. code-block:: python

        created = WandbCreateRunOperator(
            task_id="create_run", project="churn", config={"lr": 0.1}, tags=["nightly"]
        )
        finished = WandbFinishRunOperator(task_id="finish", run=created.output["run_path"])

    :param project: (templated) project; None for the connection's. Made when it does not exist.
    :param run_id: (templated) id of the run. None derives it from DAG, DAG run, task and map index, so that a
        retried or cleared task finds its own run again, and a mapped task has one run per map index.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param display_name: (templated) name shown in W&B.
    :param config: (templated) hyperparameters; merged over what the run has.
    :param group: (templated) group name.
    :param job_type: (templated) job type.
    :param tags: (templated) tags.
    :param notes: (templated) free text.
    :param on_finished: what to do when the run exists and has ended: use it untouched (``"adopt"``), reopen
        it (``"resume"``), or fail (``"error"``). Clearing a task of a run that has ended is an everyday thing
        in Airflow, hence the default.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (
        "project",
        "run_id",
        "entity",
        "display_name",
        "config",
        "group",
        "job_type",
        "tags",
        "notes",
        "wandb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"config": "json", "tags": "json"}
    operator_extra_links = (WandbRunLink(),)

    def __init__(
        self,
        *,
        project: str | None = None,
        run_id: str | None = None,
        entity: str | None = None,
        display_name: str | None = None,
        config: Mapping[str, Any] | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        on_finished: Literal["error", "adopt", "resume"] = "adopt",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.run_id = run_id
        self.entity = entity
        self.display_name = display_name
        self.config = config
        self.group = group
        self.job_type = job_type
        self.tags = tags
        self.notes = notes
        self.on_finished = on_finished

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Make or find the run."""
        from wandb_ops import steps

        run_id = self.run_id or own_run_id(context)
        context["ti"].xcom_push(key="run_id", value=run_id)
        result = steps.create_run(
            api,
            project=self.project_of(api),
            run_id=run_id,
            entity=self.entity,
            display_name=self.display_name,
            config=self.config,
            group=self.group,
            job_type=self.job_type,
            tags=self.tags,
            notes=self.notes,
            on_finished=self.on_finished,
        )
        remember_run(self, context, path=result.path, url=result.url)
        self.log.info("%s run %s", "Made" if result.created else "Found", result.url)
        return result.to_json()


class WandbLogMetricsOperator(WandbOperator):
    """Append rows to a run's history, for instance the evaluation that an earlier task computed.

    Returns `wandb_ops.steps.LogResult`: ``rows``, ``skipped``, ``history_lines``, ``last_step`` and so on.

    :param run: (templated) entity/project/run_id, or a part of it that the connection completes.
    :param rows: (templated) one mapping per row. Small tables only: they come through the metadata database.
    :param first_line: (templated) history line that the first row is meant for. With it a repeated task adds
        nothing twice, and a run that somebody else writes is an error; without it rows go to the end, and a
        task that failed after its rows arrived adds them again. ``0`` is right for a run that this task alone
        fills.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("run", "rows", "first_line", "wandb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"rows": "json"}
    operator_extra_links = (WandbRunLink(),)

    def __init__(
        self,
        *,
        run: str,
        rows: Sequence[Mapping[str, Any]],
        first_line: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.rows = rows
        self.first_line = first_line

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Append the rows that the run does not have yet."""
        from wandb_ops import steps

        first_line = None if self.first_line is None else int(self.first_line)
        result = steps.log_metrics(api, run=self.run, rows=self.rows, first_line=first_line)
        remember_url(self, context, key=RUN_URL, url=result.url)
        self.log.info("Sent %d rows, %d were there already: %s", result.rows, result.skipped, result.url)
        return result.to_json()

    def lineage(self, result: Mapping[str, Any]) -> Lineage:
        """Into the run."""
        return Lineage((), (Dataset(uri=run_uri(result["path"]), rows=result["rows"]),))


class WandbFinishRunOperator(WandbOperator):
    """End a run: ``finished`` for exit code 0, ``failed`` for any other. Repeating it is harmless.

    With ``trigger_rule="one_failed"`` and ``exit_code=1`` it marks a run as failed when the tasks that fill
    it fail, instead of leaving it running.

    Returns the run as `wandb_ops.steps.RunResult`.

    :param run: (templated) entity/project/run_id, or a part of it that the connection completes.
    :param exit_code: (templated) exit code of what the run stands for.
    :param summary: (templated) summary values to set before.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("run", "exit_code", "summary", "wandb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"summary": "json"}
    operator_extra_links = (WandbRunLink(),)

    def __init__(
        self,
        *,
        run: str,
        exit_code: int | str = 0,
        summary: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.exit_code = exit_code
        self.summary = summary

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """End the run."""
        from wandb_ops import steps

        result = steps.finish_run(api, run=self.run, exit_code=int(self.exit_code), summary=self.summary)
        remember_run(self, context, path=result.path, url=result.url)
        self.log.info("Run is %s: %s", result.state, result.url)
        return result.to_json()
