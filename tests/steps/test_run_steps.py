"""Steps on runs, against the embedded server: repeating one changes nothing."""

from __future__ import annotations

import math
import time

import pytest

import wandb_ops
from wandb_ops import steps
from wandb_ops.errors import NotFoundError, RunConflict, RunFailed, UsageError, WaitTimeout
from wandb_ops.local.serve import LocalServer


def history(api, path):
    return list(api.run(path).scan_history())


def test_a_retried_create_finds_its_own_run_again(api, project):
    made = {
        "project": project, "run_id": "r1", "config": {"lr": 0.1, "nested": {"a": [1, 2]}}, "group": "g",
        "job_type": "train", "tags": ["x"], "notes": "n", "display_name": "first",
    }  # fmt: skip
    first = steps.create_run(api, **made)
    again = steps.create_run(api, **made)
    assert (first.created, again.created) == (True, False)
    assert first.path == again.path == f"{api.default_entity}/{project}/r1"
    run = api.run(first.path)
    assert run.config == {"lr": 0.1, "nested": {"a": [1, 2]}}
    assert (run.group, run.job_type, run.tags, run.notes, run.name) == ("g", "train", ["x"], "n", "first")
    assert len(api.runs(f"{api.default_entity}/{project}")) == 1


def test_a_retried_create_keeps_config_that_someone_else_added(api, project):
    made = steps.create_run(api, project=project, run_id="r1", config={"lr": 0.1})
    steps.update_run(api, run=made.path, config={"dropout": 0.5})
    steps.create_run(api, project=project, run_id="r1", config={"lr": 0.2})
    assert api.run(made.path).config == {"lr": 0.2, "dropout": 0.5}


@pytest.mark.parametrize("exit_code", [0, 3])
def test_a_run_that_has_ended_is_never_reopened_silently(api, project, exit_code):
    made = steps.create_run(api, project=project, run_id="r1")
    ended = steps.finish_run(api, run=made.path, exit_code=exit_code)
    assert ended.state == ("finished" if exit_code == 0 else "failed")
    with pytest.raises(RunConflict, match="adopt"):
        steps.create_run(api, project=project, run_id="r1")
    adopted = steps.create_run(api, project=project, run_id="r1", on_finished="adopt")
    assert (adopted.created, adopted.state) == (False, ended.state)
    resumed = steps.create_run(api, project=project, run_id="r1", on_finished="resume")
    assert resumed.state == "running"


def test_rows_for_a_run_that_has_ended_are_refused_and_do_not_reopen_it(api, project):
    made = steps.create_run(api, project=project, run_id="r1")
    rows = [{"loss": 1.0}, {"loss": 0.5}]
    steps.log_metrics(api, run=made.path, rows=rows, first_line=0)
    steps.finish_run(api, run=made.path)
    assert steps.log_metrics(api, run=made.path, rows=rows, first_line=0).skipped == 2
    for first_line in (0, None):
        with pytest.raises(RunConflict, match=r"finished.*reopen"):
            steps.log_metrics(api, run=made.path, rows=[*rows, {"loss": 0.2}], first_line=first_line)
    assert steps.run_status(api, run=made.path).state == "finished"
    assert [row["loss"] for row in history(api, made.path)] == [1.0, 0.5]


@pytest.fixture
def silent(tmp_path):
    """A client, and a function that lets so much time pass that a silent run is shown as crashed."""
    late = [0.0]
    with LocalServer(data=tmp_path / "server", clock=lambda: time.time() + late[0]) as server:
        client = wandb_ops.Api(
            overrides={"base_url": server.url, "entity": server.entity}, api_key=server.api_key
        )

        def wait() -> None:
            late[0] += 3600.0

        yield client, wait


