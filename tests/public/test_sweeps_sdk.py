"""Sweeps, reports, console logs and histories of many runs: the same from the real SDK and from ours.

Where ours differs on purpose, the difference is asserted too, so that a change of the SDK is noticed.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

import wandb_ops

pytestmark = pytest.mark.sdk

PROJECT = "sweeps-agreement"
UPSERT_SWEEP = "mutation U($input: UpsertSweepInput!) { upsertSweep(input: $input) { sweep { name } } }"
UPSERT_VIEW = "mutation U($input: UpsertViewInput!) { upsertView(input: $input) { view { id } } }"
CONFIG = {
    "method": "random",
    "name": "configured",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"min": 0.0, "max": 1.0}, "nested": {"parameters": {"n": {"values": [1, "a"]}}}},
    "run_cap": 7,
}
REPORT = {
    "panelGroups": [
        {
            "openRunSet": 0,
            "runSets": [
                {
                    "filters": {
                        "op": "OR",
                        "filters": [
                            {
                                "op": "AND",
                                "filters": [
                                    {"key": {"section": "config", "name": "lr"}, "op": ">=", "value": 0.1},
                                    {"key": {"section": "tags", "name": "kept"}, "op": "=", "value": True},
                                ],
                            }
                        ],
                    },
                    "sort": {"key": {"section": "summary", "name": "loss"}, "ascending": True},
                    "selections": {"root": 0, "tree": ["t1", "t3"]},
                }
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def sweep(writer: Any) -> str:
    """A sweep with four runs, an agent, a second sweep, and two reports; returns the sweep's name."""
    place = {"projectName": PROJECT}
    names = [
        writer.graphql(UPSERT_SWEEP, {"input": {**place, "config": json.dumps(config), **more}})[
            "upsertSweep"
        ]["sweep"]["name"]
        for config, more in ((CONFIG, {}), (CONFIG, {"displayName": "shown", "description": "about"}))
    ]
    for number in range(4):
        writer.run(
            PROJECT,
            f"t{number}",
            sweep=names[0],
            config={"lr": number / 10},
            summary={"loss": 4.0 - number},
            tags=["kept"] if number else [],
            rows=[{"_step": step, "loss": step / 2, "n": number} for step in range(5)],
            exit_code=0,
        )
    for title in ("First & best", "Second"):
        given = {**place, "displayName": title, "spec": json.dumps(REPORT), "type": "runs"}
        writer.graphql(UPSERT_VIEW, {"input": given})
    create = """mutation A($p: String!, $s: String!) {
      createAgent(input: {projectName: $p, sweep: $s, host: "box"}) { agent { id } } }"""
    beat = "mutation H($id: ID!) { agentHeartbeat(input: {id: $id}) { commands } }"
    agent = writer.graphql(create, {"p": PROJECT, "s": names[0]})["createAgent"]["agent"]["id"]
    (command,) = json.loads(writer.graphql(beat, {"id": agent})["agentHeartbeat"]["commands"])
    writer.run(PROJECT, command["run_id"], sweep=names[0], summary={"loss": 9.0}, exit_code=0)
    url = f"{writer.server.url}/files/{writer.server.entity}/{PROJECT}/t0/file_stream"
    lines = ["2026-01-31T12:00:00.250000 out", "ERROR 2026-01-31T12:00:01.000000 err", "bare"]
    body = {"files": {"output.log": {"offset": 0, "content": lines}}}
    assert writer.session.post(url, json=body, timeout=30).status_code == 200
    return str(names[0])


SWEEP_ATTRIBUTES = [
    "id",
    "name",
    "entity",
    "project",
    "config",
    "state",
    "order",
    "expected_run_count",
    "path",
    "url",
    "method",
    "description",
    "best_loss",
    "run_count",
    "created_at",
    "updated_at",
]


def test_a_sweep_is_the_same(theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str) -> None:
    path = f"{entity}/{PROJECT}/{sweep}"
    their_sweep, our_sweep = theirs.sweep(path), ours.sweep(path)
    for name in SWEEP_ATTRIBUTES:
        assert getattr(our_sweep, name) == getattr(their_sweep, name), name
    assert repr(our_sweep) == repr(their_sweep)
    assert [run.id for run in our_sweep.runs] == [run.id for run in their_sweep.runs]
    assert len(our_sweep.runs) == len(their_sweep.runs) == 5
    assert repr(our_sweep.runs) == repr(their_sweep.runs)
    for order in (None, "-loss", "+summary_metrics.loss", "-config.lr.value"):
        our_best = our_sweep.best_run(order)
        assert our_best is not None
        assert our_best.id == their_sweep.best_run(order).id, order
    from_path = f"{entity}/{PROJECT}/sweeps/{sweep}"
    assert repr(ours.from_path(from_path)) == repr(theirs.from_path(from_path))


def test_sweeps_of_a_project_are_the_same(theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str) -> None:
    their_sweeps = theirs.project(PROJECT, entity).sweeps()
    our_sweeps = ours.project(PROJECT, entity).sweeps()
    assert len(our_sweeps) == len(their_sweeps) == 2
    for our_sweep, their_sweep in zip(our_sweeps, their_sweeps, strict=True):
        for name in SWEEP_ATTRIBUTES:
            assert getattr(our_sweep, name) == getattr(their_sweep, name), name
    assert repr(our_sweeps) == repr(their_sweeps)
    filters = {"displayName": "shown"}
    found = [list(api.project(PROJECT, entity).sweeps(filters=filters)) for api in (ours, theirs)]
    assert [each.id for each in found[0]] == [each.id for each in found[1]]
    assert len(found[0]) == 1


