"""Values that a restarted writer takes back, found before the first row of a pass leaves.

TensorBoard reads a directory's files one behind the other and forgets, when a `SessionLog START` comes, every
value so far whose step is not below that event's. In files of the time before such events (a file version
below 2, or none) it is an event of values whose step goes back that takes back its own tags' values from that
step on.

A row that was sent cannot be taken back. So a pass looks for such events first, over all the bytes it is
going to read. That is cheap: a START has four bytes that hardly anything else has, and only where they stand
in a record of that shape are records taken apart.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from wandb_ops.tensorboard import crc, decode, outlines, wire
from wandb_ops.tensorboard.records import CHUNK, HEADER, Chunk, Damage, RecordReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from wandb_ops.tensorboard.columns import Columns, Context
    from wandb_ops.tensorboard.discover import EventFile
    from wandb_ops.tensorboard.records import Source

    I64 = NDArray[np.int64]

CURRENT_VERSION = 2  # since when restarted writers say so
_HEAD_BYTES = 1 << 16
_FIRST_READ = 1 << 10
_STATUS_START = 0x0108  # field 1 of a SessionLog, as a little-endian word
_SESSION_LOG = 0x3A  # its key in an Event
_WALL_TIME = 9  # bytes of that field
_STEP = (0, *range(2, 12))  # bytes of that field
_OVERLAP = 64  # more than from a START's header to its status
_FILE = 44  # bits of a position within a file
_HEADER = struct.Struct("<QI")


@dataclass(slots=True)
class Restarts:
    """What is taken back of one directory's files in one pass.

    Attributes:
        files: The files, to be read from here: what was read while looking, and is little, is kept.
        starts: File name -> (position of the record, step) of each START, in order.
        is_old: Whether a file is of the time before STARTs; then `taken_back` decides, one by one.
    """

    files: list[EventFile]
    starts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    is_old: bool = False
    _points: dict[bytes | None, list[tuple[int, int]]] = field(
        default_factory=dict
    )  # tag, or all -> (where, step)

    @classmethod
    def find(
        cls,
        files: Sequence[EventFile],
        since: Mapping[str, int],
        until: Mapping[str, int],
        chunk: int = CHUNK,
    ) -> Restarts:
        """Look through the bytes between `since` and `until`."""
        found = cls(list(files))
        if all(since.get(file.name, 0) >= until[file.name] for file in files):
            return found
        room = chunk
        for index, file in enumerate(files):
            begin, end = since.get(file.name, 0), until[file.name]
            if begin >= end:
                continue
            if end - begin <= room:
                room -= end - begin
                held = _Held(file.source, begin, file.read(begin, end - begin))
                found.files[index] = file = replace(file, source=held)  # noqa: PLW2901  # the same file, read once
            suspects = _suspects(file, begin, end, chunk)
            if suspects:
                found.starts[file.name] = list(_starts(file, begin, end, chunk, suspects))
        found.is_old = _any_old(found.files, until)
        if found.is_old:
            found._outline(until, chunk)
        return found

    def parts(self, index: int, chunk: Chunk) -> Iterator[tuple[Chunk, int | None]]:
        """A chunk of file number `index` by what is taken back of it: records, and the step from which on."""
        later = [step for file in self.files[index + 1 :] for _, step in self.starts.get(file.name, ())]
        own = self.starts.get(self.files[index].name, [])
        ahead = [step for position, step in own if position >= chunk.end]
        inside = [(position, step) for position, step in own if chunk.start < position < chunk.end]
        steps = [*ahead, *later]
        bounds = np.searchsorted(chunk.offsets + chunk.start - HEADER, [position for position, _ in inside])
        begin = 0
        for nth, end in enumerate(bounds.tolist()):
            if end > begin:
                yield _part(chunk, begin, end), min([*steps, *(step for _, step in inside[nth:])])
            begin = end
        if begin < len(chunk.offsets):
            yield _part(chunk, begin, len(chunk.offsets)), min(steps, default=None)

    def decode(self, index: int, chunk: Chunk, context: Context) -> tuple[Columns, int]:
        """The values of a chunk of old files that stay, and how many do not."""
        count = len(chunk.offsets)
        columns, records = decode.decode_records(
            chunk.data,
            chunk.offsets.tolist(),
            chunk.lengths.tolist(),
            range(context.records, context.records + count),
            context,
        )
        where = (chunk.offsets + chunk.start - HEADER + (index << _FILE))[records - context.records]
        context.records += count
        gone = _behind(self._points.get(None, []), where, columns.step)
        for tag_id in np.unique(columns.tag).tolist():
            of_tag = np.flatnonzero(columns.tag == tag_id)
            points = self._points.get(context.tags.tags[tag_id], [])
            gone[of_tag] |= _behind(points, where[of_tag], columns.step[of_tag])
        return (columns.take(~gone) if gone.any() else columns), int(gone.sum())

    def _outline(self, until: Mapping[str, int], chunk: int) -> None:
        """Go through all records as TensorBoard does, and note which take back what."""
        version, latest = 0.0, -1
        for index, file in enumerate(self.files):
            for part in RecordReader(file, start=0, end=until[file.name], damage=Damage(), chunk=chunk):
                for offset, length in zip(part.offsets.tolist(), part.lengths.tolist(), strict=True):
                    event = outlines.outline(part.data, offset, offset + length)
                    if event is None:
                        continue
                    version = version if event.version is None else event.version
                    where = part.start + offset - HEADER + (index << _FILE)
                    if version >= CURRENT_VERSION:
                        if event.is_start:
                            self._points.setdefault(None, []).append((where, event.step))
                    elif event.tags is not None and event.step < latest:
                        for tag in event.tags:
                            self._points.setdefault(tag, []).append((where, event.step))
                    else:
                        latest = event.step


class _Held:
    """A source of which some bytes were read already."""

    def __init__(self, source: Source, start: int, data: bytes) -> None:
        self._source = source
        self._start = start
        self._data = data

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer at the end."""
        begin = offset - self._start
        if begin >= 0 and begin + size <= len(self._data):
            return self._data[begin : begin + size]
        return self._source.read(offset, size)


