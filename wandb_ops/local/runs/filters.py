"""Run filters: MongoDB's query operators over run documents.

MongoDB's semantics hold: a missing field equals null; ``$ne``, ``$nin`` and ``$not`` are true of a missing
field; comparisons order values of one type only; an array matches when it, or one of its elements, does;
dotted keys lead into objects and arrays. A filter is compiled once and then asked of every document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from wandb_ops.local import times
from wandb_ops.local.errors import Refused

Document = dict[str, Any]
Predicate = Callable[[Document], bool]
_Test = Callable[[list[Any]], bool]

# Values that a path leads to. A path that leads nowhere gives an empty list.
_MAX_REGEX = 1000
_MAX_DEPTH = 30

_ALIASES = {
    "display_name": "displayName",
    "created_at": "createdAt",
    "heartbeat_at": "heartbeatAt",
    "updated_at": "updatedAt",
    "job_type": "jobType",
    "summaryMetrics": "summary_metrics",
    "user": "username",
    "sweepName": "sweep",
    "groupName": "group",
}
DATES = frozenset({"createdAt", "heartbeatAt", "updatedAt"})


def split_key(key: str) -> list[str]:
    """The path of a filter or order key: aliases resolved, ``config.k.value`` as ``config.k``.

    ``config.k.value.x`` is ``config.k.x``, because a config value is stored under ``value``.
    """
    parts = key.split(".")
    parts[0] = _ALIASES.get(parts[0], parts[0])
    if parts[:1] == ["username"]:
        return ["username"]
    if parts[0] == "config" and len(parts) > 2 and parts[2] == "value":
        del parts[2]
    return parts


def values_at(document: Any, parts: list[str]) -> Iterator[Any]:
    """Every value that a path leads to, arrays looked into; nothing for a path that leads nowhere."""
    if not parts:
        yield document
        return
    head, rest = parts[0], parts[1:]
    if isinstance(document, dict):
        if head in document:
            yield from values_at(document[head], rest)
        elif rest:
            # Keys may hold dots themselves ("train.loss"): the longest name that fits wins.
            for length in range(len(parts), 1, -1):
                joined = ".".join(parts[:length])
                if joined in document:
                    yield from values_at(document[joined], parts[length:])
                    return
    elif isinstance(document, list):
        if head.isdigit() and int(head) < len(document):
            yield from values_at(document[int(head)], rest)
        for item in document:
            if isinstance(item, dict):
                yield from values_at(item, parts)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _equal(left: Any, right: Any) -> bool:
    """Equality with MongoDB's types: true is not 1, and NaN equals NaN."""
    kind = _kind(left)
    if kind != _kind(right):
        return False
    if kind == "array":
        return len(left) == len(right) and all(map(_equal, left, right))
    if kind == "object":
        return list(left) == list(right) and all(_equal(left[key], right[key]) for key in left)
    return bool(left == right) or (_is_nan(left) and _is_nan(right))


def _candidates(found: list[Any]) -> Iterator[Any]:
    for value in found:
        yield value
        if isinstance(value, list):
            yield from value


def _equals(operand: Any) -> _Test:
    def test(found: list[Any]) -> bool:
        if operand is None and not found:
            return True
        return any(_equal(value, operand) for value in _candidates(found))

    return test


def _compare(operand: Any, accept: Callable[[Any, Any], bool], or_equal: bool) -> _Test:
    kind = _kind(operand)
    if kind in {"object", "array"}:
        raise Refused("comparisons work on numbers, texts and booleans")

    def test(found: list[Any]) -> bool:
        if kind == "null":
            return or_equal and _equals(None)(found)
        return any(_kind(value) == kind and accept(value, operand) for value in _candidates(found))

    return test


def _regex(pattern: Any, options: Any) -> _Test:
    if not isinstance(pattern, str) or not isinstance(options, str):
        raise Refused("$regex and $options must be texts")
    if len(pattern) > _MAX_REGEX:
        raise Refused(f"$regex is longer than {_MAX_REGEX} characters")
    flags = 0
    for letter in options:
        if letter not in "imsx":
            raise Refused(f"unknown $options letter {letter!r}")
        flags |= re.RegexFlag[letter.upper()]
    try:
        compiled = re.compile(pattern, flags)
    except re.error as error:
        raise Refused(f"$regex is not valid: {error}") from None

    def test(found: list[Any]) -> bool:
        return any(isinstance(value, str) and bool(compiled.search(value)) for value in _candidates(found))

    return test


