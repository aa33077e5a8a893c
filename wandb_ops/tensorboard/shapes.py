"""Events of one histogram, image or tensor, read by their shape, many at a time.

Writers put the fields of such an event in one order. So numpy walks that order for all records of a chunk at
once, each at its own position, where the wire format would be walked field by field in Python. Every length
is checked against the bytes that are there; an event of any other shape is left to `decode`, which gives the
same values. TF1 and torch write `histo` and `image` fields; TF2 writes tensors, whose plugin says what they
are: tables of doubles for histograms, strings for images, text and audio.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wandb_ops.tensorboard import media, tensors, wire
from wandb_ops.tensorboard.columns import Columns
from wandb_ops.tensorboard.views import view
from wandb_ops.tensorboard.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from wandb_ops.tensorboard.columns import Context, Extra

    F64 = NDArray[np.float64]
    I64 = NDArray[np.int64]

SHORTEST = 32  # bytes; below, an event is hardly anything but scalars
FEWEST = 8  # records worth an array
_HISTOGRAM, _IMAGE, _TENSOR = (0x2A, 0x22, 0x42)  # the key of the field in a Summary.Value
_CONTENT, _STRING = 0x22, 0x42  # the key of the field in a TensorProto
_DT_DOUBLE, _DT_STRING = 2, 7


class Shaped(NamedTuple):
    """What could be read by shape, kind by kind."""

    columns: Columns
    positions: I64  # per value: its event's position among the payloads
    plugins: dict[bytes, str]  # tag -> the plugin that its tensors were taken for


class _Found(NamedTuple):
    """Events of one kind: an entry for each in all arrays."""

    positions: I64
    wall: F64
    step: I64
    tag: I64
    tag_end: I64
    fields: tuple[NDArray[Any], ...]  # what the kind's values are made of


def read(
    data: bytes, offsets: Sequence[int], lengths: Sequence[int], records: Sequence[int], context: Context
) -> Shaped | None:
    """The values of all events that have one of the shapes; None when there are none.

    Args:
        data: The bytes that the payloads lie in.
        offsets: Where each payload begins.
        lengths: How long it is.
        records: The running number of each record in its directory, growing.
        context: Tags and plugins are added to it.
    """
    plugins: dict[bytes, str] = {}
    columns = Columns.empty()
    positions = [np.empty(0, np.int64)]
    for key, found in _find(data, offsets, lengths):
        tags = [data[a:b] for a, b in zip(found.tag.tolist(), found.tag_end.tolist(), strict=True)]
        rows = zip(*(column.tolist() for column in found.fields), strict=True)
        values: list[Extra | None]
        if key == _HISTOGRAM:
            values = [media.packed_histogram(data, *row) for row in rows]
        elif key == _IMAGE:
            values = [media.packed_image(data, *row) for row in rows]
        else:
            numbers = [records[position] for position in found.positions.tolist()]
            values = _tensor_values(data, zip(tags, numbers, rows, strict=True), context, plugins)
        kept = np.array([value is not None for value in values])
        extras = [value for value in values if value is not None]
        ids = [context.tags.id(tag) for tag in itertools.compress(tags, kept.tolist())]
        made = Columns(
            found.wall[kept],
            found.step[kept],
            np.array(ids, np.int32),
            np.zeros(len(extras)),
            np.arange(len(extras), dtype=np.int32),
            extras,
        )
        columns = columns.then(made)
        positions.append(found.positions[kept])
    return Shaped(columns, np.concatenate(positions), plugins) if len(columns) else None


def _find(data: bytes, offsets: Sequence[int], lengths: Sequence[int]) -> Iterable[tuple[int, _Found]]:
    """The events that hold one value of one of the shapes, by the key of its field."""
    sizes = np.asarray(lengths, dtype=np.int64)
    long_enough = np.flatnonzero(sizes >= SHORTEST)
    if len(long_enough) < FEWEST:
        return
    start = np.asarray(offsets, dtype=np.int64)[long_enough]
    walk = Walk(np.frombuffer(data, np.uint8), start, start + sizes[long_enough])
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
    for key, fields_of in ((_HISTOGRAM, _histograms), (_IMAGE, _images), (_TENSOR, _tensors)):
        kept, inner = walk.some(walk.sees(key))
        if not len(kept):
            continue
        fields = fields_of(inner, doubles)
        if not inner.fits.all():
            kept = kept[inner.fits]
            fields = tuple(column[inner.fits] for column in fields)
        if len(kept):
            yield (
                key,
                _Found(
                    long_enough[kept],
                    doubles[wall[kept]],
                    step[kept].view(np.int64),
                    tag[kept],
                    tag_end[kept],
                    fields,
                ),
            )


def _histograms(walk: Walk, doubles: F64) -> tuple[NDArray[Any], ...]:
    """HistogramProto: min, max, num, sum, sum_squares, bucket_limit, bucket.

    Returns:
        Where the limits start, where the counts do, bytes of each of them, the smallest value.
    """
    walk.length(_HISTOGRAM, to_end=True)
    has_low, low = walk.skip_fixed64(0x09)
    for key in (0x11, 0x19, 0x21, 0x29):
        walk.skip_fixed64(key)
    size = walk.length(0x32, to_end=False)
    limits = walk.at
    walk.at = limits + np.where(walk.fits, size, 0)
    walk.fits &= (walk.length(0x3A, to_end=True) == size) & (size > 0) & (size % 8 == 0)
    smallest = np.where(has_low, doubles[np.minimum(low, len(doubles) - 1)], 0.0)
    return limits, walk.at, size, smallest


def _images(walk: Walk, _doubles: F64) -> tuple[NDArray[Any], ...]:
    """Image: height, width, colorspace, encoded_image_string.

    Returns:
        Where the encoded image starts, its bytes, width and height.
    """
    walk.length(_IMAGE, to_end=True)
    height, width, _ = (walk.optional_varint(key) for key in (0x08, 0x10, 0x18))
    size = walk.length(0x22, to_end=True)
    return walk.at, size, width, height


def _tensors(walk: Walk, _doubles: F64) -> tuple[NDArray[Any], ...]:
    """TensorProto: dtype, tensor_shape, tensor_content or string_val; behind it the metadata, if any.

    Returns:
        The type, start and end of the shape, start of the raw doubles or of the first string's key; of three
        strings the start of the third's key and of the third, else 0; end of the tensor; start and end of
        the SummaryMetadata, which are equal when there is none.
    """
    value_end = walk.end
    walk.expect(_TENSOR)
    size = walk.varint(most=4).astype(np.int64)
    walk.fits &= walk.at + size <= value_end
    tensor_end = walk.at + np.where(walk.fits, size, 0)
    walk.end = tensor_end
    walk.expect(0x08)
    dtype = walk.varint(most=1)
    shape_size = walk.length(0x12, to_end=False)
    shape = walk.at
    walk.at = shape_end = shape + np.where(walk.fits, shape_size, 0)
    are_strings = (dtype == _DT_STRING) & walk.sees(_STRING)
    content = Walk(walk.data, walk.at, walk.end)
    content.length(_CONTENT, to_end=True)
    walk.fits &= are_strings | ((dtype == _DT_DOUBLE) & content.fits)
    start = np.where(are_strings, walk.at, content.at)
    strings = Walk(walk.data, walk.at, walk.end)
    for _ in range(2):
        strings.expect(_STRING)
        length = strings.varint(most=1).astype(np.int64)
        strings.at = strings.at + length
    third = strings.at
    strings.length(_STRING, to_end=True)
    image = np.where(are_strings & strings.fits, strings.at, 0)
    behind = Walk(walk.data, tensor_end, value_end)
    behind.length(0x4A, to_end=True)
    alone = tensor_end == value_end
    walk.fits &= alone | behind.fits
    metadata = np.where(alone, value_end, behind.at)
    kind = dtype.astype(np.int64)
    return kind, shape, shape_end, start, third, image, tensor_end, metadata, value_end


def _tensor_values(
    data: bytes,
    tensors_found: Iterable[tuple[bytes, int, tuple[int, ...]]],
    context: Context,
    plugins: dict[bytes, str],
) -> list[Extra | None]:
    """The history value of each tensor, by its tag's plugin; None where the reference decoder has to look.

    Args:
        data: The bytes that the tensors lie in.
        tensors_found: Tag, number of the record, and what `_tensors` found, in the order of the records.
        context: The plugins of tags that give values are added to it.
        plugins: And to this.
    """
    values: list[Extra | None] = []
    for tag, record, (dtype, shape_at, shape_end, *content, metadata, metadata_end) in tensors_found:
        named = _plugin(data[metadata:metadata_end])
        shape = _shape(data[shape_at:shape_end])
        if named is None or shape is None:
            values.append(None)
            continue
        known = context.plugins.get(tag)
        is_known = known is not None and known[0] <= record
        plugin = known[1] if known is not None and is_known else named
        value = _tensor_value(data, plugin, dtype, shape, *content)
        if value is not None:
            plugins[tag] = plugin
            if not is_known:
                context.learn(tag, plugin, record)
        values.append(value)
    return values


def _tensor_value(
    data: bytes,
    plugin: str,
    dtype: int,
    shape: tuple[int, ...],
    start: int,
    third: int,
    image: int,
    end: int,
) -> Extra | None:
    if dtype == _DT_DOUBLE:
        bins, rest = divmod(end - start, 24)
        if plugin != "histograms" or rest or shape != (bins, 3):
            return None
        return media.packed_tensor_histogram(data, start, bins)
    if plugin == "images":
        size = _size(data[start:third]) if image and math.prod(shape) == 3 else None
        return None if size is None else media.packed_image(data, image, end - image, *size)
    if plugin == "text":
        texts = _strings(data, start, end)
        return None if texts is None or len(texts) != math.prod(shape) else media.text(texts, shape)
    return None


@lru_cache(maxsize=1024)
def _size(strings: bytes) -> tuple[int, int] | None:
    """Width and height, from two string fields of digits."""
    sizes = _strings(strings, 0, len(strings)) or []
    if len(sizes) != 2 or not all(size.isdigit() for size in sizes):
        return None
    return int(sizes[0]), int(sizes[1])


@lru_cache(maxsize=1024)
def _plugin(metadata: bytes) -> str | None:
    """The plugin that a SummaryMetadata names; empty when it names none, None when it cannot be read."""
    name = ""
    try:
        for number, kind, a, b in wire.fields(metadata, 0, len(metadata)):
            if number == 1 and kind == wire.BYTES:
                for inner, inner_kind, c, d in wire.fields(metadata, a, b):
                    if inner == 1 and inner_kind == wire.BYTES:
                        name = wire.text(metadata, c, d)
    except wire.WireError:
        return None
    return name


@lru_cache(maxsize=1024)
def _shape(shape: bytes) -> tuple[int, ...] | None:
    """The sizes in a TensorShapeProto; None when the reference decoder has to say what is wrong with them."""
    try:
        return tensors.shape(shape, 0, len(shape))
    except (tensors.UnsupportedTensorError, wire.WireError):
        return None


def _strings(data: bytes, at: int, end: int) -> list[bytes] | None:
    """The strings of a tensor, when the rest of it is strings and nothing else."""
    strings = []
    while at + 1 < end and data[at] == _STRING:
        size, start = data[at + 1], at + 2
        if size >= 0x80:
            try:
                size, start = wire.varint(data, at + 1, end)
            except wire.WireError:
                return None
        at = start + size
        strings.append(data[start:at])
    return strings if at == end else None