def _part(chunk: Chunk, begin: int, end: int) -> Chunk:
    return Chunk(chunk.data, chunk.offsets[begin:end], chunk.lengths[begin:end], chunk.start, chunk.end)


def _suspects(file: EventFile, begin: int, end: int, chunk: int) -> set[int]:
    """Positions of what looks like the frame of a START."""
    found: set[int] = set()
    at = begin
    while at < end:
        data = file.read(at, min(chunk + _OVERLAP, end - at))
        if not data:
            break
        found.update(at + place for place in _start_frames(data))
        at += chunk
    return found


def _start_frames(data: bytes) -> Iterator[int]:
    """Frames whose event ends with a SessionLog that begins with this status."""
    source = np.frombuffer(data, dtype=np.uint8)
    for shift in (0, 1):
        words = np.frombuffer(data, dtype="<u2", count=max(0, (len(data) - shift) // 2), offset=shift)
        status = 2 * np.flatnonzero(words == _STATUS_START) + shift
        for size_bytes in (1, 2):
            key = status[status > size_bytes] - 1 - size_bytes
            for place in key[source[key] == _SESSION_LOG].tolist():
                size, begin = wire.varint(data, place + 1, len(data))
                for before in (*_STEP, *(_WALL_TIME + step for step in _STEP)):
                    frame = place - before - HEADER
                    if frame < 0:
                        continue
                    length, check = _HEADER.unpack_from(data, frame)
                    # The event ends where its SessionLog does, or it is none.
                    if frame + HEADER + length == begin + size and crc.length_crc(length) == check:
                        yield frame


def _starts(
    file: EventFile, begin: int, end: int, chunk: int, suspects: set[int]
) -> Iterator[tuple[int, int]]:
    """Which of them are whole records, and START's."""
    wanted = np.array(sorted(suspects))
    for part in RecordReader(file, start=begin, end=end, damage=Damage(), chunk=chunk):
        places = part.offsets + part.start - HEADER
        for record in np.flatnonzero(np.isin(places, wanted)).tolist():
            offset, length = int(part.offsets[record]), int(part.lengths[record])
            event = outlines.outline(part.data, offset, offset + length)
            if event is not None and event.is_start:
                yield int(places[record]), event.step


def _any_old(files: Sequence[EventFile], until: Mapping[str, int]) -> bool:
    """Whether a file begins without a version, and none was said before it, or with one below 2.

    A head that is damaged says nothing: damage must not cost more than the record that it is in.
    """
    known = False
    for file in files:
        reader = RecordReader(
            file, start=0, end=min(until[file.name], _HEAD_BYTES), damage=Damage(), chunk=_FIRST_READ
        )
        head = next(iter(reader), None)
        if head is None:
            continue
        offset, length = int(head.offsets[0]), int(head.lengths[0])
        event = outlines.outline(head.data, offset, offset + length)
        if head.start + offset != HEADER or event is None:
            known = True
            continue
        if event.version is None and not known:
            return True
        if event.version is not None:
            known = True
            if event.version < CURRENT_VERSION:
                return True
    return False


def _behind(points: list[tuple[int, int]], where: I64, step: I64) -> NDArray[np.bool_]:
    """Which values have a point behind them whose step is not above theirs."""
    gone: NDArray[np.bool_] = np.zeros(len(where), dtype=np.bool_)
    if not points:
        return gone
    places, steps = (np.array(column, dtype=np.int64) for column in zip(*points, strict=True))
    least = np.minimum.accumulate(steps[::-1])[::-1]
    following = np.searchsorted(places, where, side="right")
    has = following < len(places)
    gone[has] = step[has] >= least[following[has]]
    return gone
