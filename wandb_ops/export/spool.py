"""Many tables become one, in bounded memory: rows of a hundred thousand runs, page by page.

Each table that comes has the types of its own values. It waits in a temporary file until all have come and
the types of the whole are known; then the rows are handed out in one schema and in order. In memory stay only
the columns to sort by.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.errors import DataError, OutputError
from wandb_ops.export.buffers import numbers
from wandb_ops.export.runs import identity, renamed
from wandb_ops.export.schema import bits_of_column, conform, field_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

_OUT_ROWS = 4096
_KEPT = 4  # tables read back that are kept: rows that came in order need one


class TableSpool:
    """Takes tables typed apart, gives tables of one schema. Closing it frees the disk space.

    Args:
        order: Columns to sort the rows by; without any they stay in the order in which they came.

    Attributes:
        rows: Number of rows so far.
    """

    def __init__(self, order: Sequence[str] = ()) -> None:
        self._order = tuple(order)
        self._file: Any = tempfile.TemporaryFile(prefix="wandb-ops-")  # noqa: SIM115 - close() closes it
        self._places: list[tuple[int, int]] = []  # where a table begins in the file, its rows
        self._fields: list[dict[str, tuple[pa.Field[Any], int | None]]] = []
        self._keys: list[pa.Table] = []
        self._lists: OrderedDict[int, pa.Table] = OrderedDict()
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        """Lay down the rows of `table`."""
        import pyarrow as pa

        if not table.num_rows and self._fields:
            return
        self._fields.append(
            {
                identity(one): (one, bits_of_column(one, table.column(place)))
                for place, one in enumerate(table.schema)
            }
        )
        if self._order:
            self._keys.append(table.select(list(self._order)).combine_chunks())
        offset = self._file.seek(0, 2)
        try:
            with pa.ipc.new_stream(pa.PythonFile(self._file, "w"), table.schema) as writer:
                writer.write_table(table)
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"Cannot keep rows in a temporary file: {error.strerror or error}",
                number=error.errno,
                where=tempfile.gettempdir(),
                hint="Set TMPDIR to a folder with more room.",
            ) from error
        self._places.append((offset, table.num_rows))
        self.rows += table.num_rows

    @property
    def mark(self) -> int:
        """How many tables came so far; see `cut`."""
        return len(self._places)

    def cut(self, mark: int) -> None:
        """Forget what came after `mark`."""
        del self._places[mark:], self._fields[mark:], self._keys[mark:]
        self._lists.clear()
        self.rows = sum(rows for _, rows in self._places)

    def fields(self) -> dict[str, tuple[pa.Field[Any], int | None]]:
        """Identity -> (column in the type of the whole, what it holds)."""
        found: dict[str, tuple[pa.Field[Any], int | None]] = {}
        for fields in self._fields:
            for name, (one, own) in fields.items():
                known, bits = found.get(name, (one, own))
                if own is not None and bits is not None:
                    bits |= own
                elif one.type != known.type:
                    raise DataError(f"The column {one.name!r} is {known.type} and {one.type}")
                found[name] = known, bits
        whole = {n: (one if b is None else field_of(one, b), b) for n, (one, b) in found.items()}
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
                local: Any = pa.array(wanted[mine] - first)
                parts.append(self._typed(int(owner), schema, by_name).take(local))
                found.append(mine)
            back = np.empty(len(wanted), np.int64)
            back[np.concatenate(found)] = np.arange(len(wanted))
            order: Any = pa.array(back)
            yield pa.concat_tables(parts).take(order)

    def table(self) -> pa.Table:
        """All rows at once."""
        import pyarrow as pa

        parts = list(self.tables())
        return pa.concat_tables(parts) if parts else self.schema.empty_table()

    def close(self) -> None:
        """Forget the rows."""
        self._places.clear()
        self._lists.clear()
        with contextlib.suppress(OSError):  # what could not be flushed to a full disk is not wanted any more
            self._file.close()

    def _sorted(self) -> Any:
        """Places of the rows in order; None when that is the order in which they came."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._order or not self._keys:
            return None
        keys = pa.concat_tables(self._keys)
        found: Any = pc.sort_indices(keys, sort_keys=cast("Any", [(n, "ascending") for n in self._order]))
        indices = numbers(found).astype(np.int64)
        return None if (indices[1:] > indices[:-1]).all() else indices

    def _typed(self, place: int, schema: pa.Schema, by_name: dict[str, str]) -> pa.Table:
        import pyarrow as pa

        if place in self._lists:
            self._lists.move_to_end(place)
            return self._lists[place]
        self._file.seek(self._places[place][0])
        laid = pa.ipc.open_stream(pa.PythonFile(self._file, "r")).read_all()
        own = {identity(one): one.name for one in laid.schema}
        names = {name: own[ident] for name, ident in by_name.items() if ident in own}
        table = conform(laid, schema, names)
        if self._order:
            self._lists[place] = table
            if len(self._lists) > _KEPT:
                self._lists.popitem(last=False)
        return table
