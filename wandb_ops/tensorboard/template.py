"""Long runs of look-alike scalar events, decoded by column in numpy.

Almost every record of a real event file differs from its neighbours only in its wall time, step, tag and
value. Records of equal length are taken together; one is parsed to find where those fields lie, all that have
the same bytes everywhere else (and the same varint lengths) are read with array slices, and the rest tries
another representative. What fits no template (histograms, images, text, lone records) goes to
`decode.decode_records`, which is also what the tests hold this module against.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wandb_ops.tensorboard import decode, wire
from wandb_ops.tensorboard.columns import NO_EXTRA, Columns
from wandb_ops.tensorboard.views import rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wandb_ops.tensorboard.columns import Context
    from wandb_ops.tensorboard.records import Chunk

    I32 = NDArray[np.int32]
    I64 = NDArray[np.int64]
    U8 = NDArray[np.uint8]

_FEWEST = 16  # rows worth a template
_LONGEST = 4096  # bytes of a payload worth one
_FAILURES = 4  # representatives of one length that may be no scalars before the rest is left to the decoder
_FLOATS = {1: "<f4", 2: "<f8", 19: "<f2"}  # DataType -> numpy type
_CONTINUED = 0x80
_FIXED = 0xFF


@dataclass(slots=True)
class _Field:
    """Where one value of an event lies."""

    tag: tuple[int, int]  # start and length
    at: int
    dtype: str
    is_tensor: bool


@dataclass(slots=True)
class _Layout:
    """Where everything lies in a payload; `mask` has the bits that must equal the representative's."""

    mask: list[int]
    wall: int = -1
    step: tuple[int, int] = (0, 0)  # start and length of the varint; length 0 when there is none
    values: list[_Field] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    """What one template gave."""

    records: I64  # positions in the chunk
    wall: NDArray[np.float64]
    step: I64
    tags: list[I32]  # per value of the event
    values: list[NDArray[np.float64]]


def decode_chunk(chunk: Chunk, context: Context) -> Columns:
    """The values of a chunk, in order; the same as `decode.decode_records` gives."""
    count = len(chunk.offsets)
    left_out = context.left_out.copy()
    parts, tensor_tags = _templates(chunk, context)
    rest = np.ones(count, dtype=np.bool_)
    for part in parts:
        rest[part.records] = False
    others, records = _one_by_one(chunk, context, np.flatnonzero(rest))
    if any(context.plugins[tag][1] != "scalars" for tag in tensor_tags):
        # A tag that another plugin claimed first: rare enough to do it all again, one by one.
        context.left_out.clear()
        context.left_out.update(left_out)
        parts = []
        others, records = _one_by_one(chunk, context, np.arange(count))
    context.records += count
    return _assembled(count, parts, others, records) if parts else others


def _one_by_one(chunk: Chunk, context: Context, which: I64) -> tuple[Columns, I64]:
    """Decode some records; the values, and each one's position in the chunk."""
    columns, records = decode.decode_records(
        chunk.data,
        chunk.offsets[which].tolist(),
        chunk.lengths[which].tolist(),
        (which + context.records).tolist(),
        context,
    )
    return columns, records - context.records


def _assembled(count: int, parts: list[_Part], others: Columns, records: I64) -> Columns:
    """Everything in record order."""
    sizes = np.bincount(records, minlength=count) if len(records) else np.zeros(count, dtype=np.int64)
    for part in parts:
        sizes[part.records] = len(part.values)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    total = int(ends[-1])
    out = Columns(
        np.empty(total, np.float64),
        np.empty(total, np.int64),
        np.empty(total, np.int32),
        np.empty(total, np.float64),
        np.full(total, NO_EXTRA, np.int32),
        others.extras,
    )
    if len(records):
        # Values of one record follow each other: the n-th of them goes n places behind the first.
        first = np.flatnonzero(np.diff(records, prepend=-1))
        nth = np.arange(len(records)) - np.repeat(first, np.diff(np.append(first, len(records))))
        at = starts[records] + nth
        out.wall[at], out.step[at], out.tag[at] = others.wall, others.step, others.tag
        out.value[at], out.extra[at] = others.value, others.extra
    for part in parts:
        for nth_value, (tags, values) in enumerate(zip(part.tags, part.values, strict=True)):
            at = starts[part.records] + nth_value
            out.wall[at], out.step[at], out.tag[at], out.value[at] = part.wall, part.step, tags, values
    return out


def _templates(chunk: Chunk, context: Context) -> tuple[list[_Part], set[bytes]]:
    """What templates can read of a chunk, and the tags of which tensors were read."""
    parts: list[_Part] = []
    tensor_tags: set[bytes] = set()
    sizes = np.bincount(np.minimum(chunk.lengths, _LONGEST + 1), minlength=2)
    for length in np.flatnonzero(sizes[: _LONGEST + 1] >= _FEWEST).tolist():
        records = np.flatnonzero(chunk.lengths == length)
        block = rows_of(chunk.data, chunk.offsets[records], length)
        failures = 0
        while len(records) >= _FEWEST and failures < _FAILURES:
            payload = block[0].tobytes()
            layout = _layout(payload)
            if layout is None:
                failures += 1
                records, block = records[1:], block[1:]
                continue
            fits = _fits(block, payload, layout)
            whole = bool(fits.all())
            if not whole and int(fits.sum()) < _FEWEST:
                failures += 1
                records, block = records[~fits], block[~fits]
                continue
            part = _read(
                block if whole else block[fits], records if whole else records[fits], layout, context
            )
            parts.append(part)
            for value, ids in zip(layout.values, part.tags, strict=True):
                if value.is_tensor:
                    tensor_tags |= _learn(part.records, ids, context)
            if whole:
                break
            records, block = records[~fits], block[~fits]
    return parts, tensor_tags


