"""What a run logged: its keys with counts by type, kept up to date a batch of lines at a time.

The counts are cached in the database up to a line, so that asking again reads only what came since.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.local.history import lines
from wandb_ops.local.jsontext import loads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_ops.local.database.store import Store
    from wandb_ops.local.runs.runs import Run

_BATCH = 20_000
_TYPES = {int: "number", float: "number", str: "string", bool: "boolean", type(None): "nil", list: "list"}

Counts = dict[str, dict[str, int]]


def _count(counts: Counts, row: dict[str, Any], prefix: str = "") -> None:
    for key, value in row.items():
        kind = _TYPES.get(type(value))
        name = prefix + key
        if kind is None:
            typed = value.get("_type")
            if typed is None and value:
                _count(counts, value, f"{name}.")
                continue
            kind = typed if isinstance(typed, str) else "map"
        types = counts.get(name)
        if types is None:
            types = counts[name] = {}
        types[kind] = types.get(kind, 0) + 1


def _count_batch(counts: Counts, texts: Sequence[str]) -> None:
    """Count the rows of some lines. Rows of the same keys and types, which most are, are counted at once."""
    shapes: dict[tuple[tuple[str, ...], tuple[type, ...]], int] = {}
    for text in texts:
        row = loads(text)
        types = tuple(map(type, row.values()))
        if dict in types:
            _count(counts, row)
            continue
        shape = (tuple(row), types)
        shapes[shape] = shapes.get(shape, 0) + 1
    for (keys, types), count in shapes.items():
        for key, kind in zip(keys, types, strict=True):
            known = counts.setdefault(key, {})
            known[_TYPES[kind]] = known.get(_TYPES[kind], 0) + count


def history_keys(store: Store, run: Run) -> dict[str, Any]:
    """``{"lastStep": n, "keys": {key: {"typeCounts": [{"type", "count"}], "monotonic": bool}}, "sets": []}``.

    ``lastStep`` is -1 for a run without history. Nested keys are dotted, down to typed objects.
    """
    with store.reading() as connection:
        row = connection.execute("SELECT upto, counts FROM history_keys WHERE run=?", (run.pk,)).fetchone()
        upto, counts = (row[0], json.loads(row[1])) if row else (0, {})
        start = upto
        while upto < run.history_lines:
            stop = min(upto + _BATCH, run.history_lines)
            _count_batch(counts, lines.between(connection, run.pk, lines.HISTORY, upto, stop))
            upto = stop
        last = lines.last_step(connection, run.pk)
    if upto != start:
        _remember(store, run, upto, counts)
    return {
        "lastStep": last,
        "sets": [],
        "keys": {
            key: {
                "typeCounts": [{"type": kind, "count": count} for kind, count in types.items()],
                "monotonic": key == "_step",
            }
            for key, types in counts.items()
        },
    }


def _remember(store: Store, run: Run, upto: int, counts: Counts) -> None:
    with store.writing() as connection:
        # A rewrite of old lines in the meantime dropped the cached row; then these counts are stale.
        current = connection.execute(
            "SELECT history_lines FROM runs WHERE id=? AND updated_at<=?", (run.pk, run.updated_at)
        ).fetchone()
        if current is not None:
            connection.execute(
                "INSERT INTO history_keys(run, upto, counts) VALUES(?,?,?)"
                " ON CONFLICT(run) DO UPDATE SET upto=excluded.upto, counts=excluded.counts",
                (run.pk, upto, json.dumps(counts)),
            )
