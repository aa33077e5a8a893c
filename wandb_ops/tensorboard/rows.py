"""From values to history rows: which values share a row, and in which order rows come.

The rules (docs/tensorboard.md has them beside W&B's own):

* consecutive values of one directory with the same step share a row; of a tag that comes twice, the last
  counts;
* a step whose values fit no history line (W&B takes 10 MiB) becomes several rows;
* rows of several directories are merged by wall time, ties by directory name, each directory's order kept;
* a row's `_step` is its line number, `global_step` the event's step, `_timestamp` the wall time of its last
  value, `_runtime` the seconds since the first row.

Everything is done on columns; rows exist only as JSON lines.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

from wandb_ops.tensorboard.columns import NO_EXTRA, Columns
from wandb_ops.tensorboard.decode import RESERVED

if TYPE_CHECKING:
    from collections import Counter

    from numpy.typing import NDArray

    from wandb_ops.tensorboard.columns import MediaFile
    from wandb_ops.tensorboard.tags import TagTable

    F64 = NDArray[np.float64]
    I64 = NDArray[np.int64]


_ODD = 1_000_003
_WORTH_A_FORMAT = 8  # rows
_LONGEST_ROW = 10_000_000  # bytes; W&B takes a line of 10 MiB less 100 KiB
_NUMBER = 26  # bytes of the longest number, and what parts it from others
_VALUES_AT_ONCE = 8192  # numbers as texts, which soon let go of their memory for the next


@dataclass(slots=True)
class RowBlock:
    """Whole rows of one directory, in its order; arrays and lists have one entry per row."""

    order: F64  # merge key: the largest wall time so far in the directory
    wall: F64
    step: I64
    bodies: list[bytes]  # `,"key":value` for each value
    scalars: I64  # scalar values in the row
    media: I64  # other values in the row
    files: dict[int, list[MediaFile]]  # row -> files it refers to

    def __len__(self) -> int:
        return len(self.bodies)

    def split(self, count: int) -> tuple[RowBlock, RowBlock]:
        """The first `count` rows, and the others."""
        return self._part(0, count), self._part(count, len(self))

    def _part(self, start: int, end: int) -> RowBlock:
        return RowBlock(
            self.order[start:end],
            self.wall[start:end],
            self.step[start:end],
            self.bodies[start:end],
            self.scalars[start:end],
            self.media[start:end],
            {row - start: files for row, files in self.files.items() if start <= row < end},
        )


class DirectoryRows:
    """Builds the rows of one directory from its columns, fed in file order."""

    def __init__(
        self, name: str, tags: TagTable, left_out: Counter[str], *, prefixed_step: bool = False
    ) -> None:
        self.name = name
        # tag id -> JSON text, wall time of its last value: what becomes the run's summary
        self.last: dict[int, tuple[float, bytes]] = {}
        self._step_key = b"," + orjson.dumps(f"{name}/global_step") + b":" if prefixed_step and name else b""
        self._tags = tags
        self._left_out = left_out
        self._keys: list[bytes] = []  # tag id -> `"dir/tag":`
        self._reserved: list[int] = []
        self._open = Columns.empty()
        self._latest = 0.0

    def feed(self, columns: Columns) -> RowBlock | None:
        """The rows that are complete now; the last row stays open, as more values of its step may follow."""
        columns = self._open.then(self._usable(columns))
        if not len(columns):
            return None
        starts = _row_starts(columns.step)
        last = int(starts[-1])
        if last == 0:
            # One step for ever must not grow without bound: of each tag only the last value can count.
            kept = _without_repeats(columns.tag, np.zeros(len(columns), np.int64), len(self._tags))
            self._open = (columns if kept is None else columns.take(kept)).owned()
            return None
        self._open = columns.take(slice(last, None)).owned()
        return self._block(columns.take(slice(0, last)), starts[:-1])

    def close(self) -> RowBlock | None:
        """The row that was still open."""
        columns, self._open = self._open, Columns.empty()
        if not len(columns):
            return None
        return self._block(columns, _row_starts(columns.step))

    def key(self, tag: int) -> str:
        """The history key of a tag."""
        return _key(self.name, self._tags.tags[tag])

    def _usable(self, columns: Columns) -> Columns:
        """Name new tags; drop values whose key would hide one of the row's own, or that fit no line."""
        while len(self._keys) < len(self._tags):
            tag = self._tags.tags[len(self._keys)]
            if not self.name and tag in RESERVED:
                self._reserved.append(len(self._keys))
            self._keys.append(orjson.dumps(_key(self.name, tag)) + b":")
        if self._reserved and len(columns):
            hidden = np.isin(columns.tag, self._reserved)
            if hidden.any():
                self._left_out["tag named like one of the row's own keys"] += int(hidden.sum())
                columns = columns.take(~hidden)
        if any(len(extra.text) > _LONGEST_ROW for extra in columns.extras):
            long = self._sizes(columns) > _LONGEST_ROW
            self._left_out["value too long for a history line"] += int(long.sum())
            columns = columns.take(~long)
        return columns

    def _sizes(self, columns: Columns) -> I64:
        """Bytes of each value and its key in a line, rather too many than too few."""
        texts = np.array([0, *(len(extra.text) for extra in columns.extras)], dtype=np.int64)
        keys = np.array([len(key) for key in self._keys], dtype=np.int64)
        sizes: I64 = keys[columns.tag] + texts[columns.extra + 1] + _NUMBER
        return sizes

    def _parted(self, columns: Columns, starts: I64) -> I64:
        """The starts of rows of which none is too long: a step that fits no line becomes several rows."""
        most = max(map(len, self._keys)) + _NUMBER
        if len(columns) * most + sum(len(extra.text) for extra in columns.extras) <= _LONGEST_ROW:
            return starts
        ends = np.cumsum(self._sizes(columns))
        before = np.append(0, ends)[starts]
        last = np.append(starts[1:], len(columns))
        found = [starts]
        for row in np.flatnonzero(ends[last - 1] - before > _LONGEST_ROW).tolist():
            at, done = int(starts[row]), int(before[row])
            while ends[last[row] - 1] - done > _LONGEST_ROW:
                at = max(at + 1, int(np.searchsorted(ends, done + _LONGEST_ROW, side="right")))
                done = int(ends[at - 1])
                found.append(np.array([at]))
        return np.sort(np.concatenate(found))

    def _block(self, columns: Columns, starts: I64) -> RowBlock:
        rows = np.zeros(len(columns), dtype=np.int64)
        rows[starts[1:]] = 1
        rows = np.cumsum(rows)
        if len(starts) < len(columns):
            kept = _without_repeats(columns.tag, rows, len(self._tags))
            if kept is not None:
                columns, rows = columns.take(kept), rows[kept]
                starts = np.flatnonzero(np.diff(rows, prepend=-1))
        parted = self._parted(columns, starts)
        if len(parted) > len(starts):
            starts = parted
            rows = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(columns))))
        ends = np.append(starts[1:], len(columns)) - 1
        finite = np.where(np.isfinite(columns.wall), columns.wall, -np.inf)[ends]
        order = np.maximum(np.maximum.accumulate(finite), self._latest)
        self._latest = float(order[-1])
        # A wall time that is no number takes the latest one before it.
        wall = np.where(np.isfinite(columns.wall[ends]), columns.wall[ends], order)
        self._remember(columns)
        is_scalar = columns.extra == NO_EXTRA
        files: dict[int, list[MediaFile]] = {}
        for position in np.flatnonzero(~is_scalar).tolist():
            extra = columns.extras[columns.extra[position]]
            is_scalar[position] = extra.is_scalar
            if extra.files:
                files.setdefault(int(rows[position]), []).extend(extra.files)
        scalars = np.add.reduceat(is_scalar.astype(np.int64), starts)
        counts = np.diff(np.append(starts, len(columns)))
        return RowBlock(
            order,
            wall,
            columns.step[ends],
            self._bodies(columns, starts, columns.step[starts].tolist()),
            scalars,
            counts - scalars,
            files,
        )

    def _bodies(self, columns: Columns, starts: I64, steps: list[int]) -> list[bytes]:
        keys = [b"," + key for key in self._keys]
        ends = np.append(starts[1:], len(columns))
        bodies: list[bytes] = []
        for first, last, alike in _stretches(columns, starts, ends):
            values = columns.take(slice(int(starts[first]), int(ends[last - 1])))
            if alike:
                bodies += _alike(values, int(ends[first] - starts[first]), keys)
            else:
                bodies += _unlike(values, starts[first:last] - starts[first], keys)
        if self._step_key:
            return [
                b"%b%d%b" % (self._step_key, step, body) for step, body in zip(steps, bodies, strict=True)
            ]
        return bodies

    def _remember(self, columns: Columns) -> None:
        last = np.full(len(self._tags), -1, dtype=np.int64)
        last[columns.tag] = np.arange(len(columns))
        seen = np.flatnonzero(last >= 0)
        newest = columns.take(last[seen])
        for tag, wall, text in zip(seen.tolist(), newest.wall.tolist(), _texts(newest), strict=True):
            self.last[tag] = (wall, text)


