"""What W&B takes no more of than so much: long lines, long summaries; and what memory holds."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.util import tensor_util

from wandb_ops.protocol import filestream
from wandb_ops.tensorboard import beside, rows, sync_directory
from wandb_ops.tensorboard.reading import read_lines

VERSION = Event(wall_time=1.0, file_version="brain.Event:2")
NAME = "events.out.tfevents.1700000000.host"
PROJECT = "tb"


def text_event(tag, text, step):
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    tensor = tensor_util.make_tensor_proto(np.array([text.encode()], dtype=object))
    value = Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
    return Event(wall_time=10.0 + step, step=step, summary=Summary(value=[value]))


def histogram_event(tag, step, count):
    histogram = HistogramProto(min=0, max=2, bucket_limit=[1, 2], bucket=[1, count])
    value = Summary.Value(tag=tag, histo=histogram)
    return Event(wall_time=10.0 + step, step=step, summary=Summary(value=[value]))


@pytest.fixture
def sync(wandb_server, transport):
    def call(folder):
        return sync_directory(transport, folder, entity=wandb_server.entity, project=PROJECT, run_id="r")

    return call


def test_the_longest_row_is_shorter_than_the_longest_line():
    assert rows._LONGEST_ROW + 1_000 < filestream.MAX_LINE
    assert beside._LONGEST + 1_000 < filestream.MAX_LINE


def test_a_step_of_more_than_a_line_becomes_several_rows_without_a_loss(
    tmp_path, append_events, scalar_event, local_rows, monkeypatch
):
    monkeypatch.setattr(rows, "_LONGEST_ROW", 400)
    events = [VERSION]
    for step in range(3):
        events += [histogram_event(f"h{n}", step, n) for n in range(10)]
        events += [scalar_event(f"s{n}", n, step, 10.0 + step) for n in range(10)]
        events += [scalar_event("s0", 99, step, 10.0 + step)]  # the last of a tag counts
    append_events(tmp_path / NAME, [*events, scalar_event("small", 1, 3, 14.0)])
    found = local_rows(tmp_path)
    assert found == local_rows(tmp_path, chunk=300)
    assert max(len(line) for line in read_lines(tmp_path)) < 400 + 100
    assert [row["_step"] for row in found] == [*range(len(found))]
    whole = {}
    for row in found:
        values = {key: row[key] for key in row if key[0] != "_" and key != "global_step"}
        step = whole.setdefault(row["global_step"], {})
        assert not step.keys() & values.keys()
        step.update(values)
    of_a_step = {
        **{f"h{n}": {"_type": "histogram", "bins": [0.0, 1.0, 2.0], "values": [1.0, n]} for n in range(10)},
        **{f"s{n}": float(n) for n in range(10)},
        "s0": 99.0,
    }
    assert whole == {0: of_a_step, 1: of_a_step, 2: of_a_step, 3: {"small": 1.0}}


def test_files_of_a_step_in_several_rows_stay_with_their_values(tmp_path, append_events, monkeypatch):
    from wandb_ops.tensorboard.discover import find_directories
    from wandb_ops.tensorboard.reading import DirectoryReader

    monkeypatch.setattr(rows, "_LONGEST_ROW", 400)
    events = [VERSION]
    for n in range(6):
        image = Summary.Image(height=1, width=1, encoded_image_string=b"\x89PNG\r\n\x1a\n" + bytes([n]))
        value = Summary.Value(tag=f"i{n}", image=image)
        events.append(Event(wall_time=1.0, step=1, summary=Summary(value=[value])))
    append_events(tmp_path / NAME, events)
    (directory,) = find_directories(tmp_path)
    (block,) = DirectoryReader(directory, since={}, until={NAME: directory.files[0].size}).blocks()
    assert len(block) == 3
    assert block.media.tolist() == [2, 2, 2]
    for row, body in enumerate(block.bodies):
        values = json.loads(b"{" + body[1:] + b"}").values()
        assert [value["filenames"][0] for value in values] == [file.name for file in block.files[row]]


def test_a_value_that_fits_no_line_is_counted_and_what_is_beside_it_kept(
    sync, wandb_server, tmp_path, append_events, scalar_event
):
    events = [VERSION, scalar_event("x", 1, 1, 11.0), text_event("log", "y" * (10 << 20), 1)]
    append_events(tmp_path / NAME, [*events, scalar_event("x", 2, 2, 12.0)])
    done = sync(tmp_path)
    assert (done.rows, done.left_out) == (2, {"value too long for a history line": 1})
    assert [row["x"] for row in wandb_server.run(PROJECT, "r").history_rows()] == [1, 2]


def test_a_summary_that_would_be_too_long_leaves_the_largest_values_to_the_history(
    sync, wandb_server, tmp_path, append_events, scalar_event, monkeypatch
):
    monkeypatch.setattr(beside, "_LONGEST", 3_000)
    append_events(
        tmp_path / NAME,
        [
            VERSION,
            scalar_event("x", 1, 1, 11.0),
            text_event("short", "z", 1),
            text_event("long", "y" * 4_000, 1),
        ],
    )
    sync(tmp_path)
    run = wandb_server.run(PROJECT, "r")
    assert (run.summary["x"], run.summary["short"], "long" in run.summary) == (1, "z", False)
    assert run.history_rows()[0]["long"] == "y" * 4_000
    append_events(tmp_path / NAME, [scalar_event("x", 2, 2, 12.0)])
    assert sync(tmp_path).rows == 1


@pytest.mark.parametrize("kind", ["scalars", "texts"])
def test_memory_holds_a_chunk_of_a_file_and_not_the_file(tmp_path, append_events, scalar_event, kind):
    def event(n):
        return scalar_event("x", n, n, float(n)) if kind == "scalars" else text_event("t", "y" * 40_000, n)

    path = append_events(tmp_path / NAME, [VERSION, *map(event, range(250))])
    whole = path.read_bytes()
    first = len(VERSION.SerializeToString()) + 16
    # The same events again and again, and each time the steps go back: a long file that is quickly written.
    with path.open("ab") as file:
        file.writelines([whole[first:]] * (600 if kind == "scalars" else 1))
    size = path.stat().st_size
    assert sum(1 for _ in read_lines(tmp_path, chunk=1 << 16))  # what is loaded once does not count
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines(tmp_path, chunk=1 << 16)) == (
            250 * 601 if kind == "scalars" else 500
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 3
