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
from wandb_ops.history.laying import ChunkColumn, JsonText, Part, Rooms, lay
from wandb_ops.history.packed import pack
from wandb_ops.protocol.values import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence

_BATCH = 4096  # rows turned over at once
_CELLS = 1 << 18  # and their values, so that wide rows do not make long lists


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


class ColumnBuilder:
    """Takes rows, gives chunks.

    Args:
        chunk_rows: Rows after which a chunk is laid down.
        expected: Rows that will come in all, when that is known: numbers then go to their last place at once.
    """

    def __init__(self, chunk_rows: int = 16_384, *, expected: int = 0) -> None:
        self._chunk_rows = chunk_rows
        self._chunks: list[Chunk] = []
        self._rooms = Rooms(expected)
        self._start()

    def _start(self) -> None:
        self._rows = 0
        self._parts: dict[str, list[Part]] = {}
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
            self._rooms.start += chunk.rows

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
            parts.append(Part(places, packed, k.FLOAT if packed.dtype.kind == "f" else k.INT))
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
        columns = {key: lay(key, parts, self._rows, self._rooms) for key, parts in self._parts.items()}
        self._chunks.append(Chunk(self._rows, columns, self._nulls))
        self._rooms.start += self._rows
        self._start()


def _places_of(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], list[int]]:
    """Keys in their order -> the rows that have these."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, signature in enumerate(map(tuple, rows)):
        groups.setdefault(signature, []).append(place)
    return groups


def _part(places: Any, column: list[Any], types: set[type]) -> Part:
    import numpy as np

    if types == {float}:
        return Part(places, np.array(column, np.float64), k.FLOAT)
    if types == {int}:
        low, high = min(column), max(column)
        kinds = k.kinds_of_ints(column, low, high)
        return Part(places, column if kinds & k.LARGE else np.array(column, np.int64), kinds)
    if types == {bool}:
        return Part(places, np.array(column, np.bool_), k.BOOL)
    if types == {int, float}:
        # Go writes 1.0 as 1, so this is what most float columns are.
        whole: Any = np.fromiter(map(isinstance, column, repeat(int)), np.bool_, len(column))
        ints = list(compress(column, whole))
        kinds = k.FLOAT | k.kinds_of_ints(ints, min(ints), max(ints))
        if not kinds & k.ROUNDED:
            tags = np.where(whole, np.uint8(k.INT), np.uint8(k.FLOAT))
            return Part(places, np.array(column, np.float64), kinds, tags)
        return Part(places, column, kinds)
    kinds = k.kinds_of(column)
    if types <= {dict, list}:
        return Part(places, [JsonText(dumps(value)) for value in column], kinds)
    return Part(places, column, kinds)


__all__ = ["Chunk", "ChunkColumn", "ColumnBuilder"]
