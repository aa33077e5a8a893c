"""Small questions to Arrow arrays."""

from __future__ import annotations

from typing import Any


def min_max(array: Any) -> tuple[int, int] | None:
    """Smallest and largest value of an integer array or chunked array; None when all are null."""
    import pyarrow.compute as pc

    found: Any = pc.min_max(array).as_py()
    return None if found["min"] is None else (found["min"], found["max"])
