"""Launch queues: upserts that keep, waits that end."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from wandb_ops import Api, NotFoundError, QueueItemFailed, UsageError, WaitTimeout

_numbers = itertools.count()

VARIABLES = {
    "gpus": {"schema": {"type": "integer", "default": 1, "minimum": 0, "maximum": 8}},
    "zone": {"schema": {"type": "string", "enum": ["a", "b"]}},
}
PUSH = """
mutation pushToRunQueueByName($input: PushToRunQueueByNameInput!) {
  pushToRunQueueByName(input: $input) { runQueueItemId }
}
"""
ACK = "mutation ackRunQueueItem($input: AckRunQueueItemInput!) { ackRunQueueItem(input: $input) { success } }"
FAIL = """
mutation failRunQueueItem($input: FailRunQueueItemInput!) {
  failRunQueueItem(input: $input) { success }
}
"""
POP = """
mutation popFromRunQueue($input: PopFromRunQueueInput!) {
  popFromRunQueue(input: $input) { runQueueItemId }
}
"""


@pytest.fixture
def name() -> str:
    return f"queue-{next(_numbers)}"


@pytest.fixture
def push(writer: Any, entity: str, name: str) -> Callable[[str], str]:
    """Queues a job, as W&B Launch does; returns the item's id."""

    def push(project: str) -> str:
        data = writer.graphql(
            PUSH,
            {
                "input": {
                    "entityName": entity,
                    "projectName": "model-registry",
                    "queueName": name,
                    "runSpec": json.dumps({"docker": {"docker_image": "x"}, "project": project}),
                }
            },
        )
        return str(data["pushToRunQueueByName"]["runQueueItemId"])

    return push


@pytest.fixture
def agent(writer: Any, entity: str, name: str) -> Callable[..., None]:
    """What a launch agent does with the next item: start a run, or fail."""

    def act(item: str, *, run_id: str | None = None) -> None:
        place = {"entityName": entity, "projectName": "model-registry", "queueName": name}
        popped = writer.graphql(POP, {"input": place})["popFromRunQueue"]
        assert popped["runQueueItemId"] == item
        if run_id is None:
            writer.graphql(FAIL, {"input": {"runQueueItemId": item, "message": "no image", "stage": "build"}})
        else:
            writer.graphql(ACK, {"input": {"runQueueItemId": item, "runName": run_id}})

    return act


def test_a_queue_is_created_with_all_that_was_asked(api: Api, entity: str, name: str) -> None:
    made = api.create_run_queue(
        name,
        type="kubernetes",
        prioritization_mode="V0",
        config={"spec": {"image": "{{image}}"}},
        template_variables=VARIABLES,
    )
    for queue in (made, api.run_queue(entity, name)):
        assert (queue.name, queue.entity, queue.type) == (name, entity, "kubernetes")
        assert queue.id
        assert queue.access == "PROJECT"
        assert queue.prioritization_mode == "V0"
        assert queue.default_resource_config == {
            "resource_args": {"kubernetes": {"spec": {"image": "{{image}}"}}}
        }
        assert queue.template_variables == VARIABLES
        assert queue.external_links == {}
        assert queue.items == []
        assert repr(queue) == f"<RunQueue {entity}/{name}>"


def test_a_queue_that_exists_is_not_created_again(api: Api, entity: str, name: str) -> None:
    api.create_run_queue(name, type="local-process", config={"a": 1})
    with pytest.raises(UsageError, match="already") as refused:
        api.create_run_queue(name, type="local-process", config={"a": 2})
    assert "upsert_run_queue" in str(refused.value)
    assert api.run_queue(entity, name).default_resource_config == {
        "resource_args": {"local-process": {"a": 1}}
    }