def _one_of(operand: Any, name: str) -> _Test:
    if not isinstance(operand, list):
        raise Refused(f"{name} needs a list")
    tests = [_equals(value) for value in operand]
    return lambda found: any(test(found) for test in tests)


def _not(test: _Test) -> _Test:
    return lambda found: not test(found)


_ORDERED: dict[str, tuple[Callable[[Any, Any], bool], bool]] = {
    "$gt": (lambda left, right: left > right, False),
    "$gte": (lambda left, right: left >= right or _equal(left, right), True),
    "$lt": (lambda left, right: left < right, False),
    "$lte": (lambda left, right: left <= right or _equal(left, right), True),
}


def _operator(name: str, operand: Any, siblings: Document) -> _Test | None:
    if name in _ORDERED:
        return _compare(operand, *_ORDERED[name])
    match name:
        case "$eq":
            return _equals(operand)
        case "$ne":
            return _not(_equals(operand))
        case "$in":
            return _one_of(operand, "$in")
        case "$nin":
            return _not(_one_of(operand, "$nin"))
        case "$exists":
            wanted = bool(operand)
            return lambda found: bool(found) == wanted
        case "$regex":
            return _regex(operand, siblings.get("$options", ""))
        case "$options":
            if "$regex" not in siblings:
                raise Refused("$options needs $regex")
            return None
        case "$not":
            if not isinstance(operand, dict) or not operand:
                raise Refused("$not needs an object of operators")
            return _not(_condition(operand))
        case _:
            raise Refused(f"unsupported filter operator {name}")


def _condition(condition: Any) -> _Test:
    if isinstance(condition, dict) and any(key.startswith("$") for key in condition):
        if not all(key.startswith("$") for key in condition):
            raise Refused("a condition may not mix operators and fields")
        tests = [
            test
            for name, operand in condition.items()
            if (test := _operator(name, operand, condition)) is not None
        ]
        return lambda found: all(test(found) for test in tests)
    return _equals(condition)


def _dates(value: Any) -> Any:
    """A condition on a date with its ISO texts as milliseconds, so that texts of any form compare."""
    if isinstance(value, str):
        try:
            return times.parse(value)
        except ValueError:
            raise Refused(f"{value!r} is not an ISO 8601 time") from None
    if isinstance(value, dict):
        if set(value) == {"$date"}:
            return _dates(value["$date"])
        return {key: operand if key == "$exists" else _dates(operand) for key, operand in value.items()}
    if isinstance(value, list):
        return [_dates(item) for item in value]
    return value


def _field(key: str, condition: Any) -> Predicate:
    parts = split_key(key)
    if parts[0] in DATES:
        condition = _dates(condition)
    test = _condition(condition)
    if len(parts) == 1:
        name = parts[0]
        return lambda document: test([document[name]] if name in document else [])
    return lambda document: test(list(values_at(document, parts)))


def compile_filter(query: Any, depth: int = 0) -> Predicate:
    """A predicate of a MongoDB query; :class:`Refused` says what is wrong with the query.

    Dates in documents (``createdAt``, ``heartbeatAt``, ``updatedAt``) are milliseconds since the epoch.
    """
    if not isinstance(query, dict):
        raise Refused("a filter must be a JSON object")
    if depth > _MAX_DEPTH:
        raise Refused("the filter is nested too deeply")
    tests: list[Predicate] = []
    for key, value in query.items():
        if key in {"$and", "$or", "$nor"}:
            if not isinstance(value, list) or not value:
                raise Refused(f"{key} needs a list of filters")
            parts = [compile_filter(part, depth + 1) for part in value]
            tests.append(_logical(key, parts))
        elif key == "$not":
            inner = compile_filter(value, depth + 1)
            tests.append(lambda document, inner=inner: not inner(document))  # type: ignore[misc]  # bound early
        elif key.startswith("$"):
            raise Refused(f"unsupported filter operator {key}")
        else:
            tests.append(_field(key, value))
    if len(tests) == 1:
        return tests[0]
    return lambda document: all(test(document) for test in tests)


def _logical(key: str, parts: list[Predicate]) -> Predicate:
    if key == "$and":
        return lambda document: all(part(document) for part in parts)
    if key == "$or":
        return lambda document: any(part(document) for part in parts)
    return lambda document: not any(part(document) for part in parts)
