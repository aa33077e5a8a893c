"""Chunks become one Arrow table: each key gets the one type that keeps all its values."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from wandb_ops.history import kinds as k
from wandb_ops.protocol.values import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from wandb_ops.history.columns import Chunk, ChunkColumn

KIND = b"wandb_ops.kind"
KEY = b"wandb_ops.key"
"""Field metadata: the column's type as in docs/values.md, and the key as JSON where the name differs."""

_FIRST = ("_step", "_timestamp", "_runtime")


def key_order(keys: Iterable[str]) -> list[str]:
    """`_step`, `_timestamp`, `_runtime`, then the rest sorted by code point."""
    keys = set(keys)
    return [key for key in _FIRST if key in keys] + sorted(keys.difference(_FIRST))


def unify(chunks: Sequence[Chunk], *, always: Sequence[str] = ()) -> pa.Table:
    """One table of all chunks; consumes their columns to keep the peak low.

    Args:
        chunks: In order.
        always: Keys that get a column even when no row has them.
    """
    import pyarrow as pa

    kinds: dict[str, int] = dict.fromkeys(always, 0)
    for chunk in chunks:
        for key, column in chunk.columns.items():
            kinds[key] = kinds.get(key, 0) | column.kinds
    fields: list[Any] = []
    columns: list[Any] = []
    names = set[str]()
    for key in key_order(kinds):
        type_ = k.column_type(kinds[key])
        arrow: Any = _arrow_type(type_)
        parts = [chunk.columns.pop(key, None) for chunk in chunks]
        arrays: list[Any] = []
        if (whole := _in_one_piece(parts, type_)) is not None:
            arrays.append(whole)
        else:
            for chunk, part in zip(chunks, parts, strict=True):
                if part is None or not part.kinds:
                    arrays.append(pa.nulls(chunk.rows, arrow))
                else:
                    arrays.append(_convert(part, type_))
        if any(pa.types.is_large_string(array.type) for array in arrays):
            arrow = pa.large_string()
            arrays = [array.cast(arrow) for array in arrays]
        fields.append(_field(key, arrow, type_, names))
        columns.append(pa.chunked_array(arrays, arrow))
    return pa.table(columns, schema=pa.schema(fields))


def _arrow_type(type_: k.ColumnType) -> Any:
    import pyarrow as pa

    # A column of nulls only is double: Parquet's null type makes a folder of files unreadable as one.
    return {"int": pa.int64(), "float": pa.float64(), "null": pa.float64(), "bool": pa.bool_()}.get(
        type_, pa.string()
    )


def _field(key: str, arrow: pa.DataType, type_: k.ColumnType, taken: set[str]) -> pa.Field[Any]:
    import pyarrow as pa

    metadata = {KIND: type_.encode()}
    name = key
    if not k.is_utf8(key):
        name = json.dumps(key)[1:-1]
    while name in taken:  # a key spelled like the escape of another
        name += "~"
    if name != key:
        metadata[KEY] = json.dumps(key).encode()
    taken.add(name)
    return pa.field(name, arrow, metadata=metadata)


def _in_one_piece(parts: Sequence[ChunkColumn | None], type_: k.ColumnType) -> Any:
    """The chunks of a column as one array, when they lie one behind the other in one room; else None."""
    import pyarrow as pa

    room: Any = parts[0].room if parts and parts[0] is not None else None
    if room is None or room.dtype.kind != type_[0]:
        return None
    rows = 0
    for part in parts:
        if part is None or part.room is not room:
            return None
        rows += len(part.array)
    return pa.Array.from_buffers(pa.from_numpy_dtype(room.dtype), rows, [None, pa.py_buffer(room[:rows])], 0)


def _convert(column: ChunkColumn, type_: k.ColumnType) -> Any:
    """A chunk's column in the type of the whole column."""
    import pyarrow as pa

    own = k.column_type(column.kinds)
    array = column.array
    if own == type_:
        return array
    if type_ == "float":
        if own == "int":
            return array.cast(pa.float64(), safe=False)  # every one of them is exactly a double
        return pa.array([_float(text, own) for text in array.to_pylist()], pa.float64())
    if type_ == "bigint":
        return array.cast(pa.string())
    if type_ == "json":
        return pa.array(
            _json_texts(column, own), array.type if pa.types.is_large_string(array.type) else pa.string()
        )
    raise AssertionError(f"no way from {own} to {type_}")


def _float(text: str | None, own: k.ColumnType) -> float | None:
    if text is None:
        return None
    return float(int(text)) if own == "bigint" else k.NONFINITE[text]


def _json_texts(column: ChunkColumn, own: k.ColumnType) -> list[str | None]:
    listed: list[Any] = column.array.to_pylist()
    if own == "bigint":
        return listed
    if column.tags is not None:
        listed = [
            value if value is None else _as_it_was(value, tag)
            for value, tag in zip(listed, column.tags.tolist(), strict=True)
        ]
    return [None if value is None else dumps(value) for value in listed]


def _as_it_was(value: float, tag: int) -> Any:
    if tag & k.INT:
        return int(value)
    if tag & k.NONFINITE_TEXT:
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
