"""Which values share a row, in which order rows come, and that the folder alone decides it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorboardX
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from wandb_ops.errors import NotFoundError
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.merge import merged
from wandb_ops.tensorboard.reading import DirectoryReader

VERSION = Event(wall_time=1.0, file_version="brain.Event:2")  # every writer begins with it
NAME = "events.out.tfevents.1700000000.host"


def bare(rows):
    """Rows without what depends on their place in the whole."""
    return [{key: value for key, value in row.items() if key not in {"_step", "_runtime"}} for row in rows]


def test_consecutive_values_of_one_step_share_a_row(tmp_path: Path, append_events, scalar_event, local_rows):
    events = [
        VERSION,
        scalar_event("loss", 1, 0, 1000.0),
        scalar_event("acc", 0.5, 0, 1001.0),
        scalar_event("loss", 2, 1, 1002.0),
        scalar_event("loss", 3, 1, 1003.0),
        scalar_event("loss", 4, 0, 1004.0),
    ]
    append_events(tmp_path / "train" / NAME, events)
    assert local_rows(tmp_path) == [
        {
            "_step": 0,
            "_timestamp": 1001.0,
            "_runtime": 0.0,
            "global_step": 0,
            "train/loss": 1,
            "train/acc": 0.5,
        },
        {"_step": 1, "_timestamp": 1003.0, "_runtime": 2.0, "global_step": 1, "train/loss": 3},
        {"_step": 2, "_timestamp": 1004.0, "_runtime": 3.0, "global_step": 0, "train/loss": 4},
    ]


def test_events_without_values_do_not_part_a_row(tmp_path: Path, append_events, scalar_event, local_rows):
    events = [
        scalar_event("a", 1, 7, 1.0),
        Event(wall_time=1.5, step=0, graph_def=b"g"),
        scalar_event("b", 2, 7, 2.0),
    ]
    append_events(tmp_path / NAME, events)
    assert bare(local_rows(tmp_path)) == [{"_timestamp": 2.0, "global_step": 7, "a": 1, "b": 2}]


def test_directories_are_merged_by_wall_time_and_ties_by_name(
    tmp_path: Path, append_events, scalar_event, local_rows
):
    for name, walls in {"b": [1.0, 3.0, 5.0], "a": [2.0, 3.0, 4.0], "": [3.0]}.items():
        events = [scalar_event("x", wall, n, wall) for n, wall in enumerate(walls)]
        append_events(tmp_path / name / NAME, events)
    order = [next(key for key in row if key.endswith("x")) for row in local_rows(tmp_path)]
    assert order == ["b/x", "a/x", "x", "a/x", "b/x", "a/x", "b/x"]


def test_a_clock_that_goes_back_does_not_change_a_directorys_order(
    tmp_path: Path, append_events, scalar_event, local_rows
):
    walls = [5.0, 1.0, 2.0, 9.0]
    append_events(tmp_path / "a" / NAME, [scalar_event("x", n, n, wall) for n, wall in enumerate(walls)])
    append_events(tmp_path / "b" / NAME, [scalar_event("x", 0, 0, 6.0)])
    rows = local_rows(tmp_path)
    assert [row.get("a/x", "b") for row in rows] == [0, 1, 2, "b", 3]
    assert [row["_timestamp"] for row in rows] == [5.0, 1.0, 2.0, 6.0, 9.0]


def test_wall_times_that_are_no_numbers_are_survived(tmp_path: Path, append_events, scalar_event, local_rows):
    walls = [1.0, float("nan"), float("inf"), 2.0]
    append_events(tmp_path / NAME, [scalar_event("x", n, n, wall) for n, wall in enumerate(walls)])
    assert [(row["x"], row["_timestamp"]) for row in local_rows(tmp_path)] == [
        (0, 1.0),
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
    ]


@pytest.mark.parametrize("chunk", [64, 333, 5_000])
def test_the_chunk_size_does_not_show_in_the_rows(
    tmp_path: Path, append_events, scalar_event, local_rows, chunk
):
    for name, pace in (("train", 1.0), ("validation", 1.7), ("eval/deep", 11.0)):
        events = [scalar_event(tag, n, n, 1000 + n * pace) for n in range(60) for tag in ("loss", "acc")]
        append_events(tmp_path / name / NAME, events)
    assert local_rows(tmp_path, chunk=chunk) == local_rows(tmp_path)


def test_one_step_for_ever_is_one_row(tmp_path: Path, append_events, scalar_event, local_rows):
    append_events(tmp_path / NAME, [scalar_event(f"t{n % 3}", n, 0, n + 1.0) for n in range(500)])
    (row,) = local_rows(tmp_path, chunk=700)
    assert (row["t0"], row["t1"], row["t2"], row["_timestamp"]) == (498, 499, 497, 500.0)


def test_files_of_a_directory_follow_each_other_by_name(
    tmp_path: Path, append_events, scalar_event, local_rows
):
    append_events(tmp_path / "events.out.tfevents.200.host", [scalar_event("x", 2, 2, 2.0)])
    first = append_events(
        tmp_path / "events.out.tfevents.100.host", [scalar_event("x", n, n, 1.0) for n in (0, 1)]
    )
    first.write_bytes(first.read_bytes()[:-7])  # its writer was killed
    assert [row["x"] for row in local_rows(tmp_path)] == [0, 2]


def test_a_restart_replaces_the_steps_it_writes_again(
    tmp_path: Path, append_events, scalar_event, local_rows
):
    append_events(
        tmp_path / "events.out.tfevents.100.host",
        [
            Event(wall_time=1.0, file_version="brain.Event:2"),
            *[scalar_event("x", n, n, 1.0 + n) for n in range(6)],
        ],
    )
    append_events(
        tmp_path / "events.out.tfevents.200.host",
        [
            Event(wall_time=9.0, file_version="brain.Event:2"),
            Event(wall_time=9.0, step=3, session_log=SessionLog(status=SessionLog.START)),
            *[scalar_event("x", 10 + n, n, 10.0 + n) for n in range(3, 5)],
        ],
    )
    accumulator = EventAccumulator(str(tmp_path)).Reload()
    expected = [(event.step, event.value) for event in accumulator.Scalars("x")]
    assert [(row["global_step"], row["x"]) for row in local_rows(tmp_path)] == expected


def test_a_tag_cannot_hide_the_rows_own_keys(tmp_path: Path, append_events, scalar_event, local_rows):
    events = [scalar_event(tag, 99, 1, 1.0) for tag in ("_step", "global_step", "_runtime", "x")]
    append_events(tmp_path / NAME, events)
    append_events(tmp_path / "sub" / NAME, events)
    rows = local_rows(tmp_path)
    assert bare(rows) == [
        {"_timestamp": 1.0, "global_step": 1, "x": 99},
        {"_timestamp": 1.0, "global_step": 1}
        | {f"sub/{tag}": 99 for tag in ("_step", "global_step", "_runtime", "x")},
    ]


def test_add_hparams_and_add_scalars_are_not_taken_twice(tmp_path: Path, local_rows):
    writer = tensorboardX.SummaryWriter(str(tmp_path))
    writer.add_scalar("loss", 1.0, 1, walltime=10.0)
    writer.add_scalars("both", {"a": 1.0, "b": 2.0}, 1, walltime=11.0)
    writer.add_hparams({"lr": 0.1}, {"metric": 0.5}, name="session", global_step=1)
    for other in writer.all_writers.values():
        other.close()
    writer.close()
    keys = [
        key for row in bare(local_rows(tmp_path)) for key in row if key not in {"_timestamp", "global_step"}
    ]
    assert sorted(keys) == ["both/a/both", "both/b/both", "loss", "session/metric"]


def test_other_files_and_loops_of_links_are_left_alone(
    tmp_path: Path, append_events, scalar_event, local_rows
):
    append_events(tmp_path / "run" / NAME, [scalar_event("x", 1, 1, 1.0)])
    (tmp_path / "run" / "events.out.tfevents.1.host.profile-empty").write_bytes(b"")
    (tmp_path / "run" / "notes.txt").write_text("tfevents")
    (tmp_path / "run" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "run" / "dangling.tfevents.1").symlink_to(tmp_path / "nowhere")
    assert len(local_rows(tmp_path)) == 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(NotFoundError, match="no folder"):
        find_directories(tmp_path / "absent")


def test_a_folder_equals_what_tensorboard_reads(tmp_path: Path, local_rows):
    writer = tensorboardX.SummaryWriter(str(tmp_path))
    for step in (0, 5, 3, 3, 10**6, 2**40):
        for tag in ("train/loss", "wörter/süß", "x.y"):
            writer.add_scalar(tag, step / 7 + len(tag), step)
    writer.close()
    accumulator = EventAccumulator(str(tmp_path), purge_orphaned_data=False).Reload()
    rows = local_rows(tmp_path)
    for tag in accumulator.Tags()["scalars"]:
        read = {(event.step, event.value) for event in accumulator.Scalars(tag)}
        assert {(row["global_step"], row[tag]) for row in rows if tag in row} == read


def play(folder, since, until):
    """The rows of one pass, and where it ended."""
    readers = [DirectoryReader(directory, since=since, until=until) for directory in find_directories(folder)]
    rows = []
    for block in merged([reader.blocks() for reader in readers]):
        rows += [json.loads(line) for line in block.lines(0, len(block), first_line=0, origin=0.0)]
    return bare(rows), {name: at for reader in readers for name, at in reader.positions.items()}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_gives_a_prefix_and_any_resume_the_rest(tmp_path_factory, append_events, scalar_event, data):
    folder = tmp_path_factory.mktemp("log")
    steps = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=25))
    events = [scalar_event(f"t{n % 2}", n, step, 100.0 + n) for n, step in enumerate(steps)]
    parting = data.draw(st.integers(0, len(events)))
    files = [
        append_events(folder / "events.out.tfevents.1.h", [VERSION, *events[:parting]]),
        append_events(folder / "events.out.tfevents.2.h", events[parting:]),
    ]
    sizes = {file.name: file.stat().st_size for file in files}
    whole, _ = play(folder, {}, sizes)
    cut = data.draw(st.integers(0, sum(sizes.values())))
    seen = {files[0].name: min(cut, sizes[files[0].name]), files[1].name: max(0, cut - sizes[files[0].name])}
    before, positions = play(folder, {}, seen)
    # All but the last row are final: that one may still get values of its step.
    assert before[:-1] == whole[: len(before) - 1] if before else True
    after, _ = play(folder, positions, sizes)
    values = [
        (row["global_step"], key, row[key]) for row in before + after for key in row if key.startswith("t")
    ]
    merged_values = [
        (row["global_step"], key, row[key]) for row in whole for key in row if key.startswith("t")
    ]
    assert [value for value in values if value in merged_values] == merged_values
