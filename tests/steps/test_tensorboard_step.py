"""A run that has ended is not reopened behind anybody's back, not even by new events."""

from __future__ import annotations

import pytest
from tensorboardX import SummaryWriter

from wandb_ops import RunConflict, steps


@pytest.fixture
def log(tmp_path):
    """Writes one more event file with a loss at these steps."""

    def write(first, last):
        with SummaryWriter(str(tmp_path / "logs"), filename_suffix=f".{first}") as writer:
            for step in range(first, last):
                writer.add_scalar("loss", 1 / (step + 1), step)
        return tmp_path / "logs"

    return write


def test_new_events_for_an_ended_run_need_a_word(api, project, log):
    sync = {"run_id": "r", "project": project}
    steps.sync_tensorboard(api, log(0, 3), **sync)
    folder = log(3, 5)
    with pytest.raises(RunConflict, match=r"ended as finished.*on_finished=\"resume\""):
        steps.sync_tensorboard(api, folder, **sync, finish=False)
    run = api.run(f"{project}/r")
    assert (run.state, run.history_line_count) == ("finished", 3)
    done = steps.sync_tensorboard(api, folder, **sync, finish=False, on_finished="resume")
    assert done.rows == 2
    assert api.run(f"{project}/r").state == "running"


def test_a_call_that_ends_the_run_again_may_add_to_it(api, project, log):
    sync = {"run_id": "r", "project": project}
    steps.sync_tensorboard(api, log(0, 3), **sync)
    assert steps.sync_tensorboard(api, log(3, 5), **sync).rows == 2
    run = api.run(f"{project}/r")
    assert (run.state, run.history_line_count) == ("finished", 5)


def test_nothing_new_for_an_ended_run_is_no_error(api, project, log):
    sync = {"run_id": "r", "project": project}
    folder = log(0, 3)
    steps.sync_tensorboard(api, folder, **sync)
    assert steps.sync_tensorboard(api, folder, **sync, finish=False).rows == 0
    assert api.run(f"{project}/r").state == "finished"


def test_following_an_ended_run_without_news_leaves_it_ended(api, project, log):
    """A heartbeat would reopen it, and nobody would end it again."""
    folder = log(0, 3)
    steps.sync_tensorboard(api, folder, run_id="r", project=project)
    looks = iter([False] * 3)
    steps.follow_tensorboard(
        api,
        folder,
        run_id="r",
        project=project,
        poll_interval=0.0,
        should_stop=lambda: next(looks, True),
        sleep=lambda _seconds: None,
    )
    assert api.run(f"{project}/r").state == "finished"
