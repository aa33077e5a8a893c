"""Operators that export a whole project: plan, export (as a whole or in mapped shards), verify."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider.hooks.storage import storage_options
from airflow_provider.lineage import Dataset, Lineage, project_uri
from airflow_provider.links.run import PROJECT_URL, WandbProjectLink, remember_url
from airflow_provider.operators.base import WandbOperator, templated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api

Format = Literal["parquet", "csv", "jsonl", "delta"]
INCLUDE = ("runs", "history")
LOGGED = 50
"""Parts of runs that could not be taken, each with a line in the task's log; the rest is counted."""


class _ProjectOperator(WandbOperator):
    """The arguments that plan, export and verify share; they have to be the same in all three."""

    template_fields: Sequence[str] = (
        "to",
        "project",
        "entity",
        "filters",
        "keys",
        "include",
        "storage_conn_id",
        "wandb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json", "keys": "json"}
    operator_extra_links = (WandbProjectLink(),)

    def __init__(
        self,
        *,
        to: str | os.PathLike[str],
        project: str | None = None,
        entity: str | None = None,
        filters: Mapping[str, Any] | None = None,
        keys: Sequence[str] | None = None,
        format: Format = "parquet",
        include: Sequence[str] = INCLUDE,
        storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = templated(to)
        self.project = project
        self.entity = entity
        self.filters = filters
        self.keys = keys
        self.format = format
        self.include = include
        self.storage_conn_id = storage_conn_id

    def shared(self, api: Api) -> dict[str, Any]:
        """The arguments as the steps take them."""
        return {
            "project": self.project_of(api),
            "to": os.fspath(self.to),
            "entity": self.entity,
            "filters": self.filters,
            "keys": self.keys,
            "format": self.format,
            "include": self.include,
            "storage_options": storage_options(self.storage_conn_id),
        }


class WandbPlanExportOperator(_ProjectOperator):
    """Ask what an export would fetch, and deal it into shards of about equal work; fetches no history.

    Returns the list of shards, to map `WandbExportProjectOperator` over; there is always one at least. XCom
    key ``plan``: `wandb_ops.steps.ExportPlanResult` without the shards (``runs``, ``changed``, ``rows``,
    ``requests``); ``wandb_project_url``.

    .. code-block:: python

        where = {"project": "churn", "to": "s3://lake/churn"}
        plan = WandbPlanExportOperator(task_id="plan", shards=8, **where)
        export = WandbExportProjectOperator.partial(task_id="export", **where).expand(shard=plan.output)
        export >> WandbVerifyExportOperator(task_id="verify", **where)

    :param to: (templated) folder, or URL of one.
    :param shards: (templated) how many parts at most.
    :param project: (templated) project; None for the connection's.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param filters: (templated) only runs that match, in W&B's filter language.
    :param keys: (templated) history columns to keep; None keeps all.
    :param format: one file per run (``"parquet"``, ``"csv"``, ``"jsonl"``), or tables of Delta Lake
        (``"delta"``).
    :param include: (templated) what to take of ``"runs"``, ``"history"``, ``"system"``, ``"files"``,
        ``"artifacts"``.
    :param force: plan to fetch even what has not changed.
    :param storage_conn_id: (templated) connection with the credentials of the store that ``to`` is in; None
        for what stands in the worker's environment.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (*_ProjectOperator.template_fields, "shards")

    def __init__(self, *, shards: int | str = 8, force: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shards = shards
        self.force = force

    def run_step(self, api: Api, context: Context) -> list[dict[str, Any]]:
        """Make the plan."""
        from wandb_ops import steps

        planned = steps.plan_export(api, **self.shared(api), shards=int(self.shards), force=self.force)
        plan = planned.to_json()
        shards: list[dict[str, Any]] = plan.pop("shards")
        context["ti"].xcom_push(key="plan", value=plan)
        remember_url(self, context, key=PROJECT_URL, url=planned.url)
        self.log.info(
            "%d of %d runs changed, %d rows, %d requests: %d shards",
            planned.changed,
            planned.runs,
            planned.rows,
            planned.requests,
            len(shards),
        )
        return shards


class WandbExportProjectOperator(_ProjectOperator):
    """Bring every run of a project to a folder or lake; what did not change costs no request of its own.

    A run that fails does not keep the others back, and what an earlier export left of it stands; but the task
    fails at the end, with a retry where that may help. Then only what is missing is fetched.

    Returns `wandb_ops.steps.ProjectExportResult`: ``uri``, ``runs``, ``written``, ``unchanged``, ``rows``,
    ``not_taken`` and so on. XCom key ``wandb_project_url``.

    :param to: (templated) folder, or URL of one; a project needs one of its own, but for ``"delta"``.
    :param project: (templated) project; None for the connection's.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param filters: (templated) only runs that match, in W&B's filter language.
    :param keys: (templated) history columns to keep; None keeps all.
    :param format: one file per run (``"parquet"``, ``"csv"``, ``"jsonl"``), or tables of Delta Lake
        (``"delta"``).
    :param include: (templated) what to take of ``"runs"``, ``"history"``, ``"system"``, ``"files"``,
        ``"artifacts"``.
    :param shard: (templated) one of the shards of `WandbPlanExportOperator`: take only its runs.
    :param force: fetch even what has not changed.
    :param concurrency: (templated) requests at once.
    :param allow_partial: succeed even when runs were not taken; look at ``not_taken``.
    :param storage_conn_id: (templated) connection with the credentials of the store that ``to`` is in; None
        for what stands in the worker's environment.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (*_ProjectOperator.template_fields, "shard", "concurrency")

    def __init__(
        self,
        *,
        shard: Mapping[str, Any] | None = None,
        force: bool = False,
        concurrency: int | str = 8,
        allow_partial: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.force = force
        self.concurrency = concurrency
        self.allow_partial = allow_partial

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Fetch what is missing."""
        from wandb_ops import steps

        result = steps.export_project(
            api,
            **self.shared(api),
            shard=self.shard,
            force=self.force,
            concurrency=int(self.concurrency),
            progress=False,
        )
        remember_url(self, context, key=PROJECT_URL, url=result.url)
        self.log.info(
            "%s: %d runs, %d parts written, %d unchanged, %d rows, of %s",
            result.uri,
            result.runs,
            result.written,
            result.unchanged,
            result.rows,
            result.url,
        )
        for one in result.not_taken[:LOGGED]:
            self.log.warning("Not taken: %s of run %s: %s", one.what, one.run_id, one.message)
        if len(result.not_taken) > LOGGED:
            self.log.warning("Not taken: %d more parts of runs", len(result.not_taken) - LOGGED)
        return (result if self.allow_partial else steps.check_export(result)).to_json()

    def lineage(self, result: Mapping[str, Any]) -> Lineage:
        """From the project to the folder or lake."""
        written = Dataset(
            uri=result["uri"], rows=result["rows"] + result["system_rows"], size=result["bytes"]
        )
        return Lineage((Dataset(uri=project_uri(result)),), (written,))


class WandbVerifyExportOperator(_ProjectOperator):
    """Read an export again, every row of it, and compare it with its own marks and the server's list of runs.

    Fails for good when it does not hold what it says, or lacks what the server has: then the export has to
    run again. Returns `wandb_ops.steps.VerifyResult`.

    :param to: (templated) folder, or URL of one.
    :param project: (templated) project; None for the connection's.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param filters: (templated) those of the export.
    :param keys: (templated) those of the export.
    :param format: that of the export.
    :param include: (templated) that of the export.
    :param current: fail, too, when the server has runs or rows that came after the export.
    :param storage_conn_id: (templated) connection with the credentials of the store that ``to`` is in; None
        for what stands in the worker's environment.
    :param wandb_conn_id: (templated) the connection.
    """

    def __init__(self, *, current: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.current = current

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:  # noqa: ARG002 - as the base has it
        """Read it, compare, judge."""
        from wandb_ops import steps

        result = steps.verify_export(api, **self.shared(api))
        self.log.info("%s: %d parts, %d rows read again", result.uri, result.parts, result.rows)
        return steps.check_verified(result, current=self.current).to_json()
