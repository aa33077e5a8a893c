"""Launch queues, upserted without losing what was not named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from wandb_ops.steps.results import QueueResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.public.api import Api


def upsert_run_queue(
    api: Api,
    *,
    name: str,
    resource_type: str,
    resource_config: Mapping[str, Any],
    entity: str | None = None,
    template_variables: Mapping[str, Any] | None = None,
    external_links: Mapping[str, str] | None = None,
    prioritization_mode: str | None = None,
) -> QueueResult:
    """Make the queue, or change what differs; an argument left out keeps what is there.

    Sends nothing when nothing differs. Arguments as in `Api.upsert_run_queue`.

    Raises:
        UsageError: An argument is not one that W&B takes.
    """
    from wandb_ops.public.queues import upsert_queue

    change = upsert_queue(
        api.transport,
        entity=api.entity_or_default(entity),
        name=name,
        resource_type=resource_type,
        resource_config=resource_config,
        template_variables=template_variables,
        external_links=external_links,
        prioritization_mode=prioritization_mode,
    )
    action: Literal["created", "unchanged", "changed"] = "changed" if change.changes else "unchanged"
    return QueueResult(
        entity=change.after.entity,
        name=change.after.name,
        queue_id=change.after.id,
        url=f"{api.transport.settings.app_url}/{quote(change.after.entity, safe='')}/launch",
        action="created" if change.before is None else action,
        changes=change.changes,
    )
