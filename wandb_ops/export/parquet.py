"""Arrow tables into Parquet whose footer says what it holds, and back.

zstd, dictionary encoding for text only (for numbers it costs time and gains nothing), row groups bounded in
rows and bytes so that a reader needs little memory, checksums on every page. The bytes depend on the rows,
the metadata and the version of pyarrow alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from wandb_ops.errors import DataError
from wandb_ops.export.digest import RowDigest
from wandb_ops.export.metadata import KEY, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

_GROUP_ROWS = 131_072
_GROUP_BYTES = 64 << 20


class ParquetSink:
    """Writes tables of one schema, one after the other, and seals the file with its description.

    Nothing is held back but the table being written, whatever the length of the whole. A context manager:
    left without `close`, it gives up without touching the file again.
    """

    def __init__(self, out: BinaryIO, schema: pa.Schema) -> None:
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
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # pyarrow would otherwise write the end of the file when the writer is collected, some time later.
        self._writer.is_open = False

    def write(self, table: pa.Table) -> None:
        """Append the rows of `table`."""
        self._digest.update(table)
        size = rows_per_group(table)
        for start in range(0, max(1, table.num_rows), size):
            # In one piece: how the rows came cut must not show in the bytes.
            self._writer.write_table(table.slice(start, size).combine_chunks(), row_group_size=size)
        self.rows += table.num_rows

    def close(self, description: Mapping[str, Any]) -> None:
        """Finish the file; `description` goes into the footer, with row count and checksum."""
        whole = {**description, "rows": self.rows, "rows_sha256": self._digest.hexdigest()}
        self._writer.add_key_value_metadata({KEY.decode(): seal(whole).decode()})
        self._writer.close()


def rows_per_group(table: pa.Table) -> int:
    """Rows of one row group: as many as fit both bounds, by the content alone."""
    per_row = sum(_width(column) for column in table.columns) // max(1, table.num_rows)
    return int(max(1, min(_GROUP_ROWS, _GROUP_BYTES // max(1, per_row))))


def _width(column: Any) -> int:
    """Bytes of a column's values, whatever the buffers that they happen to lie in."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return int(pc.sum(pc.binary_length(column)).as_py() or 0)
    return 8 * len(column)


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
