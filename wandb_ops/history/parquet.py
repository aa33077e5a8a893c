"""The Parquet files into which W&B exports a run's history, and where the live rows begin.

What is not trusted about them: the order of the URLs (parts are put in order by the steps in them), that a
URL still works (an expired one is asked for again), that parts neither overlap nor miss rows (`read` counts).
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from wandb_ops.errors import DataError, ProtocolError, StatusError, UnsupportedServer
from wandb_ops.history import kinds as k
from wandb_ops.history.arrow import min_max
from wandb_ops.history.columns import Chunk, ChunkColumn
from wandb_ops.history.ref import RunCounts, RunRef, counts_of, fetch_run, run_counts
from wandb_ops.history.spool import Spool
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import history as documents
from wandb_ops.transport.workers import workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    import pyarrow as pa

    from wandb_ops.history.select import Selection
    from wandb_ops.transport.session import Transport

_log = logging.getLogger("wandb_ops.history")

EXPIRED = frozenset({400, 401, 403, 404, 410})  # what object stores say of a signed URL that ran out
MAX_PART_BYTES = 8 << 30
_BATCH_ROWS = 16_384
_DOWNLOADS_AT_ONCE = 4

Urls = tuple[list[str], int | None]
"""Where the exported parts lie, and the first step of the rows that are not exported yet, if any."""


class UnreadableExportError(DataError):
    """The export cannot be used; the same rows are read as pages instead."""


@dataclass(frozen=True, slots=True)
class Part:
    """One downloaded Parquet file.

    Attributes:
        file: The file, deleted when closed.
        rows: Rows in it.
        first: Smallest `_step`.
        last: Largest `_step`.
    """

    file: IO[bytes]
    rows: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Export:
    """What of a history stands in Parquet files.

    Attributes:
        parts: In order of step.
        live_from: First step of the rows that are not exported yet; None when the server names none.
    """

    parts: tuple[Part, ...]
    live_from: int | None

    @property
    def rows(self) -> int:
        """Rows in all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def last(self) -> int:
        """Largest `_step` in any part."""
        return max(part.last for part in self.parts)

    @property
    def overlaps(self) -> bool:
        """Whether a step is in the range of two parts: rows may be there twice."""
        return any(late.first <= early.last for early, late in zip(self.parts, self.parts[1:], strict=False))

    @property
    def tail_from(self) -> int:
        """First step to be read as pages: no step between the last part and the live rows is passed over."""
        return self.last + 1 if self.live_from is None else min(self.live_from, self.last + 1)

    def close(self) -> None:
        """Delete the downloaded files."""
        for part in self.parts:
            part.file.close()


def fetch_export(
    transport: Transport, ref: RunRef, *, urls: Urls | None = None, memory: int = 0
) -> Export | None:
    """Download the run's exported history; None when nothing is exported or the server exports nothing.

    Args:
        transport: The connection.
        ref: The run.
        urls: What the server said lately; None asks it.
        memory: Bytes of the parts that may be kept in memory; what is more goes to disk.

    Raises:
        UnreadableExportError: The files are not Parquet, or have no integer `_step`.
    """
    try:
        addresses, live_from = urls or export_urls(transport, ref)
    except UnsupportedServer:
        return None
    if not addresses:
        return None
    files: dict[str, IO[bytes]] = {}
    try:
        try:
            _download(transport, ref, addresses, files, memory)
        except StatusError as error:
            if error.status not in EXPIRED:
                raise
            _log.info("%s: a URL of the export has expired; asking for new ones", ref.path)
            addresses, live_from = export_urls(transport, ref)
            _download(transport, ref, addresses, files, memory)
        wanted = {object_of(url) for url in addresses}
        parts = [open_part(file) for name, file in files.items() if name in wanted]
    except BaseException:
        for file in files.values():
            file.close()
        raise
    filled = [part for part in parts if part.rows]
    if not filled:
        return None
    return Export(tuple(sorted(filled, key=lambda part: (part.first, part.last))), live_from)


def export_urls(transport: Transport, ref: RunRef) -> tuple[list[str], int | None]:
    """Where the exported parts lie, and the first step of the rows that are not exported yet, if any."""
    return _urls_of(fetch_run(transport, ref, documents.PARQUET_HISTORY, liveKeys=["_step"]), ref)


