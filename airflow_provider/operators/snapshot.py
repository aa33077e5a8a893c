"""The operator that writes down how all runs of a project stand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider.links.run import PROJECT_URL, WandbProjectLink, remember_url
from airflow_provider.operators.base import WandbOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api

TIME_OF_DAG_RUN = "{{ dag_run.run_after.isoformat() }}"
"""When the DAG run was due; unlike the logical date, every DAG run has it, also one that an asset started."""


class WandbSnapshotOperator(WandbOperator):
    """Write state, config and summary of every run of a project to one Parquet file.

    Returns `wandb_ops.steps.SnapshotResult`: ``uri``, ``runs``, ``states``, ``best`` run per metric with its
    change since the previous snapshot, and so on.

    :param to: (templated) folder; each snapshot is one file in it, named by its time.
    :param project: (templated) project; None for the connection's.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param metrics: (templated) summary keys to rank runs by, each with ``"min"`` or ``"max"``, what is best.
    :param filters: (templated) only runs that match, in W&B's filter language.
    :param at: (templated) ISO 8601 time that the snapshot is for; by default when the DAG run was due, so
        that a retried or cleared task writes the same file again.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("to", "project", "entity", "metrics", "filters", "at", "wandb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"metrics": "json", "filters": "json"}
    operator_extra_links = (WandbProjectLink(),)

    def __init__(
        self,
        *,
        to: str | os.PathLike[str],
        project: str | None = None,
        entity: str | None = None,
        metrics: Mapping[str, Literal["min", "max"]] | None = None,
        filters: Mapping[str, Any] | None = None,
        at: str | None = TIME_OF_DAG_RUN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.project = project
        self.entity = entity
        self.metrics = metrics
        self.filters = filters
        self.at = at

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
        )
        remember_url(self, context, key=PROJECT_URL, url=result.url)
        self.log.info("%s: %d runs, %s", result.uri, result.runs, result.states)
        return result.to_json()
