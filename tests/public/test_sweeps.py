"""Sweeps: found, listed without asking for each, best runs, agents, and the sweep of a run."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from wandb_ops import Api, NotFoundError, UsageError
from wandb_ops.public import Runs, Sweep

UPSERT = """mutation U($input: UpsertSweepInput!) { upsertSweep(input: $input) { sweep { id name } } }"""
CONFIG = {
    "method": "grid",
    "name": "the grid",
    "metric": {"name": "val_acc", "goal": "maximize"},
    "parameters": {"lr": {"values": [0.1, 0.2, 0.3]}},
}


def make(writer: Any, project: str, config: Any = None, **given: Any) -> str:
    """A sweep; returns its name."""
    values = {"projectName": project, "config": json.dumps(config or CONFIG), **given}
    return str(writer.graphql(UPSERT, {"input": values})["upsertSweep"]["sweep"]["name"])


def trial(writer: Any, project: str, sweep: str, number: int, **summary: Any) -> None:
    writer.run(
        project,
        f"run{number}",
        sweep=sweep,
        displayName=f"trial {number}",
        config={"lr": number / 10},
        summary=summary,
        exit_code=0,
    )


@pytest.fixture
def sweep(writer: Any, project: str) -> str:
    """A sweep of three runs; the best has val_acc 0.9, and one logged nothing."""
    name = make(writer, project)
    trial(writer, project, name, 1, val_acc=0.5)
    trial(writer, project, name, 2, val_acc=0.9)
    trial(writer, project, name, 3)
    writer.run(project, "elsewhere", summary={"val_acc": 1.0})
    return name


def test_a_sweep_says_what_it_is(api: Api, entity: str, project: str, sweep: str) -> None:
    for path in (
        f"{entity}/{project}/{sweep}",
        f"{entity}/{project}/sweeps/{sweep}",
        f"{project}/{sweep}",
        f"https://wandb.example/{entity}/{project}/sweeps/{sweep}?nw=x",
    ):
        found = api.sweep(path)
        assert (found.id, found.entity, found.project) == (sweep, entity, project)
    assert found.name == "the grid"
    assert found.config == CONFIG
    assert (found.state, found.expected_run_count) == ("PENDING", 3)
    assert found.order == "-summary_metrics.val_acc"
    assert found.path == [entity, project, sweep]
    assert found.url.endswith(f"/{entity}/{project}/sweeps/{sweep}")
    assert found.run_count == 3
    assert repr(found) == f"<Sweep {entity}/{project}/{sweep} (PENDING)>"
    assert f"sweeps/{sweep}" in found.to_html()
    with_default = api.from_path(f"{entity}/{project}/sweeps/{sweep}")
    assert isinstance(with_default, Sweep)


def test_what_is_no_sweep_is_named(api: Api, entity: str, project: str, writer: Any) -> None:
    writer.run(project, "r")
    with pytest.raises(NotFoundError, match="no such sweep"):
        api.sweep(f"{entity}/{project}/nothing")
    with pytest.raises(ValueError, match="no such sweep"):  # as W&B's is
        api.sweep(f"{entity}/no-such-project/nothing")
    with pytest.raises(UsageError, match="names no sweep"):
        api.sweep("")
    with pytest.raises(UsageError, match="path of a sweep"):
        api.sweep("a/b/c/d/e")


def test_the_runs_of_a_sweep_are_its_own_and_lazy(
    api: Api, entity: str, project: str, sweep: str, sent: list[str]
) -> None:
    found = api.sweep(f"{entity}/{project}/{sweep}")
    assert sent == ["GetSweep"]
    assert isinstance(found.runs, Runs)
    assert [run.id for run in found.runs] == ["run1", "run2", "run3"]
    assert {run.sweep_name for run in found.runs} == {sweep}
    assert found.runs[0].sweep is found
    assert sent == ["GetSweep", "Runs"]


def test_the_best_model_of_a_sweep_is_downloaded(
    api: Api, entity: str, project: str, sweep: str, tmp_path: Any
) -> None:
    """The page's example: rank the runs by a summary value and fetch a file of the first."""
    model = tmp_path / "model-best.h5"
    model.write_bytes(b"weights")
    api.run(f"{entity}/{project}/run2").upload_file(str(model), root=str(tmp_path))
    ranked = sorted(
        api.sweep(f"{entity}/{project}/{sweep}").runs,
        key=lambda run: run.summary.get("val_acc", 0),
        reverse=True,
    )
    assert (ranked[0].name, ranked[0].summary.get("val_acc", 0)) == ("trial 2", 0.9)
    with ranked[0].file("model-best.h5").download(root=str(tmp_path / "down"), replace=True) as handle:
        assert handle.name.endswith("model-best.h5")
    assert (tmp_path / "down" / "model-best.h5").read_bytes() == b"weights"


