"""Finding runs: filter, order, and cursors that name a place in the order and not a count.

A cursor holds the order key and row number of the last run seen. Runs that come or go meanwhile neither
shift a page nor repeat a run.
"""

from __future__ import annotations

import base64
import functools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.jsontext import loads, loads_object
from wandb_ops.local.runs.filters import compile_filter, split_key, values_at
from wandb_ops.local.runs.runs import SELECT, Run

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_DEFAULT_ORDER = "+created_at"
_CACHED_TEXT = 16 << 10
_MOST_NAMES = 900  # looked for by SQLite: older ones take 999 values
_RANKS = {type(None): 0, int: 1, float: 1, str: 2, dict: 3, list: 4, bool: 5}

SortKey = tuple[int, Any]


@functools.lru_cache(maxsize=20_000)
def _cached(text: str) -> Any:
    return loads(text)


def _parsed(text: str) -> Any:
    """A stored JSON text's value, for reading only."""
    return _cached(text) if len(text) <= _CACHED_TEXT else loads(text)


@functools.lru_cache(maxsize=20_000)
def _cached_config(text: str) -> dict[str, Any]:
    return _unwrapped(text)


def _unwrapped(text: str) -> dict[str, Any]:
    return {
        key: value["value"] if isinstance(value, dict) and "value" in value else value
        for key, value in loads(text).items()
    }


def _config(text: str) -> dict[str, Any]:
    """A stored config's values by key, for reading only."""
    return _cached_config(text) if len(text) <= _CACHED_TEXT else _unwrapped(text)


def document(run: Run, now: int, crash_after: float) -> dict[str, Any]:
    """What filters and orders see of a run. Dates are milliseconds; absent fields are null."""
    summary = _parsed(run.summary)
    runtime = summary.get("_runtime")
    if isinstance(runtime, bool) or not isinstance(runtime, int | float):
        runtime = (run.heartbeat_at - run.created_at) / 1000
    return {
        "name": run.name,
        "displayName": run.display_name,
        "description": run.description,
        "notes": run.notes,
        "state": run.state(now, crash_after),
        "group": run.group_name,
        "jobType": run.job_type,
        "host": run.host,
        "commit": run.commit_hash,
        "sweep": run.sweep,
        "tags": run.tag_list,
        "username": run.username,
        "entity": run.entity,
        "project": run.project,
        "createdAt": run.created_at,
        "updatedAt": run.updated_at,
        "heartbeatAt": run.heartbeat_at,
        "duration": runtime,
        "historyLineCount": run.history_lines,
        "config": _config(run.config),
        "summary_metrics": summary,
    }


def _sort_key(value: Any) -> SortKey:
    """MongoDB's order of types: null and absent, numbers (NaN first), texts, objects, arrays, booleans."""
    rank = _RANKS[type(value)]
    if rank == 0:
        return (0, 0)
    if rank == 1:
        return (1, (0, 0) if math.isnan(value) else (1, value))
    if rank in {3, 4}:
        return (rank, json.dumps(value, sort_keys=True))
    return (rank, value)


def _names(filters: dict[str, Any]) -> list[str] | None:
    """The names of the only runs that can match; None when the filters do not hold a list of names."""
    wanted = filters.get("name")
    names = wanted.get("$in") if isinstance(wanted, dict) else None
    if not isinstance(names, list) or len(names) > _MOST_NAMES:
        return None
    return names if all(isinstance(name, str) and name.isprintable() for name in names) else None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """One question for a project's runs, checked.

    Args:
        filters: JSON text of a MongoDB query, or None for all.
        order: ``+key`` or ``-key``; None is the oldest first.
        crash_after: Seconds without a heartbeat after which a live run counts as crashed.
    """

    filters: str | None
    order: str | None
    crash_after: float

    def _matching(self, connection: sqlite3.Connection, project: int, now: int) -> Iterator[tuple[Run, Any]]:
        filters = loads_object(self.filters, "filters")
        predicate, names = compile_filter(filters), _names(filters)
        # Of a hundred thousand runs a client that names twenty should not have all the others looked at.
        named = "" if names is None else f" AND r.name IN ({','.join('?' * len(names))})"
        for row in connection.execute(f"{SELECT} WHERE r.project=?{named}", (project, *(names or ()))):
            run = Run(*row)
            found = document(run, now, self.crash_after)
            if predicate(found):
                yield run, found

    @property
    def _everything(self) -> bool:
        return not loads_object(self.filters, "filters")

    def count(self, connection: sqlite3.Connection, project: int, now: int) -> int:
        """How many runs match."""
        if self._everything:
            query = "SELECT count(*) FROM runs WHERE project=?"
            return int(connection.execute(query, (project,)).fetchone()[0])
        return sum(1 for _ in self._matching(connection, project, now))

    def page(
        self, connection: sqlite3.Connection, project: int, now: int, after: str | None, first: int
    ) -> tuple[list[tuple[Run, str]], bool]:
        """Up to ``first`` runs behind the cursor ``after``, each with its cursor; and whether more follow."""
        order = self.order or _DEFAULT_ORDER
        descending = order.startswith("-")
        parts = split_key(order.lstrip("+-"))
        place = _decode_cursor(after, order) if after else None
        if parts == ["createdAt"] and self._everything:
            return self._by_creation(connection, project, order, place, first)
        keyed = [
            ((_sort_key(next(values_at(found, parts), None)), run.pk), run)
            for run, found in self._matching(connection, project, now)
        ]
        keyed.sort(key=lambda item: item[0], reverse=descending)
        if place is not None:
            keyed = [item for item in keyed if (item[0] < place if descending else item[0] > place)]
        page = [(run, _encode_cursor(order, key)) for key, run in keyed[:first]]
        return page, len(keyed) > first

    def _by_creation(
        self,
        connection: sqlite3.Connection,
        project: int,
        order: str,
        place: tuple[SortKey, int] | None,
        first: int,
    ) -> tuple[list[tuple[Run, str]], bool]:
        """The usual question, answered from the index alone."""
        direction, beyond = ("DESC", "<") if order.startswith("-") else ("ASC", ">")
        query, values = f"{SELECT} WHERE r.project=?", [project]
        if place is not None:
            if place[0][0] != 1:
                raise Refused("the cursor is not one of this list in this order")
            query += f" AND (r.created_at, r.id) {beyond} (?, ?)"
            values += [place[0][1][1], place[1]]
        query += f" ORDER BY r.created_at {direction}, r.id {direction} LIMIT ?"
        found = [Run(*row) for row in connection.execute(query, (*values, first + 1))]
        page = [(run, _encode_cursor(order, (_sort_key(run.created_at), run.pk))) for run in found[:first]]
        return page, len(found) > first


def _encode_cursor(order: str, place: tuple[SortKey, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps([order, *place]).encode()).decode()


def _decode_cursor(cursor: str, order: str) -> tuple[SortKey, int]:
    try:
        made_for, (rank, value), pk = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, TypeError):
        made_for, rank, value, pk = None, -1, None, None
    if isinstance(value, list):
        value = tuple(value)
    fits = {
        0: value == 0,
        1: isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(part, int | float) for part in value),
        2: isinstance(value, str),
        3: isinstance(value, str),
        4: isinstance(value, str),
        5: isinstance(value, bool),
    }
    if made_for != order or type(pk) is not int or not fits.get(rank, False):
        raise Refused("the cursor is not one of this list in this order")
    return (rank, value), pk
