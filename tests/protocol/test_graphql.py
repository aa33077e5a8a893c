"""G28-G32, G40: what is sent, and what an answer with `errors` becomes."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults_plugin import Answer, FakeTime, FaultServer, json_answer

from wandb_ops.errors import GraphQLError, ProtocolError, StatusError, UnsupportedServer
from wandb_ops.protocol import documents
from wandb_ops.protocol.graphql import Operation, execute
from wandb_ops.transport import Kind, Transport

Make = Callable[..., Transport]
VIEWER = Operation(name="Viewer", text="query Viewer { viewer { id } }", kind=Kind.QUERY)
UPSERT = Operation(name="Save", text="mutation Save { save { id } }", kind=Kind.UPSERT)
CREATE = Operation(name="Create", text="mutation Create { create { id } }", kind=Kind.MUTATION)
DATA = {"viewer": {"id": "V1"}}
OK = json_answer({"data": DATA})


def failing(*messages: Any, data: Any = None, status: int = 200) -> Answer:
    entries = [message if isinstance(message, dict) else {"message": message} for message in messages]
    return json_answer({"data": data, "errors": entries}, status=status)


def operations() -> list[Operation]:
    found = []
    for module in pkgutil.iter_modules(documents.__path__):
        loaded = importlib.import_module(f"{documents.__name__}.{module.name}")
        found += [value for value in vars(loaded).values() if isinstance(value, Operation)]
    return found


def test_an_operation_is_sent_by_name_with_its_text_and_variables(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """One POST of JSON to /graphql."""
    fault_server.handler = lambda _request: OK
    assert execute(make_transport(fault_server), VIEWER, {"a": [1, None, "é"]}, where="w") == DATA
    (request,) = fault_server.requests
    assert (request.method, request.path) == ("POST", "/graphql")
    assert request.headers["content-type"] == "application/json"
    assert request.json() == {
        "operationName": "Viewer",
        "query": VIEWER.text,
        "variables": {"a": [1, None, "é"]},
    }


@pytest.mark.parametrize(
    "value",
    [
        'x"){viewer{id}}',
        "a'b\"c\\",
        "zeile\nzwei",
        "日本語 🙂",
        "\ud800 lone",
        "\x00",
        2**70,
        "$where",
        "%s {} {0}",
    ],
)
def test_g40_values_arrive_as_they_are_and_never_in_the_text(
    value: Any, make_transport: Make, fault_server: FaultServer
) -> None:
    """G40: injection is not possible where nothing is formatted."""
    fault_server.handler = lambda _request: OK
    execute(make_transport(fault_server), VIEWER, {"entity": value}, where="w")
    sent = fault_server.requests[0].json()
    assert sent["variables"] == {"entity": value}
    assert sent["query"] == VIEWER.text


def test_g40_no_document_formats_anything_into_its_text() -> None:
    """G40: no f-string, % or format() in the documents' sources."""
    for path in Path(next(iter(documents.__path__))).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.JoinedStr), path
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)), path
            assert not (isinstance(node, ast.Attribute) and node.attr in ("format", "format_map")), path


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.name)
def test_every_operation_is_a_valid_document_of_its_name_and_kind(operation: Operation) -> None:
    """Mutations are never sent as queries, variables are declared and used."""
    graphql = pytest.importorskip("graphql")
    document = graphql.parse(operation.text)
    (definition,) = [d for d in document.definitions if d.kind == "operation_definition"]
    assert definition.name.value == operation.name
    assert (definition.operation.value == "query") == (operation.kind is Kind.QUERY)
    declared = {variable.variable.name.value for variable in definition.variable_definitions}
    names: set[str] = set()

    class Uses(graphql.Visitor):  # type: ignore[name-defined,misc] # the library has no stubs
        def enter_variable(self, node: Any, _key: Any, parent: Any, *_: Any) -> None:
            if getattr(parent, "kind", "") != "variable_definition":
                names.add(node.name.value)

    graphql.visit(document, Uses())
    assert names == declared