def test_an_upsert_makes_the_queue_and_then_changes_it(api: Api, entity: str, name: str) -> None:
    links = {"docs": "https://docs.example"}
    api.upsert_run_queue(
        name,
        {"a": 1},
        "sagemaker",
        external_links=links,
        template_variables=VARIABLES,
        prioritization_mode="V0",
    )
    first = api.run_queue(entity, name)
    assert first.default_resource_config == {"resource_args": {"sagemaker": {"a": 1}}}
    assert (first.external_links, first.template_variables) == (links, VARIABLES)
    assert first.prioritization_mode == "V0"
    api.upsert_run_queue(name, {"a": 2}, "gcp-vertex")
    second = api.run_queue(entity, name)
    assert second.id == first.id
    assert (second.type, second.default_resource_config) == (
        "gcp-vertex",
        {"resource_args": {"gcp-vertex": {"a": 2}}},
    )


def test_what_an_upsert_leaves_out_stays(api: Api, entity: str, name: str) -> None:
    links = {"docs": "https://docs.example", "chat": "https://chat.example"}
    api.upsert_run_queue(
        name,
        {"a": 1},
        "kubernetes",
        external_links=links,
        template_variables=VARIABLES,
        prioritization_mode="V0",
    )
    returned = api.upsert_run_queue(name, {"a": 2}, "kubernetes")
    for queue in (returned, api.run_queue(entity, name)):
        assert (queue.external_links, queue.template_variables) == (links, VARIABLES)
        assert queue.prioritization_mode == "V0"


def test_what_an_upsert_empties_is_empty(api: Api, entity: str, name: str) -> None:
    api.upsert_run_queue(
        name,
        {"a": 1},
        "kubernetes",
        external_links={"docs": "https://docs.example"},
        template_variables=VARIABLES,
        prioritization_mode="V0",
    )
    api.upsert_run_queue(
        name, {"a": 1}, "kubernetes", external_links={}, template_variables={}, prioritization_mode="DISABLED"
    )
    queue = api.run_queue(entity, name)
    assert (queue.external_links, queue.template_variables, queue.prioritization_mode) == ({}, {}, "DISABLED")


def test_the_same_upsert_again_sends_no_change(api: Api, name: str, sent: list[str]) -> None:
    api.upsert_run_queue(name, {"a": 1, "b": {"c": [1, 2]}}, "kubernetes", template_variables=VARIABLES)
    del sent[:]
    api.upsert_run_queue(name, {"b": {"c": [1, 2]}, "a": 1}, "kubernetes", template_variables=VARIABLES)
    assert sent == ["GetRunQueueMetadata", "GetDefaultResourceConfig"]


CREATE: dict[str, Any] = {"type": "kubernetes"}
UPSERT: dict[str, Any] = {"resource_config": {}, "resource_type": "kubernetes"}
WRONG_VARIABLES: list[Any] = [
    {"x": 1},
    {"x": {"type": "string"}},
    {"x": {"schema": {"type": "float"}}},
    {"x": {"schema": {"type": "string", "wat": 1}}},
    ["x"],
]


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 65},
        {"type": "spaceship"},
        {"prioritization_mode": "V9"},
        {"prioritization_mode": "DISABLED"},
        *({"template_variables": wrong} for wrong in WRONG_VARIABLES),
    ],
)
def test_wrong_arguments_of_create_are_value_errors_and_nothing_is_sent(
    api: Api, sent: list[str], arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):
        api.create_run_queue(**({"name": "q"} | CREATE | arguments))
    assert sent == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"resource_type": "local_container"},
        {"resource_config": "image"},
        {"prioritization_mode": "V1"},
        {"external_links": [{"label": "a", "url": "b"}]},
        {"external_links": {"a": 1}},
        *({"template_variables": wrong} for wrong in WRONG_VARIABLES),
    ],
)
def test_wrong_arguments_of_upsert_are_value_errors_and_nothing_is_sent(
    api: Api, sent: list[str], arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):
        api.upsert_run_queue(**({"name": "q"} | UPSERT | arguments))
    assert sent == []


def test_a_name_may_have_64_characters(api: Api, entity: str) -> None:
    long = "n" * 64
    api.upsert_run_queue(long, {}, "kubernetes")
    assert api.run_queue(entity, long).id


