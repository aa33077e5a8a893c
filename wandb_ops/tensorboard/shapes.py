"""Events of one histogram, image or tensor, read by their shape, many at a time.

Writers put the fields of such an event in one order. So numpy walks that order for all records of a chunk at
once, each at its own position, where the wire format would be walked field by field in Python. Every length
is checked against the bytes that are there; an event of any other shape is left to `decode`, which gives the
same values. TF1 and torch write `histo` and `image` fields; TF2 writes tensors, whose plugin says what they
are: tables of doubles for histograms, strings for images, text and audio.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wandb_ops.tensorboard import media, tensors, wire
from wandb_ops.tensorboard.records import view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wandb_ops.tensorboard.columns import Extra

    Bools = NDArray[np.bool_]
    I64 = NDArray[np.int64]

SHORTEST = 32  # bytes; below, an event is hardly anything but scalars
FEWEST = 8  # records worth an array
_SIZE_BYTES = 4  # of a varint that is a length
_HISTOGRAM, _IMAGE, _TENSOR = 0x2A, 0x22, 0x42  # the key of the field in a Summary.Value
_CONTENT, _STRING = 0x22, 0x42  # the key of the field in a TensorProto
_DT_DOUBLE, _DT_STRING = 2, 7


class Shaped(NamedTuple):
    """One event with a `histo` or `image` field, and where in the data its value lies."""

    wall: float
    step: int
    tag_start: int
    tag_end: int
    start: int  # of the bucket limits; of the encoded image
    counts: int  # start of the bucket counts; 0 for an image
    size: int  # bytes of the limits, and of the counts; of the encoded image
    low: float  # smallest value; 0 for an image
    width: int  # 0 for a histogram
    height: int

    def value(self, data: bytes) -> Extra | None:
        """The history value; None when it needs the reference decoder after all."""
        if self.counts:
            return media.packed_histogram(data, self.start, self.counts, self.size, self.low)
        return media.packed_image(data, self.start, self.size, self.width, self.height)


class ShapedTensor(NamedTuple):
    """One event with a tensor of doubles or strings."""

    wall: float
    step: int
    tag_start: int
    tag_end: int
    dtype: int
    shape_start: int
    shape_end: int
    start: int  # of the raw doubles; of the first string's key
    end: int  # of the tensor
    metadata: int  # start of the SummaryMetadata, which goes to `metadata_end`; equal when there is none
    metadata_end: int

    def plugin(self, data: bytes) -> str:
        """The plugin that this event names; empty when it names none."""
        return _plugin(data[self.metadata : self.metadata_end]) if self.metadata_end > self.metadata else ""

    def value(self, data: bytes, plugin: str) -> Extra | None:
        """The history value for a tag of `plugin`; None when it needs the reference decoder after all."""
        shape = _shape(data[self.shape_start : self.shape_end])
        if self.dtype == _DT_DOUBLE:
            bins, rest = divmod(self.end - self.start, 24)
            if plugin != "histograms" or rest or shape != (bins, 3):
                return None
            return media.packed_tensor_histogram(data, self.start, bins)
        places = _strings(data, self.start, self.end)
        if shape is None or places is None or len(places) != math.prod(shape):
            return None
        if plugin == "images" and len(places) == 3:
            (a, b), (c, d), (start, end) = places
            width, height = data[a:b], data[c:d]
            if width.isdigit() and height.isdigit():
                return media.packed_image(data, start, end - start, int(width), int(height))
        elif plugin == "text":
            return media.text([data[a:b] for a, b in places], shape)
        return None


@lru_cache(maxsize=1024)
def _plugin(metadata: bytes) -> str:
    """The plugin that a SummaryMetadata names."""
    name = ""
    for number, kind, a, b in wire.fields(metadata, 0, len(metadata)):
        if number == 1 and kind == wire.BYTES:
            for inner, inner_kind, c, d in wire.fields(metadata, a, b):
                if inner == 1 and inner_kind == wire.BYTES:
                    name = wire.text(metadata, c, d)
    return name


@lru_cache(maxsize=1024)
def _shape(shape: bytes) -> tuple[int, ...] | None:
    """The sizes in a TensorShapeProto; None when the reference decoder has to say what is wrong with them."""
    try:
        return tensors.shape(shape, 0, len(shape))
    except tensors.UnsupportedTensorError:
        return None


def _strings(data: bytes, at: int, end: int) -> list[tuple[int, int]] | None:
    """Start and end of each string, when the rest of a tensor is strings and nothing else."""
    places = []
    while at + 1 < end and data[at] == _STRING:
        size, start = data[at + 1], at + 2
        if size >= 0x80:
            size, start = wire.varint(data, at + 1, end)
        at = start + size
        places.append((start, at))
    return places if at == end else None


class _Walk:
    """Positions in many records at once; `fits` says which records have had the expected fields so far."""

    def __init__(self, data: NDArray[np.uint8], at: I64, end: I64) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.fits: Bools = np.ones(len(at), dtype=np.bool_)

    def some(self, which: Bools) -> tuple[I64, _Walk]:
        """The records that fit and `which` are, and a walk on from here over them alone."""
        kept = np.flatnonzero(self.fits & which)
        return kept, _Walk(self.data, self.at[kept], self.end[kept])

    def _next(self) -> NDArray[np.uint8]:
        """The byte at each position; any byte where the data end."""
        return self.data.take(self.at, mode="clip")

    def sees(self, key: int) -> Bools:
        """Which records have `key` next."""
        found: Bools = self._next() == key
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
        byte = self._next()
        if has is None:
            going: Bools = byte >= 0x80
            value = (byte & 0x7F).astype(np.uint64)
            self.at = self.at + 1
        else:
            going = has & (byte >= 0x80)
            value = ((byte & 0x7F) * has).astype(np.uint64)
            self.at = self.at + has
        for nth in range(1, most):
            if not going.any():
                break
            byte = self._next()
            value |= ((byte & 0x7F) * going).astype(np.uint64) << np.uint64(7 * nth)
            self.at = self.at + going
            going &= byte >= 0x80
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


def find(data: bytes, offsets: list[int], lengths: list[int]) -> dict[int, Shaped | ShapedTensor]:
    """The events of one such value among the payloads, by their position in the lists."""
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
    found: dict[int, Shaped | ShapedTensor] = {}
    for key, read, made in (
        (_HISTOGRAM, _histograms, Shaped),
        (_IMAGE, _images, Shaped),
        (_TENSOR, _tensors, ShapedTensor),
    ):
        kept, inner = walk.some(walk.sees(key))
        if not len(kept):
            continue
        values = read(inner, doubles)
        fits = inner.fits
        head = (doubles[wall[kept]], step[kept].view(np.int64), tag[kept], tag_end[kept])
        places = long_enough[kept]
        arrays = [*head, *values]
        if not fits.all():
            places, arrays = places[fits], [array[fits] for array in arrays]
        columns: list[list[Any]] = [array.tolist() for array in arrays]
        found.update(zip(places.tolist(), map(made._make, zip(*columns, strict=True)), strict=True))
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


def _tensors(walk: _Walk, _doubles: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    """TensorProto: dtype, tensor_shape, tensor_content or string_val; behind it the metadata, if any."""
    value_end = walk.end
    walk.expect(_TENSOR)
    size = walk.varint(most=_SIZE_BYTES).astype(np.int64)
    walk.fits &= walk.at + size <= value_end
    tensor_end = walk.at + np.where(walk.fits, size, 0)
    walk.end = tensor_end
    walk.expect(0x08)
    dtype = walk.varint(most=1)
    shape_size = walk.length(0x12, to_end=False)
    shape = walk.at
    walk.at = shape_end = shape + np.where(walk.fits, shape_size, 0)
    are_strings = (dtype == _DT_STRING) & walk.sees(_STRING)
    content = _Walk(walk.data, walk.at, walk.end)
    content.length(_CONTENT, to_end=True)
    walk.fits &= are_strings | ((dtype == _DT_DOUBLE) & content.fits)
    start = np.where(are_strings, walk.at, content.at)
    behind = _Walk(walk.data, tensor_end, value_end)
    behind.length(0x4A, to_end=True)
    alone = tensor_end == value_end
    walk.fits &= alone | behind.fits
    metadata = np.where(alone, value_end, behind.at)
    return dtype.astype(np.int64), shape, shape_end, start, tensor_end, metadata, value_end
