"""Writers that start again: what TensorBoard forgets then, and what a sync can, which takes no row back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorboardX
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as Shown
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.util import tensor_util

from wandb_ops.tensorboard import restarts, sync_directory
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.merge import merged
from wandb_ops.tensorboard.reading import TAKEN_BACK, DirectoryReader
from wandb_ops.tensorboard.records import CHUNK

NAME = "events.out.tfevents.100.host"


def version(number=2):
    return Event(wall_time=1.0, file_version=f"brain.Event:{number}")


def start(step, **more):
    return Event(wall_time=2.0, step=step, session_log=SessionLog(status=SessionLog.START, **more))


def scalar(tag, value, step):
    return Event(
        wall_time=100.0 + value,
        step=step,
        summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]),
    )


def survivors(folder):
    """The values that TensorBoard keeps; in these tests each value is another number."""
    accumulator = EventAccumulator(str(folder), {"scalars": 0}, purge_orphaned_data=True).Reload()
    return {int(e.value) for tag in accumulator.Tags()["scalars"] for e in accumulator.Scalars(tag)}


def rows_of_events(events, kept):
    """Rows by the rules of the documentation, spelled out naively."""
    rows = []
    for event in events:
        for value in event.summary.value:
            if int(value.simple_value) not in kept:
                continue
            if not rows or rows[-1]["global_step"] != event.step:
                rows.append({"global_step": event.step})
            rows[-1][value.tag] = value.simple_value
    return rows


def play(folder, *, since=None, until=None, chunk=CHUNK):
    """The rows of one pass without their times, and what it left out."""
    (directory,) = find_directories(folder)
    until = until or {file.name: file.size for file in directory.files}
    reader = DirectoryReader(directory, since=since or {}, until=until, chunk=chunk)
    rows = []
    for block in merged([reader.blocks()]):
        rows += [json.loads(line) for line in block.lines(0, len(block), first_line=0, origin=0.0)]
    bare = [{k: v for k, v in row.items() if k not in {"_step", "_runtime", "_timestamp"}} for row in rows]
    return bare, dict(reader.left_out)


@st.composite
def histories(draw):
    """The events of one or more files: steps that jump, starts anywhere, versions old, new, odd or none."""
    files, number = [], 0
    for _ in range(draw(st.integers(1, 3))):
        said = draw(
            st.sampled_from([[version()], [version()], [version()], [version(1)], [version("x")], []])
        )
        events = [*said]
        for _ in range(draw(st.integers(0, 14))):
            number += 1
            kind = draw(st.sampled_from(["value"] * 7 + ["start", "start", "long start", "stop", "graph"]))
            step = draw(st.integers(0, 6))
            if kind == "value":
                values = [
                    Summary.Value(tag=f"t{draw(st.integers(0, 2))}", simple_value=number * 10 + nth)
                    for nth in range(draw(st.sampled_from([1, 1, 1, 2])))
                ]
                events.append(Event(wall_time=100.0 + number, step=step, summary=Summary(value=values)))
            elif kind == "start":
                events.append(start(step))
            elif kind == "long start":
                events.append(start(step, checkpoint_path="/model", msg="m" * draw(st.integers(0, 300))))
            elif kind == "stop":
                events.append(Event(step=step, session_log=SessionLog(status=SessionLog.STOP)))
            else:
                events.append(Event(step=step, graph_def=b"graph"))
        files.append(events)
    return files


@settings(max_examples=150, deadline=None)
@given(files=histories(), chunk=st.sampled_from([40, 100, 700, CHUNK]))
def test_one_pass_keeps_what_tensorboard_keeps(tmp_path_factory, append_events, files, chunk):
    folder = tmp_path_factory.mktemp("log")
    for nth, events in enumerate(files):
        append_events(folder / f"events.out.tfevents.{100 + nth}.h", events)
    every = [event for events in files for event in events]
    assert play(folder, chunk=chunk)[0] == rows_of_events(every, survivors(folder))


@settings(max_examples=80, deadline=None)
@given(files=histories(), data=st.data())
def test_a_second_pass_takes_back_only_what_was_not_sent(tmp_path_factory, append_events, files, data):
    """Any cut: the first pass is what TensorBoard shows then; the second adds what it shows of the rest."""
    early, late = tmp_path_factory.mktemp("early"), tmp_path_factory.mktemp("late")
    every = [(nth, event) for nth, events in enumerate(files) for event in events]
    cut = data.draw(st.integers(0, len(every)))
    for position, (nth, event) in enumerate(every):
        for folder in (early, late) if position < cut else (late,):
            append_events(folder / f"events.out.tfevents.{100 + nth}.h", [event])
    if not any(late.iterdir()):
        return
    sizes = {path.name: path.stat().st_size for path in early.iterdir()}
    seen = {path.name: sizes.get(path.name, 0) for path in late.iterdir()}
    first = play(late, until=seen)[0] if cut else []
    kept = survivors(early) if cut else set()
    assert first == rows_of_events([event for _, event in every[:cut]], kept)
    second, _ = play(late, since=seen)
    assert second == rows_of_events([event for _, event in every[cut:]], survivors(late))


def test_a_start_in_the_middle_of_a_file_is_counted(tmp_path, append_events):
    values = [scalar("x", n, n) for n in range(6)]
    append_events(tmp_path / NAME, [version(), *values, start(3), *[scalar("x", 10 + n, n) for n in (3, 4)]])
    rows, left_out = play(tmp_path)
    assert [row["x"] for row in rows] == [0, 1, 2, 13, 14]
    assert left_out == {TAKEN_BACK: 3}


def test_the_purge_step_of_a_summary_writer_takes_back_what_it_says(tmp_path):
    """tensorboardX, as torch, writes the START for `purge_step`, once in a new file of the directory."""
    with tensorboardX.SummaryWriter(str(tmp_path), filename_suffix=".a") as writer:
        for step in range(8):
            writer.add_scalar("x", step, step, walltime=10.0 + step)
    with tensorboardX.SummaryWriter(str(tmp_path), purge_step=5, filename_suffix=".b") as writer:
        writer.add_scalar("x", 55, 5, walltime=50.0)
    # Both may have been opened in the same second; the one that was opened later is to be the later one.
    (late,) = tmp_path.glob("*.b")
    late.rename(tmp_path / "events.out.tfevents.9999999999.host.b")
    rows, _ = play(tmp_path)
    assert [row["x"] for row in rows] == [0, 1, 2, 3, 4, 55]
    assert {int(row["x"]) for row in rows} == survivors(tmp_path)


def test_histograms_and_text_are_taken_back_too(tmp_path):
    """As on TensorBoard's pages, whose loader makes tensors of all values; `EventAccumulator` spares text."""
    with tensorboardX.SummaryWriter(str(tmp_path)) as writer:
        messages = tensorboardX.proto.event_pb2
        again = messages.SessionLog(status=SessionLog.START)
        writer.file_writer.add_event(messages.Event(step=0, session_log=again))  # the pages spare the first
        for step in range(20):
            writer.add_histogram("h", np.arange(5.0), step, bins=4)
            writer.add_text("note", f"step {step}", step)
        writer.file_writer.add_event(messages.Event(step=10, session_log=again))
        writer.add_text("note", "again", 10)
    accumulator = Shown(str(tmp_path), {"tensors": 0}).Reload()
    rows, _ = play(tmp_path)
    assert [row["global_step"] for row in rows if "h" in row] == [
        event.step for event in accumulator.Tensors("h")
    ]
    assert [row["note/text_summary"] for row in rows if "note/text_summary" in row] == [
        event.tensor_proto.string_val[0].decode() for event in accumulator.Tensors("note/text_summary")
    ]


