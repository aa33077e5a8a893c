"""Rows become columns, a bounded number of rows at a time.

Rows of one page mostly have the same keys in the same order: their values are put into one list, of which
every n-th is a column, and each column goes to Arrow as a whole. Per value this costs a twentieth of what a
dict per row costs in pandas. Whenever `chunk_rows` rows have come, their columns are laid down as one `Chunk`
of Arrow arrays, so that Python objects never pile up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, compress, repeat
from typing import TYPE_CHECKING, Any

from wandb_ops.history import kinds as k
from wandb_ops.history.packed import pack
from wandb_ops.protocol.values import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_BATCH = 4096  # rows turned over at once
_CELLS = 1 << 18  # and their values, so that wide rows do not make long lists


@dataclass(frozen=True, slots=True)
class ChunkColumn:
    """One key's values in one chunk: an Arrow array whose nulls are the rows without the key.

    Attributes:
        array: int64, double, bool or string, as `kinds.column_type(kinds)` says; "bigint" and "json" are
            text.
        kinds: What the values were.
        tags: For a double column of several kinds, the kind of each value; else None.
    """

    array: Any
    kinds: int
    tags: np.ndarray[Any, Any] | None = None


@dataclass(slots=True)
class Chunk:
    """Some consecutive rows, as columns.

    Attributes:
        rows: Number of rows.
        columns: By key; a key that none of the rows has is not there.
        nulls: Key -> places of the rows in which the key stood with an explicit null.
    """

    rows: int
    columns: dict[str, ChunkColumn]
    nulls: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Part:
    """Values of one key in some rows of the chunk: `places` are their rows (a slice when they follow on)."""

    places: Any
    values: Any  # a numpy array, or a list of Python values
    kinds: int
    tags: np.ndarray[Any, Any] | None = None


class ColumnBuilder:
    """Takes rows, gives chunks.

    Args:
        chunk_rows: Rows after which a chunk is laid down.
    """

    def __init__(self, chunk_rows: int = 16_384) -> None:
        self._chunk_rows = chunk_rows
        self._chunks: list[Chunk] = []
        self._start()

    def _start(self) -> None:
        self._rows = 0
        self._parts: dict[str, list[_Part]] = {}
        self._nulls: dict[str, list[int]] = {}

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Take rows, in order; the caller may drop them afterwards."""
        size = min(_BATCH, max(1, _CELLS // max(1, len(rows[0])))) if rows else 1
        for start in range(0, len(rows), size):
            self._add_batch(rows[start : start + size] if len(rows) > size else rows)
            if self._rows >= self._chunk_rows:
                self._lay_down()

    def add_chunk(self, chunk: Chunk) -> None:
        """Take rows that are columns already."""
        self._lay_down()
        if chunk.rows:
            self._chunks.append(chunk)

    def finish(self) -> list[Chunk]:
        """All chunks."""
        self._lay_down()
        return self._chunks

    def _add_batch(self, rows: list[dict[str, Any]]) -> None:
        base = self._rows
        self._rows += len(rows)
        keys = list(rows[0])
        # Comparing keys costs little: the parser makes each of them once.
        if set(map(len, rows)) == {len(keys)} and list(chain.from_iterable(rows)) == keys * len(rows):
            self._add_alike(keys, slice(base, base + len(rows)), rows)
            return
        import numpy as np

        for signature, members in _places_of(rows).items():
            self._add_alike(signature, np.array(members) + base, [rows[place] for place in members])

    def _add_alike(self, keys: Sequence[str], places: Any, rows: list[dict[str, Any]]) -> None:
        """Rows that have the same keys in the same order."""
        values = list(chain.from_iterable(map(dict.values, rows)))
        for start, key in enumerate(keys):
            self._take(key, places, values[start :: len(keys)])

    def _take(self, key: str, places: Any, column: list[Any]) -> None:
        parts = self._parts.setdefault(key, [])
        packed = pack(column)
        if packed is not None:
            parts.append(_Part(places, packed, k.FLOAT if packed.dtype.kind == "f" else k.INT))
            return
        types = set(map(type, column))
        if type(None) in types:
            places, column = self._without_nulls(key, places, column)
            if not column:
                return
            types.discard(type(None))
        parts.append(_part(places, column, types))

    def _without_nulls(self, key: str, places: Any, column: list[Any]) -> tuple[Any, list[Any]]:
        import numpy as np

        if isinstance(places, slice):
            places = np.arange(places.start, places.stop)
        null = np.fromiter((value is None for value in column), bool, len(column))
        self._nulls.setdefault(key, []).extend(places[null].tolist())
        return places[~null], [value for value in column if value is not None]

    def _lay_down(self) -> None:
        if not self._rows:
            return
        columns = {key: _lay(parts, self._rows) for key, parts in self._parts.items()}
        self._chunks.append(Chunk(self._rows, columns, self._nulls))
        self._start()


def _places_of(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], list[int]]:
    """Keys in their order -> the rows that have these."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, signature in enumerate(map(tuple, rows)):
        groups.setdefault(signature, []).append(place)
    return groups


def _part(places: Any, column: list[Any], types: set[type]) -> _Part:
    import numpy as np

    if types == {float}:
        return _Part(places, np.array(column, np.float64), k.FLOAT)
    if types == {int}:
        low, high = min(column), max(column)
        kinds = k.kinds_of_ints(column, low, high)
        return _Part(places, column if kinds & k.LARGE else np.array(column, np.int64), kinds)
    if types == {bool}:
        return _Part(places, np.array(column, np.bool_), k.BOOL)
    if types == {int, float}:
        # Go writes 1.0 as 1, so this is what most float columns are.
        whole: Any = np.fromiter(map(isinstance, column, repeat(int)), np.bool_, len(column))
        ints = list(compress(column, whole))
        kinds = k.FLOAT | k.kinds_of_ints(ints, min(ints), max(ints))
        if not kinds & k.ROUNDED:
            tags = np.where(whole, np.uint8(k.INT), np.uint8(k.FLOAT))
            return _Part(places, np.array(column, np.float64), kinds, tags)
        return _Part(places, column, kinds)
    kinds = k.kinds_of(column)
    if types <= {dict, list}:
        return _Part(places, [_JsonText(dumps(value)) for value in column], kinds)
    return _Part(places, column, kinds)


class _JsonText(str):
    """A value that is written as JSON already: many histograms as text are smaller than as objects."""

    __slots__ = ()


def _lay(parts: list[_Part], rows: int) -> ChunkColumn:
    """The parts of one key as one Arrow array of the chunk's length."""
    kinds = 0
    for part in parts:
        kinds |= part.kinds
    type_ = k.column_type(kinds)
    if type_ in ("str", "json", "bigint"):
        return ChunkColumn(_lay_texts(parts, rows, type_), kinds)
    return _lay_numbers(parts, rows, kinds, type_)


def _lay_numbers(parts: list[_Part], rows: int, kinds: int, type_: k.ColumnType) -> ChunkColumn:
    import numpy as np

    values: Any = np.zeros(rows, {"int": np.int64, "bool": np.bool_}.get(type_, np.float64))
    absent = np.ones(rows, np.bool_)
    tags = np.zeros(rows, np.uint8) if type_ == "float" and kinds != k.FLOAT else None
    for part in parts:
        values[part.places] = _doubles(part.values) if type_ == "float" else part.values
        absent[part.places] = False
        if tags is not None:
            tags[part.places] = _tags(part)
    return ChunkColumn(_array(values, absent), kinds, tags)


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


def _lay_texts(parts: list[_Part], rows: int, type_: k.ColumnType) -> Any:
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


def _tags(part: _Part) -> Any:
    if part.tags is not None:
        return part.tags
    return (
        [k.kind_of(value) & 0xFF for value in part.values]
        if isinstance(part.values, list)
        else part.kinds & 0xFF
    )


def _json_text(value: Any) -> str:
    return value if type(value) is _JsonText else dumps(value)
