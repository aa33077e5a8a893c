"""Histograms and images read by their shape, against the reference decoder and what was written."""

from __future__ import annotations

import json
import math
import random
import struct
from collections import Counter

import google_crc32c
import numpy as np
import pytest
import tensorboardX
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.text.summary_v2 import text_pb

from wandb_ops.tensorboard import crc, records, shapes
from wandb_ops.tensorboard.columns import Context
from wandb_ops.tensorboard.decode import decode_records

DOUBLES = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1.7976931348623157e308, -1.8e300]),
    st.floats(),
)


@st.composite
def histograms(draw):
    """A HistogramProto as writers make them, and as they should not."""
    bins = draw(st.integers(0, 8))
    if draw(st.integers(0, 9)) == 0:  # more than W&B draws
        many = draw(st.integers(512, 1_100))
        histogram = HistogramProto(bucket_limit=range(many), bucket=[draw(st.integers(0, 1))] * many)
        return Summary.Value(tag="many", histo=histogram)
    limits = draw(st.lists(DOUBLES, min_size=bins, max_size=bins))
    counts = draw(st.lists(DOUBLES, min_size=bins, max_size=bins + draw(st.sampled_from([0, 0, 0, 1]))))
    fields = {
        name: draw(DOUBLES) for name in ("min", "max", "num", "sum", "sum_squares") if draw(st.booleans())
    }
    return Summary.Value(
        tag=draw(st.text(max_size=4)), histo=HistogramProto(bucket_limit=limits, bucket=counts, **fields)
    )


@st.composite
def images(draw):
    """A Summary.Image of some bytes."""
    magic = draw(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"?"]))
    encoded = magic + draw(st.binary(max_size=300))
    sizes = {name: draw(st.integers(0, 70_000)) for name in ("height", "width", "colorspace")}
    return Summary.Value(
        tag=draw(st.text(max_size=4)), image=Summary.Image(encoded_image_string=encoded, **sizes)
    )


@st.composite
def tensors(draw):
    """A tensor as TF2 writes them, and as nobody should: other plugins, shapes, types, counts of strings."""
    plugin = draw(st.sampled_from(["histograms", "histograms", "images", "images", "text", "audio", "", "x"]))
    if draw(st.booleans()):
        bins = draw(st.sampled_from([0, 1, 3, 30, 512, 513]))
        shape = draw(st.sampled_from([(bins, 3), (bins, 3), (bins, 3), (3, bins), (bins * 3,), ()]))
        rows = np.full(bins * 3, draw(DOUBLES)) + np.arange(bins * 3)
        proto = TensorProto(dtype=draw(st.sampled_from([2, 2, 2, 1, 9])), tensor_content=rows.tobytes())
    else:
        sizes = [draw(st.sampled_from([b"7", b"300", b"", b"-1"])) for _ in range(2)]
        magic = draw(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b""]))
        strings = [*sizes, *[magic + draw(st.binary(max_size=200)) for _ in range(draw(st.integers(0, 3)))]]
        strings = strings[draw(st.sampled_from([0, 0, 1, 2])) :]
        shape = draw(st.sampled_from([(len(strings),), (len(strings),), (), (1,), (len(strings), 1), (5,)]))
        proto = TensorProto(dtype=7, string_val=strings)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    if not shape and draw(st.booleans()):
        proto.tensor_shape.SetInParent()
    value = Summary.Value(tag=draw(st.text(max_size=4)), tensor=proto)
    if draw(st.integers(0, 5)):
        value.metadata.plugin_data.plugin_name = plugin
        value.metadata.summary_description = draw(st.text(max_size=3))
    return value


