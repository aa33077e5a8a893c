"""Events of one histogram or one image, read by their shape, many at a time.

Writers put the fields of such an event in one order. So numpy walks that order for all records of a chunk at
once, each at its own position, where the wire format would be walked field by field in Python. Every length
is checked against the bytes that are there; an event of any other shape is left to `decode`, which gives the
same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wandb_ops.tensorboard import media
from wandb_ops.tensorboard.records import view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wandb_ops.tensorboard.columns import Extra

    Bools = NDArray[np.bool_]
    I64 = NDArray[np.int64]

SHORTEST = 64  # bytes; below, an event is hardly anything but scalars
FEWEST = 8  # records worth an array
_SIZE_BYTES = 4  # of a varint that is a length
_HISTOGRAM, _IMAGE = 0x2A, 0x22  # the key of the field in a Summary.Value


class Shaped(NamedTuple):
    """One event, and where in the data its value lies."""

    wall: float
    step: int
    tag_start: int
    tag_end: int
    is_image: bool
    start: int  # of the bucket limits; of the encoded image
    counts: int  # start of the bucket counts; 0 for an image
    size: int  # bytes of the limits, and of the counts; of the encoded image
    low: float  # smallest value; 0 for an image
    width: int  # 0 for a histogram
    height: int

    def value(self, data: bytes) -> Extra | None:
        """The history value; None when it needs the reference decoder after all."""
        if self.is_image:
            return media.single_image(data[self.start : self.start + self.size], self.width, self.height)
        return media.packed_histogram(data, self.start, self.counts, self.size, self.low)


class _Walk:
    """Positions in many records at once; `fits` says which records have had the expected fields so far."""

    def __init__(self, data: NDArray[np.uint8], at: I64, end: I64) -> None:
        self._data = data
        self._last = len(data) - 1
        self.at = at
        self.end = end
        self.fits: Bools = np.ones(len(at), dtype=np.bool_)

    def some(self, which: Bools) -> tuple[I64, _Walk]:
        """The records that fit and `which` are, and a walk on from here over them alone."""
        kept = np.flatnonzero(self.fits & which)
        return kept, _Walk(self._data, self.at[kept], self.end[kept])

    def sees(self, key: int) -> Bools:
        """Which records have `key` next."""
        found: Bools = self._data[np.minimum(self.at, self._last)] == key
        return found

    def expect(self, key: int) -> None:
        """Step over a key that must be there."""
        self.fits &= self.sees(key)
        self.at = self.at + 1

    def skip_fixed64(self, key: int) -> tuple[Bools, I64]:
        """Step over an optional field of 8 bytes: who has it, and where its value is."""
        has = self.sees(key)
        where = self.at + 1
        self.at = self.at + 9 * has
        return has, where

    def varint(self, has: Bools | None = None, *, most: int = 10) -> NDArray[np.uint64]:
        """Step over a varint of at most `most` bytes; 0 for the records that have none."""
        value = np.zeros(len(self.at), dtype=np.uint64)
        going: Bools = np.ones(len(self.at), dtype=np.bool_) if has is None else has.copy()
        for nth in range(most):
            byte = self._data[np.minimum(self.at, self._last)]
            value |= np.where(going, (byte & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * nth), 0)
            self.at = self.at + going
            going &= byte >= 0x80
            if not going.any():
                break
        self.fits &= ~going
        return value

    def optional_varint(self, key: int) -> NDArray[np.uint64]:
        """Step over an optional varint field; 0 where it is missing."""
        has = self.sees(key)
        self.at = self.at + has
        return self.varint(has)

    def length(self, key: int, *, to_end: bool) -> I64:
        """Step over key and length of a field, which must end within the record, or `to_end` with it."""
        self.expect(key)
        size = self.varint(most=_SIZE_BYTES).astype(np.int64)
        self.fits &= (self.at + size == self.end) if to_end else (self.at + size < self.end)
        return size


def find(data: bytes, offsets: list[int], lengths: list[int]) -> dict[int, Shaped]:
    """The events of one histogram or one image among the payloads, by their position in the lists."""
    sizes = np.array(lengths, dtype=np.int64)
    long_enough = np.flatnonzero(sizes >= SHORTEST)
    if len(long_enough) < FEWEST:
        return {}
    start = np.array(offsets, dtype=np.int64)[long_enough]
    walk = _Walk(np.frombuffer(data, np.uint8), start, start + sizes[long_enough])
    walk.expect(0x09)
    wall = walk.at
    walk.at = wall + 8
    step = walk.optional_varint(0x10)
    walk.length(0x2A, to_end=True)  # summary
    walk.length(0x0A, to_end=True)  # its one value
    tag_size = walk.length(0x0A, to_end=False)
    walk.fits &= tag_size > 0
    tag = walk.at
    walk.at = tag_end = tag + np.where(walk.fits, tag_size, 0)
    doubles = view(data, "<f8", len(data) - 7)
    found: dict[int, Shaped] = {}
    for kind, read in ((_HISTOGRAM, _histograms), (_IMAGE, _images)):
        kept, inner = walk.some(walk.sees(kind))
        values = read(inner, doubles)
        fits = inner.fits
        columns: list[list[Any]] = [
            column[fits].tolist()
            for column in (
                doubles[wall[kept]],
                step[kept].view(np.int64),
                tag[kept],
                tag_end[kept],
                np.full(len(kept), kind == _IMAGE),
                *values,
            )
        ]
        found.update(
            (position, Shaped(*row))
            for position, row in zip(
                long_enough[kept][fits].tolist(), zip(*columns, strict=True), strict=True
            )
        )
    return found


def _histograms(walk: _Walk, doubles: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    """HistogramProto: min, max, num, sum, sum_squares, bucket_limit, bucket."""
    walk.length(_HISTOGRAM, to_end=True)
    has_low, low = walk.skip_fixed64(0x09)
    for key in (0x11, 0x19, 0x21, 0x29):
        walk.skip_fixed64(key)
    size = walk.length(0x32, to_end=False)
    limits = walk.at
    walk.at = limits + np.where(walk.fits, size, 0)
    walk.fits &= (walk.length(0x3A, to_end=True) == size) & (size > 0) & (size % 8 == 0)
    nothing = np.zeros(len(size), np.int64)
    smallest = np.where(has_low, doubles[np.minimum(low, len(doubles) - 1)], 0.0)
    return limits, walk.at, size, smallest, nothing, nothing


def _images(walk: _Walk, _doubles: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    """Image: height, width, colorspace, encoded_image_string."""
    walk.length(_IMAGE, to_end=True)
    height, width, _ = (walk.optional_varint(key) for key in (0x08, 0x10, 0x18))
    size = walk.length(0x22, to_end=True)
    nothing = np.zeros(len(size), np.int64)
    return walk.at, nothing, size, nothing.astype(np.float64), width, height
