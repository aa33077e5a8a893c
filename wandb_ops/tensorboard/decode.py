"""Events of tfevents files: one payload at a time, every record kind, no tensorboard or protobuf needed.

This is the reference decoder: `template` does the same for long runs of look-alike scalar events, in numpy,
and hands everything else to this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wandb_ops.tensorboard import hparams, media, shapes, tensors, wire
from wandb_ops.tensorboard.columns import NO_EXTRA, Columns, Context, Extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_DATA_CLASS_SCALAR = 1
# Event field -> why it gives no history value.
_OTHER_EVENTS = {4: "graph", 6: "log message", 8: "run metadata", 9: "meta graph"}
# Keys that the row itself has.
RESERVED = frozenset({b"_step", b"_timestamp", b"_runtime", b"global_step", b"_wandb"})


@dataclass(slots=True)
class _Sink:
    """Growing columns."""

    wall: list[float] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    tag: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)
    record: list[int] = field(default_factory=list)  # position of the event among those decoded

    def add(self, wall: float, step: int, tag: int, value: Extra | float, record: int) -> None:
        self.wall.append(wall)
        self.step.append(step)
        self.record.append(record)
        self.tag.append(tag)
        if isinstance(value, Extra):
            self.value.append(0.0)
            self.extra.append(len(self.extras))
            self.extras.append(value)
        else:
            self.value.append(value)
            self.extra.append(NO_EXTRA)

    def columns(self) -> Columns:
        return Columns(
            np.array(self.wall, dtype=np.float64),
            np.array(self.step, dtype=np.int64),
            np.array(self.tag, dtype=np.int32),
            np.array(self.value, dtype=np.float64),
            np.array(self.extra, dtype=np.int32),
            self.extras,
        )


@dataclass(slots=True)
class _Value:
    """One Summary.Value, taken apart."""

    tag: bytes = b""
    plugin: str = ""
    data_class: int = 0
    content: tuple[int, int] = (0, 0)  # the plugin's own data
    has_metadata: bool = False
    kind: int = (
        0  # field number of the payload: 2 simple_value, 4 image, 5 histo, 6 audio, 8 tensor, 3 obsolete
    )
    at: int = 0
    end: int = 0


def decode_records(
    data: bytes,
    offsets: list[int],
    lengths: list[int],
    records: Sequence[int],
    context: Context,
    *,
    by_shape: bool = True,
) -> tuple[Columns, NDArray[np.int64]]:
    """Decode payloads.

    Args:
        data: The bytes that the payloads lie in.
        offsets: Where each payload begins.
        lengths: How long it is.
        records: The running number of each record in its directory, growing.
        context: What is remembered between records; tags, plugins, hparams and counts are added to it.
        by_shape: Read histograms and images by `shapes` where it can; the values are the same.

    Returns:
        The values, and for each the running number of its record.
    """
    shaped = shapes.read(data, offsets, lengths, records, context) if by_shape else None
    if shaped is None:
        return _one_by_one(data, offsets, lengths, records, context)
    left_out = context.left_out.copy()
    is_rest = np.ones(len(offsets), dtype=np.bool_)
    is_rest[shaped.positions] = False
    rest = np.flatnonzero(is_rest).tolist()
    others, where = _one_by_one(
        data,
        [offsets[position] for position in rest],
        [lengths[position] for position in rest],
        [records[position] for position in rest],
        context,
    )
    if any(context.plugins[tag][1] != plugin for tag, plugin in shaped.plugins.items()):
        # An event of another shape had named another plugin before: rare enough to do it all again.
        context.left_out.clear()
        context.left_out.update(left_out)
        return _one_by_one(data, offsets, lengths, records, context)
    where = np.concatenate([np.array(records, dtype=np.int64)[shaped.positions], where])
    order = np.argsort(where, kind="stable")
    return shaped.columns.then(others).take(order), where[order]


def _one_by_one(
    data: bytes, offsets: Sequence[int], lengths: Sequence[int], records: Sequence[int], context: Context
) -> tuple[Columns, NDArray[np.int64]]:
    sink = _Sink()
    for offset, length, record in zip(offsets, lengths, records, strict=True):
        mark = len(sink.step)
        try:
            _event(data, offset, offset + length, record, context, sink)
        except wire.WireError:
            context.left_out["undecodable event"] += 1
            for column in (sink.wall, sink.step, sink.tag, sink.value, sink.extra, sink.record):
                del column[mark:]
    return sink.columns(), np.array(sink.record, dtype=np.int64)


def _event(data: bytes, start: int, end: int, record: int, context: Context, sink: _Sink) -> None:
    wall, step = 0.0, 0
    summaries = []
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 1 and kind == wire.FIXED64:
            wall = wire.double(data, a)
        elif number == 2 and kind == wire.VARINT:
            step = wire.signed(a)
        elif number == 5 and kind == wire.BYTES:
            summaries.append((a, b))
        elif number in _OTHER_EVENTS and kind == wire.BYTES:
            context.left_out[_OTHER_EVENTS[number]] += 1
    for at, stop in summaries:
        for number, kind, a, b in wire.fields(data, at, stop):
            if number != 1 or kind != wire.BYTES:
                continue
            value = parse_value(data, a, b)
            if value.has_metadata and value.plugin and value.tag:
                context.learn(value.tag, value.plugin, record)
            taken = _take(data, value, record, context)
            if taken is None:
                continue
            sink.add(wall, step, context.tags.id(value.tag), taken, record)


def parse_value(data: bytes, start: int, end: int) -> _Value:
    """Take a Summary.Value apart."""
    value = _Value()
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 1 and kind == wire.BYTES:
            value.tag = data[a:b]
        elif number == 9 and kind == wire.BYTES:
            value.has_metadata = True
            _metadata(data, a, b, value)
        elif (number == 2 and kind == wire.FIXED32) or (number in (3, 4, 5, 6, 8) and kind == wire.BYTES):
            value.kind, value.at, value.end = number, a, b
    return value


def _metadata(data: bytes, start: int, end: int, value: _Value) -> None:
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 1 and kind == wire.BYTES:
            for inner, inner_kind, c, d in wire.fields(data, a, b):
                if inner == 1 and inner_kind == wire.BYTES:
                    value.plugin = wire.text(data, c, d)
                elif inner == 2 and inner_kind == wire.BYTES:
                    value.content = (c, d)
        elif number == 4 and kind == wire.VARINT:
            value.data_class = a


def _take(data: bytes, value: _Value, record: int, context: Context) -> Extra | float | None:
    """The history value, or None when there is none; the reason is counted."""
    if not value.tag:
        context.left_out["empty tag"] += 1
        return None
    if value.plugin == "hparams":
        context.hparams.update(hparams.read(data, *value.content))
        if value.kind in {0, 8}:  # TF2 adds a tensor of nothing
            return None
    taken: Extra | float | None
    if value.kind == 2:
        return wire.single(data, value.at)
    if value.kind == 5:
        taken, reason = (_proto_histogram(data, value.at, value.end), "histogram without bins")
    elif value.kind == 4:
        taken, reason = _image(data, value.at, value.end), "image of unknown format"
    elif value.kind == 6:
        taken, reason = _audio(data, value.at, value.end), "audio of unknown format"
    elif value.kind == 8:
        taken, reason = _tensor(data, value, record, context)
    elif value.kind == 3:
        taken, reason = None, "histogram of an obsolete kind"
    else:
        taken, reason = None, "value without content"
    if taken is None:
        context.left_out[reason] += 1
    return taken


def _tensor(data: bytes, value: _Value, record: int, context: Context) -> tuple[Extra | float | None, str]:
    """The value of a tensor summary, by its plugin; the reason when it has none."""
    plugin = context.plugin_of(value.tag, record)
    if plugin == "mesh":
        return None, "mesh"
    try:
        tensor = tensors.parse(data, value.at, value.end)
    except tensors.UnsupportedTensorError as error:
        return None, str(error)
    array = tensor.array
    if array is None:
        return _strings(tensor, plugin)
    if plugin == "scalars" or (not plugin and value.data_class == _DATA_CLASS_SCALAR):
        if array.size != 1:
            return None, "scalar tensor of more than one element"
        number = tensors.scalar_text(array)
        return (Extra(number, is_scalar=True) if isinstance(number, bytes) else number), ""
    if plugin == "histograms":
        return media.tensor_histogram(array), "histogram tensor of another shape"
    if plugin == "pr_curves":
        curve = media.pr_curve(array)
        if curve is not None:
            context.pr_curves.add(value.tag)
        return curve, "pr curve of another shape"
    return None, f"tensor of plugin {plugin!r}" if plugin else "tensor without plugin"


def _strings(tensor: tensors.Tensor, plugin: str) -> tuple[Extra | float | None, str]:
    strings = tensor.strings
    if plugin == "text" and strings:
        return media.text(strings, tensor.shape), ""
    if plugin == "images":
        if len(strings) < 3 or not (strings[0].isdigit() and strings[1].isdigit()):
            return None, "image tensor without images"
        return media.images(strings[2:], int(strings[0]), int(strings[1])), "image of unknown format"
    if plugin == "audio" and strings:
        # Rows of (encoded clip, label), or clips alone.
        labelled = len(tensor.shape) == 2 and tensor.shape[1] == 2
        clips, labels = (strings[0::2], strings[1::2]) if labelled else (strings, [])
        return media.audio_clips(clips, labels), "audio of unknown format"
    return None, f"tensor of plugin {plugin!r}" if plugin else "tensor without plugin"


def _doubles(data: bytes, kind: int, a: int, b: int) -> NDArray[np.float64]:
    if kind not in (wire.BYTES, wire.FIXED64) or (b - a) % 8:
        raise wire.WireError("not a list of doubles")
    return np.frombuffer(data[a:b], dtype="<f8")


def _proto_histogram(data: bytes, start: int, end: int) -> Extra | None:
    low = high = 0.0
    limits: list[NDArray[np.float64]] = []
    counts: list[NDArray[np.float64]] = []
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 1 and kind == wire.FIXED64:
            low = wire.double(data, a)
        elif number == 2 and kind == wire.FIXED64:
            high = wire.double(data, a)
        elif number == 6:
            limits.append(_doubles(data, kind, a, b))
        elif number == 7:
            counts.append(_doubles(data, kind, a, b))
    if not limits or not counts:
        return None
    return media.proto_histogram(np.concatenate(limits), np.concatenate(counts), low, high)


def _image(data: bytes, start: int, end: int) -> Extra | None:
    height = width = 0
    encoded = b""
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 1 and kind == wire.VARINT:
            height = a
        elif number == 2 and kind == wire.VARINT:
            width = a
        elif number == 4 and kind == wire.BYTES:
            encoded = data[a:b]
    return media.images([encoded], width, height)


def _audio(data: bytes, start: int, end: int) -> Extra | None:
    encoded, content_type = b"", ""
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 4 and kind == wire.BYTES:
            encoded = data[a:b]
        elif number == 5 and kind == wire.BYTES:
            content_type = wire.text(data, a, b)
    return media.audio(encoded, content_type)