@st.composite
def events(draw):
    """The serialized event of one of them, sometimes with more in it or a wrong byte."""
    most = draw(st.sampled_from([1, 1, 1, 2]))
    values = draw(
        st.lists(st.one_of(histograms(), images(), tensors(), tensors()), min_size=1, max_size=most)
    )
    if draw(st.integers(0, 4)) == 0:
        values[0].metadata.CopyFrom(SummaryMetadata(display_name="shown"))
    event = Event(
        wall_time=draw(DOUBLES), step=draw(st.integers(-(2**63), 2**63 - 1)), summary=Summary(value=values)
    )
    data = bytearray(event.SerializeToString())
    if draw(st.integers(0, 3)) == 0:
        data[draw(st.integers(0, min(60, len(data) - 1)))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def files_of(extra):
    return [(file.name, bytes(file.data)) for file in extra.files]


def decoded(payload, *, by_shape):
    """Everything that decoding gives, comparable."""
    context = Context()
    # What stands around it does not count, and one record alone is not worth an array.
    data = b"\0" * 7 + payload + (b"\x3a\x10" * 9 if len(payload) % 2 else b"")
    size, count = len(payload), shapes.FEWEST
    columns, where = decode_records(
        data, [7] * count, [size] * count, range(count), context, by_shape=by_shape
    )
    return (
        columns.wall.tobytes(),
        columns.step.tolist(),
        [context.tags.tags[tag] for tag in columns.tag],
        [(json.loads(extra.text), files_of(extra)) for extra in columns.extras],
        where.tolist(),
        dict(context.left_out),
    )


@settings(max_examples=200, deadline=None)
@given(payload=events())
def test_shapes_and_the_reference_decoder_give_the_same(payload):
    by_shape, reference = (decoded(payload, by_shape=way) for way in (True, False))
    assert repr(by_shape) == repr(reference)  # NaN equals NaN here


def test_what_writers_write_has_the_usual_shape(tmp_path, load_events):
    writer = tensorboardX.SummaryWriter(str(tmp_path))
    rng = np.random.default_rng(0)
    for step in (0, 1, 300, 70_000):
        writer.add_histogram("layer/weights", rng.normal(size=500), step)
        writer.add_image("picture", rng.random((3, 16, 16)), step)
    writer.close()
    (path,) = tmp_path.iterdir()
    payloads = [event.SerializeToString() for event in load_events(path)]
    data = b"".join(payloads)
    offsets = [len(b"".join(payloads[:n])) for n in range(len(payloads))]
    context = Context()
    found = shapes.read(data, offsets, [len(payload) for payload in payloads], range(len(payloads)), context)
    tags = [context.tags.tags[tag] for tag in found.columns.tag.tolist()]
    assert sorted(zip(found.positions.tolist(), found.columns.step.tolist(), tags, strict=True)) == [
        (2 * nth + which + 1, step, tag)
        for nth, step in enumerate((0, 1, 300, 70_000))
        for which, tag in enumerate((b"layer/weights", b"picture"))
    ]


def test_what_tf2_writes_has_the_usual_shape_too():
    """By TensorBoard's own makers of TF2 summaries; images as TF2's own writer was seen to write them."""
    rng = np.random.default_rng(0)
    image = Summary.Value(
        tag="picture", tensor=TensorProto(dtype=7, string_val=[b"8", b"9", b"\xff\xd8\xff.."])
    )
    image.tensor.tensor_shape.dim.add(size=3)
    image.metadata.plugin_data.plugin_name = "images"
    made = [
        histogram_pb("weights", rng.normal(size=100)),
        text_pb("note", "a text"),
        text_pb("notes", np.array(["one", "two"])),
        Summary(value=[image]),
    ] * 4
    payloads = [
        Event(wall_time=5.0 + n, step=n * 100, summary=summary).SerializeToString()
        for n, summary in enumerate(made)
    ]
    data = b"".join(payloads)
    offsets = [len(b"".join(payloads[:n])) for n in range(len(payloads))]
    sizes = [len(payload) for payload in payloads]
    assert sorted(shapes.read(data, offsets, sizes, range(16), Context()).positions) == list(range(16))
    context = Context()
    columns, _ = decode_records(data, offsets, sizes, range(16), context)
    values = [json.loads(extra.text) for extra in columns.extras]
    assert columns.step.tolist() == [n * 100 for n in range(16)]
    assert values[1:3] == ["a text", ["one", "two"]]
    (table,) = [np.frombuffer(v.tensor.tensor_content).reshape(-1, 3) for v in made[0].value]
    assert values[0]["values"] == table[:, 2].tolist()
    assert values[0]["bins"] == [*table[:, 0].tolist(), table[-1, 1]]
    assert (values[3]["width"], values[3]["height"], values[3]["format"]) == (8, 9, "jpg")
    assert bytes(columns.extras[3].files[0].data) == b"\xff\xd8\xff.."


def test_a_plugin_that_an_event_of_another_shape_named_before_is_the_tags_plugin():
    def tensor(tag, plugin):
        value = Summary.Value(
            tag=tag, tensor=TensorProto(dtype=7, string_val=[b"8", b"9", b"\xff\xd8\xff.."])
        )
        value.tensor.tensor_shape.dim.add(size=3)
        value.metadata.plugin_data.plugin_name = plugin
        return value

    made = [[tensor("a", "text"), tensor("b", "unheard of")], *[[tensor(tag, "images")] for tag in "abc" * 4]]
    payloads = [Event(wall_time=5.0, step=7, summary=Summary(value=values)) for values in made]
    payloads = [event.SerializeToString() for event in payloads]
    data = b"".join(payloads)
    offsets = [len(b"".join(payloads[:n])) for n in range(len(payloads))]
    context = Context(left_out=Counter({"mesh": 1}))
    columns, where = decode_records(data, offsets, [len(part) for part in payloads], range(13), context)
    kinds = [
        (
            record,
            context.tags.tags[tag],
            "text" if extra.text.startswith(b"[") else json.loads(extra.text)["_type"],
        )
        for record, tag, extra in zip(where.tolist(), columns.tag.tolist(), columns.extras, strict=True)
    ]
    expected = [(0, b"a", "text")]
    for first in (1, 4, 7, 10):
        expected += [(first, b"a", "text"), (first + 2, b"c", "images/separated")]
    assert kinds == expected
    assert context.left_out == {"mesh": 1, "tensor of plugin 'unheard of'": 5}


@pytest.mark.parametrize("rows", [20, 200])
@pytest.mark.parametrize("length", [1_200, 7_000, 12_345, 50_000])
def test_long_rows_that_are_shortened_keep_their_crc(rows, length):
    rng = np.random.default_rng(rows)
    width = crc.padded_width(length)
    block = np.zeros((rows, width), dtype=np.uint8)
    block[:, width - length :] = rng.integers(0, 256, (rows, length))
    expected = [masked_crc32c_of(row[width - length :].tobytes()) for row in block]
    assert block.size < crc._WORTH_SHORTENING or length > 2 * crc._SHORTENED
    assert crc.masked_crc_rows(block, length).tolist() == expected


def masked_crc32c_of(data):
    value = google_crc32c.value(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.fixture(params=["compiled", "numpy"])
def some_crc(request, monkeypatch):
    """Each way to a CRC of long records."""
    if request.param == "numpy":
        monkeypatch.setattr(crc, "compiled", lambda: None)
    else:
        assert crc.compiled() is not None


@pytest.mark.parametrize("sizes", [(5_000, 20_000), (30, 3_000), (300, 301)])
def test_every_way_to_a_crc_finds_the_damaged_record(some_crc, sizes):
    rng = random.Random(0)
    payloads = [b"\x09" + rng.randbytes(rng.choice(sizes)) for _ in range(300)]
    whole = bytearray()
    starts = []
    for payload in payloads:
        starts.append(len(whole))
        whole += struct.pack("<QI", len(payload), crc.length_crc(len(payload)))
        whole += payload + struct.pack("<I", crc.masked_crc(payload))
    whole[starts[123] + 20] ^= 1
    damage = records.Damage()

    class Source:
        def read(self, offset, size):
            return bytes(whole[offset : offset + size])

    reader = records.RecordReader(Source(), start=0, end=len(whole), damage=damage, chunk=1 << 18)
    found = [
        chunk.data[offset : offset + length]
        for chunk in reader
        for offset, length in zip(chunk.offsets.tolist(), chunk.lengths.tolist(), strict=True)
    ]
    assert found == payloads[:123] + payloads[124:]
    assert (damage.bad_payloads, damage.resyncs) == (1, 0)


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536, 2**31 - 1, 2**40, 2**64 - 1])
def test_the_crc_of_a_length_is_that_of_its_bytes(some_crc, length):
    assert crc.length_crc(length) == crc.masked_crc(length.to_bytes(8, "little"))
