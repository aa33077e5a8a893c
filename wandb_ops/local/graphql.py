"""GraphQL: parse and check a request, run it, and answer in W&B's envelope.

Parsed and validated texts are cached, because clients send the same few again and again. What goes wrong
inside never reaches the client as more than a reference to the server's log.
"""

from __future__ import annotations

import functools
import json
import logging
import secrets
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    build_schema,
    execute,
    parse,
    validate,
)

from wandb_ops.local.errors import Refused, storage_problem
from wandb_ops.local.resolvers import RESOLVE_TYPES, RESOLVERS
from wandb_ops.local.resolvers.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_ops.local.accounts.accounts import Account
    from wandb_ops.local.service import Service

_log = logging.getLogger("wandb_ops.local.graphql")

_MAX_TEXT = 200_000
_MAX_DEPTH = 16
_MAX_FIELDS = 5_000
_MAX_ERRORS = 10


def _identity(value: Any) -> Any:
    return value


def _int64(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise GraphQLError("Int64 must be an integer")
    try:
        number = int(value)
    except ValueError:
        raise GraphQLError("Int64 must be an integer") from None
    if not -(2**63) <= number < 2**63:
        raise GraphQLError("Int64 is out of range")
    return number


def _json_string(value: Any) -> str:
    if not isinstance(value, str):
        raise GraphQLError("JSONString must be a string")
    return value


# Whole lists of strings in one step: per-item completion would cost more than reading the rows.
_LINES = GraphQLScalarType("Lines", serialize=_identity)


def _adapt(resolver: Callable[[Any, Context, dict[str, Any]], Any]) -> Callable[..., Any]:
    def resolve(source: Any, info: Any, **args: Any) -> Any:
        return resolver(source, info.context, args)

    return resolve


def _named_by(name_of: Callable[[Any], str]) -> Callable[..., str]:
    return lambda source, _info, _type: name_of(source)


@functools.cache
def schema() -> GraphQLSchema:
    """The schema of ``schema.graphql`` with every resolver in place."""
    built = build_schema((files("wandb_ops.local") / "schema.graphql").read_text())
    scalars = {name: built.type_map[name] for name in ("JSON", "JSONString", "Int64", "DateTime")}
    for scalar in scalars.values():
        assert isinstance(scalar, GraphQLScalarType)
        scalar.serialize = _identity  # type: ignore[method-assign]  # how graphql-core is extended
    for name, parse_value in (("Int64", _int64), ("JSONString", _json_string)):
        scalar = scalars[name]
        assert isinstance(scalar, GraphQLScalarType)
        scalar.parse_value = parse_value  # type: ignore[method-assign]  # as above
    for path, resolver in RESOLVERS.items():
        type_name, _, field_name = path.partition(".")
        owner = built.type_map[type_name]
        assert isinstance(owner, GraphQLObjectType)
        owner.fields[field_name].resolve = _adapt(resolver)
    for type_name, name_of in RESOLVE_TYPES.items():
        abstract = built.type_map[type_name]
        assert isinstance(abstract, GraphQLInterfaceType | GraphQLUnionType)
        abstract.resolve_type = _named_by(name_of)
    run = built.type_map["Run"]
    assert isinstance(run, GraphQLObjectType)
    run.fields["history"].type = GraphQLNonNull(_LINES)
    run.fields["events"].type = _LINES
    json_type = scalars["JSON"]
    assert isinstance(json_type, GraphQLScalarType)
    run.fields["sampledHistory"].type = json_type
    return built


def _plain(source: Any, info: Any, **_args: Any) -> Any:
    """Fields without a resolver: items of a dict."""
    return source.get(info.field_name)


def _measure(document: DocumentNode) -> tuple[int, int]:
    """Depth and number of fields, fragments spread. The document is valid: fragments have no cycles."""
    fragments = {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }

    @functools.cache
    def of_fragment(name: str) -> tuple[int, int]:
        return of_selection(fragments[name])

    def of_selection(node: Any) -> tuple[int, int]:
        depth = fields = 0
        for selection in node.selection_set.selections if node.selection_set else ():
            if isinstance(selection, FragmentSpreadNode):
                below, count = of_fragment(selection.name.value)
            else:
                below, count = of_selection(selection)
                if isinstance(selection, FieldNode):
                    below, count = below + 1, count + 1
            depth, fields = max(depth, below), fields + count
        return depth, fields

    sizes = [of_selection(node) for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    return max((depth for depth, _ in sizes), default=0), max((fields for _, fields in sizes), default=0)


@functools.lru_cache(maxsize=512)
def _checked(text: str) -> DocumentNode | tuple[str, ...]:
    """The document of a text, or what is wrong with it."""
    try:
        return _check(text)
    except RecursionError:
        return ("the query is nested too deeply",)


def _check(text: str) -> DocumentNode | tuple[str, ...]:
    try:
        document = parse(text, max_tokens=20_000)
    except GraphQLError as error:
        return (error.message,)
    errors = validate(schema(), document, max_errors=_MAX_ERRORS)
    if errors:
        # Names in double quotes, as W&B's server writes them: clients look for such messages.
        return tuple(error.message.replace("'", '"') for error in errors)
    depth, fields = _measure(document)
    if depth > _MAX_DEPTH:
        return (f"the query is nested {depth} levels deep; {_MAX_DEPTH} are allowed",)
    if fields > _MAX_FIELDS:
        return (f"the query asks for {fields} fields; {_MAX_FIELDS} are allowed",)
    return document


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """A request's body, checked for shape."""

    text: str
    variables: dict[str, Any]
    operation: str | None


def read_request(body: bytes) -> GraphQLRequest:
    """Read a body. An ``operationName`` of ``""`` and ``variables`` of null are as if absent."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused("the body is not valid JSON") from None
    if not isinstance(data, dict) or not isinstance(data.get("query"), str):
        raise Refused("the body must be a JSON object with a query")
    variables, operation = data.get("variables") or {}, data.get("operationName") or None
    if not isinstance(variables, dict) or not isinstance(operation, str | None):
        raise Refused("variables must be an object and operationName a string")
    if len(data["query"]) > _MAX_TEXT:
        raise Refused("the query text is too long")
    return GraphQLRequest(data["query"], variables, operation)


def _message(error: GraphQLError) -> str:
    cause = error.original_error
    if cause is None or isinstance(cause, Refused | GraphQLError):
        return str(cause) if isinstance(cause, Refused) else error.message
    reference = secrets.token_hex(4)
    _log.error("internal error %s at %s", reference, error.path, exc_info=cause)
    return f"internal server error (reference {reference})"


def _envelope(result: ExecutionResult) -> dict[str, Any]:
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [
            {"message": _message(error), **({"path": error.path} if error.path else {})}
            for error in result.errors
        ]
    return answer


def run_request(service: Service, account: Account, base_url: str, body: bytes) -> bytes:
    """Answer one GraphQL request.

    Args:
        account: Who asks.
        base_url: What signed URLs in the answer begin with.

    Raises:
        Refused: (507) The disk is full or fails: the whole request may be sent again later.
    """
    try:
        request = read_request(body)
    except Refused as refusal:
        return orjson.dumps({"errors": [{"message": str(refusal)}]})
    document = _checked(request.text)
    if isinstance(document, tuple):
        return orjson.dumps({"errors": [{"message": message} for message in document]})
    result = execute(
        schema(),
        document,
        context_value=Context(service, account, base_url),
        variable_values=request.variables,
        operation_name=request.operation,
        field_resolver=_plain,
        is_awaitable=lambda _value: False,
    )
    assert isinstance(result, ExecutionResult)
    for error in result.errors or ():
        if (problem := storage_problem(error.original_error)) is not None:
            _log.error("%s: %s", problem, error.original_error)
            raise problem
    answer = _envelope(result)
    try:
        return orjson.dumps(answer)
    except TypeError:
        # Stored texts may hold escaped lone surrogates or keys that only the slower encoder takes.
        return json.dumps(answer).encode()


__all__ = ["GraphQLRequest", "read_request", "run_request", "schema"]
