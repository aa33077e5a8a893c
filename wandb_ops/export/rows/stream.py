"""A whole history, read once and written once, in bounded memory.

A column's type depends on all of its values (docs/values.md), and the last page may hold the one that
decides. So the rows are laid down on disk as they come, chunk by chunk, each in the narrowest type of its
own; when all have come and were counted, the chunks are read back one by one in the types of the whole.
Memory holds one chunk, however long the history is.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from wandb_ops.errors import IncompleteHistory
from wandb_ops.export.rows.buffers import numbers
from wandb_ops.export.rows.scratch import lay_down, scratch_file
from wandb_ops.history import kinds as k
from wandb_ops.history.columns import Chunk, ChunkColumn, ColumnBuilder
from wandb_ops.history.pages import parse_page, texts_of
from wandb_ops.history.parquet import UnreadableExportError
from wandb_ops.history.read import Reading, Request, read_table
from wandb_ops.history.ref import RunCounts, RunRef, fetch_run, run_counts
from wandb_ops.history.select import Selection
from wandb_ops.history.table import HistoryTable
from wandb_ops.history.unify import unify
from wandb_ops.history.windows import PAGE_BYTES
from wandb_ops.protocol.documents.history import FULL_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from wandb_ops.transport.session import Transport


_CHUNK_ROWS = 4096
_PAGES = 6  # in flight: each is in memory more than once while it is read
_CHUNK_BYTES = 32 << 20  # of JSON, roughly
_PAGE_SIZE = 1000


class HistoryStream:
    """Rows of one run, laid down, counted and typed. A context manager: closing it frees the disk space.

    Attributes:
        counts: What the server said about the run when reading began.
        rows: Number of rows.
        first_step: Smallest `_step`; -1 when no row has one.
        last_step: Largest `_step`; -1 when no row has one.
    """

    def __init__(self, counts: RunCounts, *, steps: bool = True) -> None:
        self.counts = counts
        self.rows = 0
        self.first_step = self.last_step = -1
        self._always = ("_step",) if steps else ()
        self._kinds: dict[str, int] = {}
        self._large: set[str] = set()
        self._chunks: list[_Laid | Chunk] = []
        self._file: Any = None  # a temporary file, from the second chunk on

    def add(self, chunk: Chunk) -> None:
        """Lay down the next rows; the second chunk goes to disk, and so does every one after it."""
        if not chunk.rows:
            return
        for key, column in chunk.columns.items():
            self._kinds[key] = self._kinds.get(key, 0) | column.kinds
            if str(column.array.type) == "large_string":
                self._large.add(key)
        self._see_steps(chunk)
        self.rows += chunk.rows
        if self._chunks:
            if isinstance(self._chunks[0], Chunk):
                self._chunks[0] = self._lay(self._chunks[0])
            self._chunks.append(self._lay(chunk))
        else:
            self._chunks.append(chunk)

    def kinds(self) -> dict[str, int]:
        """Key -> what its values were, as bits of `history.kinds`."""
        return {**dict.fromkeys(self._always, 0), **self._kinds}

    @property
    def schema(self) -> pa.Schema:
        """Columns and types of every table."""
        return unify([self._witness()], always=self._always).schema

    def tables(self) -> Iterator[pa.Table]:
        """The rows in order, in tables of one schema; may be asked for again."""
        for chunk in self._chunks:
            yield self._typed(self._whole(chunk))

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        """The rows as logged, as dicts; a key that a row does not have is not in it."""
        for laid in self._chunks:
            chunk = self._whole(laid)
            nulls = {key: set(places) for key, places in chunk.nulls.items()}
            table = HistoryTable(self._typed(chunk), counts=self.counts, expected_rows=None, nulls=nulls)
            yield from table.iter_rows()

    def close(self) -> None:
        """Forget the rows."""
        self._chunks.clear()
        if self._file is not None:
            # What could not be flushed to a full disk is not wanted any more.
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _typed(self, chunk: Chunk) -> pa.Table:
        return unify([chunk, self._witness()], always=self._always)

    def _witness(self) -> Chunk:
        """A chunk without rows that knows of all kinds: with it, one chunk gets the types of the whole."""
        import pyarrow as pa

        types: dict[str, Any] = {
            "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "null": pa.float64()
        }  # fmt: skip
        columns = {}
        for key, kinds in self._kinds.items():
            text = pa.large_string() if key in self._large else pa.string()
            columns[key] = ChunkColumn(pa.nulls(0, types.get(k.column_type(kinds), text)), kinds)
        return Chunk(0, columns)

    def _see_steps(self, chunk: Chunk) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        column = chunk.columns.get("_step")
        if column is None or not pa.types.is_integer(column.array.type):
            return
        found: Any = pc.min_max(column.array).as_py()
        if found["min"] is not None:
            self.first_step = found["min"] if self.first_step < 0 else min(self.first_step, found["min"])
            self.last_step = max(self.last_step, found["max"])

    def _lay(self, chunk: Chunk) -> _Laid:
        import pyarrow as pa

        if self._file is None:
            self._file = scratch_file()
        arrays: dict[str, Any] = {}
        about = []
        for place, (key, column) in enumerate(chunk.columns.items()):
            arrays[str(place)] = column.array
            if column.tags is not None:
                tags = pa.py_buffer(cast("Any", column.tags))
                arrays[f"t{place}"] = pa.Array.from_buffers(pa.uint8(), chunk.rows, [None, tags])
            about.append((key, column.kinds, column.tags is not None))
        offset = lay_down(self._file, arrays) if arrays else 0
        del arrays
        pa.default_memory_pool().release_unused()  # Arrow would keep what the chunk took for later
        return _Laid(offset, chunk.rows, tuple(about), chunk.nulls)

    def _whole(self, laid: _Laid | Chunk) -> Chunk:
        import pyarrow as pa

        if isinstance(laid, Chunk):
            return Chunk(laid.rows, dict(laid.columns), laid.nulls)
        if not laid.columns:
            return Chunk(laid.rows, {}, laid.nulls)
        self._file.seek(laid.offset)
        batch = pa.ipc.open_stream(pa.PythonFile(self._file, "r")).read_next_batch()
        columns = {}
        for place, (key, kinds, tagged) in enumerate(laid.columns):
            tags: Any = numbers(batch.column(f"t{place}")) if tagged else None
            columns[key] = ChunkColumn(batch.column(str(place)), kinds, tags)
        return Chunk(laid.rows, columns, laid.nulls)


@dataclass(frozen=True, slots=True)
class _Laid:
    """A chunk on disk."""

    offset: int
    rows: int
    columns: tuple[tuple[str, int, bool], ...]  # key, kinds, whether tags follow
    nulls: dict[str, list[int]]


def stream_history(
    transport: Transport,
    ref: RunRef,
    *,
    keys: Sequence[str] | None = None,
    keys_mode: Literal["all", "any"] = "any",
    min_step: int = 0,
    max_step: int | None = None,
    counts: RunCounts | None = None,
    concurrency: int = _PAGES,
) -> HistoryStream:
    """Read a run's history, whole and counted, into a stream that the caller closes.

    Args:
        transport: The connection.
        ref: The run.
        keys: Columns to keep, and `_step`; None keeps all.
        keys_mode: Keep rows with "any" of the keys, or only those with "all" of them.
        min_step: First step.
        max_step: Step to stop before.
        counts: What the server said of the run; None asks.
        concurrency: Pages in flight.

    Raises:
        IncompleteHistory: Other than the number of rows came that the server says exist.
    """
    request = Request(
        transport,
        ref,
        Selection(keys, keys_mode),
        max(0, int(min_step)),
        max_step if max_step is None else int(max_step),
        _PAGE_SIZE,
        concurrency,
        page_bytes=PAGE_BYTES // 2,
    )
    counts = run_counts(transport, ref) if counts is None else counts
    while True:
        stream, reading = HistoryStream(counts), Reading(request, counts)
        try:
            _fill(stream, reading, request)
            reading.check()
        except (IncompleteHistory, UnreadableExportError) as error:
            stream.close()
            again = reading.again(error)
            if again is None:
                raise
            request = again
        except BaseException:
            stream.close()
            raise
        else:
            return stream


def stream_events(transport: Transport, ref: RunRef, counts: RunCounts | None = None) -> HistoryStream:
    """A run's system metrics. They come in one answer, so that here the whole is in memory once.

    When `counts` say how many there are, they are asked for at once; when none, nothing is asked.

    Raises:
        IncompleteHistory: Other than the number of rows came that the server says exist.
    """
    if counts is not None and counts.events_lines is not None:
        expected = counts.events_lines
        if not expected:
            return HistoryStream(counts, steps=False)
        run = fetch_run(transport, ref, FULL_EVENTS, samples=expected + _PAGE_SIZE)
        rows = parse_page(texts_of(run.get("events"), ref.path), f"{ref.path}, events")
        if len(rows) == expected:
            return stream_of(counts, rows, steps=False)
        del rows, run
    table = read_table(transport, ref, stream="events")
    return stream_of(table.counts, table.iter_rows(), steps=False)


def stream_of(
    counts: RunCounts,
    rows: Iterable[dict[str, Any]],
    *,
    keys: Sequence[str] | None = None,
    steps: bool = True,
) -> HistoryStream:
    """Rows that are here already, and were counted.

    Args:
        counts: What the server said of the run.
        rows: All of its rows.
        keys: Columns to keep, and `_step`, of rows that have any of them; None keeps all.
        steps: Whether the rows have steps.
    """
    stream, builder, selection = (
        HistoryStream(counts, steps=steps),
        ColumnBuilder(_CHUNK_ROWS),
        Selection(keys, "any"),
    )
    for part in batched(rows, _PAGE_SIZE):
        builder.add(selection.rows(part, extra=("_step",) if steps else ()))
    for chunk in builder.finish():
        stream.add(chunk)
    return stream


def batched(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """`rows` in lists of at most `size`."""
    rows = iter(rows)
    while part := list(islice(rows, size)):
        yield part


def _fill(stream: HistoryStream, reading: Reading, request: Request) -> None:
    builder, waiting, size = ColumnBuilder(2**62), 0, 0
    for piece in reading.pieces():
        if isinstance(piece, Chunk):
            waiting, size = _lay_down(stream, builder, waiting)
            builder = ColumnBuilder(2**62)
            stream.add(piece)
            continue
        rows = request.selection.rows(piece, extra=("_step",))
        builder.add(rows)
        waiting += len(rows)
        size += _size_of(rows)
        del piece, rows  # before the next page is made, which then finds their memory free
        if waiting >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
            waiting, size = _lay_down(stream, builder, waiting)
            builder = ColumnBuilder(2**62)
    _lay_down(stream, builder, waiting)


def _lay_down(stream: HistoryStream, builder: ColumnBuilder, waiting: int) -> tuple[int, int]:
    if waiting:
        for chunk in builder.finish():
            stream.add(chunk)
    return 0, 0


def _size_of(rows: list[dict[str, Any]]) -> int:
    """About how many bytes of JSON the rows are, told from a few of them."""
    if not rows:
        return 0
    looked_at = rows[:: max(1, len(rows) // 8)]
    return sum(len(repr(row)) for row in looked_at) * len(rows) // len(looked_at)
