"""Every kind of event, written by real writers, against what was written and what TensorBoard reads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorboardX
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event, SessionLog, TaggedRunMetadata
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.hparams import summary_v2 as hparams_summary
from tensorboard.util import tensor_util

from wandb_ops.tensorboard.columns import NO_EXTRA, Context
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.reading import DirectoryReader, decode_chunk, decode_chunk_one_by_one
from wandb_ops.tensorboard.records import Damage, RecordReader

NAME = "events.out.tfevents.1700000000.host"


def tensor_event(tag, array, *, plugin="scalars", step=1, wall=5.0, data_class=0):
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=plugin), data_class=data_class
    )
    tensor = array if isinstance(array, TensorProto) else tensor_util.make_tensor_proto(array)
    value = Summary.Value(tag=tag, tensor=tensor, metadata=metadata if plugin or data_class else None)
    return Event(wall_time=wall, step=step, summary=Summary(value=[value]))


def reader_of(folder):
    (directory,) = find_directories(folder)
    return DirectoryReader(directory, since={}, until={file.name: file.size for file in directory.files})


def left_out(folder):
    reader = reader_of(folder)
    list(reader.blocks())
    return dict(reader.left_out)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "float16",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ],
)
def test_tensor_scalars_of_every_numeric_type_keep_their_value(
    tmp_path: Path, append_events, local_rows, dtype
):
    kind = np.dtype(dtype)
    values = [kind.type(0), kind.type(1), kind.type(7)]
    values += (
        [np.iinfo(kind).max, np.iinfo(kind).min] if kind.kind in "iu" else [kind.type(0.1), kind.type(-2.5)]
    )
    events = [tensor_event("x", np.array(value, dtype=kind), step=n) for n, value in enumerate(values)]
    # The same numbers in the typed lists that other writers use instead of raw bytes.
    lists = {"f": "float_val", "i": "int_val", "u": "int_val"}
    name = {
        "float64": "double_val",
        "int64": "int64_val",
        "uint32": "uint32_val",
        "uint64": "uint64_val",
    }.get(dtype, lists[kind.kind])
    for n, value in enumerate(values, start=len(values)):
        proto = tensor_util.make_tensor_proto(np.array(value, dtype=kind))
        bits = (
            int(np.array(value, dtype=kind).view(np.uint16))
            if dtype == "float16"
            else kind.type(value).item()
        )
        listed = TensorProto(dtype=proto.dtype, tensor_shape=proto.tensor_shape)
        getattr(listed, "half_val" if dtype == "float16" else name).append(bits)
        events.append(tensor_event("x", listed, step=n))
    append_events(tmp_path / NAME, events)
    expected = [kind.type(value).item() for value in values] * 2
    found = [row["x"] for row in local_rows(tmp_path)]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_bfloat16_and_booleans_are_read(tmp_path: Path, append_events, local_rows):
    bits = 0x4049  # pi's upper 16 bits as a float32: 3.140625
    raw = TensorProto(dtype=14, tensor_content=bits.to_bytes(2, "little"))
    listed = TensorProto(dtype=14, half_val=[bits])
    append_events(
        tmp_path / NAME,
        [
            tensor_event("b", raw, step=1),
            tensor_event("b", listed, step=2),
            tensor_event("flag", np.array(True), step=3),
        ],
    )
    assert [row.get("b", row.get("flag")) for row in local_rows(tmp_path)] == [3.140625, 3.140625, 1]


def test_a_float32_is_widened_exactly(tmp_path: Path, append_events, scalar_event, local_rows, load_events):
    values = [0.1, 1 / 3, 1e-45, 3.4e38, -0.0, 16777217.0]
    path = append_events(tmp_path / NAME, [scalar_event("x", v, n, 1.0) for n, v in enumerate(values)])
    found = [row["x"] for row in local_rows(tmp_path)]
    assert found == [event.summary.value[0].simple_value for event in load_events(path)]
    assert math.copysign(1, found[4]) == -1


def test_numbers_that_are_not_finite_are_bare_tokens(tmp_path: Path, append_events, scalar_event):
    from wandb_ops.tensorboard.reading import read_lines

    values = [float("nan"), float("inf"), float("-inf"), 1.0]
    append_events(tmp_path / NAME, [scalar_event("x", v, n, 1.0) for n, v in enumerate(values)])
    lines = list(read_lines(tmp_path))
    assert [line.split(b'"x":')[1] for line in lines] == [b"NaN}", b"Infinity}", b"-Infinity}", b"1.0}"]


def test_steps_of_64_bits_and_below_zero_are_exact(tmp_path: Path, append_events, scalar_event, local_rows):
    steps = [0, -1, 2**62 + 1, -(2**63), 2**63 - 1, 127, 128]
    version = Event(
        wall_time=1.0, file_version="brain.Event:2"
    )  # without it, steps that go back are a restart
    append_events(tmp_path / NAME, [version, *[scalar_event("x", 1, step, 1.0) for step in steps]])
    assert [row["global_step"] for row in local_rows(tmp_path)] == steps


def test_the_plugin_of_a_tag_needs_to_be_named_only_once(tmp_path: Path, append_events, local_rows):
    append_events(
        tmp_path / NAME,
        [
            tensor_event("x", np.float32(9), plugin="", step=0),
            tensor_event("x", np.float32(1), step=1),
            tensor_event("x", np.float32(2), plugin="", step=2),
            tensor_event("y", np.float32(3), plugin="", step=3, data_class=1),
        ],
    )
    assert [row.get("x", row.get("y")) for row in local_rows(tmp_path)] == [1.0, 2.0, 3.0]
    assert left_out(tmp_path) == {"tensor without plugin": 1}


def test_histograms_keep_their_counts_and_edges(tmp_path: Path, local_rows):
    writer = tensorboardX.SummaryWriter(str(tmp_path))
    values = np.array([0.5, 1.5, 1.6, 2.5, 2.6, 2.7])
    writer.add_histogram("h", values, 1, bins=[0, 1, 2, 3])
    writer.close()
    (row,) = local_rows(tmp_path)
    assert row["h"] == {"_type": "histogram", "bins": [0.0, 1.0, 2.0, 3.0], "values": [1.0, 2.0, 3.0]}


def test_tensor_histograms_are_read(tmp_path: Path, append_events, local_rows):
    table = np.array([[0.0, 1.0, 3.0], [1.0, 2.0, 4.0]])
    append_events(tmp_path / NAME, [tensor_event("h", table, plugin="histograms")])
    (row,) = local_rows(tmp_path)
    assert row["h"] == {"_type": "histogram", "bins": [0.0, 1.0, 2.0], "values": [3.0, 4.0]}


def test_more_than_512_bins_are_joined_and_lose_no_count(tmp_path: Path, local_rows):
    writer = tensorboardX.SummaryWriter(str(tmp_path))
    values = np.random.default_rng(0).normal(size=20_000)
    writer.add_histogram("h", values, 1, bins=2_000)
    writer.close()
    (row,) = local_rows(tmp_path)
    bins, counts = row["h"]["bins"], row["h"]["values"]
    assert len(counts) <= 512
    assert len(bins) == len(counts) + 1
    assert sum(counts) == 20_000
    assert (bins[0], bins[-1]) == pytest.approx((values.min(), values.max()))
    assert counts == np.histogram(values, bins=bins)[0].tolist()


def test_images_become_files_named_by_their_content(tmp_path: Path, load_events):
    writer = tensorboardX.SummaryWriter(str(tmp_path))
    writer.add_image("one", np.random.default_rng(1).random((3, 4, 5)), 1)
    writer.close()
    (path,) = tmp_path.iterdir()
    encoded = [v.image.encoded_image_string for e in load_events(path) for v in e.summary.value]
    (block,) = reader_of(tmp_path).blocks()
    ((file,),) = block.files.values()
    value = json.loads(b"{" + block.bodies[0][1:] + b"}")["one"]
    assert file.data == encoded[0]
    assert value == {
        "_type": "images/separated",
        "width": 5,
        "height": 4,
        "format": "png",
        "count": 1,
        "filenames": [file.name],
    }


def test_many_images_of_one_tensor_become_many_files(tmp_path: Path, append_events):
    pngs = [b"\x89PNG\r\n\x1a\n" + bytes([n]) for n in range(3)]
    tensor = np.array([b"7", b"9", *pngs], dtype=object)
    append_events(tmp_path / NAME, [tensor_event("many", tensor, plugin="images")])
    (block,) = reader_of(tmp_path).blocks()
    (files,) = block.files.values()
    value = json.loads(b"{" + block.bodies[0][1:] + b"}")["many"]
    assert [file.data for file in files] == pngs
    assert (value["count"], value["width"], value["height"]) == (3, 7, 9)
    assert value["filenames"] == [file.name for file in files]


def test_text_audio_and_pr_curves_are_kept(tmp_path: Path, local_rows):
    writer = tensorboardX.SummaryWriter(str(tmp_path))
    writer.add_text("note", "line one\nline \u2028 two", 1)
    writer.add_pr_curve("pr", np.array([0, 1, 1, 0]), np.array([0.1, 0.8, 0.6, 0.4]), 2, num_thresholds=11)
    writer.close()
    rows = local_rows(tmp_path)
    assert rows[0]["note/text_summary"] == "line one\nline \u2028 two"
    assert (rows[1]["pr"]["_type"], rows[1]["pr"]["nrows"]) == ("table-file", 11)


def test_several_clips_of_one_tensor_become_several_files(tmp_path: Path, append_events):
    rows = [[b"RIFF one", b"first"], [b"RIFF two", b""]]
    append_events(
        tmp_path / NAME,
        [
            tensor_event("many", np.array(rows, dtype=object), plugin="audio", step=1),
            tensor_event("one", np.array(rows[:1], dtype=object), plugin="audio", step=2),
            tensor_event("bare", np.array([b"RIFF a", b"RIFF b"], dtype=object), plugin="audio", step=3),
        ],
    )
    blocks = list(reader_of(tmp_path).blocks())
    many, one, bare = (json.loads(b"{" + body[1:] + b"}") for block in blocks for body in block.bodies)
    files = blocks[0].files[0]
    assert [file.data for file in files] == [b"RIFF one", b"RIFF two"]
    assert [clip["path"] for clip in many["many"]["audio"]] == [file.name for file in files]
    assert (many["many"]["_type"], many["many"]["count"]) == ("audio", 2)
    assert many["many"]["captions"] == ["first", ""]
    assert (one["one"]["_type"], one["one"]["caption"]) == ("audio-file", "first")
    assert bare["bare"]["count"] == 2 and "captions" not in bare["bare"]


def test_audio_becomes_a_file(tmp_path: Path, append_events):
    audio = Summary.Audio(encoded_audio_string=b"RIFF....WAVE", content_type="audio/wav", sample_rate=8000)
    value = Summary.Value(tag="sound", audio=audio)
    append_events(tmp_path / NAME, [Event(step=1, wall_time=2.0, summary=Summary(value=[value]))])
    (block,) = reader_of(tmp_path).blocks()
    ((file,),) = block.files.values()
    assert file.data == b"RIFF....WAVE"
    assert b'"audio-file"' in block.bodies[0]


def test_hyperparameters_are_learnt(tmp_path: Path, append_events):
    given_hparams = {"lr": 0.001, "layers": 3, "opt": "adam", "nesterov": True}
    event = Event(step=0, wall_time=1.0, summary=hparams_summary.hparams_pb(given_hparams))
    append_events(tmp_path / NAME, [event])
    reader = reader_of(tmp_path)
    assert list(reader.blocks()) == []
    assert reader.context.hparams == given_hparams
    assert [type(reader.context.hparams[key]) for key in given_hparams] == [float, int, str, bool]


def test_what_gives_no_row_is_counted_by_reason(tmp_path: Path, append_events, scalar_event):
    append_events(
        tmp_path / NAME,
        [
            Event(wall_time=1.0, file_version="brain.Event:2"),
            Event(wall_time=1.0, graph_def=b"graph"),
            Event(wall_time=1.0, tagged_run_metadata=TaggedRunMetadata(tag="a", run_metadata=b"x")),
            Event(wall_time=1.0, session_log=SessionLog(status=SessionLog.CHECKPOINT)),
            scalar_event("", 1, 1, 1.0),
            tensor_event("mesh", np.zeros((1, 2, 3)), plugin="mesh"),
            tensor_event("v", np.zeros(3)),
            tensor_event("c", np.complex64(1)),
        ],
    )
    assert left_out(tmp_path) == {
        "graph": 1,
        "run metadata": 1,
        "empty tag": 1,
        "mesh": 1,
        "scalar tensor of more than one element": 1,
        "tensor dtype 8": 1,
    }


def both_ways(folder, chunk):
    """The values of the folder's one directory by both decoders: (tag, step, wall, value or text)."""
    results = []
    (directory,) = find_directories(folder)
    for decode in (decode_chunk, decode_chunk_one_by_one):
        context, values = Context(), []
        for file in directory.files:
            for part in RecordReader(file, start=0, end=file.size, damage=Damage(), chunk=chunk):
                columns = decode(part, context)
                for n in range(len(columns)):
                    extra = columns.extra[n]
                    value = columns.value[n].tobytes() if extra == NO_EXTRA else columns.extras[extra].text
                    values.append(
                        (
                            context.tags.tags[columns.tag[n]],
                            int(columns.step[n]),
                            columns.wall[n].tobytes(),
                            value,
                        )
                    )
        results.append((values, dict(context.left_out), context.hparams))
    return results


