"""The operator that keeps a launch queue as described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider.links.run import QUEUE_URL, WandbQueueLink, remember_url
from airflow_provider.operators.base import WandbOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api


class WandbUpsertRunQueueOperator(WandbOperator):
    """Make a launch queue, or change what differs; sends nothing when nothing does.

    An argument left out keeps what the queue has. Returns `wandb_ops.steps.QueueResult`: ``action`` is
    ``"created"``, ``"unchanged"`` or ``"changed"``, and ``changes`` has before and after of each field.

    :param name: (templated) the queue's name.
    :param resource_type: (templated) ``"kubernetes"``, ``"sagemaker"``, ``"gcp-vertex"``,
        ``"local-container"``, ``"local-process"``.
    :param resource_config: the queue's default resource configuration. No Airflow template: its
        ``{{name}}`` are W&B's own, filled from ``template_variables`` when a job is queued.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param template_variables: variables of the configuration, each with a JSON schema.
    :param external_links: (templated) label to address, shown with the queue.
    :param prioritization_mode: (templated) ``"DISABLED"`` or ``"V0"``.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (
        "name",
        "resource_type",
        "entity",
        "external_links",
        "prioritization_mode",
        "wandb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"external_links": "json"}
    operator_extra_links = (WandbQueueLink(),)

    def __init__(
        self,
        *,
        name: str,
        resource_type: str,
        resource_config: Mapping[str, Any],
        entity: str | None = None,
        template_variables: Mapping[str, Any] | None = None,
        external_links: Mapping[str, str] | None = None,
        prioritization_mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.resource_type = resource_type
        self.resource_config = resource_config
        self.entity = entity
        self.template_variables = template_variables
        self.external_links = external_links
        self.prioritization_mode = prioritization_mode

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Make or change the queue."""
        from wandb_ops import steps

        result = steps.upsert_run_queue(
            api,
            name=self.name,
            resource_type=self.resource_type,
            resource_config=self.resource_config,
            entity=self.entity,
            template_variables=self.template_variables,
            external_links=self.external_links,
            prioritization_mode=self.prioritization_mode,
        )
        remember_url(self, context, key=QUEUE_URL, url=result.url)
        self.log.info("Queue %s/%s is %s", result.entity, result.name, result.action)
        return result.to_json()
