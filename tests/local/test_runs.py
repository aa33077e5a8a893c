"""Runs: made, changed, reopened, ended, found; in what order, and page by page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wandb_ops.local.serve import LocalServer

RUNS = """query Runs($p: String!, $f: JSONString, $o: String, $n: Int, $c: String) {
  project(name: $p) { runCount(filters: $f) runs(filters: $f, order: $o, first: $n, after: $c) {
    totalCount pageInfo { hasNextPage endCursor } edges { cursor node { name state } } } } }"""


def names(bare: Any, project: str, filters: Any = None, order: str | None = None) -> list[str]:
    text = None if filters is None else json.dumps(filters)
    found = bare.data(RUNS, p=project, f=text, o=order, n=1000)["project"]
    listed = [edge["node"]["name"] for edge in found["runs"]["edges"]]
    assert found["runCount"] == found["runs"]["totalCount"] == len(listed)
    return listed


def test_a_run_is_made_once_and_then_found(bare: Any, project: str, server: LocalServer) -> None:
    first = bare.upsert(name="r1", modelName=project, config='{"lr":{"value":0.1}}', tags=["b", "a", "b"])
    second = bare.upsert(name="r1", modelName=project)
    assert (first["inserted"], second["inserted"]) == (True, False)
    assert first["bucket"]["id"] == second["bucket"]["id"]
    assert second["bucket"]["config"] == '{"lr":{"value":0.1}}'
    assert second["bucket"]["tags"] == ["b", "a"]
    assert second["bucket"]["project"] == {"name": project, "entity": {"name": server.entity}}
    assert first["bucket"]["displayName"] == second["bucket"]["displayName"]
    assert first["bucket"]["displayName"].count("-") == 2
    assert first["bucket"]["displayName"].endswith("-1")
    assert bare.upsert(name="r2", modelName=project)["bucket"]["displayName"].endswith("-2")
    assert names(bare, project) == ["r1", "r2"]


def test_a_run_without_a_name_gets_an_id_and_the_default_project(bare: Any) -> None:
    bucket = bare.upsert()["bucket"]
    assert len(bucket["name"]) == 8
    assert bucket["project"]["name"] == "uncategorized"


def test_an_update_by_id_changes_only_what_is_given(bare: Any, project: str) -> None:
    made = bare.upsert(
        name="r",
        modelName=project,
        config='{"a":{"value":1}}',
        tags=["t"],
        groupName="g",
        jobType="j",
        notes="n",
    )["bucket"]
    bare.stream(project, "r", complete=True, exitcode=0)
    changed = bare.upsert(id=made["id"], displayName="new", tags=[], summaryMetrics='{"x":NaN}')["bucket"]
    assert changed["displayName"] == "new"
    assert changed["tags"] == []
    assert changed["summaryMetrics"] == '{"x":NaN}'
    assert (changed["config"], changed["group"], changed["jobType"], changed["notes"]) == (
        '{"a":{"value":1}}',
        "g",
        "j",
        "n",
    )
    assert changed["state"] == "finished"


def test_a_finished_run_is_reopened_by_name(bare: Any, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    bare.stream(project, "r", complete=True, exitcode=3)
    assert bare.of_run(project, "r", "state exitcode failed") == {
        "state": "failed",
        "exitcode": 3,
        "failed": True,
    }
    again = bare.upsert(name="r", modelName=project)
    assert (again["inserted"], again["bucket"]["state"], again["bucket"]["exitcode"]) == (
        False,
        "running",
        None,
    )


def test_the_same_name_in_two_projects_is_two_runs(bare: Any, project: str) -> None:
    for suffix in "ab":
        bare.upsert(name="r", modelName=project + suffix)
        bare.log(project + suffix, "r", 0, [{"_step": 0, "from": suffix}])
    for suffix in "ab":
        (line,) = bare.of_run(project + suffix, "r", "history")["history"]
        assert json.loads(line)["from"] == suffix


@pytest.mark.parametrize("bad", ["a/b", "..", "a\\b", "a#b", "a?b", "a%2fb", "a:b", "\u0000", " ", "x" * 129])
def test_names_that_could_lead_elsewhere_are_refused(bare: Any, project: str, bad: str) -> None:
    mutation = "mutation U($input: UpsertBucketInput!) { upsertBucket(input: $input) { inserted } }"
    assert bare.errors(mutation, input={"name": bad, "modelName": project})
    assert bare.errors(mutation, input={"name": "r", "modelName": bad})
    assert bare.errors(mutation, input={"name": "r", "modelName": project, "entityName": bad})


def test_another_entity_is_not_served(bare: Any) -> None:
    mutation = "mutation U($input: UpsertBucketInput!) { upsertBucket(input: $input) { inserted } }"
    assert "not found" in bare.errors(mutation, input={"name": "r", "entityName": "somebody"})[0]
    assert bare.data('{ project(name: "p", entityName: "somebody") { id } }') == {"project": None}


@pytest.mark.parametrize(
    "given",
    [
        {"config": "[1]"},
        {"config": "{"},
        {"summaryMetrics": "nope"},
        {"state": "sleeping"},
        {"id": "bm9wZQ=="},
    ],
)
def test_nonsense_is_refused_and_changes_nothing(bare: Any, project: str, given: dict[str, Any]) -> None:
    bare.upsert(name="r", modelName=project, config='{"a":{"value":1}}')
    mutation = "mutation U($input: UpsertBucketInput!) { upsertBucket(input: $input) { inserted } }"
    assert len(bare.errors(mutation, input={"name": "r", "modelName": project, **given})) == 1
    run = bare.of_run(project, "r", "config state")
    assert run == {"config": '{"a":{"value":1}}', "state": "running"}


def test_what_resuming_needs_is_told(bare: Any, project: str) -> None:
    query = """query R($p: String, $n: String!) { model(name: $p) { bucket(name: $n, missingOk: true) { name
      historyLineCount eventsLineCount logLineCount historyTail eventsTail summaryMetrics
      config wandbConfig(keys: ["t"]) } } }"""
    bare.upsert(
        name="r", modelName=project, config='{"_wandb":{"value":{"t":{"1":2},"m":[]}},"a":{"value":1}}'
    )
    empty = bare.data(query, p=project, n="r")["model"]["bucket"]
    assert (empty["historyLineCount"], empty["historyTail"], empty["eventsTail"]) == (0, "[]", "[]")
    files = {
        "wandb-history.jsonl": {"offset": 0, "content": ['{"_step":0}', '{"_step":7,"x":NaN}']},
        "wandb-events.jsonl": {"offset": 0, "content": ['{"system.cpu":1}']},
        "output.log": {"offset": 0, "content": ["a", "b", "c"]},
        "wandb-summary.json": {"offset": 0, "content": ['{"_step":7}']},
    }
    bare.stream(project, "r", files=files)
    found = bare.data(query, p=project, n="r")["model"]["bucket"]
    assert [found[f"{kind}LineCount"] for kind in ("history", "events", "log")] == [2, 1, 3]
    assert json.loads(found["historyTail"]) == ['{"_step":7,"x":NaN}']
    assert json.loads(found["eventsTail"]) == ['{"system.cpu":1}']
    assert found["summaryMetrics"] == '{"_step":7}'
    assert json.loads(found["wandbConfig"]) == {"t": {"1": 2}}
    assert bare.of_run(project, "r", "systemMetrics")["systemMetrics"] == '{"system.cpu":1}'
    assert bare.data(query, p=project, n="none")["model"]["bucket"] is None
    assert bare.data(query, p="none", n="r")["model"] is None
    assert (
        "not found" in bare.errors(f'{{ model(name: "{project}") {{ bucket(name: "none") {{ id }} }} }}')[0]
    )


def test_deleting_a_run_removes_its_lines_and_files(bare: Any, project: str, server: LocalServer) -> None:
    made = bare.upsert(name="r", modelName=project)["bucket"]
    bare.log(project, "r", 0, [{"_step": 0}])
    mutation = "mutation D($id: ID!) { deleteRun(input: {id: $id}) { clientMutationId } }"
    bare.data(mutation, id=made["id"])
    assert names(bare, project) == []
    with pytest.raises(LookupError):
        server.run(project, "r")
    assert "not found" in bare.errors(mutation, id=made["id"])[0]
    assert bare.upsert(name="r", modelName=project)["inserted"] is True
    assert server.run(project, "r").history_lines == []


def test_states_that_a_client_may_set(bare: Any, project: str) -> None:
    made = bare.upsert(name="r", modelName=project)["bucket"]
    mutation = "mutation S($id: ID!, $s: String!) { updateRunState(input: {id: $id, state: $s}) { success } }"
    assert bare.data(mutation, id=made["id"], s="failed")["updateRunState"]["success"] is True
    assert bare.of_run(project, "r", "state")["state"] == "failed"
    assert "only" in bare.errors(mutation, id=made["id"], s="finished")[0]


def test_a_stop_request_reaches_the_writer_with_its_next_heartbeat(bare: Any, project: str) -> None:
    made = bare.upsert(name="r", modelName=project)["bucket"]
    assert "stopped" not in bare.stream(project, "r").json()
    assert bare.data("mutation S($id: ID!) { stopRun(input: {id: $id}) { success } }", id=made["id"])
    assert bare.stream(project, "r").json()["stopped"] is True
    assert bare.of_run(project, "r", "stopped shouldStop") == {"stopped": True, "shouldStop": True}


def test_a_run_whose_heartbeats_stop_is_shown_as_crashed(
    tmp_path: Path, clock: Any, bare_client: Any
) -> None:
    with LocalServer(data=tmp_path, clock=clock, crash_after=60) as server:
        bare = bare_client(server)
        for name in ("live", "silent", "done", "waiting"):
            bare.upsert(name=name, modelName="p", **({"state": "pending"} if name == "waiting" else {}))
        bare.stream("p", "done", complete=True, exitcode=0)
        clock.now += 59
        bare.stream("p", "live")
        clock.now += 2
        states = {
            name: bare.of_run("p", name, "state running") for name in ("live", "silent", "done", "waiting")
        }
        assert {name: found["state"] for name, found in states.items()} == {
            "live": "running",
            "silent": "crashed",
            "done": "finished",
            "waiting": "pending",
        }
        assert names(bare, "p", {"state": "crashed"}) == ["silent"]
        assert names(bare, "p", {"state": {"$in": ["running", "finished"]}}) == ["live", "done"]
        bare.stream("p", "silent")
        assert bare.of_run("p", "silent", "state")["state"] == "running"


@pytest.fixture(scope="module")
def zoo(server: LocalServer, bare_client: Any) -> str:
    """Five runs that differ in everything that the documented filters and orders look at."""
    bare = bare_client(server)
    configs = [
        {
            "experiment_name": {"value": "foo"},
            "lr": {"value": 0.1},
            "experiment": {"value": {"category": "testing"}},
        },
        {"experiment_name": {"value": "bar"}, "lr": {"value": 1}},
        {"experiment_name": {"value": "baz"}, "lr": {"value": "high"}},
        {"layers": {"value": [64, 32]}, "flag": {"value": True}, "a.b": {"value": 5}},
        {},
    ]
    losses = [0.5, 0.25, None, 0.75, None]
    for index, (config, loss) in enumerate(zip(configs, losses, strict=True)):
        summary = {"model1": {"loss": loss}, "loss": loss, "_runtime": index * 10} if loss is not None else {}
        bare.upsert(
            name=f"r{index}",
            modelName="zoo",
            displayName=f"foo-{index}" if index % 2 else f"eager-fox-{index}",
            config=json.dumps(config),
            summaryMetrics=json.dumps(summary),
            groupName="even" if index % 2 == 0 else "odd",
            jobType="train" if index < 3 else "eval",
            host=f"host{index}",
            tags=["prod", f"t{index}"] if index < 2 else [],
            state="finished" if index < 4 else "running",
            **({"sweep": "sw"} if index == 1 else {}),
        )
    return "zoo"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "01234"),
        ({"config.experiment_name": "foo"}, "0"),
        ({"$or": [{"config.experiment_name": "foo"}, {"config.experiment_name": "bar"}]}, "01"),
        ({"config.experiment_name": {"$regex": "b.*"}}, "12"),
        ({"display_name": {"$regex": "^foo.*"}}, "13"),
        ({"displayName": "eager-fox-0"}, "0"),
        ({"config.experiment.category": "testing"}, "0"),
        ({"config.experiment.value.category": "testing"}, "0"),
        ({"config.lr.value": 1}, "1"),
        ({"config.lr": {"$gte": 0.1}}, "01"),
        ({"config.lr": {"$ne": 0.1}}, "1234"),
        ({"config.lr": {"$exists": False}}, "34"),
        ({"config.lr": None}, "34"),
        ({"config.layers": 32}, "3"),
        ({"config.layers.0": 64}, "3"),
        ({"config.layers": [64, 32]}, "3"),
        ({"config.flag": True}, "3"),
        ({"config.flag": 1}, ""),
        ({"config.a.b": 5}, "3"),
        ({"summary_metrics.model1.loss": 0.5}, "0"),
        ({"summary_metrics.loss": {"$lt": 0.6}}, "01"),
        ({"summaryMetrics.loss": {"$not": {"$lt": 0.6}}}, "234"),
        ({"group": "odd"}, "13"),
        ({"jobType": "eval"}, "34"),
        ({"job_type": {"$nin": ["eval"]}}, "012"),
        ({"host": "host2"}, "2"),
        ({"tags": "prod"}, "01"),
        ({"tags": {"$in": ["t1", "t9"]}}, "1"),
        ({"tags": {"$nin": ["prod"]}}, "234"),
        ({"name": {"$in": ["r0", "r4"]}}, "04"),
        ({"state": "running"}, "4"),
        ({"$nor": [{"state": "running"}, {"group": "odd"}]}, "02"),
        ({"$and": [{"state": "finished"}, {"jobType": "train"}]}, "012"),
        ({"$not": {"group": "odd"}}, "024"),
        ({"sweep": "sw"}, "1"),
        ({"sweep": None}, "0234"),
        ({"username": "local"}, "01234"),
        ({"user.username": "nobody"}, ""),
        ({"duration": {"$gt": 5, "$lt": 35}}, "13"),
        ({"createdAt": {"$gt": "2020-01-01"}}, "01234"),
        ({"created_at": {"$lt": "2020-01-01T00:00:00Z"}}, ""),
        ({"heartbeatAt": {"$exists": True}}, "01234"),
    ],
)
def test_the_documented_filters_find_what_they_say(bare: Any, zoo: str, filters: Any, expected: str) -> None:
    assert names(bare, zoo, filters) == [f"r{digit}" for digit in expected]


@pytest.mark.parametrize(
    "filters",
    [
        "[]",
        "{",
        '{"$all": []}',
        '{"a": {"$all": [1]}}',
        '{"a": {"$regex": "("}}',
        '{"$or": []}',
        '{"a": {"$in": 1}}',
        '{"createdAt": {"$gt": "yesterday"}}',
        '{"a": {"$gt": 1, "b": 2}}',
    ],
)
def test_a_filter_that_makes_no_sense_is_an_error(bare: Any, zoo: str, filters: str) -> None:
    assert len(bare.errors(RUNS, p=zoo, f=filters, n=5)) >= 1


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, "01234"),
        ("+created_at", "01234"),
        ("-created_at", "43210"),
        ("created_at", "01234"),
        ("+heartbeat_at", "01234"),
        ("+summary_metrics.loss", "24103"),
        ("-summary_metrics.loss", "30142"),
        ("+config.lr.value", "34012"),
        ("-config.lr", "21043"),
        ("+display_name", "02413"),
    ],
)
def test_orders(bare: Any, zoo: str, order: str | None, expected: str) -> None:
    assert names(bare, zoo, None, order) == [f"r{digit}" for digit in expected]
    assert names(bare, zoo, {"name": {"$exists": True}}, order) == [f"r{digit}" for digit in expected]


@pytest.mark.parametrize(
    "order", ["+created_at", "-created_at", "+config.x.value", "-summary_metrics.y", "+state"]
)
def test_runs_that_come_and_go_while_paging_neither_repeat_nor_hide_others(
    bare: Any, project: str, order: str
) -> None:
    def make(name: str, number: int) -> str:
        value = json.dumps({"x": {"value": number % 5 if number % 3 else None}})
        found = bare.upsert(
            name=name, modelName=project, config=value, summaryMetrics=json.dumps({"y": number % 4})
        )
        return str(found["bucket"]["id"])

    ids = {f"r{number:02d}": make(f"r{number:02d}", number) for number in range(20)}
    seen: list[str] = []
    deleted: set[str] = set()
    cursor, more, turn = None, True, 0
    while more:
        page = bare.data(RUNS, p=project, o=order, n=3, c=cursor)["project"]["runs"]
        seen += [edge["node"]["name"] for edge in page["edges"]]
        cursor, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        assert len(page["edges"]) == 3 or not more
        make(f"new{turn}", turn)
        if turn < 4:
            deleted.add(seen[turn])
            bare.data(
                "mutation D($i: ID!) { deleteRun(input: {id: $i}) { clientMutationId } }", i=ids[seen[turn]]
            )
        turn += 1
        assert turn < 50
    assert len(seen) == len(set(seen))
    assert {name for name in seen if name in ids} == set(ids)


def test_a_cursor_of_another_order_or_no_cursor_at_all_is_an_error(bare: Any, zoo: str) -> None:
    cursor = bare.data(RUNS, p=zoo, o="+created_at", n=1)["project"]["runs"]["pageInfo"]["endCursor"]
    assert "cursor" in bare.errors(RUNS, p=zoo, o="-created_at", n=1, c=cursor)[0]
    assert "cursor" in bare.errors(RUNS, p=zoo, o="+created_at", n=1, c="bm9wZQ==")[0]
    assert "cursor" in bare.errors(RUNS, p=zoo, o="+created_at", n=1, c="%")[0]


def test_projects_are_made_once_listed_and_paged(bare: Any, project: str) -> None:
    upsert = (
        "mutation M($input: UpsertModelInput!)"
        " { upsertModel(input: $input) { inserted project { id name entityName description createdAt } } }"
    )
    made = bare.data(upsert, input={"name": project, "description": "one"})["upsertModel"]
    again = bare.data(upsert, input={"name": project})["upsertModel"]
    assert (made["inserted"], again["inserted"]) == (True, False)
    assert again["project"] == made["project"]
    changed = bare.data(upsert, input={"id": made["project"]["id"], "description": "two"})["upsertModel"][
        "project"
    ]
    assert changed["description"] == "two"
    bare.data(upsert, input={"name": f"{project}-2"})
    query = """query M($c: String) { models(first: 1, after: $c)
      { edges { node { name } } pageInfo { endCursor hasNextPage } } }"""
    found, cursor, more = [], None, True
    while more:
        page = bare.data(query, c=cursor)["models"]
        found += [edge["node"]["name"] for edge in page["edges"]]
        cursor, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert len(found) == len(set(found))
    assert {project, f"{project}-2"} <= set(found)
