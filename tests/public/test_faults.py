"""When answers get lost, pages are too large or texts are broken: nothing twice, no wrong run blamed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults_plugin import Answer, Recorded, json_answer

from wandb_ops import AmbiguousOutcome, Api, CursorStuck, DataError, ProtocolError, UnsafePath
from wandb_ops.public import Run

LOST = Answer(reset=True, apply_first=True)
NEVER_CAME = Answer(reset=True)


@pytest.fixture
def shaky(fault_server: Any, writer: Any) -> Any:
    """The embedded server behind one that can spoil answers."""

    def forward(request: Recorded) -> Answer:
        answer = writer.session.request(
            request.method,
            writer.server.url + request.target,
            data=request.plain_body,
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        return Answer(
            status=answer.status_code,
            body=answer.content,
            headers=(("Content-Type", answer.headers.get("Content-Type", "text/plain")),),
        )

    fault_server.handler = forward
    return fault_server


@pytest.fixture
def api(shaky: Any, make_transport: Callable[..., Any], entity: str, sentinel_key: str) -> Api:
    api = Api(overrides={"base_url": shaky.url, "entity": entity}, api_key=sentinel_key)
    api._transport = make_transport(shaky)
    return api


def operations(server: Any) -> list[str]:
    return [request.operation for request in server.requests if request.operation]


def run_node(name: str, **fields: Any) -> dict[str, Any]:
    return (
        {"id": f"id-{name}", "name": name, "state": "running", "tags": [], "config": "{}"}
        | {
            "summaryMetrics": "{}",
            "systemMetrics": "{}",
            "historyKeys": None,
        }
        | fields
    )


def page(
    nodes: list[Any], *, more: bool = False, cursor: str | None = None, count: int | None = None
) -> Answer:
    runs = {
        "edges": [{"node": node, "cursor": f"at-{index}"} for index, node in enumerate(nodes)],
        "pageInfo": {"endCursor": cursor, "hasNextPage": more},
    }
    return json_answer(
        {"data": {"project": {"runCount": len(nodes) if count is None else count, "runs": runs}}}
    )


def test_a_deletion_whose_answer_is_lost_is_not_sent_twice(
    api: Api, shaky: Any, writer: Any, project: str
) -> None:
    run = api.run(writer.run(project, "gone"))
    shaky.on("DeleteRun", LOST)
    run.delete()
    assert operations(shaky).count("DeleteRun") == 1
    with pytest.raises(LookupError):
        writer.server.run(project, "gone")


def test_a_deletion_that_was_not_made_is_said_to_be_uncertain(
    api: Api, shaky: Any, writer: Any, project: str
) -> None:
    run = api.run(writer.run(project, "here"))
    shaky.on("DeleteRun", NEVER_CAME)
    with pytest.raises(AmbiguousOutcome):
        run.delete()
    assert writer.server.run(project, "here").state == "running"
    assert operations(shaky).count("DeleteRun") == 1


def test_a_queue_whose_creation_got_no_answer_is_looked_for(
    api: Api, shaky: Any, entity: str, project: str
) -> None:
    shaky.on("CreateRunQueue", LOST)
    queue = api.create_run_queue(f"lost-{project}", type="kubernetes", config={"a": 1})
    assert operations(shaky).count("CreateRunQueue") == 1
    assert queue.default_resource_config == {"resource_args": {"kubernetes": {"a": 1}}}
    assert api.run_queue(entity, f"lost-{project}").id == queue.id


def test_a_queue_that_was_not_created_is_said_to_be_uncertain(api: Api, shaky: Any, project: str) -> None:
    shaky.on("CreateRunQueue", NEVER_CAME)
    with pytest.raises(AmbiguousOutcome):
        api.create_run_queue(f"never-{project}", type="kubernetes")
    assert operations(shaky).count("CreateRunQueue") == 1


@pytest.mark.parametrize("fault", [LOST, NEVER_CAME])
def test_a_save_whose_answer_is_lost_is_sent_again_and_changes_no_more(
    api: Api, shaky: Any, writer: Any, project: str, fault: Answer
) -> None:
    run = api.run(writer.run(project, "saved", config={"a": 1}))
    shaky.on("UpsertBucket", fault)
    run.config["b"] = 2
    run.update()
    assert operations(shaky).count("UpsertBucket") == 2
    assert writer.server.run(project, "saved").config == {"a": 1, "b": 2}


@pytest.mark.parametrize("fault", [LOST, NEVER_CAME])
def test_an_upsert_whose_answer_is_lost_leaves_one_queue(
    api: Api, shaky: Any, entity: str, project: str, fault: Answer
) -> None:
    name = f"upsert-{project}"
    shaky.on("UpsertRunQueue", fault)
    api.upsert_run_queue(name, {"a": 1}, "kubernetes")
    assert operations(shaky).count("UpsertRunQueue") == 2
    assert api.run_queue(entity, name).default_resource_config == {"resource_args": {"kubernetes": {"a": 1}}}


def test_a_page_that_is_too_large_for_the_gateway_is_asked_for_smaller(
    api: Api, shaky: Any, writer: Any, project: str, entity: str
) -> None:
    for number in range(9):
        writer.run(project, f"r{number}")

    def too_large(request: Recorded) -> bool:
        return request.operation == "Runs" and request.json()["variables"]["perPage"] > 4

    shaky.on(too_large, Answer(status=504, body=b"", headers=(("Content-Type", "text/html"),)), nth=None)
    assert [run.id for run in api.runs(f"{entity}/{project}", per_page=8)] == [f"r{n}" for n in range(9)]


def test_one_runs_broken_config_spoils_no_page(api: Api, fault_server: Any) -> None:
    """G39."""
    nodes = [
        run_node("good", config='{"a": {"value": 1}}'),
        run_node("broken", config='{"a": ', summaryMetrics="[1]"),
        run_node("empty", config=None, summaryMetrics=None, systemMetrics=None),
    ]
    fault_server.on("Runs", page(nodes))
    good, broken, empty = api.runs("e/p")
    assert good.config == {"a": 1}
    assert (empty.config, dict(empty.summary), empty.system_metrics) == ({}, {}, {})
    with pytest.raises(DataError, match="e/p/broken"):
        _ = broken.config
    with pytest.raises(DataError, match="e/p/broken"):
        _ = broken.summary["a"]
    assert broken.state == "running"


def test_what_the_server_adds_in_time_is_kept(api: Api, fault_server: Any) -> None:
    """G32."""
    fault_server.on("Runs", page([run_node("new", state="hibernating", brandNew={"a": 1})]))
    (run,) = api.runs("e/p")
    assert run.state == "hibernating"
    assert run.brandNew == run.brand_new == {"a": 1}


def test_a_run_that_vanished_from_a_page_is_left_out_and_noticed(
    api: Api, fault_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """G34, G38."""
    fault_server.on("Runs", page([run_node("one"), None], count=3))
    with caplog.at_level(logging.WARNING, "wandb_ops"):
        assert [run.id for run in api.runs("e/p")] == ["one"]
    assert "counts 3" in caplog.text
    assert "held 1" in caplog.text


def test_runs_that_come_twice_are_given_once(api: Api, fault_server: Any) -> None:
    """G35."""
    fault_server.on("Runs", page([run_node("a"), run_node("b")], more=True, cursor="x", count=3), nth=1)
    fault_server.on("Runs", page([run_node("b"), run_node("c")], count=3), nth=2)
    assert [run.id for run in api.runs("e/p")] == ["a", "b", "c"]


def test_a_cursor_that_leads_nowhere_is_an_error(api: Api, fault_server: Any) -> None:
    """G33."""
    fault_server.on("Runs", page([run_node("a")], more=True, cursor="x"), nth=None)
    with pytest.raises(CursorStuck):
        list(api.runs("e/p"))


def test_names_are_sent_as_variables_and_never_as_text(api: Api, fault_server: Any) -> None:
    """G40."""
    evil = 'x"){viewer{id}} #\n'
    fault_server.on("Run", json_answer({"data": {"project": {"run": run_node(evil)}}}))
    run = Run(api.transport, evil, "prö/ject", evil)
    (request,) = fault_server.requests
    assert request.json()["variables"] == {"entity": evil, "project": "prö/ject", "name": evil}
    assert 'x"' not in request.json()["query"]
    assert "pr%C3%B6%2Fject" in run.url
    assert "\n" not in run.url


def test_an_answer_without_the_run_is_an_error_and_no_success(
    api: Api, shaky: Any, writer: Any, project: str
) -> None:
    run = api.run(writer.run(project, "r"))
    run.config["a"] = 1
    shaky.on("UpsertBucket", json_answer({"data": {"upsertBucket": None}}))
    with pytest.raises(ProtocolError):
        run.update()


def test_an_old_server_is_asked_for_a_queue_item_in_the_old_way(api: Api, fault_server: Any) -> None:
    def new_way(request: Recorded) -> bool:
        return request.operation == "GetRunQueueItem" and "runQueueItem(" in request.json()["query"]

    unknown = {"errors": [{"message": 'Cannot query field "runQueueItem" on type "RunQueue".'}]}
    nodes = [{"id": "1", "state": "PENDING", "associatedRunId": None}, {"id": "2", "state": "FAILED"}]
    items = {"runQueueItems": {"edges": [{"node": node} for node in nodes]}}
    fault_server.on(new_way, json_answer(unknown), nth=None)
    fault_server.on("GetRunQueueItem", json_answer({"data": {"project": {"runQueue": items}}}), nth=None)
    assert api.queued_run("e", "p", "q", "1").state == "pending"
    assert api.queued_run("e", "p", "q", "2").state == "failed"


def test_a_file_with_an_evil_name_is_not_written(api: Api, fault_server: Any, tmp_path: Path) -> None:
    names = ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "c:\\evil"]
    fault_server.on("Run", json_answer({"data": {"project": {"run": run_node("r")}}}))
    run = api.run("e/p/r")
    edges = [
        {
            "node": {
                "id": str(n),
                "name": name,
                "url": fault_server.url + "/x",
                "sizeBytes": 2,
                "updatedAt": "2024",
            }
        }
        for n, name in enumerate(names)
    ]
    files = {"fileCount": len(names), "files": {"edges": edges, "pageInfo": {"hasNextPage": False}}}
    fault_server.on("RunFiles", json_answer({"data": {"project": {"run": files}}}))
    inside = tmp_path / "inside"
    inside.mkdir()
    for file in run.files():
        with pytest.raises(UnsafePath):
            file.download(root=str(inside))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert [request for request in fault_server.requests if request.path == "/x"] == []


def test_a_config_that_other_clients_describe_keeps_its_descriptions(api: Api, fault_server: Any) -> None:
    config = json.dumps({"a": {"value": 1, "desc": "speed"}, "_wandb": {"value": {"t": 1}}, "bare": 5})
    answer = json_answer({"data": {"project": {"run": run_node("r", config=config)}}})
    fault_server.on("Run", answer, nth=None)
    fault_server.on("UpsertBucket", json_answer({"data": {"upsertBucket": {"bucket": run_node("r")}}}))
    run = api.run("e/p/r")
    assert run.config == {"a": 1, "bare": 5}
    run.config["a"] = 2
    run.update()
    sent = json.loads(fault_server.requests[-1].json()["variables"]["config"])
    assert sent == {
        "_wandb": {"value": {"t": 1}},
        "a": {"value": 2, "desc": "speed"},
        "bare": {"value": 5, "desc": None},
    }
