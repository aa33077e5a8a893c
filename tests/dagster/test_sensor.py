"""The run sensor: each run that ended is requested once, whatever happens between the ticks."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from dagster_resources import (
    RunCursor,
    WandbResource,
    build_wandb_run_sensor,
    run_partitions,
    wandb_history_assets,
)
from wandb_ops.steps import RunStatus

pytestmark = pytest.mark.dagster


@pytest.fixture
def history(project, tmp_path):
    return wandb_history_assets(project=project, destination=tmp_path)


@pytest.fixture
def tick(history, wandb, project, instance):
    """One evaluation by Dagster itself; partitions asked for are added, as the daemon adds them."""

    def evaluate(cursor=None, **options):
        resource = options.pop("resource", wandb)
        sensor = build_wandb_run_sensor(history, project=project, **options)
        defs = dg.Definitions(assets=[history], sensors=[sensor], resources={"wandb": resource})
        with dg.build_sensor_context(
            instance_ref=instance.get_ref(),
            cursor=cursor,
            definitions=defs,
            resources={"wandb": resource},
        ) as context:
            outcome = sensor.evaluate_tick(context)
        for request in outcome.dynamic_partitions_requests or []:
            instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        return outcome

    return evaluate


def partitions(outcome):
    return [request.partition_key for request in outcome.run_requests or []]


def test_a_run_that_ended_becomes_a_partition_and_one_request(tick, write_run, instance, project):
    written = write_run("run-1")
    write_run("still-going", finish=False)
    outcome = tick()
    assert partitions(outcome) == ["run-1"]
    assert outcome.run_requests[0].run_key.endswith(f"/run-1:{len(written)}")
    assert outcome.run_requests[0].tags["wandb/state"] == "finished"
    assert instance.get_dynamic_partitions(run_partitions(project).name) == ["run-1"]


def test_a_second_tick_requests_nothing_twice(tick, write_run):
    write_run("run-1")
    first = tick()
    second = tick(first.cursor)
    assert partitions(second) == []
    assert second.skip_message
    assert partitions(tick(second.cursor)) == []


def test_a_run_that_ends_later_is_found_from_the_cursor_that_was_kept(tick, write_run):
    """The cursor is text and the sensor object is new at each tick, as after a restart."""
    write_run("run-1")
    cursor = tick().cursor
    assert json.loads(cursor)
    write_run("run-2")
    assert partitions(tick(cursor)) == ["run-2"]


def test_a_lost_cursor_asks_again_with_the_same_run_keys(tick, write_run):
    """Dagster launches no run key twice, so a tick repeated after a crash launches nothing twice."""
    write_run("run-1")
    first, again = tick(), tick()
    assert [one.run_key for one in first.run_requests] == [one.run_key for one in again.run_requests]


def test_a_resumed_run_with_more_rows_is_requested_again(tick, write_run):
    write_run("run-1")
    first = tick()
    write_run("run-1", [{"_step": 20, "loss": 0.0}])
    second = tick(first.cursor)
    assert partitions(second) == ["run-1"]
    assert second.run_requests[0].run_key != first.run_requests[0].run_key


def test_a_tick_is_bounded_and_the_next_ones_take_the_rest(tick, write_run):
    ids = [f"run-{number}" for number in range(7)]
    for run_id in ids:
        write_run(run_id, [{"_step": 0, "loss": 1.0}])
    found, cursor, sizes = [], None, []
    for _ in range(4):
        outcome = tick(cursor, max_runs_per_tick=3)
        cursor = outcome.cursor
        sizes.append(len(partitions(outcome)))
        found += partitions(outcome)
    assert sizes == [3, 3, 1, 0]
    assert sorted(found) == ids


def test_only_the_states_asked_for_count(tick, write_run, wandb, project):
    write_run("good")
    write_run("bad", finish=False)
    wandb.finish_run(run=f"{project}/bad", exit_code=1)
    assert partitions(tick()) == ["good"]
    assert sorted(partitions(tick(states=["finished", "failed"]))) == ["bad", "good"]


def test_an_empty_project_is_a_skip_not_a_failure(tick, wandb, project):
    wandb.api.create_project(project, wandb.resolve_entity())
    outcome = tick()
    assert partitions(outcome) == []
    assert "No run ended" in outcome.skip_message


def test_a_project_that_is_not_there_yet_is_a_skip_that_says_so(tick, project):
    outcome = tick()
    assert partitions(outcome) == []
    assert project in outcome.skip_message


def test_a_deleted_run_keeps_its_partition(tick, write_run, wandb, instance, project):
    write_run("run-1")
    cursor = tick().cursor
    wandb.api.run(f"{project}/run-1").delete()
    tick(cursor)
    assert instance.get_dynamic_partitions(run_partitions(project).name) == ["run-1"]


def test_a_requested_partition_materializes(tick, write_run, history, materialize, instance, tmp_path):
    write_run("run-1")
    (run_id,) = partitions(tick())
    assert materialize(history, partition_key=run_id, instance=instance).success
    assert (tmp_path / "run-1.parquet").exists()


def test_a_rate_limit_is_a_skip_that_keeps_the_cursor(tick, write_run):
    write_run("run-1")
    cursor = tick().cursor

    class Limited(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(429)
            self.send_header("Retry-After", "4000")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Limited) as busy:
        threading.Thread(target=busy.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{busy.server_port}"
        outcome = tick(cursor, resource=WandbResource(base_url=url, api_key="a" * 40, entity="e"))
        busy.shutdown()
    assert "slow down" in outcome.skip_message
    assert outcome.cursor in (None, cursor)


def status(run_id, heartbeat, rows=1):
    return RunStatus(
        path=f"e/p/{run_id}", run_id=run_id, url="", display_name="", state="finished", terminal=True,
        succeeded=True, history_lines=rows, heartbeat_at=heartbeat,
    )  # fmt: skip


def test_the_cursor_forgets_only_what_no_look_back_can_meet():
    early = status("early", "2026-01-01T10:00:00Z")
    tied = [status(f"tied-{n}", "2026-01-01T10:30:00.5Z") for n in range(3)]
    cursor = RunCursor().after([early, *tied], look_back=600)
    assert set(cursor.seen) == {"tied-0", "tied-1", "tied-2"}
    assert cursor.since(600) == "2026-01-01T10:20:00.500000Z"
    assert RunCursor.from_json(cursor.to_json()) == cursor
    assert not any(cursor.is_new(run) for run in tied)
    assert cursor.is_new(status("tied-0", "2026-01-01T10:31:00Z", rows=2))


def test_the_cursor_never_goes_back():
    late = RunCursor().after([status("late", "2026-01-01T12:00:00Z")], look_back=600)
    after = late.after([status("crash-noticed-late", "2026-01-01T11:55:00")], look_back=600)
    assert after.newest == "2026-01-01T12:00:00Z"
    assert set(after.seen) == {"late", "crash-noticed-late"}
    assert late.after([], look_back=600) == late
