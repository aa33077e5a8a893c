"""One directory's event files, read over given byte ranges, as blocks of rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wandb_ops.tensorboard import decode, template
from wandb_ops.tensorboard.columns import Columns, Context
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.merge import merged
from wandb_ops.tensorboard.records import CHUNK, Chunk, Damage, RecordReader
from wandb_ops.tensorboard.restarts import Restarts
from wandb_ops.tensorboard.rows import DirectoryRows

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from wandb_ops.tensorboard.discover import Directory, EventFile
    from wandb_ops.tensorboard.rows import RowBlock

UNFINISHED = "unfinished last record"
BROKEN_GZIP = "gzip file that breaks off"
TAKEN_BACK = "replaced after a restart"


def decode_chunk(chunk: Chunk, context: Context) -> Columns:
    """The values of a chunk, look-alike scalar events by template, all others one by one."""
    return template.decode_chunk(chunk, context)


def decode_chunk_one_by_one(chunk: Chunk, context: Context) -> Columns:
    """The same, by the reference decoder alone."""
    records = range(context.records, context.records + len(chunk.offsets))
    columns, _ = decode.decode_records(
        chunk.data, chunk.offsets.tolist(), chunk.lengths.tolist(), records, context, by_shape=False
    )
    context.records += len(chunk.offsets)
    return columns


class DirectoryReader:
    """Reads a directory between `since` and `until`.

    What lies before `since` is decoded too, for what it says about tags and hyperparameters, but gives no
    rows; not so when `context` is what an earlier reader, which ended there, has learnt.

    Attributes:
        positions: File name -> byte up to which it is dealt with; complete once the blocks are read.
        damage: What could not be read between `since` and `until`.
        left_out: What was read there and gives no row, by reason.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        since: Mapping[str, int],
        until: Mapping[str, int],
        chunk: int = CHUNK,
        decoder: Callable[[Chunk, Context], Columns] = decode_chunk,
        context: Context | None = None,
        prefixed_step: bool = False,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self.directory = directory
        self.positions: dict[str, int] = {}
        self.damage = Damage()
        self.left_out: Counter[str] = Counter()
        self.bytes_read = 0
        self._taught = context is not None
        self.context = Context() if context is None else context
        self.rows = DirectoryRows(
            directory.name, self.context.tags, self.left_out, prefixed_step=prefixed_step
        )
        self._since = since
        self._until = until
        self._chunk = chunk
        self._decoder = decoder
        self._on_bytes = on_bytes

    def blocks(self) -> Iterator[RowBlock]:
        """The rows, in order; to be iterated once."""
        files = [file for file in self.directory.files if self._until.get(file.name, 0) > 0]
        restarts = Restarts.find(files, self._since, self._until, self._chunk)
        for index, file in enumerate(restarts.files):
            since = min(self._since.get(file.name, 0), self._until[file.name])
            if not self._taught:
                self._learn(file, since)
            self.context.left_out = self.left_out
            reader = RecordReader(
                file, start=since, end=self._until[file.name], damage=self.damage, chunk=self._chunk
            )
            for chunk in reader:
                for columns in self._staying(restarts, index, chunk):
                    block = self.rows.feed(columns)
                    if block is not None:
                        yield block
                self._count(chunk.end - chunk.start)
            self.positions[file.name] = reader.position
            if reader.position < self._until[file.name]:
                self.left_out[UNFINISHED] += 1
            if not file.is_whole:
                self.left_out[BROKEN_GZIP] += 1
        block = self.rows.close()
        if block is not None:
            yield block

    def _learn(self, file: EventFile, end: int) -> None:
        self.context.left_out = Counter()
        for chunk in RecordReader(file, start=0, end=end, damage=Damage(), chunk=self._chunk):
            self._decoder(chunk, self.context)
            self._count(chunk.end - chunk.start)

    def _count(self, size: int) -> None:
        self.bytes_read += size
        if self._on_bytes is not None:
            self._on_bytes(size)

    def _staying(self, restarts: Restarts, index: int, chunk: Chunk) -> Iterator[Columns]:
        """The values of a chunk of file number `index`, less those that a restarted writer takes back."""
        if restarts.is_old:
            columns, gone = restarts.decode(index, chunk, self.context)
            if gone:
                self.left_out[TAKEN_BACK] += gone
            yield columns
            return
        for part, limit in restarts.parts(index, chunk):
            columns = self._decoder(part, self.context)
            if limit is not None:
                kept: NDArray[np.bool_] = columns.step < limit
                if not kept.all():
                    self.left_out[TAKEN_BACK] += int((~kept).sum())
                    columns = columns.take(kept)
            yield columns


def read_lines(root_dir: str | os.PathLike[str], *, chunk: int = CHUNK) -> Iterator[bytes]:
    """The history lines that a first sync of `root_dir` would send; nothing leaves this machine."""
    readers = [
        DirectoryReader(
            directory, since={}, until={file.name: file.size for file in directory.files}, chunk=chunk
        )
        for directory in find_directories(root_dir)
    ]
    line = 0
    origin: float | None = None
    for block in merged([reader.blocks() for reader in readers]):
        if origin is None:
            origin = float(block.wall[0])
        yield from block.lines(0, len(block), first_line=line, origin=origin)
        line += len(block)
