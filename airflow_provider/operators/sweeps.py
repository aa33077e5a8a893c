"""The operator that makes a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider.links.run import SWEEP_URL, WandbSweepLink, remember_url
from airflow_provider.operators.base import WandbOperator, own_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api


class WandbCreateSweepOperator(WandbOperator):
    """Make a sweep, or find the one of that name that an earlier try has made.

    Agents that work on it are yours to run, for instance by mapped tasks. Returns
    `wandb_ops.steps.SweepResult`: ``path``, ``sweep_id``, ``state``, ``created`` and so on. XCom keys
    ``sweep_path``, ``wandb_sweep_url``.

    :param config: (templated) W&B's sweep configuration: ``method``, ``metric``, ``parameters``, ...
    :param name: (templated) unique in the project by your own care. None makes one of DAG, task, map index
        and DAG run, so that a retried or cleared task finds its own sweep again.
    :param project: (templated) project; None for the connection's. Made when it does not exist.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("config", "name", "project", "entity", "wandb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"config": "json"}
    operator_extra_links = (WandbSweepLink(),)

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        name: str | None = None,
        project: str | None = None,
        entity: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.name = name
        self.project = project
        self.entity = entity

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Make or find the sweep."""
        from wandb_ops import steps

        result = steps.create_sweep(
            api,
            project=self.project_of(api),
            name=self.name or own_name(context),
            config=self.config,
            entity=self.entity,
        )
        context["ti"].xcom_push(key="sweep_path", value=result.path)
        remember_url(self, context, key=SWEEP_URL, url=result.url)
        for warning in result.warnings:
            self.log.warning("W&B says of the configuration: %s", warning)
        self.log.info("%s sweep %s", "Made" if result.created else "Found", result.url)
        return result.to_json()
