"""Who gets in, what comes back, and what is refused before any of it is believed."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
import requests
from graphql import is_required_argument

from wandb_ops.local.graphql import schema
from wandb_ops.local.serve import LocalServer

VIEWER = "query V { viewer { id entity username teams { edges { node { name } } } } }"


def post(server: LocalServer, headers: dict[str, str]) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(f"{server.url}/graphql", json={"query": VIEWER}, headers=headers)


def basic(user: str, key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()}


def test_basic_and_bearer_keys_are_accepted(server: LocalServer) -> None:
    for headers in (basic("api", server.api_key), {"Authorization": f"Bearer {server.api_key}"}):
        answer = post(server, headers)
        assert answer.status_code == 200
        assert answer.json()["data"]["viewer"]["entity"] == server.entity


@pytest.mark.parametrize(
    "kind", ["none", "wrong", "wrong user", "not base64", "other scheme", "empty", "prefix"]
)
def test_a_missing_or_wrong_key_is_401_and_answers_nothing(server: LocalServer, kind: str) -> None:
    headers = {
        "none": {},
        "wrong": basic("api", "x" * 40),
        "wrong user": basic("root", server.api_key),
        "not base64": {"Authorization": "Basic %%%"},
        "other scheme": {"Authorization": f"Digest {server.api_key}"},
        "empty": basic("api", ""),
        "prefix": basic("api", server.api_key[:-1]),
    }[kind]
    answer = post(server, headers)
    assert answer.status_code == 401
    assert "data" not in answer.json()
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert server.api_key not in answer.text


def test_file_stream_needs_the_key_too(server: LocalServer) -> None:
    answer = requests.post(
        f"{server.url}/files/local/p/r/file_stream", json={}, auth=("api", "x" * 40), timeout=5
    )
    assert answer.status_code == 401


def test_the_operation_name_may_be_empty_and_variables_null(server: LocalServer, bare: Any) -> None:
    for extra in ({"operationName": "", "variables": None}, {"operationName": None}, {}):
        answer = bare.http.post(f"{server.url}/graphql", json={"query": VIEWER, **extra}).json()
        assert answer["data"]["viewer"]["username"] == server.entity
        assert "errors" not in answer


def test_the_api_key_is_in_no_answer_that_describes_the_account(bare: Any, server: LocalServer) -> None:
    fields = "viewer { id name email admin flags apiKeys { edges { node { id name description } } } }"
    assert server.api_key not in json.dumps(bare.ask(f"{{ {fields} entity {{ members {{ apiKey }} }} }}"))


def test_an_unknown_field_is_named_as_clients_expect(bare: Any) -> None:
    assert bare.errors("{ viewer { nonsense } }") == ['Cannot query field "nonsense" on type "User".']


def test_errors_of_a_mutation_keep_the_data_beside_them(bare: Any) -> None:
    envelope = bare.ask('mutation { deleteRun(input: {id: "eA=="}) { clientMutationId } }')
    assert envelope["data"] == {"deleteRun": None}
    assert envelope["errors"] == [{"message": "invalid Run id", "path": ["deleteRun"]}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "object with a query"),
        (b'{"query": 1}', "object with a query"),
        (b'{"query": "{viewer{id}}", "variables": []}', None),
        (b'{"query": "{viewer{id}}", "variables": [1]}', "variables must be an object"),
        (b'{"query": "{viewer{id}}", "operationName": 7}', "operationName a string"),
        (b'{"query": "{viewer{"}', "Syntax Error"),
        (b'{"query": "\\ud800"}', "not valid JSON"),
        (b'{"query": "query A{viewer{id}} query B{viewer{id}}"}', "operation name"),
    ],
)
def test_a_malformed_request_gets_a_sentence(
    server: LocalServer, bare: Any, body: bytes, message: str | None
) -> None:
    answer = bare.http.post(f"{server.url}/graphql", data=body)
    assert answer.status_code == 200
    if message is None:
        assert "errors" not in answer.json()
    else:
        assert message in answer.json()["errors"][0]["message"]


def test_deep_and_wide_queries_are_refused(bare: Any) -> None:
    deep = (
        '{ project(name: "p") { entity'
        + ' { project(name: "p") { entity' * 10
        + " { id }"
        + " } }" * 10
        + " } }"
    )
    assert "levels deep" in bare.errors(deep)[0]
    wide = "{" + " ".join(f"a{index}: viewer {{ id name }}" for index in range(2000)) + "}"
    assert "fields" in bare.errors(wide)[0]
    nested = "{ a" + "{ a" * 3000 + "}" * 3001
    assert bare.errors(nested)
    twice = "fragment F on User { id ...F } { viewer { ...F } }"
    assert "within itself" in bare.errors(twice)[0]


def test_the_same_text_is_checked_once_and_answers_alike(bare: Any) -> None:
    query = "query Counted($n: String) { entity(name: $n) { name } }"
    assert [bare.data(query, n=name)["entity"] for name in ("local", "other", "local")] == [
        {"name": "local"},
        None,
        {"name": "local"},
    ]


def test_gzip_bodies_are_taken_and_bombs_are_not(bare: Any, server: LocalServer, project: str) -> None:
    bare.upsert(name="r", modelName=project)
    url = f"{server.url}/files/local/{project}/r/file_stream"
    body = {"files": {"wandb-history.jsonl": {"offset": 0, "content": ['{"_step":0}']}}}
    packed = gzip.compress(json.dumps(body).encode())
    assert bare.http.post(url, data=packed, headers={"Content-Encoding": "gzip"}).status_code == 200
    assert server.run(project, "r").history_lines == ['{"_step":0}']
    bomb = gzip.compress(b" " * (129 << 20), compresslevel=1)
    assert bare.http.post(url, data=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413
    for broken in (packed[:-9], b"plain"):
        assert bare.http.post(url, data=broken, headers={"Content-Encoding": "gzip"}).status_code == 400
    assert bare.http.post(url, data=packed, headers={"Content-Encoding": "br"}).status_code == 415


def test_a_body_beyond_the_limit_is_413(tmp_path: Any, bare_client: Any) -> None:
    with LocalServer(data=tmp_path, max_body=10_000, max_upload=1000) as small:
        bare = bare_client(small)
        assert bare.http.post(f"{small.url}/graphql", data=b"x" * 10_001).status_code == 413
        chunks = (b"x" * 1000 for _ in range(11))
        assert bare.http.post(f"{small.url}/graphql", data=chunks).status_code == 413


def test_telemetry_is_taken_without_a_word(server: LocalServer) -> None:
    for signal in ("metrics", "logs", "traces"):
        answer = requests.post(f"{server.url}/sdk/otel/v1/{signal}", data=b"\x00\x01", timeout=5)
        assert (answer.status_code, answer.content) == (200, b"")


def test_health_needs_no_key(server: LocalServer) -> None:
    assert requests.get(f"{server.url}/healthz", timeout=5).json() == {"status": "ok"}


def test_an_accident_inside_shows_the_client_no_more_than_a_reference(
    bare: Any, server: LocalServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode() -> int:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(server.service.store, "now", explode)
    message = bare.errors('mutation { upsertModel(input: {name: "boom"}) { inserted } }')[0]
    assert message.startswith("internal server error (reference ")
    reference = message.split()[-1].rstrip(")")
    assert any(reference in record.getMessage() and record.exc_info for record in caplog.records)
    answer = bare.stream("p", "r")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text


def test_every_field_of_the_schema_is_answered(bare: Any, project: str) -> None:
    """One query per type, all fields that need no arguments, on a project with everything in it."""
    bare.upsert(name="r", modelName=project, sweep="s")
    bare.log(project, "r", 0, [{"_step": 0, "loss": 1.0}])
    stream = {
        "wandb-events.jsonl": {"offset": 0, "content": ['{"system.cpu":1}']},
        "output.log": {"content": ["x"]},
    }
    assert bare.stream(project, "r", files=stream).status_code == 200
    queue = {"projectName": project, "queueName": "q", "resourceType": "kubernetes", "resourceConfig": "{}"}
    bare.data(
        "mutation M($q: UpsertRunQueueInput!, $p: PushToRunQueueByNameInput!, $f: CreateRunFilesInput!)"
        " { upsertRunQueue(input: $q) { success } pushToRunQueueByName(input: $p) { runQueueItemId }"
        " createRunFiles(input: $f) { files { uploadHeaders } } }",
        q=queue,
        p={"projectName": project, "queueName": "q", "runSpec": "{}"},
        f={"projectName": project, "runName": "r", "files": ["a.txt"]},
    )
    arguments = {
        "Query.project": f'(name: "{project}")',
        "Query.model": f'(name: "{project}")',
        "Query.entity": '(name: "local")',
        "Entity.project": f'(name: "{project}")',
        "Project.run": '(name: "r")',
        "Project.bucket": '(name: "r")',
        "Project.runQueue": '(name: "q")',
        "Run.parquetHistory": '(liveKeys: ["_step"])',
        "Run.sampledHistory": '(specs: ["{}"])',
        "Run.files": '(names: ["a.txt"])',
        "Query.launchAgent": '(id: "TGF1bmNoQWdlbnQ6djE6OTk=")',
        "Project.sweep": '(sweepName: "none")',
        "Project.artifactCollectionMembership": '(name: "none:latest")',
        "RunQueue.runQueueItem": '(id: "UnVuUXVldWVJdGVtOnYxOjE=")',
    }

    def needs_arguments(field: Any) -> bool:
        return any(is_required_argument(each) for each in field.args.values())

    def selection(type_: Any, depth: int) -> str:
        named = type_
        while hasattr(named, "of_type"):
            named = named.of_type
        if hasattr(named, "types"):
            return " { __typename }"
        if not hasattr(named, "fields"):
            return ""
        parts = []
        for name, field in named.fields.items():
            if f"{named.name}.{name}" not in arguments and needs_arguments(field):
                continue
            below = field.type
            while hasattr(below, "of_type"):
                below = below.of_type
            inner = ""
            if hasattr(below, "fields") or hasattr(below, "types"):
                if depth == 0:
                    continue
                inner = selection(field.type, depth - 1)
                if not inner:
                    continue
            parts.append(name + arguments.get(f"{named.name}.{name}", "") + inner)
        return " { " + " ".join(parts) + " }" if parts else ""

    query = schema().query_type
    assert query is not None
    for name, field in query.fields.items():
        if f"Query.{name}" not in arguments and needs_arguments(field):
            continue
        text = "{ " + name + arguments.get(f"Query.{name}", "") + selection(field.type, 4) + " }"
        envelope = bare.ask(text)
        assert "errors" not in envelope, (name, envelope["errors"])
        if name not in {"launchAgent", "organization", "user"}:
            assert envelope["data"][name] is not None
