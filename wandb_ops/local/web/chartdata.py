"""What the charts draw: each numeric key of a run's history, thinned to what a screen can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.history import lines
from wandb_ops.local.jsontext import finite, loads

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from wandb_ops.local.runs.runs import Run

_POINTS = 1500  # rows per run: more than the pixels of a chart
_DEPTH = 4
_COLUMNS = 6
_NOT_METRICS = ("global_step", "epoch", "step")


def flatten(values: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Nested objects as dotted keys, down to four levels; typed objects (`_type`) stay whole."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value and "_type" not in value and depth < _DEPTH:
            flat |= flatten(value, f"{prefix}{key}.", depth + 1)
        else:
            flat[prefix + key] = value
    return flat


def is_number(value: Any) -> bool:
    """Whether a chart can show it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def summary_columns(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The numeric summary keys that most runs have, at most six, for the table of runs."""
    counts: dict[str, int] = {}
    for summary in summaries:
        for key, value in summary.items():
            if is_number(value) and not key.startswith("_") and key.rpartition("/")[2] not in _NOT_METRICS:
                counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts, key=lambda key: (-counts[key], not key.startswith("val"), key))
    return sorted(ranked[:_COLUMNS])


def system_series(connection: sqlite3.Connection, run: Run) -> dict[str, Any]:
    """The curves of a run's machine, as those of :func:`series`; the keys without "system." before them."""
    texts = lines.sample(connection, run.pk, lines.EVENTS, run.events_lines, _POINTS)
    rows = [
        {key.removeprefix("system."): value for key, value in flatten(loads(text)).items()} for text in texts
    ]
    return _curves(run, rows, run.events_lines)


def series(connection: sqlite3.Connection, run: Run) -> dict[str, Any]:
    """One run's curves.

    Returns:
        `{"id", "name", "rows", "shown", "curves": {key: {"step", "global_step", "time", "y"}}}`; the lists
        of a curve have equal lengths, `time` is seconds since the run's first row, a value that is not
        finite is None.
    """
    texts = lines.sample(connection, run.pk, lines.HISTORY, run.history_lines, _POINTS)
    return _curves(run, [flatten(loads(text)) for text in texts], run.history_lines)


def _curves(run: Run, rows: Sequence[dict[str, Any]], total: int) -> dict[str, Any]:
    curves: dict[str, dict[str, list[Any]]] = {}
    begin: float | None = None
    for number, row in enumerate(rows):
        stamp = row.get("_timestamp")
        if begin is None and isinstance(stamp, (int, float)):
            begin = stamp
        since = stamp - begin if isinstance(stamp, (int, float)) and begin is not None else number
        elapsed = row.get("_runtime", since)
        for key, value in row.items():
            if key.startswith("_") or not is_number(value) or key.rpartition("/")[2] == "global_step":
                continue
            curve = curves.setdefault(key, {"step": [], "global_step": [], "time": [], "y": []})
            curve["step"].append(row.get("_step", number))
            curve["global_step"].append(row.get("global_step"))
            curve["time"].append(elapsed if is_number(elapsed) else None)
            curve["y"].append(value if finite(value) is not None else None)
    return {
        "id": run.name,
        "name": run.display_name,
        "rows": total,
        "shown": len(rows),
        "curves": dict(sorted(curves.items())),
    }
