"""`HistoryTable`: a whole history as columns, and the ways out of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.history.arrow import min_max
from wandb_ops.history.unify import KEY, KIND
from wandb_ops.protocol.values import loads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from wandb_ops.history.ref import RunCounts

_BATCH = 8192


class HistoryTable:
    """Exact rows of a run, as columns; docs/values.md says how each value is kept.

    Attributes:
        rows: Number of rows.
        first_step: Smallest `_step`; -1 when no row has one.
        last_step: Largest `_step`; -1 when no row has one.
        expected_rows: What the server said the whole history has, when that is what was asked for; None for
            a part of it (`min_step`, `max_step`, `keys`), whose number of rows the server does not tell.
        counts: What the server said about the run when reading began.
    """

    def __init__(
        self,
        table: pa.Table,
        *,
        counts: RunCounts,
        expected_rows: int | None,
        nulls: Mapping[str, set[int]] | None = None,
    ) -> None:
        self._table = table
        self._seen = False  # by somebody else, who may keep it
        self._nulls = dict(nulls or {})
        self.rows: int = table.num_rows
        self.counts = counts
        self.expected_rows = expected_rows
        self.first_step, self.last_step = _step_range(table)

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names: `_step`, `_timestamp`, `_runtime`, then the keys sorted."""
        return tuple(self._table.column_names)

    @property
    def kinds(self) -> dict[str, str]:
        """Column -> int, bigint, float, bool, str, json or null."""
        return {field.name: kind_of_field(field) for field in self._table.schema}

    def to_arrow(self) -> pa.Table:
        """The Arrow table; field metadata `wandb_ops.kind` tells JSON text from text."""
        self._seen = True
        return self._table

    def to_pandas(self, *, keep: bool = True) -> pd.DataFrame:
        """A DataFrame: numbers as numbers, nested values as Python objects.

        A column of integers or booleans that some rows lack is nullable (Int64, boolean), so that no
        integer becomes a double. In a float column an absent value and NaN look alike, as everywhere in
        pandas; `to_arrow` and `iter_rows` tell them apart.

        Args:
            keep: False gives each column up to the frame, so that memory never holds all of them twice;
                this table is without rows and columns afterwards.
        """
        import pandas as pd

        table, take = self._table, not (keep or self._seen)
        fields, columns = list(table.schema), table.columns[::-1]
        if not keep:
            self._table, self._nulls = table.select([]).slice(0, 0), {}
        del table
        # The columns are new already: pandas would copy them into blocks, and hold everything twice.
        return pd.DataFrame(
            {field.name: _series(columns.pop(), kind_of_field(field), take=take) for field in fields},
            index=pd.RangeIndex(self.rows),
            copy=False,
        )

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        """The rows as logged, as dicts in column order; keys a row does not have are not in it."""
        start = 0
        for batch in self._table.to_batches(max_chunksize=_BATCH):
            rows = rows_of_batch(batch)
            for key, places in self._nulls.items():
                for place in places.intersection(range(start, start + len(rows))):
                    rows[place - start][key] = None
            yield from rows
            start += len(rows)

    def __len__(self) -> int:
        return self.rows

    def __repr__(self) -> str:
        shape = f"{self.rows} rows x {self._table.num_columns} columns"
        return f"<HistoryTable {shape}, steps {self.first_step} to {self.last_step}>"


def kind_of_field(field: pa.Field[Any]) -> str:
    """The kind a field of `to_arrow()` (or of a Parquet file made from it) is marked with."""
    return (field.metadata or {}).get(KIND, b"").decode()


def key_of_field(field: pa.Field[Any]) -> str:
    """The key a field stands for: its name, but for keys that are not valid UTF-8."""
    spelled = (field.metadata or {}).get(KEY)
    return json.loads(spelled) if spelled else field.name


def rows_of_batch(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch of such a table as dicts, nulls left out."""
    keys = [key_of_field(field) for field in batch.schema]
    if not keys:
        return [{} for _ in range(batch.num_rows)]
    columns = [_values(batch.column(place), kind_of_field(field)) for place, field in enumerate(batch.schema)]
    rows = zip(*columns, strict=True)
    if not any(column.null_count for column in batch.columns):
        return [dict(zip(keys, row, strict=True)) for row in rows]
    return [{key: value for key, value in zip(keys, row, strict=True) if value is not None} for row in rows]


def _values(array: Any, kind: str) -> list[Any]:
    """Python values of an array or chunked array, None where it is null."""
    if array.null_count == 0 and kind in ("int", "float"):
        listed: list[Any] = array.to_numpy(zero_copy_only=False).tolist()
        return listed
    listed = array.to_pylist()
    if kind == "bigint":
        return [None if text is None else int(text) for text in listed]
    if kind == "json":
        return [None if text is None else loads(text) for text in listed]
    return listed


def _series(column: pa.ChunkedArray[Any], kind: str, *, take: bool) -> pd.Series[Any] | np.ndarray[Any, Any]:
    """A column for pandas; its own memory where nobody else may look at it (`take`) and that can be had."""
    import numpy as np
    import pandas as pd

    if take and (taken := _taken(column, kind)) is not None:
        return taken
    if kind in ("float", "null") or (kind in ("int", "bool") and not column.null_count):
        # Made here, so that nobody's change of the frame meets memory that Arrow still looks at.
        made: np.ndarray[Any, Any] = np.empty(len(column), {"int": "i8", "bool": "?"}.get(kind, "f8"))
        start = 0
        for chunk in column.chunks:
            made[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
            start += len(chunk)
        return made
    if kind in ("bigint", "json"):
        return pd.Series(_values(column, kind), dtype=object)
    if column.null_count and kind == "int":
        return column.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get)
    if column.null_count and kind == "bool":
        return column.to_pandas(types_mapper={column.type: pd.BooleanDtype()}.get)
    return column.to_pandas()


def _taken(column: pa.ChunkedArray[Any], kind: str) -> np.ndarray[Any, Any] | None:
    """The numbers of a column that is one piece of memory and may be written to; else None."""
    import numpy as np

    if kind not in ("int", "float") or column.null_count or column.num_chunks != 1 or not len(column):
        return None
    array: Any = column.chunk(0)
    buffer = array.buffers()[1]
    if not buffer.is_mutable:
        return None
    return np.frombuffer(buffer, "i8" if kind == "int" else "f8", len(array), array.offset * 8)


def _step_range(table: pa.Table) -> tuple[int, int]:
    import pyarrow as pa

    place = table.schema.get_field_index("_step")
    if place < 0 or not pa.types.is_integer(table.schema.field(place).type):
        return -1, -1
    return min_max(table.column(place)) or (-1, -1)
