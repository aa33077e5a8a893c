"""The operator that writes down how all runs of a project stand."""

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
    from wandb_ops.steps import Goal

TIME_OF_DAG_RUN = "{{ dag_run.run_after.isoformat() }}"
"""When the DAG run was due; unlike the logical date, every DAG run has it, also one that an asset started."""


class WandbSnapshotOperator(WandbOperator):
    """Write state, config and summary of every run of a project to one Parquet file, or to a lake.

    Returns `wandb_ops.steps.SnapshotResult`: ``uri``, ``runs``, ``states``, ``best`` run per metric with its
    change since the previous snapshot, and so on.

    :param to: (templated) folder; each snapshot is one file in it, named by its time.
    :param project: (templated) project; None for the connection's.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param metrics: (templated) summary keys to rank runs by, each with ``"min"`` or ``"max"``, what is best;
        ``"last"`` and ``"mean"`` rank nothing and only tell what changed. A key may have a list of these.
    :param filters: (templated) only runs that match, in W&B's filter language.
    :param at: (templated) ISO 8601 time that the snapshot is for; by default when the DAG run was due, so
        that a retried or cleared task writes the same file again.
    :param format: ``"parquet"``, a file per snapshot; or ``"delta"``, rows in the table of a lake.
    :param report: (templated) path or URL of an HTML page to write; it needs no network.
    :param storage_conn_id: (templated) connection with the credentials of the store that ``to`` is in; None
        for what stands in the worker's environment.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (
        "to",
        "project",
        "entity",
        "metrics",
        "filters",
        "at",
        "report",
        "storage_conn_id",
        "wandb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"metrics": "json", "filters": "json"}
    operator_extra_links = (WandbProjectLink(),)

    def __init__(
        self,
        *,
        to: str | os.PathLike[str],
        project: str | None = None,
        entity: str | None = None,
        metrics: Mapping[str, Goal | Sequence[Goal]] | None = None,
        filters: Mapping[str, Any] | None = None,
        at: str | None = TIME_OF_DAG_RUN,
        format: Literal["parquet", "delta"] = "parquet",
        report: str | os.PathLike[str] | None = None,
        storage_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = templated(to)
        self.project = project
        self.entity = entity
        self.metrics = metrics
        self.filters = filters
        self.at = at
        self.format = format
        self.report = templated(report)
        self.storage_conn_id = storage_conn_id

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Write the snapshot."""
        from wandb_ops import steps

        result = steps.snapshot(
            api,
            project=self.project_of(api),
            to=os.fspath(self.to),
            entity=self.entity,
            metrics=self.metrics,
            filters=self.filters,
            at=self.at,
            format=self.format,
            report=None if self.report is None else os.fspath(self.report),
            storage_options=storage_options(self.storage_conn_id),
        )
        remember_url(self, context, key=PROJECT_URL, url=result.url)
        self.log.info("%s: %d runs %s, of %s", result.uri, result.runs, result.states, result.url)
        return result.to_json()

    def lineage(self, result: Mapping[str, Any]) -> Lineage:
        """From the project to the table, and to the page where one is written."""
        table = Dataset(uri=result["uri"], rows=result["rows"], size=result["bytes"] or None)
        page = (Dataset(uri=result["report"]),) if result["report"] else ()
        return Lineage((Dataset(uri=project_uri(result)),), (table, *page))
