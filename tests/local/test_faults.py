"""Faults on purpose, requests written down, a clock that moves, what is stored: what users' tests get."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from wandb_ops.local.faults import Fault
from wandb_ops.local.serve import LocalServer

UPSERT = """mutation UpsertBucket($n: String) {
  upsertBucket(input: {name: $n, modelName: "p"}) { inserted bucket { id } } }"""
VIEWER = "query Viewer { viewer { username } }"


def send(server: LocalServer, query: str, **variables: Any) -> requests.Response:
    return requests.post(
        f"{server.url}/graphql",
        json={"query": query, "variables": variables},
        auth=("api", server.api_key),
        timeout=10,
    )


@pytest.fixture
def fresh(server: LocalServer) -> LocalServer:
    server.clear_faults()
    return server


def test_the_next_requests_fail_and_are_not_done(fresh: LocalServer) -> None:
    hits = fresh.fail_next(2, status=503)
    assert [send(fresh, UPSERT, n="failing").status_code for _ in range(3)] == [503, 503, 200]
    assert hits.hits == 2
    assert send(fresh, UPSERT, n="failing").json()["data"]["upsertBucket"]["inserted"] is False


def test_a_fault_is_for_the_requests_that_it_names(fresh: LocalServer) -> None:
    with fresh.faults(
        Fault(operation="UpsertBucket", times=None), Fault(status=500, path="file_stream")
    ) as faults:
        assert send(fresh, VIEWER).status_code == 200
        assert [send(fresh, UPSERT, n="r").status_code for _ in range(2)] == [502, 502]
        stream = f"{fresh.url}/files/{fresh.entity}/p/r/file_stream"
        assert requests.post(stream, json={}, auth=("api", fresh.api_key), timeout=10).status_code == 500
        assert faults.hits == 3
    assert send(fresh, UPSERT, n="r").status_code == 200


def test_a_fault_may_let_some_requests_through_before(fresh: LocalServer) -> None:
    with fresh.faults(Fault(skip=2, method="POST")):
        assert [send(fresh, VIEWER).status_code for _ in range(4)] == [200, 200, 502, 200]


def test_a_rate_limit_says_when_to_come_back(fresh: LocalServer) -> None:
    with fresh.faults(Fault.rate_limit(2.5)):
        answer = send(fresh, VIEWER)
    assert answer.status_code == 429
    assert (answer.headers["Retry-After"], answer.headers["RateLimit-Remaining"]) == ("2.5", "0")


def test_a_slow_answer_is_a_good_one(fresh: LocalServer) -> None:
    with fresh.faults(Fault.slow(0.04)):
        begin = time.monotonic()
        answer = send(fresh, VIEWER)
        taken = time.monotonic() - begin
    assert answer.json()["data"]["viewer"]["username"] == fresh.entity
    assert taken >= 0.04


def test_a_lost_answer_is_to_a_request_that_was_done(fresh: LocalServer) -> None:
    with fresh.faults(Fault.lost_answer(operation="UpsertBucket")):
        with pytest.raises(requests.ConnectionError):
            send(fresh, UPSERT, n="lost")
        assert send(fresh, UPSERT, n="lost").json()["data"]["upsertBucket"]["inserted"] is False


@pytest.mark.parametrize("after", [0, 5])
def test_a_cut_answer_breaks_off(fresh: LocalServer, after: int) -> None:
    with (
        fresh.faults(Fault.cut_answer(after)),
        pytest.raises(requests.exceptions.ChunkedEncodingError) as caught,
    ):
        send(fresh, VIEWER)
    assert f"IncompleteRead({after} bytes read" in str(caught.value)


def test_graphql_errors_come_with_status_200(fresh: LocalServer) -> None:
    with fresh.faults(Fault(errors=["permission denied"])):
        answer = send(fresh, UPSERT, n="denied")
    assert (answer.status_code, answer.json()) == (200, {"errors": [{"message": "permission denied"}]})
    with pytest.raises(LookupError):
        fresh.run("p/denied")


def test_requests_are_written_down_to_be_counted(fresh: LocalServer) -> None:
    with fresh.requests() as seen:
        send(fresh, UPSERT, n="counted")
        fresh.fail_next()
        send(fresh, VIEWER)
        requests.get(f"{fresh.url}/healthz", timeout=10)
    send(fresh, VIEWER)
    assert [(each.method, each.path, each.operation, each.status) for each in seen] == [
        ("POST", "/graphql", "UpsertBucket", 200),
        ("POST", "/graphql", "Viewer", 502),
        ("GET", "/healthz", None, 200),
    ]
    assert [each.fault is not None for each in seen] == [False, True, False]


def test_a_large_body_reaches_the_server_whole_while_faults_are_in_place(fresh: LocalServer) -> None:
    note = "x" * 3_000_000
    given = '{name: "big", modelName: "p", notes: $n}'
    query = f"mutation U($n: String) {{ upsertBucket(input: {given}) {{ inserted }} }}"
    with fresh.faults(Fault(operation="Other")):
        assert "errors" not in send(fresh, query, n=note).json()
    assert fresh.run("p/big").notes == note


def test_the_clock_moves_and_a_run_without_heartbeats_crashes() -> None:
    with LocalServer() as server:
        send(server, UPSERT, n="r")
        assert server.run("p/r").state == "running"
        server.advance(301)
        assert server.run("p/r").state == "crashed"
        with pytest.raises(ValueError, match="forward"):
            server.advance(-1)


# -- what is stored ----------------------------------------------------------------------------------------


def test_a_run_is_found_by_its_path(fresh: LocalServer, bare: Any) -> None:
    for name in ("a", "b"):
        bare.upsert(name=name, modelName="stored")
    bare.log("stored", "a", 0, [{"_step": 0, "x": 1}])
    run = fresh.run(f"{fresh.entity}/stored/a")
    assert run.history == [{"_step": 0, "x": 1}]
    assert run == fresh.run("stored/a") == fresh.run("stored", "a")
    assert [each.path for each in fresh.runs("stored")] == [f"{fresh.entity}/stored/{name}" for name in "ab"]
    assert fresh.runs("nothing") == []
    with pytest.raises(ValueError, match="not entity/project/name"):
        fresh.run("a")


def test_queue_items_are_read_with_their_state(fresh: LocalServer, bare: Any) -> None:
    bare.data('mutation { upsertModel(input: {name: "model-registry"}) { inserted } }')
    bare.data(
        'mutation { upsertRunQueue(input: {projectName: "model-registry", queueName: "q",'
        ' resourceType: "local-container", resourceConfig: "{}"}) { success } }'
    )
    bare.data(
        'mutation P($s: JSONString!) { pushToRunQueueByName(input: {projectName: "model-registry",'
        ' queueName: "q", runSpec: $s}) { runQueueItemId } }',
        s='{"job": "j"}',
    )
    (item,) = fresh.queue_items("q")
    assert (item.state, item.spec, item.run) == ("PENDING", {"job": "j"}, None)
    with pytest.raises(LookupError):
        fresh.queue_items("none")