TAGS = st.one_of(
    st.sampled_from(["a", "bb", "loss/train", "loss/valid", "an/eighteen/chars"]), st.text(max_size=20)
)
STEPS = st.one_of(st.integers(0, 300), st.integers(-(2**63), 2**63 - 1))
FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@st.composite
def event_groups(draw):
    """A run of events of one kind, long enough for a template, as writers produce them."""
    kind = draw(
        st.sampled_from(["simple", "many", "tensor", "double", "half", "int", "text", "named", "timeless"])
    )
    count = draw(st.integers(1, 60))
    tag = draw(TAGS)
    tags = [tag, *draw(st.lists(TAGS, max_size=3))]
    step, value = draw(STEPS), draw(FLOATS)
    events = []
    for n in range(count):
        at = (step + n) if step + n < 2**63 else step
        name, number = tags[n % len(tags)], value + n
        wall = 1.5e9 + n / 7
        simple = Summary.Value(tag=name, simple_value=np.float32(number))
        if kind == "simple":
            events.append(Event(wall_time=wall, step=at, summary=Summary(value=[simple])))
        elif kind == "timeless":
            events.append(Event(step=at, summary=Summary(value=[simple])))
        elif kind == "named":
            simple.metadata.display_name = "shown"
            events.append(Event(wall_time=wall, step=at, summary=Summary(value=[simple])))
        elif kind == "many":
            pair = [simple, Summary.Value(tag=tag + "2", simple_value=1.0)]
            events.append(Event(wall_time=wall, step=at, summary=Summary(value=pair)))
        elif kind == "text":
            events.append(
                tensor_event(name, np.array([b"some text"], dtype=object), plugin="text", step=at, wall=wall)
            )
        else:
            dtype = {"tensor": "f4", "double": "f8", "half": "f2", "int": "i8"}[kind]
            with np.errstate(over="ignore"):  # too large for a half: infinity
                item = np.array(0 if kind == "int" else number, dtype=dtype)
            events.append(
                tensor_event(name, item, step=at, wall=wall, plugin=draw(st.sampled_from(["scalars", ""])))
            )
    return events


