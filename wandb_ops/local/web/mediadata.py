"""What a run logged beside numbers: images, audio, histograms, texts; by key, a few steps at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.local.history import lines
from wandb_ops.local.history.historykeys import history_keys
from wandb_ops.local.jsontext import finite, loads, strict
from wandb_ops.local.web.chartdata import flatten

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.database.store import Store
    from wandb_ops.local.runs.runs import Run

#: Entries of one answer, at most.
MOST = 64
_KINDS = {
    "images/separated": "images",
    "image-file": "images",
    "video-file": "video",
    "audio-file": "audio",
    "audio": "audio",
    "histogram": "histogram",
    "string": "text",
    "list": "text",
    "table-file": "table",
    "html-file": "html",
}
_ELSEWHERE = {"number", "boolean", "nil", "map"}  # charts show the numbers
_OTHER = "other"


def keys(store: Store, run: Run) -> list[dict[str, Any]]:
    """The keys that hold something else than numbers, by name.

    Returns:
        `{"key", "kind", "count"}` each. A key that only the summary has comes with its `value`.
    """
    found = []
    known = history_keys(store, run)["keys"]
    for key, about in known.items():
        counts = {each["type"]: each["count"] for each in about["typeCounts"]}
        typed = {kind: count for kind, count in counts.items() if kind not in _ELSEWHERE}
        if typed and not key.startswith("_"):
            kind = max(typed, key=lambda each: typed[each])
            found.append({"key": key, "kind": _KINDS.get(kind, _OTHER), "count": sum(counts.values())})
    for key, value in flatten(loads(run.summary)).items():
        kind = value.get("_type") if isinstance(value, dict) else None
        if isinstance(kind, str) and key not in known and not key.startswith("_"):
            shown = _KINDS.get(kind, _OTHER)
            found.append({"key": key, "kind": shown, "count": 0, "value": strict(value)})
    return sorted(found, key=lambda each: str(each["key"]))


def entries(
    db: sqlite3.Connection, run: Run, key: str, *, start: int | None, count: int = MOST
) -> dict[str, Any]:
    """What the run logged under a key.

    Args:
        db: A reading connection.
        run: The run.
        key: One of :func:`keys`.
        start: Number of the first entry, from 0, or below 0 as counted from the end; None spreads the entries
            over all there are.
        count: How many, at most :data:`MOST`.

    Returns:
        `{"total", "entries": [{"at", "row", "step", "value"}]}`, oldest first: the entry's number, its row in
        the history, the step that it is of (`global_step` where the row has one, else `_step`), the value.
    """
    count = min(count, MOST)
    numbers = lines.holding(db, run.pk, _names(key))
    chosen = lines.spread(len(numbers), count)
    if start is not None:
        chosen = list(range(len(numbers))[start:][:count])
    texts = lines.numbered(db, run.pk, lines.HISTORY, [numbers[at] for at in chosen])
    found = []
    for at, text in zip(chosen, texts, strict=True):
        row = loads(text)
        value = flatten(row).get(key)
        if value is not None:
            steps = (row.get("global_step"), row.get("_step"), numbers[at])
            step = next(each for each in steps if finite(each) is not None)
            found.append({"at": at, "row": numbers[at], "step": step, "value": strict(value)})
    return {"total": len(numbers), "entries": found}


def _names(key: str) -> tuple[str, str]:
    """How a line that has the key spells its name: the last part's, since a dot may stand for nesting."""
    last = key.rpartition(".")[2]
    cut = 1 if last != key else 0
    return json.dumps(last)[cut:] + ":", json.dumps(last, ensure_ascii=False)[cut:] + ":"
