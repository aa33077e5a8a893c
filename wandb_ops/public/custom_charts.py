"""Presets of custom charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError, GraphQLError, UsageError
from wandb_ops.protocol import values
from wandb_ops.protocol.documents.charts import CREATE_CUSTOM_CHART
from wandb_ops.protocol.graphql import execute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.transport.session import Transport


def create_custom_chart(
    transport: Transport,
    entity: str,
    name: str,
    display_name: str,
    spec_type: str,
    access: str,
    spec: str | Mapping[str, Any],
) -> str:
    """Create a preset; see `Api.create_custom_chart`."""
    where = f"{entity}/{name}"
    if not entity or not name or not display_name:
        raise UsageError("A custom chart needs an entity, a name and a display name")
    if spec_type != "vega2":
        raise UsageError(f"A custom chart's spec is of type 'vega2', not {spec_type!r}", where=where)
    if access not in {"private", "public"}:
        raise UsageError(f"A custom chart is 'private' or 'public', not {access!r}", where=where)
    try:
        text = spec if isinstance(spec, str) else values.dumps(dict(spec))
        if not values.loads_object(text):
            raise UsageError("The chart's spec is empty", where=where)
    except (DataError, TypeError) as error:
        raise UsageError(f"The chart's spec is no JSON object: {error}", where=where) from None
    variables = {
        "entity": entity,
        "chartName": name,
        "displayName": display_name,
        "chartType": spec_type,
        "access": access.upper(),
        "spec": text,
    }
    data = execute(transport, CREATE_CUSTOM_CHART, variables, where=where)
    made = ((data.get("createCustomChart") or {}).get("chart") or {}).get("id")
    if not made:
        raise GraphQLError("CreateCustomChart: the server made no chart", where=where)
    return str(made)
