"""The values of one key become one Arrow array, of the type that keeps all of them.

How many rows there will be is mostly known. Then the values of all chunks go to one piece of memory, a number
behind the other: a DataFrame can have it as it is, where columns in pieces would have to be copied, and the
many small pieces, freed one by one, would not be memory that the system gets back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.history import kinds as k
from wandb_ops.protocol.values import dumps

if TYPE_CHECKING:
    import numpy as np

_MOST_ROWS = 1 << 26
"""Rows for which memory is taken beforehand: more may be a server's mistake."""


@dataclass(frozen=True, slots=True)
class ChunkColumn:
    """One key's values in one chunk: an Arrow array whose nulls are the rows without the key.

    Attributes:
        array: int64, double, bool or string, as `kinds.column_type(kinds)` says; "bigint" and "json" are
            text.
        kinds: What the values were.
        tags: For a double column of several kinds, the kind of each value; else None.
        room: Memory that holds these values and those of the chunks before, in order; else None.
    """

    array: Any
    kinds: int
    tags: np.ndarray[Any, Any] | None = None
    room: np.ndarray[Any, Any] | None = None


@dataclass(slots=True)
class Part:
    """Values of one key in some rows of the chunk: `places` are their rows (a slice when they follow on)."""

    places: Any
    values: Any  # a numpy array, or a list of Python values
    kinds: int
    tags: np.ndarray[Any, Any] | None = None


class JsonText(str):
    """A value that is written as JSON already: many histograms as text are smaller than as objects."""

    __slots__ = ()


class Rooms:
    """Memory for all numbers of a column, for columns of which the first chunk has a number in every row.

    Others do not get any: it would be a promise of memory for each of very many keys that few rows have.

    Attributes:
        start: Rows laid down before the chunk that is laid down now.

    Args:
        rows: How many there will be; 0 when that is not known, and nothing has room.
    """

    def __init__(self, rows: int) -> None:
        self.start = 0
        self._rows = rows if rows <= _MOST_ROWS else 0
        self._made: dict[str, np.ndarray[Any, Any]] = {}

    def of(self, key: str, type_: k.ColumnType, rows: int) -> np.ndarray[Any, Any] | None:
        """The memory for a column; None when it has none, or none that fits the type and `rows` more."""
        import numpy as np

        dtype = np.dtype(np.int64 if type_ == "int" else np.float64)
        if self.start == 0 and rows <= self._rows:
            self._made[key] = np.empty(self._rows, dtype)
        room = self._made.get(key)
        fits = room is not None and room.dtype == dtype and self.start + rows <= self._rows
        return room if fits else None


def lay(key: str, parts: list[Part], rows: int, rooms: Rooms) -> ChunkColumn:
    """The parts of one key as one Arrow array of the chunk's length."""
    kinds = 0
    for part in parts:
        kinds |= part.kinds
    type_ = k.column_type(kinds)
    if type_ in ("str", "json", "bigint"):
        return ChunkColumn(_lay_texts(parts, rows, type_), kinds)
    return _lay_numbers(key, parts, rows, kinds, type_, rooms)


def _lay_numbers(
    key: str, parts: list[Part], rows: int, kinds: int, type_: k.ColumnType, rooms: Rooms
) -> ChunkColumn:
    import numpy as np

    absent = np.ones(rows, np.bool_)
    for part in parts:
        absent[part.places] = False
    room = None if type_ == "bool" or absent.any() else rooms.of(key, type_, rows)
    values: Any = (
        np.zeros(rows, {"int": np.int64, "bool": np.bool_}.get(type_, np.float64))
        if room is None
        else room[rooms.start : rooms.start + rows]
    )
    tags = np.zeros(rows, np.uint8) if type_ == "float" and kinds != k.FLOAT else None
    for part in parts:
        values[part.places] = _doubles(part.values) if type_ == "float" else part.values
        if tags is not None:
            tags[part.places] = _tags(part)
    return ChunkColumn(_array(values, absent), kinds, tags, room)


def _array(values: Any, absent: Any) -> Any:
    """A numpy array as an Arrow array whose nulls are where `absent` is true.

    Made of buffers: `pa.array` with a mask would load pandas, which takes a second and 45 MB.
    """
    import numpy as np
    import pyarrow as pa

    missing = int(absent.sum())
    bits: Any = np.packbits(~absent, bitorder="little")
    valid = pa.py_buffer(bits) if missing else None
    data: Any = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else values
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(values.dtype), len(values), [valid, pa.py_buffer(data)], missing
    )


def _lay_texts(parts: list[Part], rows: int, type_: k.ColumnType) -> Any:
    import pyarrow as pa

    texts: list[str | None] = [None] * rows
    for part in parts:
        listed = part.values if isinstance(part.values, list) else part.values.tolist()
        if part.tags is not None:  # integers that were laid among doubles
            listed = [
                int(v) if tag == k.INT else v for v, tag in zip(listed, part.tags.tolist(), strict=True)
            ]
        if type_ == "json":
            listed = [_json_text(value) for value in listed]
        elif type_ == "bigint":
            listed = [str(value) for value in listed]
        if isinstance(part.places, slice):
            texts[part.places] = listed
        else:
            for place, text in zip(part.places.tolist(), listed, strict=True):
                texts[place] = text
    return pa.array(texts, _text_type(texts))


def _text_type(texts: list[str | None]) -> Any:
    """`string`, unless the texts of one chunk are too long for its 32-bit offsets."""
    import pyarrow as pa

    size = sum(len(text) for text in texts if text is not None)
    return pa.string() if size < 2**29 else pa.large_string()


def _doubles(values: Any) -> Any:
    """Values of a part as doubles; every one of them is exactly one."""
    if isinstance(values, list):
        return [k.NONFINITE[value] if isinstance(value, str) else float(value) for value in values]
    return values


def _tags(part: Part) -> Any:
    if part.tags is not None:
        return part.tags
    return (
        [k.kind_of(value) & 0xFF for value in part.values]
        if isinstance(part.values, list)
        else part.kinds & 0xFF
    )


def _json_text(value: Any) -> str:
    return value if type(value) is JsonText else dumps(value)
