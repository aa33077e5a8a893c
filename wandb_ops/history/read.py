"""A whole history, row by row or as one table.

What is proven about it, and what is raised when it cannot be, is in `reading`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import IncompleteHistory, UsageError
from wandb_ops.history import events, parquet
from wandb_ops.history.columns import Chunk, ColumnBuilder
from wandb_ops.history.reading import CONCURRENCY, Reading, Request
from wandb_ops.history.ref import RunCounts, RunRef, run_counts
from wandb_ops.history.select import KeysMode, Selection
from wandb_ops.history.table import HistoryTable, rows_of_batch
from wandb_ops.history.unify import unify
from wandb_ops.history.windows import END_OF_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wandb_ops.transport.session import Transport


def scan_rows(
    transport: Transport,
    ref: RunRef,
    *,
    keys: Sequence[str] | None = None,
    keys_mode: KeysMode = "all",
    min_step: int = 0,
    max_step: int | None = None,
    page_size: int = 1000,
) -> Iterator[dict[str, Any]]:
    """Rows of a run's history as dicts, in order of step, fetched as they are asked for.

    Nothing is fetched before the first row is asked for, and one page then. With every page that is taken
    more are fetched ahead, up to eight, and larger ones.

    Args:
        transport: The connection.
        ref: The run.
        keys: Keys to return; None returns rows whole.
        keys_mode: With `keys`: "all" for rows that have every key (as W&B does), "any" for at least one.
        min_step: First step.
        max_step: Step to stop before.
        page_size: Rows per page, at first; pages of 1,000 and more grow where that is sure to be exact.

    Yields:
        Values exactly as logged; keys that a row does not have are not in its dict. With `keys`, these and
        no others.

    Raises:
        IncompleteHistory: At the end, when the whole history was asked for and other than the number of
            rows came that the server says exist.
        NotFoundError: There is no such run.
        UsageError: Arguments that make no sense; raised at the call.
    """
    request = _request(transport, ref, keys, keys_mode, min_step, max_step, page_size)
    return _scan(replace(request, eager=False))


def _scan(request: Request) -> Iterator[dict[str, Any]]:
    reading = Reading(request, *parquet.counts_and_urls(request.transport, request.ref))
    for piece in reading.pieces():
        if isinstance(piece, Chunk):
            names = request.selection.keys
            for batch in unify([piece]).to_batches(max_chunksize=2000):
                yield from rows_of_batch(
                    batch.select([n for n in names if n in batch.schema.names]) if names else batch
                )
        else:
            yield from request.selection.rows(piece)
        del piece  # before the next one is made, which then finds its memory free
    reading.check()


def read_table(
    transport: Transport,
    ref: RunRef,
    *,
    keys: Sequence[str] | None = None,
    keys_mode: KeysMode = "all",
    min_step: int = 0,
    max_step: int | None = None,
    stream: Literal["history", "events"] = "history",
    page_size: int = 1000,
    concurrency: int = CONCURRENCY,
) -> HistoryTable:
    """The rows of a run's history as one columnar table.

    Args:
        transport: The connection.
        ref: The run.
        keys: Keys to return; `_step` comes along. None returns all.
        keys_mode: With `keys`: "all" for rows that have every key (as W&B does), "any" for at least one.
        min_step: First step.
        max_step: Step to stop before.
        stream: "history", or "events" for the system metrics (which have no steps).
        page_size: Rows per page, at first; pages of 1,000 and more grow where that is sure to be exact.
        concurrency: Pages in flight, at most.

    Raises:
        IncompleteHistory: The whole history was asked for and other than the number of rows came that the
            server says exist.
        NotFoundError: There is no such run.
        UsageError: Arguments that make no sense.
    """
    request = _request(
        transport, ref, keys, keys_mode, min_step, max_step, page_size, concurrency=concurrency
    )
    request = replace(request, at_once=True)
    if stream == "events":
        if min_step > 0 or max_step is not None:
            raise UsageError("system metrics have no steps to choose by", where=ref.path)
        return events.read_events(transport, ref, request.selection)
    if stream != "history":
        raise UsageError(f"stream must be 'history' or 'events', not {stream!r}")
    return _read(request)


def _read(request: Request) -> HistoryTable:
    if request.exports:
        reading = Reading(request, *parquet.counts_and_urls(request.transport, request.ref))
    else:
        reading = Reading(request, run_counts(request.transport, request.ref))
    whole = reading.whole and not request.selection
    builder = ColumnBuilder(expected=reading.counts.history_lines if whole else 0)
    try:
        for piece in reading.pieces():
            if isinstance(piece, Chunk):
                builder.add_chunk(piece)
            else:
                builder.add(request.selection.rows(piece, extra=("_step",)))
            del piece  # before the next one is made, which then finds its memory free
        reading.check()
    except (IncompleteHistory, parquet.UnreadableExportError) as error:
        again = reading.again(error)
        if again is None:
            raise
        return _read(again)
    return table_of(builder, reading.counts, expected=reading.counts.history_lines if whole else None)


def table_of(
    builder: ColumnBuilder, counts: RunCounts, *, expected: int | None, steps: bool = True
) -> HistoryTable:
    """The table of all that a builder took."""
    chunks = builder.finish()
    nulls: dict[str, set[int]] = {}
    start = 0
    for chunk in chunks:
        for key, places in chunk.nulls.items():
            nulls.setdefault(key, set()).update(place + start for place in places)
        start += chunk.rows
    return HistoryTable(
        unify(chunks, always=("_step",) if steps else ()), counts=counts, expected_rows=expected, nulls=nulls
    )


def _request(
    transport: Transport,
    ref: RunRef,
    keys: Sequence[str] | None,
    keys_mode: KeysMode,
    min_step: int,
    max_step: int | None,
    page_size: int,
    *,
    concurrency: int = CONCURRENCY,
) -> Request:
    if page_size < 1:
        raise UsageError(f"page_size must be at least 1, not {page_size}")
    if concurrency < 1:
        raise UsageError(f"concurrency must be at least 1, not {concurrency}")
    high = None if max_step is None else min(int(max_step), END_OF_STEPS)
    return Request(
        transport, ref, Selection(keys, keys_mode), max(0, int(min_step)), high, page_size, concurrency
    )


__all__ = ["Reading", "Request", "read_table", "scan_rows", "table_of"]
