"""Following a folder while it is written, with a clock that the test turns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wandb_ops.errors import NotFoundError, RunConflict
from wandb_ops.tensorboard import follow_directory, sync_directory

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
        assert [row["train/x"] for row in history()] == [0, 1]
        assert wandb_server.run(PROJECT, "r").state == "running"
        assert wandb_server.run(PROJECT, "r").summary["train/x"] == 0  # as the pass began
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
        (2, None),
        (None, 3),
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
