"""Cells of a table: what users put in, as the values that a type can be named for, and as JSON.

Missing values (None, NaN, NaT, pandas' NA) are null, as W&B stores them; the infinities stay. Times are
milliseconds since 1970 UTC, as W&B stores them: finer parts are cut off, times without a zone are UTC.
"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from wandb_ops.errors import UsageTypeError
from wandb_ops.public.media.base import Files, Media
from wandb_ops.public.runs.histogram import Histogram

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_SIMPLE = frozenset({bool, int, float, str, type(None)})


def plain(value: Any, where: str) -> Any:
    """`value` made of None, bools, numbers, text, lists, dicts, times, media and arrays of two dimensions.

    Raises:
        UsageTypeError: A cell cannot hold it.
    """
    if type(value) in _SIMPLE or isinstance(value, (Media, Histogram)):
        return value
    if isinstance(value, (datetime.datetime, datetime.date)):
        return None if value != value else value  # noqa: PLR0124 - only NaT differs from itself
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, Mapping):
        return {str(key): plain(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, where) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item, where) for item in value), key=repr)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return _foreign(value, where)


def _foreign(value: Any, where: str) -> Any:
    """numpy's and pandas' own."""
    kind = type(value)
    if kind.__name__ == "NAType":
        return None
    if kind.__module__ == "numpy" and kind.__name__ == "datetime64":
        return value.astype("datetime64[us]").item()
    shape = getattr(value, "shape", None)
    if shape is not None and callable(getattr(value, "tolist", None)):
        if len(shape) >= 2 and kind.__module__ == "numpy" and value.dtype.kind in "biuf":
            return value
        if kind.__module__ == "numpy" and value.dtype.kind == "M":
            value = value.astype("datetime64[us]")
        if not (kind.__module__ == "numpy" and value.dtype.kind in "mcSV"):
            return plain(value.tolist(), where)
    raise UsageTypeError(
        f"A cell of a table cannot hold a {kind.__name__}",
        where=where,
        hint="It holds numbers, text, bools, times, lists, dicts, Image, Html and Histogram.",
    )


def stored(value: Any, files: Files) -> Any:
    """The JSON of a plain value, as it stands in an artifact's table; media put their files to `files`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, list):
        return [stored(item, files) for item in value]
    if isinstance(value, dict):
        return {key: stored(item, files) for key, item in value.items()}
    if isinstance(value, Media):
        return value._stored(files)
    if isinstance(value, Histogram):
        return value.to_json()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return milliseconds(value)
    return stored(value.tolist(), files)


def shown(value: Any) -> Any:
    """The JSON of a plain value in a table that is a file of a run, where W&B only looks at it."""
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, Media):
        return type(value).__name__
    if isinstance(value, Histogram):
        return value.to_json()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return value.tolist() if hasattr(value, "tolist") else value


def milliseconds(value: datetime.date) -> int:
    """A time as W&B stores it."""
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    past = value - _EPOCH
    # Towards zero, before 1970 too.
    return past // _MILLISECOND if past >= datetime.timedelta(0) else -(-past // _MILLISECOND)


def moment(value: Any) -> Any:
    """The time that a stored number means, in UTC; anything else as it is."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return value
    return _EPOCH + datetime.timedelta(milliseconds=value)