@settings(max_examples=80, deadline=None)
@given(
    groups=st.lists(event_groups(), min_size=1, max_size=6),
    shuffled=st.randoms(),
    chunk=st.sampled_from([500, 1 << 20]),
)
def test_templates_and_the_reference_decoder_give_the_same(
    tmp_path_factory, append_events, groups, shuffled, chunk
):
    folder = tmp_path_factory.mktemp("events")
    events = [event for group in groups for event in group]
    if len(groups) % 2:
        shuffled.shuffle(events)
    append_events(folder / NAME, events)
    fast, reference = both_ways(folder, chunk)
    assert fast == reference


def test_thousands_of_tags_are_told_apart(tmp_path: Path, append_events, scalar_event, local_rows):
    tags = [f"layer_{n:05d}/weight" for n in range(3_000)] + [f"é{n}" for n in range(2_000)]
    append_events(tmp_path / NAME, [scalar_event(tag, n, 1, 1.0) for n, tag in enumerate(tags)])
    (row,) = local_rows(tmp_path)
    assert {key: row[key] for key in tags} == {tag: float(n) for n, tag in enumerate(tags)}


def test_a_tensor_may_list_less_than_it_holds(tmp_path: Path, append_events, local_rows):
    """Of typed lists the last item stands for all that follow, and a zero may be written as nothing."""
    shape = {"dim": [{"size": 1}]}
    table = TensorProto(dtype=2, tensor_shape={"dim": [{"size": 2}, {"size": 3}]}, double_val=[0.0, 1.0, 5.0])
    append_events(
        tmp_path / NAME,
        [
            tensor_event("zero", TensorProto(dtype=1, tensor_shape=shape), step=1),
            tensor_event("h", table, plugin="histograms", step=2),
        ],
    )
    zero, histogram = local_rows(tmp_path)
    assert zero["zero"] == 0.0
    # Rows (0, 1, 5) and (5, 5, 5) of left edge, right edge and count.
    assert histogram["h"] == {"_type": "histogram", "bins": [0.0, 5.0, 5.0], "values": [5.0, 5.0]}