def test_the_mode_is_taken_in_any_case(api: Api, entity: str, name: str) -> None:
    api.upsert_run_queue(name, {}, "kubernetes", prioritization_mode="v0")  # type: ignore[arg-type]  # as W&B does
    assert api.run_queue(entity, name).prioritization_mode == "V0"


def test_a_missing_queue_is_an_error_when_it_is_looked_at(api: Api, entity: str) -> None:
    queue = api.run_queue(entity, "no-such-queue")
    with pytest.raises(NotFoundError, match="no-such-queue"):
        _ = queue.id
    with pytest.raises(NotFoundError):
        _ = queue.items
    with pytest.raises(NotFoundError):
        queue.delete()


def test_a_deleted_queue_is_gone(api: Api, entity: str, name: str) -> None:
    queue = api.create_run_queue(name, type="kubernetes")
    queue.delete()
    with pytest.raises(NotFoundError):
        _ = api.run_queue(entity, name).id


def test_all_items_are_listed(
    api: Api, entity: str, name: str, push: Callable[[str], str], project: str
) -> None:
    api.upsert_run_queue(name, {}, "kubernetes")
    pushed = [push(project) for _ in range(103)]
    items = api.run_queue(entity, name).items
    assert sorted(item.id for item in items) == sorted(pushed)
    assert repr(items[0]) == f"<QueuedRun {name} ({items[0].id})>"


def test_an_item_is_waited_for_until_its_run_ended(
    api: Api,
    writer: Any,
    entity: str,
    name: str,
    project: str,
    push: Callable[[str], str],
    agent: Callable[..., None],
) -> None:
    api.upsert_run_queue(name, {}, "kubernetes")
    item = push(project)
    queued = api.queued_run(entity, project, name, item)
    assert queued.state == "pending"
    story = iter(
        [
            lambda: writer.run(project, "launched"),
            lambda: agent(item, run_id="launched"),
            lambda: writer.run(project, "launched", summary={"acc": 0.9}, exit_code=0),
        ]
    )
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        next(story)()

    run = queued.wait_until_finished(sleep=sleep, poll_interval=2.0)
    assert (run.id, run.state, run.summary["acc"]) == ("launched", "finished", 0.9)
    assert slept == [2.0, 2.0, 2.0]
    assert queued.wait_until_running() is run


def test_waiting_for_an_item_that_fails_ends(
    api: Api, entity: str, name: str, project: str, push: Callable[[str], str], agent: Callable[..., None]
) -> None:
    api.upsert_run_queue(name, {}, "kubernetes")
    item = push(project)
    queued = api.queued_run(entity, project, name, item)
    with pytest.raises(QueueItemFailed, match="failed"):
        queued.wait_until_running(sleep=lambda _seconds: agent(item))


def test_waiting_for_an_item_that_is_taken_out_ends(
    api: Api, entity: str, name: str, project: str, push: Callable[[str], str]
) -> None:
    api.upsert_run_queue(name, {}, "kubernetes")
    queued = api.queued_run(entity, project, name, push(project))
    with pytest.raises(QueueItemFailed, match="removed"):
        queued.wait_until_running(sleep=lambda _seconds: queued.delete())
    with pytest.raises(NotFoundError):
        _ = queued.state


def test_waiting_for_an_item_ends_when_the_time_is_over(
    api: Api, entity: str, name: str, project: str, push: Callable[[str], str]
) -> None:
    api.upsert_run_queue(name, {}, "kubernetes")
    queued = api.queued_run(entity, project, name, push(project))
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(WaitTimeout, match="pending after 7 s"):
        queued.wait_until_finished(timeout=7, sleep=sleep, clock=lambda: now[0])


def test_what_the_server_says_of_a_config_is_logged(
    api: Api, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "wandb_ops"):
        api.upsert_run_queue(name, {"image": "x"}, "kubernetes")
    assert [record for record in caplog.records if record.name.startswith("wandb_ops.public")] == []
