"""What a run logged: its keys with counts by type and last values, kept up to date a batch at a time.

The counts are cached in the database up to a line, so that asking again reads only what came since.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.local.history import lines
from wandb_ops.local.jsontext import loads, strict

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from wandb_ops.local.database.store import Store
    from wandb_ops.local.runs.runs import Run

_BATCH = 20_000
_TYPES = {int: "number", float: "number", str: "string", bool: "boolean", type(None): "nil", list: "list"}
_LONGEST = 1000  # characters of a text that is kept as a key's last value

Counts = dict[str, dict[str, int]]
Values = dict[str, Any]


def _count(counts: Counts, last: Values, row: dict[str, Any], prefix: str = "") -> None:
    for key, value in row.items():
        kind = _TYPES.get(type(value))
        name = prefix + key
        if kind is None:
            typed = value.get("_type")
            if typed is None and value:
                _count(counts, last, value, f"{name}.")
                continue
            kind = typed if isinstance(typed, str) else "map"
        types = counts.get(name)
        if types is None:
            types = counts[name] = {}
        types[kind] = types.get(kind, 0) + 1
        last[name] = value


def _count_batch(counts: Counts, last: Values, texts: Sequence[str]) -> None:
    """Count the rows of some lines. Rows of the same keys and types, which most are, are counted at once."""
    shapes: dict[tuple[tuple[str, ...], tuple[type, ...]], int] = {}
    for text in texts:
        row = loads(text)
        types = tuple(map(type, row.values()))
        if dict in types:
            _count(counts, last, row)
            continue
        shape = (tuple(row), types)
        shapes[shape] = shapes.get(shape, 0) + 1
        last.update(row)
    for (keys, types), count in shapes.items():
        for key, kind in zip(keys, types, strict=True):
            known = counts.setdefault(key, {})
            known[_TYPES[kind]] = known.get(_TYPES[kind], 0) + count


def _small(value: Any) -> bool:
    """Whether a last value is worth keeping: numbers and short texts."""
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _LONGEST)


def _known(connection: sqlite3.Connection, run: Run) -> tuple[int, Counts, Values]:
    """What was counted before: up to which line, the counts, the last values."""
    row = connection.execute("SELECT upto, counts FROM history_keys WHERE run=?", (run.pk,)).fetchone()
    kept = json.loads(row[1]) if row else {}
    if not isinstance(kept, list):  # nothing, or written before last values were kept
        return 0, {}, {}
    return row[0], kept[0], kept[1]


def history_keys(store: Store, run: Run) -> dict[str, Any]:
    """What the run's history holds.

    Returns:
        ``{"lastStep": n, "keys": {key: {"typeCounts": [{"type", "count"}], "monotonic": bool,
        "previousValue": value}}, "sets": []}``. ``lastStep`` is -1 for a run without history. Nested keys are
        dotted, down to typed objects. ``previousValue`` is the last one, of numbers and short texts.
    """
    with store.reading() as connection:
        upto, counts, values = _known(connection, run)
        start = upto
        while upto < run.history_lines:
            stop = min(upto + _BATCH, run.history_lines)
            _count_batch(counts, values, lines.between(connection, run.pk, lines.HISTORY, upto, stop))
            upto = stop
        last = lines.last_step(connection, run.pk)
    values = {key: value for key, value in values.items() if _small(value)}
    if upto != start:
        _remember(store, run, upto, json.dumps([counts, values]))
    return {
        "lastStep": last,
        "sets": [],
        "keys": {
            key: {
                "typeCounts": [{"type": kind, "count": count} for kind, count in types.items()],
                "monotonic": key == "_step",
                **({"previousValue": strict(values[key])} if key in values else {}),
            }
            for key, types in counts.items()
        },
    }


def _remember(store: Store, run: Run, upto: int, text: str) -> None:
    with store.writing() as connection:
        # A rewrite of old lines in the meantime dropped the cached row; then these counts are stale.
        current = connection.execute(
            "SELECT history_lines FROM runs WHERE id=? AND updated_at<=?", (run.pk, run.updated_at)
        ).fetchone()
        if current is not None:
            connection.execute(
                "INSERT INTO history_keys(run, upto, counts) VALUES(?,?,?)"
                " ON CONFLICT(run) DO UPDATE SET upto=excluded.upto, counts=excluded.counts",
                (run.pk, upto, text),
            )
