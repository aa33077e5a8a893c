"""A checksum of rows, whatever file they stand in.

The checksum of a file changes with the compression and the version of the library that wrote it; this one
depends on the columns' names and types and on the values, and on nothing else. It is fed batch by batch, and
how the rows are cut into batches makes no difference: `verify_file` reads in row groups, the writer does not.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from wandb_ops.export.rows.buffers import nulls_of, numbers

if TYPE_CHECKING:
    import pyarrow as pa


class RowDigest:
    """SHA-256 over columns of Arrow data, each column with hashes of its own until the end."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._hashes = [(hashlib.sha256(), hashlib.sha256(), hashlib.sha256()) for _ in schema]
        self._rows = 0

    def update(self, table: pa.Table) -> None:
        """Add the rows of `table`, whose columns must be the schema's in its order."""
        for column, hashes in zip(table.columns, self._hashes, strict=True):
            start = self._rows
            for chunk in column.chunks:
                _feed(chunk, hashes, start)
                start += len(chunk)
        self._rows += table.num_rows

    def hexdigest(self) -> str:
        """The checksum of all rows so far."""
        whole = hashlib.sha256(str(self._rows).encode())
        for field, hashes in zip(self._schema, self._hashes, strict=True):
            head = json.dumps([field.name, _name(field.type)]).encode()
            whole.update(head + b"".join(part.digest() for part in hashes))
        return whole.hexdigest()


def _name(kind: Any) -> str:
    import pyarrow as pa

    # Parquet has a name of its own for the items of a list.
    return f"list<{_name(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)


def _feed(chunk: Any, hashes: tuple[Any, Any, Any], start: int) -> None:
    """Positions of nulls, lengths of variable values, and the values' bytes, nulls taken as zero or empty."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute  # its stubs know neither scalars nor arrays apart
    nulls, lengths, values = hashes
    kind = chunk.type
    if chunk.null_count:
        nulls.update((nulls_of(chunk) + start).tobytes())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values.update(numbers(chunk).tobytes())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        text = pc.fill_null(chunk.cast(pa.large_binary()), b"")
        ends = np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]
        lengths.update(np.diff(ends).tobytes())
        if len(ends) and text.buffers()[2] is not None:
            values.update(memoryview(text.buffers()[2])[ends[0] : ends[-1]])
    elif not pa.types.is_null(kind):
        # Timestamps, lists, decimals: rare and short; their Python form is exact.
        for item in chunk.to_pylist():
            values.update(repr(item).encode("utf-8", "surrogatepass") + b"\n")
