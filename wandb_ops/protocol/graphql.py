"""One GraphQL operation, sent and judged.

`errors` in an answer is an error here, even when data came along: half a page must never pass for a page.
What an old server does not know is told apart from what went wrong, and what may pass is retried like a 503.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from wandb_ops.errors import Error, GraphQLError, UnsupportedServer
from wandb_ops.redaction import clean
from wandb_ops.transport.body import Malformed, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wandb_ops.transport.retry import Kind
    from wandb_ops.transport.session import Transport

PATH = "/graphql"

# What servers say when they do not know a field, an argument, an input field, a type or an enum value.
_UNKNOWN = re.compile(
    r"""Cannot[ ]query[ ]field[ ]["'](?P<field>\w+)["'](?:[ ]on[ ]type[ ]["'](?P<type>\w+)["'])?
    | Unknown[ ]argument[ ]["'](?P<argument>\w+)["']
    | Unknown[ ]type[ ]["'](?P<unknown_type>\w+)["']
    | Field[ ]["']?(?P<input>\w+)["']?[ ]is[ ]not[ ]defined[ ]by[ ]type
    | In[ ]field[ ]["'](?P<input2>\w+)["']:[ ]Unknown[ ]field
    | Unknown[ ]fragment[ ]["'](?P<fragment>\w+)["']
    """,
    re.VERBOSE,
)
# Passing conditions, by the code beside the message, else by whole known messages: a metric may be called
# "timeout_429", so a word somewhere in the text proves nothing.
_TRANSIENT_CODES = frozenset(
    {
        "RATE_LIMITED",
        "RATE_LIMIT_EXCEEDED",
        "TOO_MANY_REQUESTS",
        "THROTTLED",
        "TIMEOUT",
        "GATEWAY_TIMEOUT",
        "DEADLINE_EXCEEDED",
        "INTERNAL_SERVER_ERROR",
        "SERVICE_UNAVAILABLE",
        "UNAVAILABLE",
    }
)
_TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})
_TRANSIENT_MESSAGES = re.compile(
    r"""(?: rate[ ]limit(?:ed|[ ]exceeded|[ ]reached)? (?:[ ]for\b.*)?
          | too[ ]many[ ]requests
          | (?:the[ ])?(?:request|query|operation|context)[ ](?:timed[ ]out|timeout|deadline[ ]exceeded)
          | timeout
          | (?:statement|query)[ ]timeout
          | internal[ ](?:server[ ])?error(?::.*)?
          | service[ ](?:is[ ])?(?:temporarily[ ])?unavailable
          | (?:server|database)[ ](?:is[ ])?(?:overloaded|busy)
          | please[ ]try[ ]again(?:[ ]later)?
        )[.!]?""",
    re.VERBOSE | re.IGNORECASE,
)
# What servers say of an entity that is not there, or not this account's to see.
_NO_ENTITY = re.compile(
    r"\bentity\b.{0,200}\b(?:not found|not exist|unknown)\b|\b(?:no such|unknown|could not find) entity\b"
    r"|^permission denied[.!]?$",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Operation:
    """A named GraphQL operation.

    Attributes:
        name: As in the text.
        text: The whole document, with variables only: nothing is ever formatted into it.
        kind: What sending it twice would do.
        long_integers: Whether the answer may hold integers beyond 64 bits as such; texts of JSON in it may
            hold what they like.
        max_bytes: Largest answer, when it is not the transport's.
    """

    name: str
    text: str
    kind: Kind
    long_integers: bool = True
    max_bytes: int | None = None


def execute(
    transport: Transport, operation: Operation, variables: Mapping[str, Any], *, where: str
) -> dict[str, Any]:
    """Send `operation`; the answer's `data`.

    Args:
        transport: Sends and retries it.
        operation: What to send.
        variables: Values of the operation's variables, in JSON's types.
        where: entity/project/run, for errors.

    Raises:
        UnsupportedServer: The server does not know a field or argument; the message names it.
        GraphQLError: The server answered with `errors`; carries the partial data.
        Error: As `Transport.post_json`.
    """
    request = {"operationName": operation.name, "query": operation.text, "variables": dict(variables)}

    def read(body: bytes, content_type: str) -> dict[str, Any]:
        answer = parse_object(body, content_type=content_type, long_integers=operation.long_integers)
        data = answer.get("data")
        if answer.get("errors"):
            raise _error(operation, answer["errors"], data, where, lambda: _entity_hint(transport, variables))
        if not isinstance(data, dict):
            raise Malformed(f"The answer to {operation.name} has no data")
        return data

    def refine(status: int, body: bytes) -> Error | None:
        """Servers that answer invalid queries with 400 say why in GraphQL's form."""
        if status not in (400, 422):
            return None
        try:
            errors = parse_object(body).get("errors")
        except Malformed:
            return None
        error = _error(operation, errors, None, where, str) if isinstance(errors, list) and errors else None
        return error if isinstance(error, UnsupportedServer) else None

    return transport.post(
        PATH,
        _encode(request),
        read=read,
        kind=operation.kind,
        operation=operation.name,
        where=where,
        refine=refine,
        max_bytes=operation.max_bytes,
    )


def _encode(request: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(request)
    except TypeError:  # lone surrogates and integers beyond 64 bits
        return json.dumps(request, allow_nan=False, separators=(",", ":")).encode("ascii")


def _entity_hint(transport: Transport, variables: Mapping[str, Any]) -> str:
    """Which entity a refused call named, and where its name came from."""
    given = variables.get("input")
    places = [variables, given if isinstance(given, dict) else {}]
    names = [place.get(key) for place in places for key in ("entity", "entityName")]
    entity = next((clean(name, 80) for name in names if isinstance(name, str) and name), "")
    settings = transport.settings
    account = "which account the key belongs to (`wandb-ops doctor`)."
    if not entity:
        return f"Check {account}"
    if entity == settings.entity and settings.entity_source:
        return f"The default entity {entity!r} comes from {settings.entity_source}: check it, and {account}"
    return f"Check the spelling of the entity {entity!r}, and {account}"


def _error(
    operation: Operation, errors: Any, data: Any, where: str, entity_hint: Callable[[], str]
) -> GraphQLError:
    entries = errors if isinstance(errors, list) else [errors]
    texts = tuple(_text(entry) for entry in entries)
    messages = tuple(clean(text) for text in texts)
    shown = clean("; ".join(_with_path(entry, text) for entry, text in zip(entries, texts, strict=True)))
    partial = data if isinstance(data, dict) else None
    for text in texts:
        unknown = _UNKNOWN.search(text)
        if unknown:
            feature = _feature(unknown)
            return UnsupportedServer(
                f"{operation.name}: this server does not know {feature}: {shown}",
                messages=messages,
                data=partial,
                where=where,
            )
    return GraphQLError(
        f"{operation.name}: the server answered with an error: {shown}",
        messages=messages,
        data=partial,
        transient=all(_is_transient(entry, text) for entry, text in zip(entries, texts, strict=True)),
        where=where,
        hint=entity_hint() if any(_NO_ENTITY.search(text) for text in texts) else "",
    )


def _feature(unknown: re.Match[str]) -> str:
    found = unknown.groupdict()
    if found["field"]:
        return f"the field {found['type'] + '.' if found['type'] else ''}{found['field']}"
    if found["argument"]:
        return f"the argument {found['argument']}"
    name = found["input"] or found["input2"]
    if name:
        return f"the input field {name}"
    return f"the type {found['unknown_type'] or found['fragment']}"


def _text(entry: Any) -> str:
    if isinstance(entry, dict):
        return str(entry.get("message") or entry.get("error") or "no message")
    return str(entry)


def _with_path(entry: Any, text: str) -> str:
    path = entry.get("path") if isinstance(entry, dict) else None
    return f"{text} (at {'.'.join(map(str, path))})" if isinstance(path, list) and path else text


def _is_transient(entry: Any, text: str) -> bool:
    extensions = entry.get("extensions") if isinstance(entry, dict) else None
    if isinstance(extensions, dict):
        code = extensions.get("code")
        if isinstance(code, str) and code.upper() in _TRANSIENT_CODES:
            return True
        if code in _TRANSIENT_STATUSES or extensions.get("status") in _TRANSIENT_STATUSES:
            return True
    return _TRANSIENT_MESSAGES.fullmatch(text.strip()) is not None


__all__ = ["Operation", "execute"]
