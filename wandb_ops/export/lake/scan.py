"""Reading a lake's table a piece at a time.

Arrow reads ahead generously: whole files of wide tables, several at once. Here it is asked for one row group
after the other, which takes a third less memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from deltalake import DeltaTable

_BATCH_ROWS = 4096


def gently() -> dict[str, Any]:
    """How a dataset of Arrow is to be scanned, as keywords of its methods."""
    import pyarrow.dataset as ds

    return {
        "batch_readahead": 2,
        "fragment_readahead": 1,
        "fragment_scan_options": ds.ParquetFragmentScanOptions(pre_buffer=False),
    }


def batches_of(
    table: DeltaTable, *, columns: Sequence[str] | None = None, where: Any = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a table, or of some columns, for which the expression `where` holds; none are empty."""
    found = table.to_pyarrow_dataset().to_batches(
        columns=None if columns is None else list(columns), filter=where, batch_size=_BATCH_ROWS, **gently()
    )
    return (batch for batch in found if batch.num_rows)
