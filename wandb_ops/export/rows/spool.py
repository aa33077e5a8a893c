"""Many tables become one, in bounded memory: rows of a hundred thousand runs, page by page.

Each table that comes has the types of its own values. It waits in a temporary file until all have come and
the types of the whole are known; then the rows are handed out in one schema and in order. Nothing of them
stays in memory; only if they did not come in order, the columns to sort by are read back, about thirty bytes
of each run.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.errors import DataError
from wandb_ops.export.rows.buffers import array_of, copied, numbers
from wandb_ops.export.rows.runs import identity, renamed
from wandb_ops.export.rows.schema import bits_of_column, conform, field_of
from wandb_ops.export.rows.scratch import lay_down, scratch_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    Found = dict[str, tuple[pa.Field[Any], int | None]]

_OUT_ROWS = 4096
_KEPT = 4  # tables read back that are kept: rows that came in order need one


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in the life of a spool."""

    tables: int
    rows: int
    found: Found
    last: pa.Table | None
    in_order: bool


class TableSpool:
    """Takes tables typed apart, gives tables of one schema. Closing it frees the disk space.

    Args:
        order: Columns to sort the rows by; without any they stay in the order in which they came.

    Attributes:
        rows: Number of rows so far.
    """

    def __init__(self, order: Sequence[str] = ()) -> None:
        self._order = tuple(order)
        self._file: Any = scratch_file()
        self._closing = weakref.finalize(self, _close, self._file)  # a spool that is forgotten says nothing
        self._places: list[tuple[int, int]] = []  # where a table begins in the file, its rows
        self._found: Found = {}  # identity -> column, and what it holds, of all tables so far
        self._last: pa.Table | None = None  # of the last row what to sort by, as long as all are in order
        self._in_order = True
        self._lists: OrderedDict[int, pa.Table] = OrderedDict()
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        """Lay down the rows of `table`."""
        import pyarrow as pa

        if not table.num_rows and self._found:
            return
        for place, one in enumerate(table.schema):
            self._know(one, bits_of_column(one, table.column(place)))
        if self._order and self._in_order:
            self._see_order(table.select(list(self._order)))
        offset = lay_down(self._file, table)
        pa.default_memory_pool().release_unused()  # Arrow would keep what the page took for later
        self._places.append((offset, table.num_rows))
        self.rows += table.num_rows

    def _know(self, one: pa.Field[Any], own: int | None) -> None:
        """One more table has the column."""
        name = identity(one)
        known, bits = self._found.get(name, (one, own))
        if own is not None and bits is not None:
            bits |= own
        elif one.type != known.type:
            raise DataError(f"The column {one.name!r} is {known.type} and {one.type}")
        self._found[name] = known, bits

    @property
    def mark(self) -> Mark:
        """What came so far; see `cut`."""
        return Mark(len(self._places), self.rows, dict(self._found), self._last, self._in_order)

    def cut(self, mark: Mark) -> None:
        """Forget what came after `mark`."""
        del self._places[mark.tables :]
        self.rows, self._found = mark.rows, dict(mark.found)
        self._last, self._in_order = mark.last, mark.in_order
        self._lists.clear()

    def fields(self) -> Found:
        """Identity -> (column in the type of the whole, what it holds)."""
        found = self._found.items()
        whole = {n: (one if b is None else field_of(one, b), b) for n, (one, b) in found}
        return {name: (one, whole[name][1]) for name, one in renamed({n: f for n, (f, _) in whole.items()})}

    @property
    def schema(self) -> pa.Schema:
        """The columns of every table that is handed out."""
        import pyarrow as pa

        return pa.schema([one for one, _ in self.fields().values()])

    def bits(self) -> dict[str, int | None]:
        """Column -> what it holds, as bits of `history.kinds`."""
        return {one.name: bits for one, bits in self.fields().values()}

    def tables(self) -> Iterator[pa.Table]:
        """The rows in order, in tables of one schema; may be asked for again."""
        import numpy as np
        import pyarrow as pa

        fields = self.fields()
        schema = pa.schema([one for one, _ in fields.values()])
        by_name = {one.name: name for name, (one, _) in fields.items()}
        self._lists.clear()
        indices = self._sorted()
        if indices is None:
            for place in range(len(self._places)):
                yield self._typed(place, schema, by_name)
            return
        ends = np.cumsum([rows for _, rows in self._places])
        for start in range(0, len(indices), _OUT_ROWS):
            wanted = indices[start : start + _OUT_ROWS]
            owners = np.searchsorted(ends, wanted, "right")
            parts, found = [], []
            for owner in np.unique(owners):
                mine = np.flatnonzero(owners == owner)
                first = int(ends[owner]) - self._places[owner][1]
                parts.append(self._typed(int(owner), schema, by_name).take(array_of(wanted[mine] - first)))
                found.append(mine)
            back = np.empty(len(wanted), np.int64)
            back[np.concatenate(found)] = np.arange(len(wanted))
            yield pa.concat_tables(parts).take(array_of(back))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows at once, or some columns of them."""
        import pyarrow as pa

        names = self.schema.names if columns is None else list(columns)
        parts = [part.select(names) for part in self.tables()]
        return pa.concat_tables(parts) if parts else self.schema.empty_table().select(names)

    def row(self, number: int, columns: Sequence[str]) -> dict[str, Any]:
        """One row of those that stay in the order in which they came."""
        for place, (_, rows) in enumerate(self._places):
            if number < rows:
                return self._laid(place).slice(number, 1).select(list(columns)).to_pylist()[0]
            number -= rows
        raise IndexError(number)

    def close(self) -> None:
        """Forget the rows."""
        self._places.clear()
        self._lists.clear()
        self._closing()

    def _see_order(self, keys: pa.Table) -> None:
        """Whether the rows of one more table follow on those that came."""
        import pyarrow as pa

        keys = keys if self._last is None else pa.concat_tables([self._last, keys])
        indices = self._indices(keys)
        self._in_order = bool((indices[1:] > indices[:-1]).all())
        self._last = copied(keys.slice(max(0, keys.num_rows - 1))) if self._in_order else None

    def _sorted(self) -> Any:
        """Places of the rows in order; None when that is the order in which they came."""
        import pyarrow as pa

        if not self._order or self._in_order:
            return None
        pages = (copied(self._laid(place).select(list(self._order))) for place in range(len(self._places)))
        return self._indices(pa.concat_tables(pages).combine_chunks())

    def _indices(self, keys: pa.Table) -> Any:
        import numpy as np
        import pyarrow.compute as pc

        found: Any = pc.sort_indices(keys, sort_keys=cast("Any", [(n, "ascending") for n in self._order]))
        return numbers(found).astype(np.int64)

    def _laid(self, place: int) -> pa.Table:
        import pyarrow as pa

        self._file.seek(self._places[place][0])
        return pa.ipc.open_stream(pa.PythonFile(self._file, "r")).read_all()

    def _typed(self, place: int, schema: pa.Schema, by_name: dict[str, str]) -> pa.Table:
        if place in self._lists:
            self._lists.move_to_end(place)
            return self._lists[place]
        laid = self._laid(place)
        own = {identity(one): one.name for one in laid.schema}
        names = {name: own[ident] for name, ident in by_name.items() if ident in own}
        table = conform(laid, schema, names)
        if self._order:
            self._lists[place] = table
            if len(self._lists) > _KEPT:
                self._lists.popitem(last=False)
        return table


def _close(file: Any) -> None:
    with contextlib.suppress(OSError):  # what could not be flushed to a full disk is not wanted any more
        file.close()
