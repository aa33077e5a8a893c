"""Whatever the files, cuts and looks: the same rows, each value once."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.util import tensor_util

from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.holding import before_open_rows
from wandb_ops.tensorboard.merge import merged
from wandb_ops.tensorboard.reading import DirectoryReader

VERSION = Event(wall_time=1.0, file_version="brain.Event:2")  # every writer begins with it


def value_of(kind, tag, number):
    if kind == "scalar":
        return Summary.Value(tag=tag, simple_value=number)
    if kind == "histogram":
        return Summary.Value(
            tag=tag, histo=HistogramProto(min=0, max=2, bucket_limit=[1, 2], bucket=[1, number])
        )
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name="text" if kind == "text" else "scalars")
    )
    array = np.array([str(number).encode()], dtype=object) if kind == "text" else np.int32(number)
    return Summary.Value(tag=tag, tensor=tensor_util.make_tensor_proto(array), metadata=metadata)


@st.composite
def streams(draw):
    """One directory's events: steps that stay, grow and go back; several kinds; several values per event."""
    step, found = 0, []
    for number in range(draw(st.integers(1, 22))):
        step += draw(st.sampled_from([0, 0, 1, 1, 3, -2]))
        kinds = draw(
            st.lists(
                st.sampled_from(["scalar", "scalar", "histogram", "text", "int"]), min_size=0, max_size=2
            )
        )
        values = [value_of(kind, f"{kind}{draw(st.integers(0, 1))}", number) for kind in kinds]
        found.append(Event(wall_time=100.0 + number, step=step, summary=Summary(value=values)))
    return found


def bare(rows):
    """Rows without what depends on their place in the whole."""
    return [{key: value for key, value in row.items() if key not in {"_step", "_runtime"}} for row in rows]


def play(folder, since, until):
    """The rows of one pass, and where it ended."""
    readers = [DirectoryReader(directory, since=since, until=until) for directory in find_directories(folder)]
    rows = []
    for block in merged([reader.blocks() for reader in readers]):
        rows += [json.loads(line) for line in block.lines(0, len(block), first_line=0, origin=0.0)]
    return bare(rows), {name: at for reader in readers for name, at in reader.positions.items()}


def sizes_of(folder):
    return {file.name: file.size for directory in find_directories(folder) for file in directory.files}


def write(folder, append_events, events, cuts):
    """The events in one file per part; a writer closes one file before it opens the next."""
    bounds = [0, *sorted(cuts), len(events)]
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        append_events(folder / f"events.out.tfevents.{100 + number}.h", [VERSION, *events[start:end]])


@settings(max_examples=60, deadline=None)
@given(events=streams(), data=st.data())
def test_any_split_into_files_gives_the_rows_of_one_file(tmp_path_factory, append_events, events, data):
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    write(one, append_events, events, [])
    write(many, append_events, events, data.draw(st.lists(st.integers(0, len(events)), max_size=3)))
    assert play(many, {}, sizes_of(many))[0] == play(one, {}, sizes_of(one))[0]


@settings(max_examples=60, deadline=None)
@given(events=streams(), data=st.data())
def test_any_looks_at_growing_files_give_the_rows_of_one_pass(tmp_path_factory, append_events, events, data):
    done, growing = tmp_path_factory.mktemp("done"), tmp_path_factory.mktemp("growing")
    write(done, append_events, events, data.draw(st.lists(st.integers(0, len(events)), max_size=2)))
    whole, _ = play(done, {}, sizes_of(done))
    paths = sorted(done.iterdir())
    content = [path.read_bytes() for path in paths]
    total = sum(map(len, content))
    rows, since = [], {}
    for seen in [*sorted(data.draw(st.lists(st.integers(0, total), max_size=4))), total]:
        left = seen
        for path, written in zip(paths, content, strict=True):
            part, left = written[: max(0, left)], left - len(written)
            if part:
                (growing / path.name).write_bytes(part)
        if not sizes_of(growing):
            continue
        until = before_open_rows(find_directories(growing), since)
        more, positions = play(growing, since, until)
        rows += more
        since |= positions
        assert rows == whole[: len(rows)]
    rows += play(growing, since, sizes_of(growing))[0]
    assert rows == whole


@settings(max_examples=60, deadline=None)
@given(events=streams(), data=st.data())
def test_a_wrong_byte_costs_only_the_event_that_it_is_in(tmp_path_factory, append_events, events, data):
    # Plugins are named in every event here, so that no other event needs the one that is lost.
    damaged, without = tmp_path_factory.mktemp("damaged"), tmp_path_factory.mktemp("without")
    closing = Event(wall_time=900.0, step=99, summary=Summary(value=[value_of("scalar", "end", 1)] * 9))
    hit = data.draw(st.integers(0, len(events) - 1))
    write(damaged, append_events, [*events, closing], [])
    write(without, append_events, [*events[:hit], *events[hit + 1 :], closing], [])
    (path,) = damaged.iterdir()
    start = sum(len(event.SerializeToString()) + 16 for event in [VERSION, *events[:hit]])
    size = len(events[hit].SerializeToString()) + 16
    torn = bytearray(path.read_bytes())
    torn[start + data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(torn)
    assert play(damaged, {}, sizes_of(damaged))[0] == play(without, {}, sizes_of(without))[0]


@pytest.mark.parametrize("writer", ["tensorboardX", "torch"])
def test_every_writer_is_read_as_tensorboard_reads_it(tmp_path, writer):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if writer == "torch":
        summary_writer = pytest.importorskip("torch.utils.tensorboard").SummaryWriter
    else:
        from tensorboardX import SummaryWriter as summary_writer  # noqa: N813  # as torch names it

    rng = np.random.default_rng(0)
    with summary_writer(str(tmp_path)) as log:
        for step in range(50):
            log.add_scalar("loss", rng.random(), step)
            if step % 10 == 0:
                log.add_histogram("weights", rng.normal(size=300), step)
                log.add_image("picture", rng.random((3, 6, 7)), step)
                log.add_text("note", f"step {step}", step)
    accumulator = EventAccumulator(str(tmp_path), {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    rows = play(tmp_path, {}, sizes_of(tmp_path))[0]

    def column(tag):
        return [(row["global_step"], row[tag]) for row in rows if tag in row]

    assert column("loss") == [(event.step, event.value) for event in accumulator.Scalars("loss")]
    notes = accumulator.Tensors("note/text_summary")
    assert column("note/text_summary") == [(e.step, e.tensor_proto.string_val[0].decode()) for e in notes]
    for (step, ours), event in zip(column("weights"), accumulator.Histograms("weights"), strict=True):
        assert (step, sum(ours["values"])) == (event.step, 300)
        assert ours["bins"][-1] == event.histogram_value.bucket_limit[-1]
        assert set(ours["bins"]) <= {event.histogram_value.min, *event.histogram_value.bucket_limit}
    assert [(step, (image["width"], image["height"])) for step, image in column("picture")] == [
        (event.step, (7, 6)) for event in accumulator.Images("picture")
    ]
