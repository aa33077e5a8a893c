"""Small histories of many runs, read with one request: a thousand runs of twenty rows are fifty requests.

Rows are taken only if as many came as the list of runs had counted and the window was not thinned out;
whatever is in doubt is left to be read alone, where every doubt is resolved.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import (
    DataError,
    DeadlineExceeded,
    GraphQLError,
    ProtocolError,
    ResponseTooLarge,
    ServerError,
)
from wandb_ops.history.pages import parse_page, texts_of
from wandb_ops.protocol import values
from wandb_ops.protocol.documents.export import EXPORT_HISTORIES
from wandb_ops.protocol.documents.history import MANY_EVENTS
from wandb_ops.protocol.graphql import execute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_ops.export.request.project import PerRun
    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.history.pages import Rows
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.export")

MOST_RUNS = 20
MOST_ROWS = 4000
SMALL = 500
"""Rows of a run that may come together with others."""

_ROOM = 1000  # rows asked for of each run: more than any of them has


class Together:
    """Reads runs together, and fewer at once as soon as a server cannot serve so many.

    Args:
        transport: The connection.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.most = MOST_RUNS

    def fits(self, listed: Listed, what: PerRun) -> bool:
        """Whether a part of a run is small enough, and counted."""
        if listed.counts is None or self.most < 2:
            return False
        if what == "history":
            return 0 < listed.counts.history_lines <= SMALL and listed.counts.last_step >= 0
        return what == "system" and 0 < (listed.counts.events_lines or 0) <= SMALL

    def read(self, listed: Sequence[Listed], what: PerRun) -> dict[str, Rows]:
        """Run id -> all of its rows, for those runs of which it is certain.

        Raises:
            AuthenticationError: The key is refused.
        """
        if len(listed) < 2 or len(listed) > self.most:
            return {}
        ref = listed[0].ref
        where = f"histories of {len(listed)} runs of {ref.entity}/{ref.project}"
        variables: dict[str, Any] = {
            "entity": ref.entity,
            "project": ref.project,
            "filters": values.dumps({"name": {"$in": [one.ref.run_id for one in listed]}}),
            "first": len(listed),
        }
        if what == "history":
            last = max(one.counts.last_step for one in listed if one.counts)
            variables |= {"minStep": 0, "maxStep": last + 1, "pageSize": _ROOM}
        else:
            variables |= {"samples": _ROOM}
        operation = EXPORT_HISTORIES if what == "history" else MANY_EVENTS
        try:
            data = execute(self._transport, operation, variables, where=where)
        except (ResponseTooLarge, ServerError, DeadlineExceeded, GraphQLError) as error:
            self.most = max(1, len(listed) // 2)
            logger.info("%s: %s; going on with %d at once", where, error.message, self.most)
            return {}
        edges = ((data.get("project") or {}).get("runs") or {}).get("edges") or ()
        nodes = {edge["node"]["name"]: edge["node"] for edge in edges if edge and edge.get("node")}
        found = {}
        for one in listed:
            node = nodes.get(one.ref.run_id) or {}
            rows = _exact(node.get("history" if what == "history" else "events"), one, what)
            if rows is not None:
                found[one.ref.run_id] = rows
        return found


def _exact(texts: Any, listed: Listed, what: PerRun) -> Rows | None:
    """The rows, if they are as many as were counted."""
    counts = listed.counts
    if counts is None:
        return None
    expected = counts.history_lines if what == "history" else counts.events_lines
    try:
        found = texts_of(texts, listed.ref.path)
        rows = parse_page(found, listed.ref.path) if len(found) == expected else None
    except (DataError, ProtocolError):
        return None  # read alone, the error names the page
    if rows is None or what != "history":
        return rows
    steps = [row.get("_step") for row in rows]
    in_order = all(isinstance(step, int) and 0 <= step <= counts.last_step for step in steps)
    return rows if in_order else None