def test_rows_that_were_sent_stay_and_the_next_sync_takes_back_only_its_own(
    tmp_path, append_events, transport, wandb_server
):
    def sync():
        return sync_directory(transport, tmp_path, entity=wandb_server.entity, project="tb", run_id="r")

    append_events(tmp_path / NAME, [version(), *[scalar("x", n, n) for n in range(4)]])
    sync()
    sent = wandb_server.run("tb", "r").history_rows()
    later = [scalar("x", 4, 4), scalar("x", 5, 5), start(2), scalar("x", 12, 2), scalar("x", 13, 3)]
    append_events(tmp_path / NAME, later)
    done = sync()
    rows = wandb_server.run("tb", "r").history_rows()
    assert rows[:4] == sent
    assert [(row["global_step"], row["x"]) for row in rows[4:]] == [(2, 12), (3, 13)]
    assert done.left_out == {TAKEN_BACK: 2}
    assert wandb_server.run("tb", "r").summary["x"] == 13
    assert sync().rows == 0


def test_a_start_whose_record_is_damaged_is_none(tmp_path, append_events):
    path = append_events(tmp_path / NAME, [version(), *[scalar("x", n, n) for n in range(4)]])
    before = path.stat().st_size
    append_events(path, [start(1), scalar("x", 9, 9)])
    data = bytearray(path.read_bytes())
    data[before + 14] ^= 1  # its wall time; the frame is whole
    path.write_bytes(data)
    rows, left_out = play(tmp_path)
    assert ([row["x"] for row in rows], left_out) == ([0, 1, 2, 3, 9], {})


def test_a_damaged_file_version_does_not_make_a_file_old(tmp_path, append_events):
    path = append_events(tmp_path / NAME, [version(), *[scalar("x", n, s) for n, s in enumerate((5, 6, 1))]])
    data = bytearray(path.read_bytes())
    data[14] ^= 1
    path.write_bytes(data)
    assert [row["x"] for row in play(tmp_path)[0]] == [0, 1, 2]


def test_a_start_within_a_value_is_text(tmp_path, append_events):
    inner = append_events(tmp_path / "inner.tfevents.1", [start(0)]).read_bytes()
    (tmp_path / "inner.tfevents.1").unlink()
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    tensor = tensor_util.make_tensor_proto(np.array([inner], dtype=object))
    text = Event(step=3, summary=Summary(value=[Summary.Value(tag="raw", tensor=tensor, metadata=metadata)]))
    append_events(tmp_path / NAME, [version(), scalar("x", 1, 1), text, scalar("x", 2, 4)])
    assert restarts._suspects(find_directories(tmp_path)[0].files[0], 0, 10_000, CHUNK)
    assert [row.get("x") for row in play(tmp_path)[0]] == [1, None, 2]


@pytest.mark.parametrize("chunk", [64, CHUNK])
def test_a_start_in_a_later_file_reaches_all_files_before_it(tmp_path, append_events, chunk):
    append_events(tmp_path / "events.out.tfevents.1.h", [version(), scalar("x", 1, 1), scalar("x", 2, 7)])
    append_events(tmp_path / "events.out.tfevents.2.h", [version(), scalar("x", 3, 2), scalar("y", 4, 8)])
    append_events(
        tmp_path / "events.out.tfevents.3.h", [version(), scalar("x", 5, 9), start(7), scalar("x", 6, 7)]
    )
    rows, left_out = play(tmp_path, chunk=chunk)
    assert [row["global_step"] for row in rows] == [1, 2, 7]
    assert left_out == {TAKEN_BACK: 3}
    assert {int(v) for row in rows for k, v in row.items() if k != "global_step"} == survivors(tmp_path)
