"""Launch queues: made, replaced, filled, emptied in order."""

from __future__ import annotations

import json
from typing import Any

import pytest

UPSERT = """mutation U($input: UpsertRunQueueInput!) {
  upsertRunQueue(input: $input) { success configSchemaValidationErrors } }"""
META = """query M($p: String!, $q: String!) { project(name: $p) { runQueue(name: $q) {
  id name access prioritizationMode externalLinks defaultResourceConfigID
  runQueueItems(first: 100) { edges { node { id state associatedRunId } } } } } }"""
CONFIG = """query C($id: ID!) { entity(name: "local") { defaultResourceConfig(id: $id) {
  config resource templateVariables { name schema } } } }"""
PUSH = """mutation P($input: PushToRunQueueByNameInput!) {
  pushToRunQueueByName(input: $input) { runQueueItemId runSpec } }"""
POP = """mutation P($p: String!, $q: String!) {
  popFromRunQueue(input: {projectName: $p, queueName: $q}) { runQueueItemId runSpec } }"""
ACK = """mutation A($i: ID!, $r: String!) {
  ackRunQueueItem(input: {runQueueItemId: $i, runName: $r}) { success } }"""
FAIL = """mutation F($i: ID!) {
  failRunQueueItem(input: {runQueueItemId: $i, message: "m", stage: "s"}) { success } }"""


@pytest.fixture
def made(bare: Any, project: str) -> str:
    bare.data("mutation M($n: String!) { upsertModel(input: {name: $n}) { inserted } }", n=project)
    return project


def upsert(bare: Any, project: str, **given: Any) -> Any:
    values = {"projectName": project, "queueName": "q", "resourceType": "kubernetes", **given}
    values.setdefault("resourceConfig", json.dumps({"resource_args": {"kubernetes": {"a": 1}}}))
    return bare.data(UPSERT, input=values)["upsertRunQueue"]


def meta(bare: Any, project: str) -> Any:
    return bare.data(META, p=project, q="q")["project"]["runQueue"]


def push(bare: Any, project: str, **given: Any) -> Any:
    values = {"projectName": project, "queueName": "q", **given}
    return bare.data(PUSH, input=values)["pushToRunQueueByName"]


def test_an_upsert_makes_and_then_replaces_and_what_is_left_out_is_reset(bare: Any, made: str) -> None:
    links = {"links": [{"label": "l", "url": "https://example.org"}]}
    variables = {"gpus": {"schema": {"type": "integer", "default": 1, "minimum": 1, "maximum": 8}}}
    answer = upsert(
        bare,
        made,
        prioritizationMode="V0",
        externalLinks=json.dumps(links),
        templateVariables=json.dumps(variables),
    )
    assert answer == {"success": True, "configSchemaValidationErrors": []}
    first = meta(bare, made)
    assert (first["prioritizationMode"], first["externalLinks"], first["access"]) == ("V0", links, "PROJECT")
    config = bare.data(CONFIG, id=first["defaultResourceConfigID"])["entity"]["defaultResourceConfig"]
    assert config["config"] == {"resource_args": {"kubernetes": {"a": 1}}}
    assert config["resource"] == "kubernetes"
    assert [(v["name"], json.loads(v["schema"])) for v in config["templateVariables"]] == [
        ("gpus", variables["gpus"]["schema"])
    ]
    for _ in range(2):
        upsert(bare, made, resourceConfig=json.dumps({"resource_args": {"kubernetes": {"a": 2}}}))
    second = meta(bare, made)
    assert second["id"] == first["id"]
    assert (second["prioritizationMode"], second["externalLinks"]) == ("DISABLED", {"links": []})
    config = bare.data(CONFIG, id=second["defaultResourceConfigID"])["entity"]["defaultResourceConfig"]
    assert (config["config"], config["templateVariables"]) == (
        {"resource_args": {"kubernetes": {"a": 2}}},
        [],
    )
    assert bare.data(CONFIG, id=first["defaultResourceConfigID"])["entity"]["defaultResourceConfig"] is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"resourceConfig": "{}"}, "resource_args is missing"),
        ({"resourceConfig": '{"resource_args": {"sagemaker": {}}}'}, "resource_args.kubernetes"),
        ({"templateVariables": '{"x": 1}'}, "template variable x: schema"),
        ({"templateVariables": '{"x": {"schema": {"type": "list"}}}'}, "type must be one of"),
        (
            {"templateVariables": '{"x": {"schema": {"type": "integer", "default": "1"}}}'},
            "not of type integer",
        ),
        (
            {"templateVariables": '{"x": {"schema": {"type": "integer", "default": true}}}'},
            "not of type integer",
        ),
        ({"templateVariables": '{"x": {"schema": {"type": "number", "default": 3, "maximum": 2}}}'}, "above"),
        (
            {"templateVariables": '{"x": {"schema": {"type": "string", "default": "a", "enum": ["b"]}}}'},
            "allowed",
        ),
    ],
)
def test_a_config_that_does_not_fit_is_stored_and_said(bare: Any, made: str, given: Any, error: str) -> None:
    answer = upsert(bare, made, **given)
    assert answer["success"] is True
    assert len(answer["configSchemaValidationErrors"]) == 1
    assert error in answer["configSchemaValidationErrors"][0]
    assert meta(bare, made)["name"] == "q"