def test_audio_that_names_no_type_is_taken_for_a_wave_file(tmp_path: Path, append_events, local_rows):
    clips = [("", "wav"), ("audio/FLAC", "flac"), ("video/mp4", None)]
    values = [
        Summary.Value(tag=f"clip{n}", audio=Summary.Audio(encoded_audio_string=b"sound", content_type=kind))
        for n, (kind, _) in enumerate(clips)
    ]
    append_events(tmp_path / NAME, [Event(step=1, wall_time=2.0, summary=Summary(value=values))])
    (row,) = local_rows(tmp_path)
    found = [row[f"clip{n}"]["path"].rpartition(".")[2] if f"clip{n}" in row else None for n in range(3)]
    assert found == [suffix for _, suffix in clips]
    assert left_out(tmp_path) == {"audio of unknown format": 1}


def test_outer_bins_without_an_end_get_the_smallest_and_largest_value(
    tmp_path: Path, append_events, local_rows
):
    """TF1 closes them with the largest double: nothing could be drawn to that scale."""
    huge = float(np.finfo(np.float64).max)
    histograms = [
        {"min": -3, "max": 7, "bucket_limit": [-huge, 0, 1, huge], "bucket": [0, 2, 3, 4]},
        {"min": -3, "max": 7, "bucket_limit": [0, 1, huge], "bucket": [2, 3, 4]},
    ]
    values = [Summary.Value(tag=f"h{n}", histo=histogram) for n, histogram in enumerate(histograms)]
    append_events(tmp_path / NAME, [Event(step=1, wall_time=2.0, summary=Summary(value=values))])
    (row,) = local_rows(tmp_path)
    expected = {"_type": "histogram", "bins": [-3.0, 0.0, 1.0, 7.0], "values": [2.0, 3.0, 4.0]}
    assert (row["h0"], row["h1"]) == (expected, expected)


def test_hyperparameters_of_tf2_are_not_counted_as_left_out(tmp_path: Path, append_events):
    """TF2 writes a tensor of nothing beside them."""
    summary = hparams_summary.hparams_pb({"lr": 0.5})
    for value in summary.value:
        value.tensor.CopyFrom(TensorProto(dtype=1, tensor_shape={}))
    append_events(tmp_path / NAME, [Event(step=0, wall_time=1.0, summary=summary)])
    assert left_out(tmp_path) == {}