def _learn(records: I64, ids: I32, context: Context) -> set[bytes]:
    distinct, first = np.unique(ids, return_index=True)
    tags = set()
    for tag_id, position in zip(distinct.tolist(), first.tolist(), strict=True):
        tag = context.tags.tags[tag_id]
        context.learn(tag, "scalars", context.records + int(records[position]))
        tags.add(tag)
    return tags


def _fits(block: U8, payload: bytes, layout: _Layout) -> NDArray[np.bool_]:
    """Which rows have the representative's structure."""
    fits = np.ones(len(block), dtype=np.bool_)
    for column, bits in enumerate(layout.mask):
        if bits == _FIXED:
            fits &= block[:, column] == payload[column]
        elif bits:
            fits &= (block[:, column] & bits) == (payload[column] & bits)
    return fits


def _read(block: U8, records: I64, layout: _Layout, context: Context) -> _Part:
    rows, width = block.shape

    def column(at: int, dtype: str) -> NDArray[Any]:
        return np.ndarray(shape=(rows,), dtype=dtype, buffer=block, offset=at, strides=(width,))

    wall = column(layout.wall, "<f8").astype(np.float64) if layout.wall >= 0 else np.zeros(rows)
    step = np.zeros(rows, dtype=np.uint64)
    start, size = layout.step
    for nth in range(size):
        step |= (block[:, start + nth] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * nth)
    return _Part(
        records,
        wall,
        step.view(np.int64),
        [context.tags.ids(block, *value.tag) for value in layout.values],
        [column(value.at, value.dtype).astype(np.float64) for value in layout.values],
    )


def _layout(payload: bytes) -> _Layout | None:
    """The layout of a scalar event; None for anything else."""
    layout = _Layout([_FIXED] * len(payload))
    try:
        seen = set()
        for number, kind, a, b in wire.fields(payload, 0, len(payload)):
            if number in seen:
                return None
            seen.add(number)
            if number == 1 and kind == wire.FIXED64:
                layout.wall = a
                _free(layout, a, b)
            elif number == 2 and kind == wire.VARINT:
                size = _varint_size(payload, b)
                layout.step = (b - size, size)
                layout.mask[b - size : b] = [_CONTINUED] * size
            elif number == 5 and kind == wire.BYTES:
                if not _summary(payload, a, b, layout):
                    return None
            else:
                return None
    except wire.WireError:
        return None
    return layout if layout.values else None


def _free(layout: _Layout, start: int, end: int) -> None:
    layout.mask[start:end] = [0] * (end - start)


def _varint_size(payload: bytes, end: int) -> int:
    """Bytes of the varint that ends before `end`: all but its last have the top bit, the key before has
    not."""
    size = 1
    while payload[end - size - 1] & _CONTINUED:
        size += 1
    return size


def _summary(payload: bytes, start: int, end: int, layout: _Layout) -> bool:
    for number, kind, a, b in wire.fields(payload, start, end):
        if number != 1 or kind != wire.BYTES:
            return False
        value = _scalar(payload, a, b)
        if value is None:
            return False
        layout.values.append(value)
        _free(layout, value.tag[0], sum(value.tag))
        _free(layout, value.at, value.at + np.dtype(value.dtype).itemsize)
    return True


def _scalar(payload: bytes, start: int, end: int) -> _Field | None:
    """Where tag and number of a Summary.Value lie, when it is a float and its bytes can be read by slices."""
    tags = [
        (a, b - a)
        for number, kind, a, b in wire.fields(payload, start, end)
        if (number, kind) == (1, wire.BYTES)
    ]
    value = decode.parse_value(payload, start, end)
    contents = [
        number for number, _, _, _ in wire.fields(payload, start, end) if number in {2, 3, 4, 5, 6, 8}
    ]
    if len(tags) != 1 or not value.tag or contents != [value.kind] or value.plugin not in {"", "scalars"}:
        return None
    if value.kind == 2 and not value.plugin:
        return _Field(tags[0], value.at, "<f4", is_tensor=False)
    if value.kind == 8 and value.plugin == "scalars":
        found = _tensor_number(payload, value.at, value.end)
        return None if found is None else _Field(tags[0], *found, is_tensor=True)
    return None


def _tensor_number(payload: bytes, start: int, end: int) -> tuple[int, str] | None:
    """Where the one float of a tensor lies, and its type; None for other tensors."""
    dtype = 0
    content: list[tuple[int, int]] = []
    values: list[tuple[int, int, int]] = []
    for number, kind, a, b in wire.fields(payload, start, end):
        if number == 1 and kind == wire.VARINT:
            dtype = a
        elif number == 2 and kind == wire.BYTES:
            if not _one_element(payload, a, b):
                return None
        elif number == 4 and kind == wire.BYTES:
            content.append((a, b - a))
        elif number in {5, 6} and kind != wire.VARINT:
            values.append((number, a, b - a))
        elif number != 3:
            return None
    wanted = _FLOATS.get(dtype)
    if wanted is None:
        return None
    width = np.dtype(wanted).itemsize
    if len(content) == 1 and not values and content[0][1] == width:
        return content[0][0], wanted
    if not content and len(values) == 1 and values[0] == (4 + dtype, values[0][1], width) and dtype in {1, 2}:
        return values[0][1], wanted
    return None


def _one_element(payload: bytes, start: int, end: int) -> bool:
    """Whether every dimension of a shape is 1."""
    for number, kind, a, b in wire.fields(payload, start, end):
        if number != 2 or kind != wire.BYTES:
            return False
        sizes = [
            value
            for inner, inner_kind, value, _ in wire.fields(payload, a, b)
            if (inner, inner_kind) == (1, 0)
        ]
        if sizes != [1]:
            return False
    return True
