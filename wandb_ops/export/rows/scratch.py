"""Rows that wait on disk, in a file that nobody else sees and that is gone when it is closed."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa


def scratch_file() -> Any:
    """A temporary file below `TMPDIR`; the caller closes it."""
    return tempfile.TemporaryFile(prefix="wandb-ops-")


def lay_down(file: Any, table: pa.Table | Mapping[str, Any]) -> int:
    """Append a table, or columns by name, as one Arrow stream; returns the offset at which it begins.

    Raises:
        OutputError: The disk took no more.
    """
    import pyarrow as pa

    offset = cast("int", file.seek(0, 2))
    try:
        rows = table if isinstance(table, pa.Table) else pa.RecordBatch.from_pydict(dict(table))
        with pa.ipc.new_stream(pa.PythonFile(file, "w"), rows.schema) as writer:
            writer.write(rows)
        file.flush()
    except OSError as error:
        raise OutputError(
            f"Cannot keep rows in a temporary file: {error.strerror or error}",
            number=error.errno,
            where=tempfile.gettempdir(),
            hint="Set TMPDIR to a folder with more room.",
        ) from error
    return offset
