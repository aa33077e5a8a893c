"""Sweeps by the protocol: configs checked, trials given once, agents that die, states that hold."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests

from wandb_ops.local.errors import Refused
from wandb_ops.local.serve import LocalServer
from wandb_ops.local.sweeps import sweepconfig
from wandb_ops.local.sweeps.suggest import suggest

UPSERT = """mutation U($input: UpsertSweepInput!) { upsertSweep(input: $input) {
  sweep { id name state method config displayName runCountExpected project { name entity { name } } }
  configValidationWarnings } }"""
SWEEP = """query S($p: String!, $s: String!) { project(name: $p) { totalSweeps sweep(sweepName: $s) {
  id name state bestLoss runCount runCountExpected config heartbeatAt earlyStopJobRunning
  runs { totalCount edges { node { name state config } } }
  agents { edges { node { id name host state totalRuns
    runs(first: 10) { edges { node { name } } } } } } } } }"""
AGENT = """mutation A($p: String!, $s: String!) {
  createAgent(input: {projectName: $p, sweep: $s, host: "h"}) { agent { id } } }"""
BEAT = """mutation H($id: ID!, $runs: JSONString) {
  agentHeartbeat(input: {id: $id, metrics: "{}", runState: $runs}) { agent { id } commands } }"""
ENQUEUE = """mutation E($id: ID!, $c: JSONString!, $n: String) {
  enqueueSweepRun(input: {id: $id, config: $c, displayName: $n}) { id runQueueItemId } }"""
VIEW = "mutation V($input: UpsertViewInput!) { upsertView(input: $input) { view { id } } }"
GRID = {"method": "grid", "parameters": {"a": {"values": [1, 2]}, "b": {"value": "x"}}}


def make(bare: Any, project: str, config: Any = None, **given: Any) -> Any:
    values = {"projectName": project, "config": json.dumps(config or GRID), **given}
    return bare.data(UPSERT, input=values)["upsertSweep"]["sweep"]


def look(bare: Any, project: str, name: str) -> Any:
    return bare.data(SWEEP, p=project, s=name)["project"]["sweep"]


def agent(bare: Any, project: str, name: str) -> str:
    return str(bare.data(AGENT, p=project, s=name)["createAgent"]["agent"]["id"])


def beat(bare: Any, agent_id: str, *working: str) -> Any:
    """The one command of a heartbeat, or None."""
    runs = json.dumps(dict.fromkeys(working, True))
    commands = json.loads(bare.data(BEAT, id=agent_id, runs=runs)["agentHeartbeat"]["commands"])
    assert len(commands) <= 1
    return commands[0] if commands else None


def do(bare: Any, project: str, sweep: str, command: Any, loss: float | None = None) -> None:
    """What an agent does with a command to run: a run that ends well."""
    assert command["type"] == "run"
    bare.upsert(
        name=command["run_id"],
        modelName=project,
        sweep=sweep,
        config=json.dumps(command["args"]),
        **({} if loss is None else {"summaryMetrics": json.dumps({"loss": loss})}),
    )
    bare.stream(project, command["run_id"], complete=True, exitcode=0)


def test_a_grid_is_gone_through_once_and_then_the_sweep_is_finished(bare: Any, project: str) -> None:
    sweep = make(bare, project)
    assert (sweep["state"], sweep["method"], sweep["runCountExpected"]) == ("PENDING", "grid", 2)
    worker = agent(bare, project, sweep["name"])
    assert look(bare, project, sweep["name"])["state"] == "RUNNING"
    seen = []
    for _ in range(2):
        command = beat(bare, worker)
        assert beat(bare, worker, command["run_id"]) is None
        seen.append({key: item["value"] for key, item in command["args"].items()})
        do(bare, project, sweep["name"], command)
    assert seen == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
    assert beat(bare, worker) == {"type": "exit"}
    found = look(bare, project, sweep["name"])
    assert (found["state"], found["runCount"], found["runs"]["totalCount"]) == ("FINISHED", 2, 2)
    (node,) = [edge["node"] for edge in found["agents"]["edges"]]
    assert (node["id"], node["host"], node["state"], node["totalRuns"]) == (worker, "h", "FINISHED", 2)
    assert [edge["node"]["name"] for edge in node["runs"]["edges"]] == [
        edge["node"]["name"] for edge in found["runs"]["edges"]
    ]


def test_an_answer_that_was_lost_is_given_again_and_not_for_ever(bare: Any, project: str) -> None:
    sweep = make(bare, project)
    worker = agent(bare, project, sweep["name"])
    first = [beat(bare, worker)["run_id"] for _ in range(3)]
    assert len(set(first)) == 1
    # After three times the run is taken for one that never begins.
    assert beat(bare, worker)["run_id"] != first[0]


def test_two_agents_share_a_grid_and_the_trial_of_a_dead_one_is_taken_over(
    bare_client: Any, clock: Any, tmp_path: Path
) -> None:
    with LocalServer(data=tmp_path, clock=clock) as server:
        bare = bare_client(server)
        sweep = make(bare, "p")
        dead, alive = agent(bare, "p", sweep["name"]), agent(bare, "p", sweep["name"])
        lost = beat(bare, dead)
        own = beat(bare, alive)
        assert lost["args"]["a"] != own["args"]["a"]
        do(bare, "p", sweep["name"], own)
        assert beat(bare, alive) == {"type": "exit"}
        assert look(bare, "p", sweep["name"])["state"] == "RUNNING"
        clock.now += 301
        taken = beat(bare, alive)
        assert (taken["run_id"], taken["args"]) == (lost["run_id"], lost["args"])
        states = [e["node"]["state"] for e in look(bare, "p", sweep["name"])["agents"]["edges"]]
        assert states == ["CRASHED", "RUNNING"]


def test_a_restart_changes_nothing(bare_client: Any, tmp_path: Path) -> None:
    config = {"method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    server = LocalServer(data=tmp_path)
    with server:
        bare = bare_client(server)
        sweep = make(bare, "p", config)
        worker = agent(bare, "p", sweep["name"])
        first = beat(bare, worker)
    with server:
        assert beat(bare_client(server), worker) == first


def test_pause_stop_and_cancel(bare: Any, project: str) -> None:
    sweep = make(bare, project)
    worker = agent(bare, project, sweep["name"])

    def become(state: str) -> None:
        bare.data(UPSERT, input={"id": sweep["id"], "state": state})

    become("PAUSED")
    assert beat(bare, worker) is None
    become("RUNNING")
    command = beat(bare, worker)
    bare.upsert(name=command["run_id"], modelName=project, sweep=sweep["name"])
    become("FINISHED")
    assert beat(bare, worker, command["run_id"]) is None  # what runs may end
    assert beat(bare, worker) == {"type": "exit"}
    become("CANCELED")
    assert beat(bare, worker, command["run_id"]) == {"type": "exit"}
    stopped = bare.of_run(project, command["run_id"], "stopped")
    assert stopped == {"stopped": True}
    assert bare.errors(UPSERT, input={"id": sweep["id"], "state": "HAPPY"}) == ["unknown sweep state 'HAPPY'"]


def test_a_run_that_is_to_stop_is_stopped_through_its_agent(bare: Any, project: str) -> None:
    sweep = make(bare, project)
    worker = agent(bare, project, sweep["name"])
    command = beat(bare, worker)
    made = bare.upsert(name=command["run_id"], modelName=project, sweep=sweep["name"])["bucket"]
    bare.data("mutation S($id: ID!) { stopRun(input: {id: $id}) { success } }", id=made["id"])
    assert beat(bare, worker, command["run_id"]) == {"type": "stop", "run_id": command["run_id"]}


def test_run_cap_ends_a_random_sweep(bare: Any, project: str) -> None:
    config = {"method": "random", "run_cap": 2, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    sweep = make(bare, project, config)
    assert sweep["runCountExpected"] == 2
    worker = agent(bare, project, sweep["name"])
    for _ in range(2):
        do(bare, project, sweep["name"], beat(bare, worker))
    assert beat(bare, worker) == {"type": "exit"}
    assert look(bare, project, sweep["name"])["state"] == "FINISHED"


@pytest.mark.parametrize(("goal", "best"), [("minimize", 0.25), ("maximize", 4.0)])
def test_the_best_loss_is_the_best_value_of_the_metric(
    bare: Any, project: str, goal: str, best: float
) -> None:
    sweep = make(bare, project, {**GRID, "metric": {"name": "loss", "goal": goal}})
    assert look(bare, project, sweep["name"])["bestLoss"] is None
    worker = agent(bare, project, sweep["name"])
    for loss in (4.0, 0.25):
        do(bare, project, sweep["name"], beat(bare, worker), loss)
    assert look(bare, project, sweep["name"])["bestLoss"] == best


def test_an_enqueued_run_waits_and_comes_first(bare: Any, project: str) -> None:
    sweep = make(bare, project)
    queued = bare.data(ENQUEUE, id=sweep["id"], c=json.dumps({"a": 9}), n="mine")["enqueueSweepRun"]
    (node,) = [edge["node"] for edge in look(bare, project, sweep["name"])["runs"]["edges"]]
    assert (node["name"], node["state"]) == (queued["id"], "pending")
    assert json.loads(node["config"]) == {"a": {"value": 9}}
    command = beat(bare, agent(bare, project, sweep["name"]))
    assert (command["run_id"], command["args"]) == (queued["id"], {"a": {"value": 9}})


def test_prior_runs_become_the_sweeps_own(bare: Any, project: str) -> None:
    for name in ("one", "two", "three"):
        bare.upsert(name=name, modelName=project)
    prior = json.dumps({"$or": [{"name": "one"}, {"name": "three"}]})
    sweep = make(bare, project, priorRunsFilters=prior)
    names = [edge["node"]["name"] for edge in look(bare, project, sweep["name"])["runs"]["edges"]]
    assert names == ["one", "three"]


def test_sweeps_are_listed_newest_first_in_pages_and_filtered(bare: Any, project: str) -> None:
    names = [make(bare, project, {**GRID, "name": f"n{number}"})["name"] for number in range(5)]
    query = """query L($p: String!, $a: String, $f: JSONString) { project(name: $p) { totalSweeps
      sweeps(after: $a, first: 2, filters: $f) {
        pageInfo { endCursor hasNextPage } edges { node { name } } } } }"""
    found, after = [], None
    while True:
        page = bare.data(query, p=project, a=after)["project"]
        assert page["totalSweeps"] == 5
        found += [edge["node"]["name"] for edge in page["sweeps"]["edges"]]
        after = page["sweeps"]["pageInfo"]["endCursor"]
        if not page["sweeps"]["pageInfo"]["hasNextPage"]:
            break
    assert found == names[::-1]
    some = bare.data(query, p=project, f=json.dumps({"displayName": {"$in": ["n1", "n3"]}}))["project"]
    assert [edge["node"]["name"] for edge in some["sweeps"]["edges"]] == [names[3], names[1]]


WRONG = [
    ("method: guess", "method must be one of"),
    ("- a list", "must be a mapping"),
    ("method: random", "parameters are missing"),
    ("method: grid\nparameters: {a: {min: 0.0, max: 1.0}}", "a grid needs values"),
    ("method: random\nparameters: {a: {min: 2, max: 1}}", "min not above max"),
    ("method: random\nparameters: {a: {values: []}}", "not empty"),
    ("method: random\nparameters: {a: {distribution: magic}}", "no distribution 'magic'"),
    ("method: random\nparameters: {a: 1}", "it must be a mapping"),
    ("method: random\nparameters: {a: {min: 0, max: 1, distribution: log_uniform_values}}", "above 0"),
    ("method: bayes\nparameters: {a: {min: 0.0, max: 1.0}}", "needs a metric"),
    ("method: random\nrun_cap: 0\nparameters: {a: {value: 1}}", "run_cap"),
    ("a: &x [1]\nb: *x", "aliases"),
    ("a: {", "not valid YAML"),
    ("method: random\nparameters: {a: {value: 2020-01-01}}", "plain values"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_a_config_that_no_trial_can_be_made_of_is_refused_and_named(
    bare: Any, project: str, text: str, reason: str
) -> None:
    (message,) = bare.errors(UPSERT, input={"projectName": project, "config": text})
    assert reason in message


def test_a_config_in_json_keeps_its_small_numbers(bare: Any, project: str) -> None:
    config = {"method": "random", "parameters": {"lr": {"min": 1e-05, "max": 2e-05}}}
    assert "1e-05" in json.dumps(config)
    name = make(bare, project, config)["name"]
    command = beat(bare, agent(bare, project, name))
    assert 1e-05 <= command["args"]["lr"]["value"] <= 2e-05
    (message,) = bare.errors(
        UPSERT,
        input={"projectName": project, "config": '{"method": "random", "parameters": {"a": {"value": NaN}}}'},
    )
    assert "NaN" in message


def test_a_key_that_nobody_knows_is_said_when_the_sweep_is_made(bare: Any, project: str) -> None:
    config = {
        "method": "bayes",
        "metric": {"name": "loss"},
        "parameters": {"a": {"min": 0.0, "max": 1.0}},
        "early_terminate": {"type": "hyperband", "min_iter": 3},
        "colour": "blue",
    }
    answer = bare.data(UPSERT, input={"projectName": project, "config": json.dumps(config)})["upsertSweep"]
    (warning,) = answer["configValidationWarnings"]
    assert "'colour'" in warning


DRAWN = [
    ({"min": 1, "max": 3}, lambda value: value in {1, 2, 3} and type(value) is int),
    ({"min": 0.0, "max": 2.0}, lambda value: 0 <= value <= 2),
    ({"min": 0, "max": 10, "q": 5}, lambda value: value in {0, 5, 10}),
    ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1}, lambda value: 1e-4 <= value <= 1),
    ({"distribution": "log_uniform", "min": -2, "max": 0}, lambda value: math.exp(-2) <= value <= 1),
    ({"distribution": "inv_log_uniform", "min": 0, "max": 2}, lambda value: math.exp(-2) <= value <= 1),
    ({"distribution": "q_log_uniform_values", "min": 1, "max": 64, "q": 8}, lambda value: 1 <= value <= 64),
    ({"distribution": "normal", "mu": 5, "sigma": 0.1}, lambda value: 3 < value < 7),
    ({"distribution": "log_normal", "mu": 0, "sigma": 1}, lambda value: value > 0),
    ({"distribution": "beta", "a": 2, "b": 2}, lambda value: 0 < value < 1),
    ({"values": ["a", None, [1]]}, lambda value: value in ["a", None, [1]]),
]


@pytest.mark.parametrize(
    ("spec", "allowed"), DRAWN, ids=lambda item: str(item) if isinstance(item, dict) else ""
)
def test_what_is_drawn_is_within_what_was_asked_for_and_not_always_the_same(spec: Any, allowed: Any) -> None:
    config = {"method": "random", "parameters": {"x": spec}}
    assert sweepconfig.check(config) == []
    drawn = [suggest(config, "sweep", number)["x"] for number in range(200)]  # type: ignore[index]
    assert all(allowed(value) for value in drawn)
    assert len({json.dumps(value) for value in drawn}) > 1
    assert drawn[7] == suggest(config, "sweep", 7)["x"]  # type: ignore[index]


def test_probabilities_are_followed() -> None:
    config = {
        "method": "random",
        "parameters": {"x": {"values": ["rare", "often"], "probabilities": [0.1, 0.9]}},
    }
    sweepconfig.check(config)
    counts = Counter(suggest(config, "s", number)["x"] for number in range(1000))  # type: ignore[index]
    assert 50 < counts["rare"] < 150


def test_a_grid_of_ranges_holds_both_ends() -> None:
    config = {
        "method": "grid",
        "parameters": {
            "a": {"min": 1, "max": 3},
            "b": {"parameters": {"c": {"min": 0.0, "max": 1.0, "q": 0.5}}},
        },
    }
    sweepconfig.check(config)
    every = [suggest(config, "s", number) for number in range(9)]
    assert every == [{"a": a, "b": {"c": c}} for a in (1, 2, 3) for c in (0.0, 0.5, 1.0)]
    assert suggest(config, "s", 9) is None
    with pytest.raises(Refused, match="allowed"):
        sweepconfig.check({"method": "grid", "parameters": {k: {"min": 1, "max": 2000} for k in "ab"}})


@pytest.fixture
def alerting(bare: Any, project: str) -> str:
    bare.upsert(name="r", modelName=project)
    return project


def test_alerts_are_stored_and_refused_where_they_are_none(bare: Any, alerting: str) -> None:
    query = """mutation N($input: NotifyScriptableRunAlertInput!) {
      notifyScriptableRunAlert(input: $input) { success } }"""
    place = {"projectName": alerting, "runName": "r"}
    for title, wait in (("t", 60_000), ("t", 0), ("u", 0), ("u", 0)):
        given = {**place, "title": title, "text": "x", "severity": "ERROR", "waitDuration": wait}
        assert bare.data(query, input=given) == {"notifyScriptableRunAlert": {"success": True}}
    alerts = bare.server.run(alerting, "r").alerts
    assert [(alert.title, alert.wait_seconds) for alert in alerts] == [("t", 60), ("u", 0), ("u", 0)]
    assert {alert.severity for alert in alerts} == {"ERROR"}
    assert "title" in bare.errors(query, input={**place, "title": "", "text": "x"})[0]
    assert "not found" in bare.errors(query, input={**place, "runName": "nobody", "title": "t"})[0]


def test_a_rewind_cuts_the_history_and_rebuilds_the_summary(bare: Any, alerting: str) -> None:
    bare.log(
        alerting, "r", 0, [{"_step": n, "loss": n, **({"late": n} if n == 9 else {})} for n in range(10)]
    )
    query = """mutation R($p: String!, $m: String!, $v: Float!) {
      rewindRun(input: {projectName: $p, runName: "r", metricName: $m, metricValue: $v}) {
        rewoundRun { historyLineCount historyKeys summaryMetrics state } } }"""
    run = bare.data(query, p=alerting, m="_step", v=4)["rewindRun"]["rewoundRun"]
    assert (run["historyLineCount"], run["state"], run["historyKeys"]["lastStep"]) == (5, "running", 4)
    assert json.loads(run["summaryMetrics"]) == {"_step": 4, "loss": 4}
    assert len(bare.server.run(alerting, "r").history_lines) == 5
    assert "only" in bare.errors(query, p=alerting, m="loss", v=1)[0]
    assert "no step 7" in bare.errors(query, p=alerting, m="_step", v=7)[0]


def test_the_page_of_a_sweep_shows_its_runs_and_nothing_of_it_is_taken_for_markup(
    bare: Any, project: str
) -> None:
    nested = {"parameters": {"b": {"value": 7}}}
    config = {
        "method": "grid",
        "name": "<script>alert(1)</script>",
        "metric": {"name": "loss"},
        "parameters": {"a": {"values": [1, 2]}, "n": nested},
    }
    sweep = make(bare, project, config)
    worker = agent(bare, project, sweep["name"])
    do(bare, project, sweep["name"], beat(bare, worker), 0.125)
    page = requests.Session()
    page.trust_env = False
    page.post(f"{bare.server.url}/login", data={"key": bare.server.api_key}, timeout=10)
    place = f"{bare.server.url}/{bare.server.entity}/{project}/sweeps"
    shown = page.get(f"{place}/{sweep['name']}", timeout=10)
    assert shown.status_code == 200
    for text in ("0.125", "1 of 2 runs", ">n.b<", "running", sweep["name"]):
        assert text in shown.text
    assert "<script>alert" not in shown.text
    assert page.get(f"{place}/nothing", timeout=10).status_code == 404


def test_sweeps_and_agents_of_others_do_not_exist(bare_client: Any, tmp_path: Path) -> None:
    with LocalServer(data=tmp_path) as server:
        owner, stranger = bare_client(server), bare_client(server)
        stranger.http.auth = ("api", server.add_user("stranger").api_key)
        sweep = make(owner, "p")
        worker = agent(owner, "p", sweep["name"])
        view = owner.data(VIEW, input={"projectName": "p", "displayName": "t"})["upsertView"]["view"]["id"]
        # The same of what never was, to compare word for word.
        for query, known, absent in (
            (BEAT, {"id": worker}, {"id": "QWdlbnQ6djE6OTk5OQ=="}),
            (VIEW, {"input": {"id": view, "displayName": "x"}}, {"input": {"id": "Vmlldzo5OTk5"}}),
        ):
            refused = stranger.errors(query, **known)
            assert refused
            assert refused == stranger.errors(query, **absent)
        assert "not found" in stranger.errors(UPSERT, input={"id": sweep["id"], "state": "CANCELED"})[0]
        assert "not found" in stranger.errors(ENQUEUE, id=sweep["id"], c="{}")[0]
        assert look(owner, "p", sweep["name"])["state"] == "RUNNING"
