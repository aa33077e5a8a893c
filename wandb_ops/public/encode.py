"""What a user may put into a config or a summary, as the JSON values that W&B stores."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from enum import Enum
from typing import Any

from wandb_ops.errors import UsageError


def to_stored(value: Any, *, where: str = "") -> Any:
    """`value` in JSON's types: numbers, text, lists, dicts with text keys, and W&B's typed objects as dicts.

    numpy scalars and arrays become numbers and lists, dates ISO 8601 text, enums their value, paths text. NaN
    and the infinities stay floats: W&B keeps them.

    Raises:
        UsageError: There is no such form for `value`; its type and place are named.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {
            _key(key, where): to_stored(item, where=f"{where}.{key}" if where else str(key))
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [to_stored(item, where=where) for item in value]
    return _foreign(value, where)


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, (bool, int, float)):
        return str(key)
    raise UsageError(f"A key must be text, not {type(key).__name__}", where=where)


def _foreign(value: Any, where: str) -> Any:
    if isinstance(value, Enum):
        return to_stored(value.value, where=where)
    if isinstance(value, (bool, int, float, str)):  # subclasses
        base = next(kind for kind in (bool, int, float, str) if isinstance(value, kind))
        return base(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "_log_type") and callable(getattr(value, "to_json", None)):
        return to_stored(value.to_json(), where=where)  # Histogram, ours or wandb's own
    if callable(getattr(value, "tolist", None)):  # numpy's scalars and arrays, pandas' columns
        return to_stored(value.tolist(), where=where)
    if isinstance(value, (set, frozenset)):
        return sorted((to_stored(item, where=where) for item in value), key=repr)
    raise UsageError(
        f"W&B has no form for a {type(value).__name__}",
        where=where,
        hint="Use numbers, text, lists, dicts, numpy values or Histogram.",
    )
