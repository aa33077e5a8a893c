"""Making and resuming runs: the variables the SDK sends, and what is read from the answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from faults_plugin import Answer, FaultServer, Recorded, json_answer

from wandb_ops.errors import NotFoundError, ProtocolError
from wandb_ops.protocol.runs import resume_status, upsert_run
from wandb_ops.transport import Transport

Make = Callable[..., Transport]


def bucket(**more: Any) -> dict[str, Any]:
    return {
        "id": "UnVuOjE=",
        "name": "rid1",
        "displayName": "my run",
        "config": '{"lr":{"value":0.1},"_wandb":{"value":{"t":1}}}',
        "historyLineCount": 4,
        "project": {"id": "P", "name": "proj", "entity": {"id": "E", "name": "ent"}},
        **more,
    }


def test_an_upsert_sends_the_variables_of_the_sdk_and_nothing_unasked(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """As captured from the SDK: config wrapped in `value`, group as groupName, host and program."""
    fault_server.handler = lambda _request: json_answer(
        {"data": {"upsertBucket": {"bucket": bucket(), "inserted": True}}}
    )
    run = upsert_run(
        make_transport(fault_server),
        entity="ent",
        project="proj",
        run_id="rid1",
        config={"lr": 0.1, "nested": {"a": [1, 2]}, "bad": math.nan},
        display_name="my run",
        group="g",
        job_type="jt",
        tags=("t",),
        notes="note",
        host="vm",
        program="e7.py",
    )
    sent = fault_server.requests[0].json()
    assert sent["operationName"] == "UpsertBucket"
    variables = sent["variables"]
    config = variables.pop("config")
    assert config == '{"lr":{"value":0.1},"nested":{"value":{"a":[1,2]}},"bad":{"value":NaN}}'
    assert variables == {
        "name": "rid1",
        "project": "proj",
        "entity": "ent",
        "groupName": "g",
        "displayName": "my run",
        "notes": "note",
        "host": "vm",
        "program": "e7.py",
        "jobType": "jt",
        "tags": ["t"],
    }
    assert (run.storage_id, run.entity, run.project, run.run_id) == ("UnVuOjE=", "ent", "proj", "rid1")
    assert (run.display_name, run.inserted, run.history_lines, run.config) == ("my run", True, 4, {"lr": 0.1})


def test_n3_an_upsert_after_a_lost_answer_finds_its_own_run(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """N3, W60: two requests, one run; `inserted` of the second is False, and that is said."""
    runs: dict[str, int] = {}

    def serve(request: Recorded) -> Answer:
        name = request.json()["variables"]["name"]
        runs[name] = runs.get(name, 0) + 1
        inserted = runs[name] == 1
        return json_answer({"data": {"upsertBucket": {"bucket": bucket(), "inserted": inserted}}})

    fault_server.handler = serve
    fault_server.on("UpsertBucket", Answer(reset=True, apply_first=True))
    run = upsert_run(make_transport(fault_server), entity="ent", project="proj", run_id="rid1")
    assert set(runs) == {"rid1"}
    assert len(fault_server.requests) == 2
    assert not run.inserted


def test_n13_a_missing_entity_is_not_found(make_transport: Make, fault_server: FaultServer) -> None:
    """N13: W&B answers 404."""
    fault_server.on(None, json_answer({"errors": [{"message": "entity not found"}]}, status=404), nth=None)
    with pytest.raises(NotFoundError, match="entity not found"):
        upsert_run(make_transport(fault_server), entity="nobody", project="p", run_id="r")


def test_an_answer_without_a_run_is_a_protocol_error(make_transport: Make, fault_server: FaultServer) -> None:
    """Never a run made of nothing."""
    fault_server.on(None, json_answer({"data": {"upsertBucket": None}}), nth=None)
    with pytest.raises(ProtocolError, match="no run in it"):
        upsert_run(make_transport(fault_server), entity="e", project="p", run_id="r")


def test_a_run_tells_where_its_streams_end(make_transport: Make, fault_server: FaultServer) -> None:
    """Offsets for the file stream, the last row, summary, and the config whole, to be sent back."""
    tail = json.dumps(['{"_step":2,"loss":1}', '{"_step":3,"loss":NaN}'])
    found = bucket(
        state="finished",
        historyTail=tail,
        eventsLineCount=5,
        logLineCount=6,
        summaryMetrics='{"best":Infinity}',
        tags=["a"],
        notes=None,
    )
    fault_server.handler = lambda _request: json_answer({"data": {"model": {"bucket": found}}})
    status = resume_status(make_transport(fault_server), entity="ent", project="proj", run_id="rid1")
    assert status is not None
    assert status.offsets == {"wandb-history.jsonl": 4, "wandb-events.jsonl": 5, "output.log": 6}
    assert status.last_history_row is not None
    assert status.last_history_row["_step"] == 3
    assert math.isnan(status.last_history_row["loss"])
    assert status.summary == {"best": math.inf}
    assert (status.state, status.config, status.tags) == ("finished", {"lr": 0.1, "_wandb": {"t": 1}}, ("a",))
    assert fault_server.requests[0].json()["variables"] == {
        "entity": "ent",
        "project": "proj",
        "name": "rid1",
    }


@pytest.mark.parametrize("model", [None, {"bucket": None}, {}])
def test_a_run_that_is_not_there_has_no_status(
    model: Any, make_transport: Make, fault_server: FaultServer
) -> None:
    """No project, no run."""
    fault_server.handler = lambda _request: json_answer({"data": {"model": model}})
    assert resume_status(make_transport(fault_server), entity="e", project="p", run_id="r") is None


@pytest.mark.parametrize("tail", [None, "", "[]", "not json", '["{broken"]', "{}", "7"])
def test_an_unreadable_tail_is_no_row(tail: Any, make_transport: Make, fault_server: FaultServer) -> None:
    """The tail is a convenience; the counts are what matters."""
    found = bucket(historyTail=tail)
    fault_server.handler = lambda _request: json_answer({"data": {"model": {"bucket": found}}})
    status = resume_status(make_transport(fault_server), entity="e", project="p", run_id="r")
    assert status is not None
    assert status.last_history_row is None
    assert status.history_lines == 4