def counts_and_urls(transport: Transport, ref: RunRef) -> tuple[RunCounts, Urls]:
    """`run_counts` and `export_urls` in one request; no URLs when the server knows no exports.

    Raises:
        NotFoundError: There is no such run, or the account may not see it.
        ProtocolError: The server does not say how many rows there are.
    """
    try:
        run = fetch_run(transport, ref, documents.COUNTS_AND_EXPORTS, liveKeys=["_step"])
    except UnsupportedServer:
        return run_counts(transport, ref), ([], None)
    return counts_of(run, ref), _urls_of(run, ref)


def _urls_of(run: Mapping[str, Any], ref: RunRef) -> Urls:
    exported = run.get("parquetHistory") or {}
    urls = exported.get("parquetUrls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ProtocolError("parquetUrls is not a list of URLs", where=ref.path)
    steps = []
    for row in exported.get("liveData") or []:
        live = values.loads_object(row) if isinstance(row, str) else row
        step = live.get("_step") if isinstance(live, dict) else None
        if isinstance(step, (int, float)):
            steps.append(int(step))
    return list(dict.fromkeys(urls)), min(steps, default=None)


def object_of(url: str) -> str:
    """What a signed URL points to: a new signature of the same file has the same."""
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}"


def _download(
    transport: Transport, ref: RunRef, urls: Sequence[str], files: dict[str, IO[bytes]], memory: int
) -> None:
    """Download what is not yet in `files`, several parts at a time; parts that came stay when one fails."""
    if len({object_of(url) for url in urls}) < len(urls):
        raise UnreadableExportError("two exported parts have one address")

    def fetch(place: int) -> None:
        spool = Spool(memory // len(urls))
        try:
            transport.download(
                urls[place],
                cast("BinaryIO", spool),
                where=f"{ref.path}, exported part {place + 1} of {len(urls)}",
                max_bytes=MAX_PART_BYTES,
            )
        except BaseException:
            spool.file.close()
            raise
        files[object_of(urls[place])] = spool.file

    missing = [place for place, url in enumerate(urls) if object_of(url) not in files]
    if len(missing) == 1:
        fetch(missing[0])
        return
    with workers(_DOWNLOADS_AT_ONCE, "wandb-exports") as pool:
        for future in [pool.submit(fetch, place) for place in missing]:
            future.result()


def open_part(file: IO[bytes]) -> Part:
    """Look into a part.

    Raises:
        UnreadableExportError: It is no Parquet, or has no integer `_step` in every row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(_source(file))
        place = opened.schema_arrow.get_field_index("_step")
        if place < 0 or not pa.types.is_integer(opened.schema_arrow.field(place).type):
            raise UnreadableExportError("an exported part has no integer _step")
        rows = opened.metadata.num_rows
        if not rows:
            return Part(file, 0, 0, 0)
        known = _range_of_footer(opened.metadata)
        if known is not None:
            return Part(file, rows, *known)
        steps = opened.read(["_step"]).column(0)
    except (pa.ArrowException, OSError) as error:
        raise _not_parquet(error) from None
    if steps.null_count:
        raise UnreadableExportError("an exported part has rows without _step")
    first, last = min_max(steps) or (0, 0)
    return Part(file, rows, first, last)


def _range_of_footer(metadata: Any) -> tuple[int, int] | None:
    """Smallest and largest `_step`, when the footer says so for every row group, and that none is null."""
    ranges = []
    for group in range(metadata.num_row_groups):
        described = metadata.row_group(group)
        for place in range(described.num_columns):
            column = described.column(place)
            if column.path_in_schema == "_step":
                break
        else:
            return None
        said = column.statistics
        if said is None or not said.has_min_max or not said.has_null_count or said.null_count:
            return None
        if type(said.min) is not int or type(said.max) is not int:
            return None
        ranges.append((said.min, said.max))
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _source(file: IO[bytes]) -> Any:
    """What Arrow reads a part from: its bytes themselves where they are in memory."""
    import pyarrow as pa

    if isinstance(file, io.BytesIO):
        return pa.BufferReader(file.getvalue())
    file.seek(0)
    return file


def _not_parquet(error: Exception) -> UnreadableExportError:
    return UnreadableExportError(f"an exported part is not readable Parquet: {type(error).__name__}")


def read_part(
    part: Part, selection: Selection, low: int, high: int, *, at_once: bool = False
) -> Iterator[tuple[int, Chunk]]:
    """Rows of a part with low <= _step < high: (their number, those of them that were asked for).

    Args:
        part: The part.
        selection: The keys asked for.
        low: First step, inclusive.
        high: Last step, exclusive.
        at_once: Read the whole part with several threads; else a few rows at a time, in bounded memory.

    Raises:
        UnreadableExportError: A column has a type that no JSON value becomes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    cut = part.first < low or part.last >= high
    try:
        opened = pq.ParquetFile(_source(part.file))
        names = opened.schema_arrow.names
        if len(set(names)) < len(names):
            raise UnreadableExportError("an exported part has two columns of one name")
        wanted = [name for name in names if not selection or name == "_step" or name in selection.keys]
        batches = (
            opened.read(wanted).to_batches()
            if at_once
            else opened.iter_batches(batch_size=_BATCH_ROWS, columns=wanted)
        )
        for batch in batches:
            if cut:
                batch = _between(batch, low, high)  # noqa: PLW2901 - the rest of the batch is not to be seen
            chosen = _select(batch, selection)
            columns = {
                name: column_of(chosen.column(place)) for place, name in enumerate(chosen.schema.names)
            }
            yield batch.num_rows, Chunk(chosen.num_rows, {key: c for key, c in columns.items() if c.kinds})
    except (pa.ArrowException, OSError) as error:
        raise _not_parquet(error) from None


def _between(batch: pa.RecordBatch, low: int, high: int) -> pa.RecordBatch:
    steps = batch.column(batch.schema.get_field_index("_step")).to_numpy()
    inside: Any = (steps >= low) & (steps < high)
    return batch.filter(inside)


def can_select(part: Part, selection: Selection) -> bool:
    """Whether the keys asked for can be told from the part's columns: a dotted one may be inside a column."""
    import pyarrow.parquet as pq

    if not any("." in key for key in selection.keys):
        return True
    names = set(pq.read_schema(_source(part.file)).names)
    return all("." not in key or key in names for key in selection.keys)


def _select(batch: pa.RecordBatch, selection: Selection) -> pa.RecordBatch:
    import pyarrow.compute as pc

    if not selection:
        return batch
    present = [batch.column(name).is_valid() for name in selection.keys if name in batch.schema.names]
    if not present or (selection.mode == "all" and len(present) < len(selection.keys)):
        return batch.slice(0, 0)
    mask = present[0]
    for other in present[1:]:
        mask = pc.and_(mask, other) if selection.mode == "all" else pc.or_(mask, other)
    return batch.filter(mask)


def column_of(array: Any) -> ChunkColumn:
    """A Parquet column as a column of our own types.

    Raises:
        UnreadableExportError: A type that no JSON value becomes (timestamps, decimals, bytes).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if array.null_count == len(array):
        return ChunkColumn(pa.nulls(len(array), pa.float64()), 0)
    if pa.types.is_floating(kind):
        return ChunkColumn(array.cast(pa.float64()), k.FLOAT)
    if pa.types.is_boolean(kind):
        return ChunkColumn(array, k.BOOL)
    if pa.types.is_integer(kind):
        low, high = min_max(array) or (0, 0)
        listed: list[int] = [] if low >= -(2**53) and high <= 2**53 else array.drop_null().to_pylist()
        kinds = k.kinds_of_ints(listed, low, high)
        return ChunkColumn(array.cast(pa.string() if kinds & k.LARGE else pa.int64()), kinds)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        array.validate(full=True)  # that it is UTF-8
        odd = pc.is_in(pc.drop_null(array), pa.array(list(k.NONFINITE), kind))
        kinds = (k.NONFINITE_TEXT if pc.any(odd).as_py() else 0) | (0 if pc.all(odd).as_py() else k.TEXT)
        return ChunkColumn(array, kinds)
    if pa.types.is_nested(kind):
        texts = [
            None if value is None else values.dumps(_without_nulls(value)) for value in array.to_pylist()
        ]
        return ChunkColumn(pa.array(texts, pa.string()), k.JSON)
    raise UnreadableExportError(f"an exported part has a column of type {kind}")


def _without_nulls(value: Any) -> Any:
    """A struct as the object it was: fields that other rows have are null here."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
