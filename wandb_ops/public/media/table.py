"""`Table`: rows of named columns, kept in an artifact or logged to a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from wandb_ops.errors import UsageError, UsageTypeError
from wandb_ops.protocol import values
from wandb_ops.public.media import types
from wandb_ops.public.media.base import Files, Media, sha256_of
from wandb_ops.public.media.cells import plain, shown, stored

if TYPE_CHECKING:
    import pandas as pd

_DEFAULT_COLUMNS = ("Input", "Output", "Expected")
_MODES = ("IMMUTABLE", "MUTABLE")
_QUICK = frozenset({bool, int, str, type(None)})  # what one look at the class tells the type of


class Table(Media):
    """A table with a type for each column.

        table = Table(columns=["image", "score"], data=[[Image("a.png"), 0.9]])
        table.add_data(Image("b.png"), 0.8)
        artifact.add(table, "predictions")

    Cells hold numbers, text, bools, times, lists, dicts, numpy's and pandas' values, `Image`, `Html` and
    `Histogram`; None and NaN are missing values. The cells of a column are of one kind, unless
    `allow_mixed_types` says otherwise.

    Args:
        columns: Names; None is `Input`, `Output` and `Expected`, or a frame's own.
        data: Rows, a two-dimensional array, or a pandas frame.
        rows: The same as `data`.
        dataframe: A pandas frame; its index is left out. `columns` picks some of its columns.
        dtype: Type of the columns, or a list with one for each: `int`, `str`, `datetime`, `Image`, ....
        optional: Whether cells may be missing, or a list with one answer for each column.
        allow_mixed_types: Let any cell hold anything.
        log_mode: "IMMUTABLE" or "MUTABLE"; only noted.

    Attributes:
        columns: Names.
        data: Rows, each a list.

    Raises:
        UsageError: (a ValueError) A row has another number of cells, or a cell is of another kind than its
            column.
    """

    MAX_ROWS: ClassVar[int] = 10_000
    MAX_ARTIFACT_ROWS: ClassVar[int] = 200_000
    _log_type: ClassVar[str] = "table"
    _wb_type: ClassVar[types.Type] = {"wb_type": "table"}

    columns: list[Any]
    data: list[list[Any]]

    def __init__(
        self,
        columns: Sequence[str | int] | None = None,
        data: Iterable[Sequence[Any]] | Any | None = None,
        rows: Iterable[Sequence[Any]] | None = None,
        dataframe: pd.DataFrame | None = None,
        dtype: Any = None,
        optional: bool | list[bool] = True,
        allow_mixed_types: bool = False,
        log_mode: Literal["IMMUTABLE", "MUTABLE", "INCREMENTAL"] | None = "IMMUTABLE",
    ) -> None:
        if log_mode not in (None, *_MODES):
            raise UsageError(f"log_mode is one of {', '.join(_MODES)}, not {log_mode!r}")
        if hasattr(data, "columns") and hasattr(data, "itertuples"):
            data, dataframe = None, data
        if dataframe is not None:
            frame = dataframe if columns is None else dataframe[list(columns)]
            columns, data = list(frame.columns), zip(*(frame[name] for name in frame.columns), strict=True)
        elif data is None:
            data = rows
        if isinstance(columns, str) or not all(isinstance(name, (str, int)) for name in columns or ()):
            raise UsageError("columns is a list of names: text or whole numbers")
        names = list(columns) if columns is not None else list(_DEFAULT_COLUMNS)
        if len({str(name) for name in names}) < len(names):
            raise UsageError("Two columns have the same name")
        self.columns = names
        self.data = []
        self.log_mode = log_mode or "IMMUTABLE"
        self._mixed = allow_mixed_types
        self._types: list[types.Type] = self._declare(dtype, optional)
        self._quick: list[set[type]] = [set() for _ in names]
        for row in data if data is not None else ():
            self._add(row)

    def _declare(self, dtype: Any, optional: bool | list[bool]) -> list[types.Type]:
        count = len(self.columns)
        kinds = dtype if isinstance(dtype, list) else [dtype] * count
        missing = optional if isinstance(optional, list) else [optional] * count
        if len(kinds) != count or len(missing) != count:
            raise UsageError(f"dtype and optional have an item for each of the {count} columns")
        if self._mixed:
            return [types.optional(types.ANY)] * count
        found: list[types.Type] = []
        for kind, may in zip(kinds, missing, strict=True):
            named = types.UNKNOWN if kind is None else types.declared(kind)
            if named is None:
                raise UsageError(
                    f"No column has the dtype {kind!r}", hint="Leave it out: it is found from the cells."
                )
            found.append(types.optional(named) if may else named)
        return found

    # -- filling -------------------------------------------------------------------------------------------

    def add_data(self, *data: Any) -> None:
        """Add a row, one argument for each column.

        Raises:
            UsageError: There is another number of cells, or one is of another kind than its column.
        """
        self._add(data)

    def add_row(self, *row: Any) -> None:
        """The same as `add_data`; deprecated."""
        self._add(row)

    def _add(self, row: Any) -> None:
        if isinstance(row, (str, bytes, Mapping)) or not isinstance(row, Iterable):
            raise UsageTypeError(f"A row is a list of cells, not {type(row).__name__}")
        cells = list(row)
        if len(cells) != len(self.columns):
            raise UsageError(
                f"The row has {len(cells)} cells, the table {len(self.columns)} columns: {self.columns}",
                where=f"row {len(self.data)}",
            )
        fresh = list(self._types)
        for place, cell in enumerate(cells):
            if type(cell) not in self._quick[place]:
                fresh[place] = self._joined(place, cell)
        self._types = fresh
        for place, cell in enumerate(cells):
            if type(cell) in _QUICK:
                self._quick[place].add(type(cell))
        self.data.append(cells)

    def _joined(self, place: int, cell: Any) -> types.Type:
        """The type of a column with one more cell."""
        where = f"row {len(self.data)}, column {self.columns[place]!r}"
        kind, now = types.type_of(plain(cell, where)), self._types[place]
        if kind["wb_type"] == "table":
            raise UsageError("A cell of a table cannot hold a table", where=where)
        joined = types.join(now, kind)
        if joined is None or (types.is_optional(joined) and not types.is_optional(now)):
            raise UsageTypeError(
                f"The column holds {types.label(now)}, the cell is {types.label(kind)}",
                where=where,
                hint="Pass allow_mixed_types=True to let a column hold different kinds.",
            )
        return joined

    def add_column(self, name: str, data: Sequence[Any] | Any, optional: bool = False) -> None:
        """Add a column, one cell for each row.

        Args:
            name: Its name.
            data: A list or a one-dimensional array, as long as the table.
            optional: Whether cells may be missing; they may, too, where some are.

        Raises:
            UsageError: There is a column of that name, its length is another one, or the cells do not go
                together.
        """
        cells = list(data)
        if not isinstance(name, str) or name in self.columns:
            raise UsageError(f"There is a column {name!r}, or it is no name")
        if self.columns and len(cells) != len(self.data):
            raise UsageError(f"The column has {len(cells)} cells, the table {len(self.data)} rows")
        found = Table([name], [[cell] for cell in cells], allow_mixed_types=self._mixed)
        kind = found._types[0]
        if not (optional or self._mixed or any(types.type_of(plain(c, name)) == types.NONE for c in cells)):
            kind = types.union_of(*[each for each in types.members_of(kind) if each != types.NONE])
        self.data = [[*row, cell] for row, cell in zip(self.data or [[] for _ in cells], cells, strict=True)]
        self.columns = [*self.columns, name]
        self._types = [*self._types, kind]
        self._quick = [*self._quick, found._quick[0]]

    def add_computed_columns(self, fn: Callable[[int, dict[Any, Any]], dict[str, Any]]) -> None:
        """Add columns computed from each row.

        Args:
            fn: Takes a row's number and the row as a dict; gives the new cells by column.
        """
        made = [fn(number, dict(zip(self.columns, row, strict=True))) for number, row in enumerate(self.data)]
        for name in made[0] if made else ():
            self.add_column(name, [row[name] for row in made])

    def cast(self, col_name: str | int, dtype: Any, optional: bool = False) -> types.Type:
        """Declare the type of a column; returns it as W&B writes it.

        Raises:
            UsageError: The cells are of another kind.
        """
        made = Table(
            [col_name], [[cell] for cell in self.get_column(col_name)], dtype=[dtype], optional=optional
        )
        self._types[self.columns.index(col_name)] = made._types[0]
        self._quick[self.columns.index(col_name)] = made._quick[0]
        return made._types[0]

    # -- reading -------------------------------------------------------------------------------------------

    def get_column(self, name: str | int, convert_to: Literal["numpy"] | None = None) -> Any:
        """The cells of a column, as a list or a numpy array.

        Raises:
            UsageError: There is no such column.
        """
        if name not in self.columns or convert_to not in (None, "numpy"):
            raise UsageError(f"There is no column {name!r}, or convert_to is neither None nor 'numpy'")
        place = self.columns.index(name)
        cells = [row[place] for row in self.data]
        if convert_to is None:
            return cells
        import numpy as np

        return np.array(cells)

    def get_dataframe(self) -> pd.DataFrame:
        """The table as a pandas frame."""
        import pandas as pd

        return pd.DataFrame.from_records(self.data, columns=self.columns)

    def get_index(self) -> list[int]:
        """The numbers of the rows."""
        return list(range(len(self.data)))

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Each row's number, and the row."""
        yield from enumerate(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return self.columns == other.columns and _same(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<Table {len(self.data)} rows x {len(self.columns)} columns>"

    # -- storing -------------------------------------------------------------------------------------------

    def _rows(self) -> list[list[Any]]:
        return [
            [
                plain(cell, f"row {number}, column {name!r}")
                for name, cell in zip(self.columns, row, strict=True)
            ]
            for number, row in enumerate(self.data)
        ]

    def _stored(self, files: Files) -> dict[str, Any]:
        """The table as it stands in an artifact, whatever its length."""
        rows = self._rows()
        kinds = [self._arrays(place, kind, rows, files) for place, kind in enumerate(self._types)]
        return {
            "_type": self._log_type,
            "column_types": types.dict_of(
                {str(name): kind for name, kind in zip(self.columns, kinds, strict=True)}
            ),
            "columns": list(self.columns),
            "data": [[stored(cell, files) for cell in row] for row in rows],
            "log_mode": self.log_mode,
            "ncols": len(self.columns),
            "nrows": len(rows),
        }

    def _arrays(self, place: int, kind: types.Type, rows: list[list[Any]], files: Files) -> types.Type:
        """Arrays of one shape go to a file of numpy's; the cells of `rows` are emptied then."""
        if not any(each["wb_type"] == "ndarray" for each in types.members_of(kind)):
            return kind
        cells = [row[place] for row in rows]
        if not all(hasattr(cell, "shape") for cell in cells):  # some are missing
            lists = [types.type_of(cell.tolist() if hasattr(cell, "shape") else cell) for cell in cells]
            found: types.Type | None = types.UNKNOWN
            for each in lists:
                found = types.join(found, each) if found is not None else None
            return types.optional(found or types.ANY)
        import numpy as np

        sink = BytesIO()
        name = str(self.columns[place])
        np.savez_compressed(sink, **{name: np.array(cells)})  # type: ignore[arg-type]  # one array, by name
        for row in rows:
            row[place] = None
        at = {"key": name, "path": files.put("serialized_data", sink.getvalue(), "npz")}
        array = {"params": {"serialization_path": at, "shape": list(cells[0].shape)}, "wb_type": "ndarray"}
        return types.union_of(array, *[each for each in types.members_of(kind) if each == types.NONE])

    def _content(self, files: Files) -> bytes:
        """The file of an artifact that holds the table."""
        return json.dumps(self._stored(files), sort_keys=True).encode()

    def _logged(self, files: Files) -> dict[str, Any]:
        """The value that a run's history has for the table; its first rows are a file of the run."""
        rows = [[shown(cell) for cell in row] for row in self._rows()[: self.MAX_ROWS]]
        data = values.dumps({"columns": list(self.columns), "data": rows}).encode()
        return {
            "_type": "table-file",
            "log_mode": self.log_mode,
            "ncols": len(self.columns),
            "nrows": len(self.data),
            "path": files.put("table", data, "table.json"),
            "sha256": sha256_of(data),
            "size": len(data),
        }


def _same(first: Any, second: Any) -> bool:
    """Equality of cells; NaN is NaN, and an array is one with the same elements."""
    if hasattr(first, "shape") or hasattr(second, "shape"):
        import numpy as np

        return bool(np.array_equal(first, second))
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first):
        return math.isnan(second)
    return bool(first == second)