def test_unknown_resources_projects_and_modes_are_errors(bare: Any, made: str) -> None:
    base = {"projectName": made, "queueName": "q", "resourceType": "kubernetes", "resourceConfig": "{}"}
    assert "resource must be one of" in bare.errors(UPSERT, input={**base, "resourceType": "abacus"})[0]
    assert "not found" in bare.errors(UPSERT, input={**base, "projectName": "none"})[0]
    assert bare.errors(UPSERT, input={**base, "prioritizationMode": "V9"})
    assert "valid JSON" in bare.errors(UPSERT, input={**base, "resourceConfig": "{"})[0]
    assert bare.errors(UPSERT, input={**base, "queueName": "a/b"})
    assert meta(bare, made) is None


def test_the_two_step_creation_makes_a_queue_once(bare: Any, made: str) -> None:
    config = bare.data(
        """mutation C($c: JSONString!) { createDefaultResourceConfig(input:
           {entityName: "local", resource: "kubernetes", config: $c}) {
           defaultResourceConfigID success } }""",
        c='{"resource_args": {"kubernetes": {}}}',
    )["createDefaultResourceConfig"]
    create = (
        """mutation C($input: CreateRunQueueInput!) { createRunQueue(input: $input) { success queueID } }"""
    )
    given = {
        "projectName": made,
        "queueName": "q",
        "access": "PROJECT",
        "defaultResourceConfigID": config["defaultResourceConfigID"],
    }
    queue = bare.data(create, input=given)["createRunQueue"]
    assert queue["success"] is True
    assert meta(bare, made)["id"] == queue["queueID"]
    assert meta(bare, made)["defaultResourceConfigID"] == config["defaultResourceConfigID"]
    assert "already exists" in bare.errors(create, input=given)[0]
    listed = bare.data("query Q($p: String!) { project(name: $p) { runQueues { id name access } } }", p=made)
    assert listed["project"]["runQueues"] == [{"id": queue["queueID"], "name": "q", "access": "PROJECT"}]
    delete = "mutation D($i: [ID!]) { deleteRunQueues(input: {queueIDs: $i}) { success } }"
    assert bare.data(delete, i=[queue["queueID"]])["deleteRunQueues"]["success"] is True
    assert meta(bare, made) is None
    assert "not found" in bare.errors(delete, i=[queue["queueID"]])[0]


@pytest.mark.parametrize(("mode", "order"), [("V0", "bdac"), ("DISABLED", "abcd")])
def test_items_leave_in_the_order_of_the_queues_mode(bare: Any, made: str, mode: str, order: str) -> None:
    upsert(bare, made, prioritizationMode=mode)
    for name, priority in (("a", None), ("b", 0), ("c", 3), ("d", 1)):
        push(
            bare,
            made,
            runSpec=json.dumps({"n": name}),
            **({} if priority is None else {"priority": priority}),
        )
    popped = [bare.data(POP, p=made, q="q")["popFromRunQueue"]["runSpec"]["n"] for _ in order]
    assert popped == list(order)
    assert bare.data(POP, p=made, q="q")["popFromRunQueue"] is None
    assert "priority" in bare.errors(PUSH, input={"projectName": made, "queueName": "q", "priority": 9})[0]