@pytest.mark.parametrize("on_finished", ["error", "adopt"])
def test_a_retry_long_after_its_task_was_killed_goes_on_with_its_run(silent, on_finished):
    api, wait = silent
    made = steps.create_run(api, project="p", run_id="r1", config={"lr": 1})
    steps.log_metrics(api, run=made.path, rows=[{"loss": 1.0}], first_line=0)
    wait()
    assert steps.run_status(api, run=made.path).state == "crashed"
    again = steps.create_run(api, project="p", run_id="r1", on_finished=on_finished)
    assert (again.created, again.state, again.history_lines) == (False, "running", 1)


@pytest.mark.parametrize(("exit_code", "state"), [(0, "finished"), (1, "failed")])
def test_tasks_hours_apart_fill_and_end_a_run_that_looks_crashed_between_them(silent, exit_code, state):
    api, wait = silent
    made = steps.create_run(api, project="p", run_id="r1")
    wait()
    assert steps.log_metrics(api, run=made.path, rows=[{"loss": 1.0}], first_line=0).history_lines == 1
    wait()
    assert steps.run_status(api, run=made.path).state == "crashed"
    assert steps.finish_run(api, run=made.path, exit_code=exit_code).state == state
    assert steps.finish_run(api, run=made.path, exit_code=exit_code).state == state


def test_finishing_twice_is_harmless_and_finishing_otherwise_is_refused(api, project):
    made = steps.create_run(api, project=project, run_id="r1")
    steps.finish_run(api, run=made.path, summary={"accuracy": 0.9})
    assert steps.finish_run(api, run=made.path).state == "finished"
    with pytest.raises(RunConflict, match="finished"):
        steps.finish_run(api, run=made.path, exit_code=1)
    assert api.run(made.path).summary["accuracy"] == 0.9


def test_logged_rows_come_back_as_they_were_given(api, project):
    made = steps.create_run(api, project=project, run_id="r1")
    rows = [
        {"loss": 0.5, "epoch": 0, "ok": True, "word": "a"},
        {"loss": math.nan, "epoch": 1, "big": 2**53 + 1},
        {"loss": math.inf, "nested": {"a": [1, {"b": None}]}},
    ]
    logged = steps.log_metrics(api, run=made.path, rows=rows, first_line=0, clock=lambda: 1000.0)
    assert (logged.rows, logged.skipped, logged.last_step, logged.history_lines) == (3, 0, 2, 3)
    there = history(api, made.path)
    assert [row["_step"] for row in there] == [0, 1, 2]
    assert {row["_timestamp"] for row in there} == {1000.0}
    assert there[0]["word"] == "a" and there[0]["ok"] is True
    assert math.isnan(there[1]["loss"]) and there[1]["big"] == 2**53 + 1
    assert there[2]["loss"] == math.inf and there[2]["nested"] == {"a": [1, {"b": None}]}
    assert api.run(made.path).summary["epoch"] == 1


def test_a_repeated_log_sends_only_what_the_server_lacks(api, project):
    made = steps.create_run(api, project=project, run_id="r1")
    rows = [{"loss": 1.0 / (n + 1)} for n in range(10)]
    steps.log_metrics(api, run=made.path, rows=rows[:6], first_line=0)
    again = steps.log_metrics(api, run=made.path, rows=rows, first_line=0)
    assert (again.skipped, again.rows, again.history_lines) == (6, 4, 10)
    once_more = steps.log_metrics(api, run=made.path, rows=rows, first_line=0)
    assert (once_more.skipped, once_more.rows) == (10, 0)
    assert [row["loss"] for row in history(api, made.path)] == [row["loss"] for row in rows]


def test_a_second_writer_is_noticed(api, project):
    made = steps.create_run(api, project=project, run_id="r1")
    steps.log_metrics(api, run=made.path, rows=[{"loss": 1.0}], first_line=0)
    with pytest.raises(RunConflict, match="not the one"):
        steps.log_metrics(api, run=made.path, rows=[{"loss": 2.0}, {"loss": 3.0}], first_line=0)
    with pytest.raises(RunConflict, match="follow"):
        steps.log_metrics(api, run=made.path, rows=[{"loss": 2.0}], first_line=5)


