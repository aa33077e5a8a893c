"""Following a folder while it is written, with a clock that the test turns."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from wandb_ops.errors import NotFoundError, RunConflict
from wandb_ops.protocol.runs import upsert_run
from wandb_ops.tensorboard import follow_directory, holding, sync_directory
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.holding import before_open_rows
from wandb_ops.transport.session import Transport

NAME = "events.out.tfevents.1700000000.host"
PROJECT = "tb"


class Story:
    """A sleep that does the next thing of a list and moves the clock; later it only moves the clock."""

    def __init__(self, *things):
        self.things = list(things)
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds
        if self.things:
            self.things.pop(0)()

    def clock(self):
        return self.now


@pytest.fixture
def follow(wandb_server, transport):
    def call(folder, story, **options):
        return follow_directory(
            transport,
            folder,
            entity=wandb_server.entity,
            project=PROJECT,
            run_id="r",
            clock=story.clock,
            sleep=story.sleep,
            poll_interval=5.0,
            **options,
        )

    return call


def test_growing_rotating_and_new_files_are_followed(
    follow, wandb_server, tmp_path: Path, append_events, scalar_event, transport
):
    folder = tmp_path / "logs"

    def history():
        return wandb_server.run(PROJECT, "r").history_rows()

    def check_running():
        assert [row["train/x"] for row in history()] == [0]  # of step 1 there may come more
        assert wandb_server.run(PROJECT, "r").state == "running"
        assert wandb_server.run(PROJECT, "r").summary["train/x"] == 0
        torn = append_events(folder / "train" / NAME, [scalar_event("x", 9, 9, 3.0)])
        torn.write_bytes(torn.read_bytes()[:-3])

    story = Story(
        lambda: append_events(folder / "train" / NAME, [scalar_event("x", 0, 0, 1.0)]),
        lambda: append_events(folder / "train" / NAME, [scalar_event("x", 1, 1, 2.0)]),
        check_running,
        lambda: append_events(
            folder / "train" / "events.out.tfevents.1800000000.host", [scalar_event("x", 2, 2, 4.0)]
        ),
        lambda: append_events(folder / "validation" / NAME, [scalar_event("x", 3, 0, 0.5)]),
    )
    done = follow(folder, story, idle_limit=60.0)
    assert [(row.get("train/x"), row.get("validation/x")) for row in history()] == [
        (0, None),
        (1, None),
        (None, 3),  # both were held back to the end, and are then in the order of their time
        (2, None),
    ]
    assert (done.rows, done.files, story.now) == (4, 3, 85.0)
    assert wandb_server.run(PROJECT, "r").state == "finished"
    again = sync_directory(transport, folder, entity=wandb_server.entity, project=PROJECT, run_id="r")
    assert again.rows == 0


def test_a_stop_takes_one_last_look_and_can_leave_the_run_open(
    follow, wandb_server, tmp_path: Path, append_events, scalar_event
):
    append_events(tmp_path / NAME, [scalar_event("x", 0, 0, 1.0)])
    story = Story(lambda: append_events(tmp_path / NAME, [scalar_event("x", 1, 1, 2.0)]))
    done = follow(tmp_path, story, should_stop=lambda: story.now > 0, finish=False)
    assert done.rows == 2
    assert wandb_server.run(PROJECT, "r").state == "running"


def test_a_file_that_is_cut_while_it_is_followed_is_refused(
    follow, tmp_path: Path, append_events, scalar_event
):
    path = append_events(tmp_path / NAME, [scalar_event("x", n, n, 1.0) for n in range(3)])
    story = Story(lambda: path.write_bytes(b""))
    with pytest.raises(RunConflict, match="replaced or cut"):
        follow(tmp_path, story, idle_limit=60.0)


def test_a_folder_that_never_gets_an_event_file_is_an_error(follow, tmp_path: Path):
    with pytest.raises(NotFoundError, match="no TensorBoard event files"):
        follow(tmp_path / "never", Story(), idle_limit=10.0)


def test_syncing_needs_neither_tensorboard_nor_protobuf_nor_pandas():
    heavy = ("tensorboard", "google.protobuf", "tensorflow", "pandas", "pyarrow")
    code = (
        "import sys, wandb_ops.tensorboard.sync, wandb_ops.tensorboard.template\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_values_of_one_step_that_are_flushed_apart_share_a_row(
    follow, wandb_server, tmp_path: Path, append_events, scalar_event
):
    def rows():
        return [
            (row["global_step"], row.get("loss"), row.get("acc"))
            for row in wandb_server.run(PROJECT, "r").history_rows()
        ]

    seen = []
    path = append_events(
        tmp_path / NAME,
        [scalar_event("loss", 1, 0, 1.0), scalar_event("acc", 2, 0, 1.1), scalar_event("loss", 3, 1, 2.0)],
    )
    story = Story(
        lambda: (seen.append(rows()), append_events(path, [scalar_event("acc", 4, 1, 2.1)])),
        lambda: (seen.append(rows()), append_events(path, [scalar_event("loss", 5, 2, 3.0)])),
        lambda: seen.append(rows()),
        lambda: append_events(path, [scalar_event("acc", 6, 2, 3.1)]),
    )
    follow(tmp_path, story, idle_limit=30.0)
    assert seen == [[(0, 1, 2)], [(0, 1, 2)], [(0, 1, 2), (1, 3, 4)]]
    assert rows() == [(0, 1, 2), (1, 3, 4), (2, 5, 6)]


def test_a_step_that_is_held_back_is_sent_when_nothing_follows_for_long(
    follow, wandb_server, tmp_path: Path, append_events, scalar_event
):
    seen = []
    append_events(tmp_path / NAME, [scalar_event("x", 1, 0, 1.0)])
    story = Story(*[lambda: seen.append(len(wandb_server.run(PROJECT, "r").history_rows()))] * 5)
    follow(tmp_path, story, hold_limit=15.0, idle_limit=100.0)
    assert seen == [0, 0, 0, 1, 1]


def test_a_step_that_goes_over_into_the_next_file_is_held_back_in_both(
    tmp_path: Path, append_events, scalar_event
):
    first = append_events(
        tmp_path / "events.out.tfevents.1.h", [scalar_event("a", n, n, 1.0) for n in range(3)]
    )
    second = append_events(tmp_path / "events.out.tfevents.2.h", [scalar_event("b", 2, 2, 2.0)])
    third = append_events(tmp_path / "events.out.tfevents.3.h", [])
    size = first.stat().st_size
    found = before_open_rows(find_directories(tmp_path), {})
    assert found == {first.name: size // 3 * 2, second.name: 0, third.name: 0}
    append_events(third, [scalar_event("c", 3, 3, 3.0)])
    found = before_open_rows(find_directories(tmp_path), {})
    assert found == {first.name: size, second.name: second.stat().st_size, third.name: 0}


def test_a_step_that_is_too_long_is_not_held_back(tmp_path: Path, append_events, scalar_event, monkeypatch):
    monkeypatch.setattr(holding, "WINDOW", 500)
    path = append_events(tmp_path / NAME, [scalar_event(f"t{n:03d}", n, 7, 1.0) for n in range(100)])
    assert before_open_rows(find_directories(tmp_path), {}) == {NAME: path.stat().st_size}
    append_events(path, [scalar_event("t", n, 8, 2.0) for n in range(3)])
    kept = path.stat().st_size
    append_events(path, [scalar_event("t", n, 9, 2.0) for n in range(3)])
    assert before_open_rows(find_directories(tmp_path), {}) == {NAME: kept}


def test_a_follower_that_was_killed_is_completed_without_a_change(
    follow, wandb_server, transport, tmp_path: Path, append_events, scalar_event, monkeypatch
):
    path = append_events(
        tmp_path / "a" / NAME, [scalar_event(f"t{k}", n, n, 1.0 + n) for n in range(6) for k in range(2)]
    )
    append_events(tmp_path / "b" / NAME, [scalar_event("x", n, n, 1.5 + 2 * n) for n in range(3)])

    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path, Story(killed))
    before = wandb_server.run(PROJECT, "r").history_rows()
    assert 0 < len(before) < 9
    append_events(path, [scalar_event("t9", 9, 5, 99.0)])
    sync_directory(transport, tmp_path, entity=wandb_server.entity, project=PROJECT, run_id="r")
    after = wandb_server.run(PROJECT, "r").history_rows()
    assert after[: len(before)] == before
    assert sorted((row["global_step"], len(row)) for row in after if "a/t0" in row) == [
        *[(n, 6) for n in range(5)],
        (5, 7),
    ]


def test_nothing_is_left_behind_when_there_was_nothing_to_follow(follow, wandb_server, tmp_path: Path):
    with pytest.raises(NotFoundError):
        follow(tmp_path / "never", Story(), idle_limit=100.0)
    assert wandb_server.runs(PROJECT) == []


@pytest.mark.parametrize("was_there", [True, False])
def test_a_run_is_kept_alive_while_nothing_comes(
    wandb_server, transport, tmp_path: Path, append_events, scalar_event, was_there
):
    class Listening(Transport):
        beats = 0

        def post_json(self, path, body, **options):
            text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
            self.beats += path.endswith("/file_stream") and text == b"{}"
            return super().post_json(path, body, **options)

    if was_there:  # and waits for its first event file
        upsert_run(transport, entity=wandb_server.entity, project=PROJECT, run_id="r")
    else:
        append_events(tmp_path / NAME, [scalar_event("x", 1, 1, 1.0)])
    story, client = Story(), Listening(transport.settings)
    try:
        follow_directory(
            client,
            tmp_path,
            entity=wandb_server.entity,
            project=PROJECT,
            run_id="r",
            clock=story.clock,
            sleep=story.sleep,
            poll_interval=5.0,
            hold_limit=5.0,
            idle_limit=200.0,
        )
    except NotFoundError:
        assert was_there
    assert client.beats == 6
