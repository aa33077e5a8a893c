"""Parquet exports of a run's history, as W&B makes them: parts with an int64 ``_step`` and one column a key.

A part that could not hold the lines exactly (a key with values of several types, an integer beyond 64 bits,
objects of differing shapes) is not written: the run's history then stays live from there on.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from wandb_ops.local.history import lines

if TYPE_CHECKING:
    from pathlib import Path

    from wandb_ops.local.database.store import Store
    from wandb_ops.local.runs.runs import Run

_log = logging.getLogger("wandb_ops.local.history.exports")
_MAX_INT = 2**63


class _InexactError(Exception):
    """Parquet cannot hold these values as they are."""


def _shape(value: Any) -> Any:
    """What must agree between two values of one column for Parquet to hold both exactly."""
    if value is None or isinstance(value, bool | str):
        return type(value)
    if isinstance(value, int):
        if not -_MAX_INT <= value < _MAX_INT:
            raise _InexactError("an integer beyond 64 bits")
        return float
    if isinstance(value, float):
        return float
    if isinstance(value, list):
        kinds = {_shape(item) for item in value}
        if len(kinds) > 1:
            raise _InexactError("a list of mixed types")
        return (list, *kinds)
    if not value:
        raise _InexactError("an empty object")
    return tuple((key, _shape(item)) for key, item in sorted(value.items()))


def _agree(first: Any, second: Any) -> bool:
    if first == second:
        return True
    both_lists = isinstance(first, tuple) and isinstance(second, tuple) and list in {first[0], second[0]}
    return both_lists and first[0] is second[0] and (len(first) == 1 or len(second) == 1)


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Columns of a part, in the order in which keys appear, or :class:`_InexactError`."""
    columns: dict[str, list[Any]] = {}
    shapes: dict[str, Any] = {}
    for index, row in enumerate(rows):
        for key, value in row.items():
            if value is None:
                raise _InexactError("a null, which Parquet does not tell from an absent key")
            shape = _shape(value)
            if not _agree(shapes.setdefault(key, shape), shape):
                raise _InexactError(f"values of several types under {key!r}")
            column = columns.get(key)
            if column is None:
                column = columns[key] = [None] * len(rows)
            column[index] = value
    return columns


def _floats(column: list[Any]) -> list[Any]:
    """Integers of a mixed column as floats; every integer up to 2**53 is one exactly."""
    if any(type(value) is int and abs(value) > 2**53 for value in column):
        raise _InexactError("a large integer among floats")
    return [float(value) if type(value) is int else value for value in column]


def write_part(rows: list[dict[str, Any]], target: Path) -> None:
    """Write one part; raises :class:`_InexactError`, and leaves nothing then."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _columns(rows)
    if any(type(step) is not int for step in columns.get("_step", [None])):
        raise _InexactError("a line without an integer _step")
    arrays = {}
    for key, column in columns.items():
        kinds = {type(value) for value in column} - {type(None)}
        values = _floats(column) if kinds == {int, float} else column
        try:
            arrays[key] = pa.array(values, pa.int64() if kinds == {int} else None)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise _InexactError(str(error)) from None
    part = target.with_suffix(".part")
    pq.write_table(pa.table(arrays), part, row_group_size=10_000)
    part.rename(target)


def export(store: Store, folder: Path, run: Run, *, rows_per_part: int) -> int:
    """Write what is not yet exported of a run that ended; returns how many lines are exported in all."""
    folder.mkdir(parents=True, exist_ok=True)
    exported = run.exported_lines
    if exported == 0:
        for stale in folder.glob("*.parquet"):
            stale.unlink()
    while exported < run.history_lines:
        with store.reading() as connection:
            stop = min(exported + rows_per_part, run.history_lines)
            texts = lines.between(connection, run.pk, lines.HISTORY, exported, stop)
        if len(texts) != stop - exported:
            break  # lines are missing in between: what follows cannot be told from what is to come
        try:
            write_part([json.loads(text) for text in texts], folder / f"{exported:012d}-{stop:012d}.parquet")
        except _InexactError as reason:
            _log.info("run %s: history stays live from line %d on: %s", run.name, exported, reason)
            break
        exported = stop
    with store.writing() as connection:
        last = connection.execute(
            "SELECT max(step) FROM lines WHERE run=? AND file=0 AND line<?", (run.pk, exported)
        ).fetchone()[0]
        connection.execute(
            "UPDATE runs SET exported_lines=?, exported_step=? WHERE id=?",
            (exported, -1 if last is None else last, run.pk),
        )
    return exported


def parts(folder: Path, run: Run) -> list[str]:
    """File names of the run's exported parts, oldest first."""
    if not run.exported_lines or not folder.is_dir():
        return []
    return sorted(path.name for path in folder.glob("*.parquet"))