def _stretches(columns: Columns, starts: I64, ends: I64) -> list[tuple[int, int, bool]]:
    """Rows [first:last] of the same tags in the same order, without extras and long enough to be worth it;
    and the rows between such."""
    rows = len(starts)
    sizes = ends - starts
    nth = np.arange(len(columns)) - np.repeat(starts, sizes)
    # Rows alike have equal sums; that equal sums are rows alike is checked.
    sums = np.add.reduceat((columns.tag + 1) * (nth * _ODD + 1), starts)
    odd = np.logical_or.reduceat((columns.extra != NO_EXTRA) | ~np.isfinite(columns.value), starts)
    sums = np.where(odd, -1 - np.arange(rows), sums)
    bounds = [0, *(np.flatnonzero((sums[1:] != sums[:-1]) | (sizes[1:] != sizes[:-1])) + 1).tolist(), rows]
    found: list[tuple[int, int, bool]] = []
    for first, last in itertools.pairwise(bounds):
        tags = (
            columns.tag[starts[first] : ends[last - 1]].reshape(-1, sizes[first])
            if sums[first] >= 0
            else None
        )
        alike = last - first >= _WORTH_A_FORMAT and tags is not None and bool((tags == tags[0]).all())
        if found and not alike and not found[-1][2]:
            found[-1] = (found[-1][0], last, False)
        else:
            found.append((first, last, alike))
    return found


