"""Presets of custom charts: kept as data; the server's own page does not draw them."""

from __future__ import annotations

from typing import Any

from wandb_ops.local.accounts import directory
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import loads_object
from wandb_ops.local.names import check_name
from wandb_ops.local.resolvers.context import Args, Context, Resolver, required

_ACCESS = frozenset({"PRIVATE", "PUBLIC"})
_MAX_SPEC = 1 << 20


def _create(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    """Make a preset. Its id is what charts are told to be drawn by: ``entity/name``."""
    given = args["input"]
    owner = context.check_entity(required(given, "entity"))
    name, spec = check_name("chart", given.get("name")), required(given, "spec")
    shown = given.get("displayName") or name
    if given.get("access") not in _ACCESS or given.get("type") != "vega2":
        raise Refused("a custom chart is of type vega2, and PRIVATE or PUBLIC")
    if len(spec) > _MAX_SPEC:
        raise Refused("the chart's spec is larger than 1 MiB")
    loads_object(spec, "spec")
    with context.service.store.writing() as db:
        entity = directory.entity(db, owner)
        if entity is None:
            raise NotFound(f"entity {owner!r} not found on this server, or permission denied")
        if db.execute("SELECT 1 FROM custom_charts WHERE entity=? AND name=?", (entity.pk, name)).fetchone():
            raise Refused(f"custom chart {owner}/{name} exists already", 409)
        db.execute(
            "INSERT INTO custom_charts(entity, name, display_name, type, access, spec, created_at)"
            " VALUES(?,?,?,?,?,?,?)",
            (entity.pk, name, shown, given["type"], given["access"], spec, context.now()),
        )
    return {"chart": {"id": f"{owner}/{name}"}}


RESOLVERS: dict[str, Resolver] = {"Mutation.createCustomChart": _create}
