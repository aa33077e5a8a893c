"""The page of an entity's launch queues, and of what waits in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from wandb_ops.local import queues
from wandb_ops.local.jsontext import loads
from wandb_ops.local.web.access import entity_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from wandb_ops.local.service import Service

_ITEMS_SHOWN = 100


class LaunchPages:
    """This page of one opened data folder; ``render`` makes a page of a template and its values."""

    def __init__(self, service: Service, render: Callable[..., Response]) -> None:
        self._service = service
        self._render = render

    def routes(self, guarded: Callable[[Callable[[Request], Response]], Any]) -> list[BaseRoute]:
        """The route, behind the door."""
        return [Route("/{entity}/launch", guarded(self.launch))]

    def launch(self, request: Request) -> Response:
        """The account's launch queues."""
        entity = entity_of(request)
        with self._service.store.reading() as connection:
            rows = connection.execute(
                "SELECT q.name, c.resource, c.config, q.prioritization_mode, q.created_at,"
                " (SELECT count(*) FROM queue_items i WHERE i.queue = q.id), q.id"
                " FROM queues q JOIN projects p ON p.id = q.project"
                " LEFT JOIN resource_configs c ON c.id = q.config WHERE p.entity=? ORDER BY q.name",
                (entity,),
            ).fetchall()
            shown = [
                (
                    *row[:2],
                    json.dumps(loads(row[2] or "{}"), indent=2),
                    *row[3:6],
                    self._items(connection, row[6]),
                )
                for row in rows
            ]
        return self._render("launch.html", entity=entity, queues=shown)

    def _items(self, connection: sqlite3.Connection, queue: int) -> list[dict[str, Any]]:
        """The newest items of a queue, newest first, as the table shows them."""
        now, crash_after = self._service.store.now(), self._service.settings.crash_after
        shown = []
        for pk, priority, created, error in connection.execute(
            "SELECT id, priority, created_at, error FROM queue_items WHERE queue=? ORDER BY id DESC LIMIT ?",
            (queue, _ITEMS_SHOWN),
        ).fetchall():
            item = queues.item(connection, pk)
            spec = loads(item.run_spec)
            image = spec.get("docker") if isinstance(spec.get("docker"), dict) else {}
            shown.append(
                {
                    "number": pk,
                    "state": queues.state(connection, now, item, crash_after),
                    "error": json.loads(error).get("message") if error else None,
                    "job": spec.get("job") or spec.get("uri") or image.get("docker_image") or "",
                    "run": item.associated_run,
                    "project": str(spec.get("project") or ""),
                    "priority": priority,
                    "created": created,
                }
            )
        return shown
