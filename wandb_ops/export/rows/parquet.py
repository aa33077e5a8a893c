"""Arrow tables into Parquet whose footer says what it holds, and back.

zstd, dictionary encoding for text only (for numbers it costs time and gains nothing), row groups bounded in
rows and bytes so that a reader needs little memory, checksums on every page. The bytes depend on the rows,
the metadata and the version of pyarrow alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from wandb_ops.errors import DataError
from wandb_ops.export.rows.buffers import numbers
from wandb_ops.export.rows.digest import RowDigest
from wandb_ops.export.rows.metadata import KEY, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

_GROUP_ROWS = 16_384
_GROUP_BYTES = 64 << 20


class ParquetSink:
    """Writes tables of one schema, one after the other, and seals the file with its description.

    Nothing is held back but one row group, whatever the length of the whole. A context manager:
    left without `close`, it gives up without touching the file again.
    """

    def __init__(self, out: BinaryIO, schema: pa.Schema, *, group_rows: int = _GROUP_ROWS) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [field.name for field in schema]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise DataError(f"Two columns have the same name: {', '.join(map(repr, twice[:5]))}")
        text: Any = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        self._writer = pq.ParquetWriter(
            out,
            schema,
            compression="zstd",
            use_dictionary=text,
            version="2.6",
            write_page_checksum=True,
        )
        self._digest = RowDigest(schema)
        self._group_rows = group_rows
        self._held: list[pa.Table] = []  # rows of the group that is not full yet
        self._held_rows = self._held_bytes = 0
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # pyarrow would otherwise write the end of the file when the writer is collected, some time later.
        self._writer.is_open = False

    def write(self, table: pa.Table) -> None:
        """Append the rows of `table`. How the rows came cut does not show in the bytes of the file."""
        self._digest.update(table)
        self.rows += table.num_rows
        widths = _row_widths(table)
        start = 0
        while start < table.num_rows:
            room = self._group_rows - self._held_rows
            taken = widths[start : start + room].cumsum()
            fitting = int((taken <= _GROUP_BYTES - self._held_bytes).sum())
            if not fitting and not self._held_rows:
                fitting = 1  # a row that is larger than a group
            if fitting:
                self._held.append(table.slice(start, fitting))
                self._held_rows += fitting
                self._held_bytes += int(taken[fitting - 1])
                start += fitting
            if start < table.num_rows or self._held_rows == self._group_rows:
                self._write_group()

    def close(self, description: Mapping[str, Any]) -> None:
        """Finish the file; `description` goes into the footer, with row count and checksum."""
        self._write_group()
        whole = {**description, "rows": self.rows, "rows_sha256": self._digest.hexdigest()}
        self._writer.add_key_value_metadata({KEY.decode(): seal(whole).decode()})
        self._writer.close()

    def _write_group(self) -> None:
        import pyarrow as pa

        if self._held:
            group = pa.concat_tables(self._held).combine_chunks()
            self._writer.write_table(group, row_group_size=max(1, group.num_rows))
        self._held, self._held_rows, self._held_bytes = [], 0, 0


def _row_widths(table: pa.Table) -> Any:
    """Bytes of each row, by its values alone: eight for a number, what a text is long."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    widths = np.full(table.num_rows, 8 * table.num_columns, np.int64)
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            lengths: Any = pc.binary_length(column)
            widths += np.concatenate([numbers(chunk) for chunk in lengths.chunks] or [widths[:0]])
    return widths


@dataclass(frozen=True, slots=True)
class Footer:
    """What a Parquet file says about itself."""

    description: dict[str, Any]  # empty when the file is not one of ours
    sealed: bool  # the description's own checksum holds
    columns: tuple[tuple[str, str], ...]  # name, Arrow type
    rows: int  # by Parquet's own count

    @property
    def ours(self) -> bool:
        """Whether wandb-ops wrote it, and the description is intact."""
        return self.sealed and bool(self.description)


def read_footer(source: BinaryIO) -> Footer | None:
    """The footer of an open file; None when it is no Parquet file, or a damaged one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source.seek(0)
    try:
        with pq.ParquetFile(source) as file:
            schema, meta = file.schema_arrow, file.metadata
            text = (meta.metadata or {}).get(KEY, b"")
            rows = meta.num_rows
    except (pa.ArrowException, OSError, ValueError):
        return None
    finally:
        if not source.closed:
            source.seek(0)
    description, sealed = unseal(text)
    return Footer(
        description=description,
        sealed=sealed,
        columns=tuple((field.name, str(field.type)) for field in schema),
        rows=rows,
    )