def test_the_sweep_of_a_run_is_the_same(theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str) -> None:
    path = f"{entity}/{PROJECT}/t1"
    their_run, our_run = theirs.run(path), ours.run(path)
    assert our_run.sweep_name == their_run.sweep_name == sweep
    assert our_run.sweep is not None
    assert our_run.sweep.config == their_run.sweep.config


def test_agents_are_the_same(theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str) -> None:
    path = f"{entity}/{PROJECT}/{sweep}"
    (their_agent,), (our_agent,) = theirs.sweep(path).agents(), ours.sweep(path).agents()
    for name in ("id", "name", "host", "state", "total_runs", "created_at", "heartbeat_at"):
        assert getattr(our_agent, name) == getattr(their_agent, name), name
    assert repr(our_agent) == repr(their_agent)
    assert [run.id for run in our_agent.runs()] == [run.id for run in their_agent.runs()]
    assert len(our_agent.runs()) == len(their_agent.runs()) == 1
    again = ours.sweep(path).agent(our_agent.name), theirs.sweep(path).agent(our_agent.name)
    assert again[0].id == again[1].id == our_agent.id


def test_runs_are_enqueued_by_both(theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str) -> None:
    other = next(each for each in ours.project(PROJECT, entity).sweeps() if each.id != sweep)
    for api in (ours, theirs):
        made = api.sweep(f"{entity}/{PROJECT}/{other.id}").enqueue_run({"lr": 0.5}, "by hand")
        run = ours.run(f"{entity}/{PROJECT}/{made}")
        assert (run.config, run.name, run.state, run.sweep_name) == (
            {"lr": 0.5},
            "by hand",
            "pending",
            other.id,
        )
        run.delete()


REPORT_ATTRIBUTES = [
    "id",
    "name",
    "display_name",
    "description",
    "user",
    "spec",
    "sections",
    "created_at",
    "updated_at",
    "url",
]


def test_reports_are_the_same(theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str) -> None:
    path = f"{entity}/{PROJECT}"
    their_reports, our_reports = list(theirs.reports(path)), list(ours.reports(path))
    assert len(our_reports) == len(their_reports) == 2
    for our_report, their_report in zip(our_reports, their_reports, strict=True):
        for name in REPORT_ATTRIBUTES:
            assert getattr(our_report, name) == getattr(their_report, name), name
        for selected, expected in ((True, ["t3", "t1"]), (False, ["t3", "t2", "t1"])):
            our_runs = our_report.runs(our_report.sections[0], only_selected=selected)
            their_runs = their_report.runs(their_report.sections[0], only_selected=selected)
            assert [run.id for run in our_runs] == [run.id for run in their_runs] == expected
    named = [[each.id for each in api.reports(path, name="Second")] for api in (ours, theirs)]
    assert named[0] == named[1] == [our_reports[1].id]
    assert repr(ours.reports(path)) == repr(theirs.reports(path))


def test_a_report_by_its_address_is_the_same_until_more_is_asked(
    theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str
) -> None:
    listed = ours.reports(f"{entity}/{PROJECT}")[0]
    path = f"{entity}/{PROJECT}/reports/{listed.url.rsplit('/', 1)[1]}"
    their_report, our_report = theirs.from_path(path), ours.from_path(path)
    for name in ("id", "display_name", "url", "entity", "project"):
        assert getattr(our_report, name) == getattr(their_report, name), name
    # On purpose: the SDK's stays empty, ours is loaded.
    assert their_report.spec == {}
    assert our_report.spec == REPORT


def test_console_logs_are_the_same(theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str) -> None:
    path = f"{entity}/{PROJECT}/t0"
    their_run, our_run = theirs.run(path), ours.run(path)
    for arguments in ({}, {"per_page": 2}, {"last": 2}):
        their_lines, our_lines = (list(run.console_logs(**arguments)) for run in (their_run, our_run))
        assert len(our_lines) == len(their_lines) > 1
        for our_line, their_line in zip(our_lines, their_lines, strict=True):
            for name in ("number", "timestamp", "level", "label", "content"):
                assert getattr(our_line, name) == getattr(their_line, name), name


def plain(rows: Any) -> Any:
    return [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in rows
    ]


def test_histories_of_many_runs_are_the_same(
    theirs: Any, ours: wandb_ops.Api, sweep: str, entity: str
) -> None:
    path, filters = f"{entity}/{PROJECT}", {"config.lr": {"$gte": 0.1}}
    for arguments in ({}, {"keys": ["loss"]}, {"samples": 3}, {"keys": ["n", "loss"], "x_axis": "_step"}):
        their_rows = theirs.runs(path, filters=filters).histories(**arguments)
        our_rows = ours.runs(path, filters=filters).histories(**arguments)
        assert plain(our_rows) == plain(their_rows), arguments
        assert their_rows
        their_frame = theirs.runs(path, filters=filters).histories(format="pandas", **arguments)
        our_frame = ours.runs(path, filters=filters).histories(format="pandas", **arguments)
        assert our_frame.dtypes.to_dict() == their_frame.dtypes.to_dict()
        assert plain(our_frame.to_dict("records")) == plain(their_frame.to_dict("records"))
        their_table = theirs.runs(path, filters=filters).histories(format="polars", **arguments)
        our_table = ours.runs(path, filters=filters).histories(format="polars", **arguments)
        assert our_table.equals(their_table)