def test_the_runs_of_a_sweep_are_shown(api: Api, entity: str, project: str, sweep: str) -> None:
    """The page's example: what `print(sweep.runs)` says."""
    assert str(api.sweep(f"{entity}/{project}/{sweep}").runs) == f"<Runs {entity}/{project}>"


def test_the_best_run_has_the_metric_and_is_the_best_by_its_goal(
    api: Api, entity: str, project: str, writer: Any, sweep: str
) -> None:
    found = api.sweep(f"{entity}/{project}/{sweep}")
    best = found.best_run()
    assert best is not None
    assert best.id == "run2"
    lowest = found.best_run("+val_acc")
    assert lowest is not None
    assert lowest.id == "run1"  # and not run3, which has none
    ordered = found.best_run("-config.lr.value")
    assert ordered is not None
    assert ordered.id == "run3"
    plain = api.sweep(f"{entity}/{project}/{make(writer, project, CONFIG | {'metric': None})}")
    assert plain.order is None
    assert plain.best_run() is None


def test_thirty_sweeps_cost_their_pages(
    api: Api, entity: str, project: str, writer: Any, sent: list[str]
) -> None:
    names = [make(writer, project, displayName=f"shown {number}") for number in range(30)]
    sweeps = api.project(project, entity).sweeps(per_page=10)
    assert len(sweeps) == 30
    assert [(sweep.id, sweep.name) for sweep in sweeps] == [
        (names[number], f"shown {number}") for number in reversed(range(30))
    ]
    assert {sweep.config["method"] for sweep in sweeps} == {"grid"}
    assert sent == ["GetSweeps"] * 3
    some = api.project(project, entity).sweeps(filters={"displayName": {"$regex": "shown 1."}})
    assert len(some) == 10
    assert repr(sweeps) == f"<Sweeps {entity}/{project}>"
    with pytest.raises(NotFoundError):
        list(api.project("no-such-project", entity).sweeps())


def test_runs_find_their_sweeps_together(
    api: Api, entity: str, project: str, writer: Any, sent: list[str]
) -> None:
    names = [make(writer, project) for _ in range(5)]
    for number in range(10):
        trial(writer, project, names[number % 5], number)
    writer.run(project, "alone")
    writer.run(project, "orphan", sweep="gone")
    runs = pickle.loads(pickle.dumps(api.runs(f"{entity}/{project}")))
    found = {run.id: run.sweep for run in runs}
    assert {key: sweep.id for key, sweep in found.items() if sweep} == {
        f"run{number}": names[number % 5] for number in range(10)
    }
    assert found["alone"] is None
    assert found["orphan"] is None
    again = api.runs(f"{entity}/{project}")
    first = again[0].sweep
    assert first is not None
    assert first.id == names[0]
    assert sent == ["Runs", "GetSweeps"]
    single = api.run(f"{entity}/{project}/run3").sweep
    assert single is not None
    assert single.id == names[3]


def test_agents_and_their_runs(api: Api, entity: str, project: str, writer: Any) -> None:
    name = make(writer, project)
    create = """mutation A($p: String!, $s: String!) {
      createAgent(input: {projectName: $p, sweep: $s, host: "box"}) { agent { id } } }"""
    beat = "mutation H($id: ID!) { agentHeartbeat(input: {id: $id}) { commands } }"
    agent_id = writer.graphql(create, {"p": project, "s": name})["createAgent"]["agent"]["id"]
    for _ in range(2):
        (command,) = json.loads(writer.graphql(beat, {"id": agent_id})["agentHeartbeat"]["commands"])
        writer.run(project, command["run_id"], sweep=name, config={"seen": True}, exit_code=0)
    sweep = api.sweep(f"{entity}/{project}/{name}")
    (agent,) = sweep.agents()
    assert (agent.id, agent.host, agent.state, agent.total_runs) == (agent_id, "box", "RUNNING", 2)
    assert sweep.agent(agent.name).id == sweep.agent(agent_id).id == agent_id
    assert repr(agent) == f"<Agent {agent_id} (RUNNING)>"
    runs = agent.runs(per_page=1)
    assert len(runs) == 2
    assert {run.id for run in runs} == {run.id for run in sweep.runs}
    assert runs[0].config == {"seen": True}
    assert runs[0].sweep is sweep
    with pytest.raises(NotFoundError, match="no agent"):
        sweep.agent("nobody")


def test_a_run_is_enqueued(api: Api, entity: str, project: str, sweep: str) -> None:
    found = api.sweep(f"{entity}/{project}/{sweep}")
    made = api.run(f"{entity}/{project}/{found.enqueue_run({'lr': 0.7}, display_name='by hand')}")
    assert (made.state, made.name, made.config, made.sweep_name) == ("pending", "by hand", {"lr": 0.7}, sweep)
    assert Sweep.get(api, entity, project, sweep) is not None
    assert Sweep.get(api, entity, project, "nothing") is None