def test_g28_errors_without_data_are_an_error_with_messages_and_path(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """G28."""
    fault_server.on(None, failing({"message": "no such run", "path": ["project", "run"]}), nth=None)
    with pytest.raises(GraphQLError, match=r"Viewer: .* no such run \(at project\.run\) \[e/p/r\]") as caught:
        execute(make_transport(fault_server), VIEWER, {}, where="e/p/r")
    assert caught.value.messages == ("no such run",)
    assert caught.value.data is None
    assert not caught.value.transient
    assert len(fault_server.requests) == 1


def test_g29_errors_with_partial_data_are_an_error_that_keeps_the_data(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """G29: half a page never passes for a page."""
    fault_server.on(None, failing("one row failed", data={"runs": [1, None]}), nth=None)
    with pytest.raises(GraphQLError) as caught:
        execute(make_transport(fault_server), VIEWER, {}, where="w")
    assert caught.value.data == {"runs": [1, None]}


TRANSIENT: list[Any] = [
    "rate limit exceeded",
    "Rate limit exceeded for this project, slow down.",
    "request timed out",
    "context deadline exceeded",
    "Internal server error",
    "internal error: database gone",
    "Service temporarily unavailable",
    {"message": "x", "extensions": {"code": "RATE_LIMITED"}},
    {"message": "x", "extensions": {"code": "internal_server_error"}},
    {"message": "x", "extensions": {"code": 503}},
    {"message": "x", "extensions": {"status": 429}},
]


@pytest.mark.parametrize("error", TRANSIENT)
@pytest.mark.parametrize("operation", [VIEWER, UPSERT])
def test_g30_a_passing_condition_in_words_is_retried(
    error: Any, operation: Operation, make_transport: Make, fault_server: FaultServer, fake_time: FakeTime
) -> None:
    """G30: by code, or by the whole known message, with the waits of a 503."""
    fault_server.handler = lambda _request: OK
    fault_server.on(None, failing(error), nth={1, 2})
    assert execute(make_transport(fault_server), operation, {}, where="w") == DATA
    assert len(fault_server.requests) == 3
    assert len(fake_time.sleeps) == 2


def test_g30_a_lasting_passing_condition_ends_as_what_it_is(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """G30: after six tries, and marked transient."""
    fault_server.on(None, failing("rate limit exceeded"), nth=None)
    with pytest.raises(GraphQLError, match="rate limit exceeded") as caught:
        execute(make_transport(fault_server), VIEWER, {}, where="w")
    assert caught.value.transient
    assert len(fault_server.requests) == 6


@pytest.mark.parametrize(
    "error",
    [
        "metric timeout_429 does not exist",
        "run 'internal server error' not found",
        "permission denied",
        "429",
        {"message": "x", "extensions": {"code": "FORBIDDEN"}},
        {"message": "x", "extensions": None},
        "a bare text",
    ],
)
def test_g30_words_that_only_look_like_it_are_final(
    error: Any, make_transport: Make, fault_server: FaultServer
) -> None:
    """G30: a run may be called anything."""
    answer = failing(error) if error != "a bare text" else json_answer({"errors": error})
    fault_server.on(None, answer, nth=None)
    with pytest.raises(GraphQLError) as caught:
        execute(make_transport(fault_server), VIEWER, {}, where="w")
    assert not caught.value.transient
    assert len(fault_server.requests) == 1


def test_g30_one_final_error_among_passing_ones_is_final(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """G30."""
    fault_server.on(None, failing("rate limit exceeded", "permission denied"), nth=None)
    with pytest.raises(GraphQLError, match="rate limit exceeded; permission denied"):
        execute(make_transport(fault_server), VIEWER, {}, where="w")
    assert len(fault_server.requests) == 1


def test_n4_a_mutation_is_not_sent_again_for_passing_words(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """The server said no; whether half of it was done is for the caller to look up."""
    fault_server.on(None, failing("internal server error"), nth=None)
    with pytest.raises(GraphQLError) as caught:
        execute(make_transport(fault_server), CREATE, {}, where="w")
    assert caught.value.transient
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("message", "named"),
    [
        ('Cannot query field "parquetHistory" on type "Run".', "the field Run.parquetHistory"),
        (
            "Cannot query field 'parquetHistory' on type 'Run'. Did you mean 'history'?",
            "the field Run.parquetHistory",
        ),
        ('Unknown argument "minStep" on field "Run.history".', "the argument minStep"),
        ('Unknown type "Int64".', "the type Int64"),
        (
            'Field "templateVariables" is not defined by type "UpsertRunQueueInput".',
            "field templateVariables",
        ),
    ],
)
def test_g31_an_old_server_is_told_apart_and_the_field_named(
    message: str, named: str, status: int, make_transport: Make, fault_server: FaultServer
) -> None:
    """G31: also when it answers invalid queries with 400; no retry."""
    fault_server.on(None, failing(message, status=status), nth=None)
    with pytest.raises(UnsupportedServer, match=named):
        execute(make_transport(fault_server), VIEWER, {}, where="w")
    assert len(fault_server.requests) == 1


def test_a_400_for_another_reason_stays_a_status_error(
    make_transport: Make, fault_server: FaultServer
) -> None:
    """With the server's words."""
    fault_server.on(None, failing("bad filter", status=400), nth=None)
    with pytest.raises(StatusError, match="HTTP 400: bad filter"):
        execute(make_transport(fault_server), VIEWER, {}, where="w")


@pytest.mark.parametrize("answer", [{"data": None}, {}, {"data": []}, {"data": "x"}, {"errors": []}])
def test_n17_an_answer_without_data_is_no_answer(
    answer: Any, make_transport: Make, fault_server: FaultServer
) -> None:
    """Tried twice more, as any malformed answer."""
    fault_server.on(None, json_answer(answer), nth=None)
    with pytest.raises(ProtocolError, match="Viewer has no data"):
        execute(make_transport(fault_server), VIEWER, {}, where="w")
    assert len(fault_server.requests) == 3


def test_g32_unknown_fields_are_kept(make_transport: Make, fault_server: FaultServer) -> None:
    """G32: a newer server."""
    data = {"viewer": {"id": "V1", "brandNew": [1]}, "more": 1}
    fault_server.on(None, json_answer({"data": data, "extensions": {"cost": 3}, "errors": []}), nth=None)
    assert execute(make_transport(fault_server), VIEWER, {}, where="w") == data


def test_a_servers_words_are_redacted_escaped_and_cut(
    make_transport: Make, fault_server: FaultServer, sentinel_key: str
) -> None:
    """Whatever the server quotes."""
    fault_server.on(None, failing(f"key {sentinel_key} \x1b[2J\nforged line " + "z" * 5000), nth=None)
    with pytest.raises(GraphQLError) as caught:
        execute(make_transport(fault_server), VIEWER, {}, where="w")
    assert sentinel_key not in json.dumps([str(caught.value), *caught.value.messages])
    assert str(caught.value).isprintable()
    assert max(map(len, caught.value.messages)) <= 500