def test_an_item_is_leased_claimed_failed_and_deleted(bare: Any, made: str) -> None:
    upsert(bare, made)
    first, second = (push(bare, made, runSpec="{}")["runQueueItemId"] for _ in range(2))

    def states() -> dict[str, tuple[str, str | None]]:
        edges = meta(bare, made)["runQueueItems"]["edges"]
        return {
            edge["node"]["id"]: (edge["node"]["state"], edge["node"]["associatedRunId"]) for edge in edges
        }

    assert states() == {first: ("PENDING", None), second: ("PENDING", None)}
    assert bare.data(ACK, i=first, r="run1")["ackRunQueueItem"]["success"] is False
    assert bare.data(POP, p=made, q="q")["popFromRunQueue"]["runQueueItemId"] == first
    assert states()[first] == ("LEASED", None)
    for _ in range(2):
        assert bare.data(ACK, i=first, r="run1")["ackRunQueueItem"]["success"] is True
    assert bare.data(ACK, i=first, r="run2")["ackRunQueueItem"]["success"] is False
    assert bare.data(FAIL, i=second)["failRunQueueItem"]["success"] is True
    assert states() == {first: ("CLAIMED", "run1"), second: ("FAILED", None)}
    one = """query I($p: String!, $i: ID!) { project(name: $p) { runQueue(name: "q") {
      runQueueItem(id: $i) { id state associatedRunId } } } }"""
    found = bare.data(one, p=made, i=first)["project"]["runQueue"]["runQueueItem"]
    assert found == {"id": first, "state": "CLAIMED", "associatedRunId": "run1"}
    queue = meta(bare, made)["id"]
    delete = """mutation D($q: ID!, $i: ID!) {
      deleteFromRunQueue(input: {queueID: $q, runQueueItemId: $i}) { success } }"""
    assert bare.data(delete, q=queue, i=second)["deleteFromRunQueue"]["success"] is True
    assert list(states()) == [first]
    assert bare.data(one, p=made, i=second)["project"]["runQueue"]["runQueueItem"] is None
    assert "not found" in bare.errors(delete, q=queue, i=second)[0]


def test_values_of_template_variables_are_checked_when_an_item_is_pushed(bare: Any, made: str) -> None:
    schema = {"type": "integer", "minimum": 1, "maximum": 8}
    upsert(bare, made, templateVariables=json.dumps({"gpus": {"schema": schema}}))
    item = push(bare, made, runSpec='{"job":"j"}', templateVariableValues='{"gpus":4}')
    assert json.loads(item["runSpec"]) == {"job": "j", "template_variables": {"gpus": 4}}
    base = {"projectName": made, "queueName": "q", "runSpec": "{}"}
    for values in ('{"gpus":9}', '{"gpus":"4"}', '{"other":1}', "["):
        assert bare.errors(PUSH, input={**base, "templateVariableValues": values})
    assert len(meta(bare, made)["runQueueItems"]["edges"]) == 1


def test_an_agent_is_registered_and_reports(bare: Any, made: str) -> None:
    upsert(bare, made)
    queue = meta(bare, made)["id"]
    create = """mutation C($p: String!, $q: [ID!]!) {
      createLaunchAgent(input: {projectName: $p, hostname: "h", runQueues: $q}) { launchAgentId } }"""
    agent = bare.data(create, p=made, q=[queue])["createLaunchAgent"]["launchAgentId"]
    update = """mutation U($i: ID!) {
      updateLaunchAgent(input: {launchAgentId: $i, agentStatus: "RUNNING"}) { success } }"""
    assert bare.data(update, i=agent)["updateLaunchAgent"]["success"] is True
    found = bare.data(
        "query A($i: ID!) { launchAgent(id: $i) { hostname runQueues agentStatus stopPolling } }", i=agent
    )
    assert found["launchAgent"] == {
        "hostname": "h",
        "runQueues": [queue],
        "agentStatus": "RUNNING",
        "stopPolling": False,
    }