def _alike(columns: Columns, size: int, keys: list[bytes]) -> list[bytes]:
    """The bodies of rows of `size` finite numbers with the same tags."""
    row = b"%b".join([*(keys[tag].replace(b"%", b"%%") for tag in columns.tag[:size].tolist()), b""])
    at_once = max(1, _VALUES_AT_ONCE // size) * size
    bodies = []
    for start in range(0, len(columns), at_once):
        texts = iter(_numbers(columns.value[start : start + at_once]))
        bodies += [row % values for values in zip(*[texts] * size, strict=True)]
    return bodies


def _unlike(columns: Columns, starts: I64, keys: list[bytes]) -> list[bytes]:
    """The bodies of any rows."""
    pieces = [b""] * (2 * len(columns))
    pieces[0::2] = [keys[tag] for tag in columns.tag.tolist()]
    pieces[1::2] = _texts(columns)
    # JSON escapes line feeds, so they can mark where rows begin.
    for start in starts.tolist():
        pieces[2 * start] = b"\n" + pieces[2 * start]
    return b"".join(pieces)[1:].split(b"\n")


def _key(directory: str, tag: bytes) -> str:
    name = tag.decode("utf-8", errors="replace")
    return f"{directory}/{name}" if directory else name


def _row_starts(step: I64) -> I64:
    return np.append(0, np.flatnonzero(step[1:] != step[:-1]) + 1)


def _without_repeats(tag: NDArray[np.int32], rows: I64, tags: int) -> I64 | None:
    """Positions to keep so that each row has each tag once, its last value; None when nothing repeats."""
    code = rows * tags + tag
    ordered = np.sort(code)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    _, from_end = np.unique(code[::-1], return_index=True)
    return np.sort(len(code) - 1 - from_end)


def _texts(columns: Columns) -> list[bytes]:
    """The JSON text of each value."""
    if not len(columns):
        return []
    texts = _numbers(columns.value)
    for position in np.flatnonzero(~np.isfinite(columns.value)).tolist():
        value = columns.value[position]
        texts[position] = b"NaN" if np.isnan(value) else (b"Infinity" if value > 0 else b"-Infinity")
    for position in np.flatnonzero(columns.extra != NO_EXTRA).tolist():
        texts[position] = columns.extras[columns.extra[position]].text
    return texts


def _numbers(values: F64) -> list[bytes]:
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