def test_an_update_changes_what_it_names_and_nothing_else(api, project):
    made = steps.create_run(api, project=project, run_id="r1", config={"a": 1, "b": 2}, tags=["x", "y"])
    steps.log_metrics(api, run=made.path, rows=[{"loss": 1.0, "acc": 0.5}], first_line=0)
    steps.update_run(
        api, run=made.path, config={"c": 3}, remove_config=["a"], add_tags=["z"], remove_tags=["x"],
        summary={"best": 0.9}, remove_summary=["acc"], notes="why",
    )  # fmt: skip
    run = api.run(made.path)
    assert run.config == {"b": 2, "c": 3}
    assert run.tags == ["y", "z"]
    assert run.notes == "why"
    assert run.summary["best"] == 0.9 and run.summary["loss"] == 1.0 and "acc" not in run.summary


def test_status_and_listing_tell_terminal_from_running(api, project):
    for name, exit_code in (("ok", 0), ("bad", 1)):
        made = steps.create_run(api, project=project, run_id=name)
        steps.finish_run(api, run=made.path, exit_code=exit_code)
    steps.create_run(api, project=project, run_id="going")
    seen = {s.run_id: (s.state, s.terminal, s.succeeded) for s in steps.list_runs(api, project=project)}
    assert seen == {
        "ok": ("finished", True, True),
        "bad": ("failed", True, False),
        "going": ("running", False, False),
    }
    assert [s.run_id for s in steps.list_runs(api, project=project, states=["failed"])] == ["bad"]
    assert len(steps.list_runs(api, project=project, limit=2)) == 2
    newest = max(s.heartbeat_at for s in steps.list_runs(api, project=project))
    assert [s.run_id for s in steps.list_runs(api, project=project, updated_after=newest)]


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def test_waiting_ends_when_the_run_ends(api, project):
    made = steps.create_run(api, project=project, run_id="r1")
    clock = Clock()

    def sleep(seconds):
        clock.sleep(seconds)
        if len(clock.slept) == 2:
            steps.finish_run(api, run=made.path)

    status = steps.wait_for_run(api, run=made.path, timeout=600, poll_interval=30, sleep=sleep, clock=clock)
    assert status.succeeded and clock.slept == [30, 30]


@pytest.mark.parametrize("state", ["crashed", "failed", "killed", "preempted"])
def test_waiting_fails_when_the_run_ends_badly(state):
    bad = steps.RunStatus(
        path="e/p/r", run_id="r", url="u", display_name="n", state=state, terminal=True, succeeded=False
    )
    with pytest.raises(RunFailed, match=state):
        steps.check_end(bad)


def test_waiting_gives_up_in_time(api, project):
    made = steps.create_run(api, project=project, run_id="r1")
    clock = Clock()
    with pytest.raises(WaitTimeout, match="running"):
        steps.wait_for_run(api, run=made.path, timeout=70, poll_interval=30, sleep=clock.sleep, clock=clock)
    assert clock.slept == [30, 30, 10]
    with pytest.raises(UsageError):
        steps.wait_for_run(api, run=made.path, timeout=1, poll_interval=0)


def test_a_run_that_does_not_exist_is_named(api, project):
    steps.create_run(api, project=project, run_id="somewhere")
    with pytest.raises(NotFoundError, match="nowhere"):
        steps.run_status(api, run=f"{api.default_entity}/{project}/nowhere")


def test_a_retried_create_keeps_what_the_sdk_wrote_for_itself(api, project):
    from wandb_ops.protocol.runs import upsert_run

    own = {"cli_version": "0.31.0", "t": {"3": [1, 2]}}
    upsert_run(
        api.transport, entity=api.default_entity, project=project, run_id="r1", config={"a": 1, "_wandb": own}
    )
    steps.create_run(api, project=project, run_id="r1", config={"lr": 0.2})
    run = api.run(f"{api.default_entity}/{project}/r1")
    assert run.rawconfig == {"a": 1, "lr": 0.2, "_wandb": own}
