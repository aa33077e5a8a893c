"""Run filters and orders, checked before they are sent.

W&B answers a filter that it does not understand with an internal error or, worse, with no runs. What can be
known here is said here, with the place in the filter.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from wandb_ops.errors import UsageError

_LOGICAL = frozenset({"$and", "$or", "$nor"})
_COMPARISONS = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"})
_LISTS = frozenset({"$in", "$nin"})
_KNOWN = sorted(_LOGICAL | _COMPARISONS | _LISTS | {"$exists", "$not", "$regex"})
_HINT = f"Known are {', '.join(_KNOWN)}."
_ORDER = re.compile(r"[+-]?(?:(?:config|summary_metrics)\.[^,$\n]+|[A-Za-z_][A-Za-z0-9_]*)")
_MAX_DEPTH = 50
_OWN_FIELDS = frozenset(
    {"createdAt", "created_at", "updatedAt", "updated_at", "heartbeatAt", "heartbeat_at", "name", "sweep"}
)
_BRANCHES = frozenset({"config", "summary_metrics", "tags"})
#: Fields of a run that hold text, a moment and a number; W&B finds nothing where they are compared with
#: something else.
_TEXTS = frozenset(
    {"displayName", "display_name", "group", "host", "jobType", "job_type", "name", "state", "tags"}
    | {"username"}
)
_MOMENTS = frozenset({"createdAt", "created_at", "heartbeatAt", "heartbeat_at", "updatedAt", "updated_at"})
_NUMBERS = frozenset({"duration"})


def check_filters(filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of `filters` that is plain JSON: dates as ISO 8601 text, numpy numbers as numbers.

    Raises:
        UsageError: Not a dict, an operator that W&B does not have, or an operand of the wrong type.
    """
    if filters is None:
        return {}
    return _condition(filters, "filters", 0)


def check_run_filters(filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """As `check_filters`, and the fields of a run are compared with what they hold.

    Raises:
        UsageError: As there; or a number is looked for in a text, or the other way round.
    """
    checked = check_filters(filters)
    _check_fields(checked, "filters")
    return checked


def _check_fields(condition: Mapping[str, Any], where: str) -> None:
    for key, value in condition.items():
        place = f"{where}.{key}"
        if key in _LOGICAL:
            for index, item in enumerate(value):
                _check_fields(item, f"{place}[{index}]")
            continue
        for operand in _operands(value):
            _check_operand(key, operand, place)


def _operands(value: Any) -> Iterator[Any]:
    """The plain values that a field is compared with."""
    if isinstance(value, Mapping):
        for operator, item in value.items():
            if operator not in {"$exists", "$regex"}:
                yield from _operands(item)
    elif isinstance(value, list):
        for item in value:
            yield from _operands(item)
    else:
        yield value


def _check_operand(field: str, value: Any, where: str) -> None:
    if value is None:
        return
    if field in _TEXTS and not isinstance(value, str):
        raise UsageError(f"{field} is text, and is compared with {value!r}", where=where)
    if field in _MOMENTS and not isinstance(value, str):
        raise UsageError(
            f"{field} is a moment, and is compared with {value!r}",
            where=where,
            hint="Pass a datetime, or ISO 8601 text such as 2024-05-01T00:30:00Z.",
        )
    if field in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UsageError(f"{field} is a number of seconds, and is compared with {value!r}", where=where)


def _condition(condition: Any, where: str, depth: int) -> dict[str, Any]:
    """A dict of fields and of $and, $or, $nor."""
    if not isinstance(condition, Mapping):
        raise UsageError(f"A filter is a dict, not {type(condition).__name__}", where=where)
    if depth > _MAX_DEPTH:
        raise UsageError(f"A filter nests more than {_MAX_DEPTH} deep", where=where)
    checked: dict[str, Any] = {}
    for key, value in condition.items():
        if not isinstance(key, str) or not key.strip():
            raise UsageError(f"A filter's field is named by text, not {key!r}", where=where)
        place = f"{where}.{key}"
        if key in _LOGICAL:
            if not isinstance(value, (list, tuple)) or not value:
                raise UsageError(f"{key} takes a list of filters", where=place)
            checked[key] = [
                _condition(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)
            ]
        elif key.startswith("$"):
            raise UsageError(f"There is no operator {key} here", where=where, hint=_HINT)
        else:
            checked[key] = _operand(value, place, depth + 1)
    return checked


def _operand(value: Any, where: str, depth: int) -> Any:
    """What a field is compared with: a value, or a dict of operators."""
    if not isinstance(value, Mapping):
        return _value(value, where)
    operators = [key for key in value if isinstance(key, str) and key.startswith("$")]
    if not operators:
        return _value(value, where)
    if len(operators) != len(value):
        raise UsageError("Operators and plain fields are mixed", where=where, hint=_HINT)
    return {key: _operator(key, item, f"{where}.{key}", depth) for key, item in value.items()}


def _operator(operator: str, value: Any, where: str, depth: int) -> Any:
    if operator in _COMPARISONS:
        return _value(value, where)
    if operator in _LISTS:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise UsageError(f"{operator} takes a list", where=where)
        return [_value(item, where) for item in value]
    if operator == "$exists":
        if not isinstance(value, bool):
            raise UsageError("$exists takes True or False", where=where)
        return value
    if operator == "$regex":
        if not isinstance(value, str):
            raise UsageError("$regex takes text in RE2's syntax", where=where)
        return value
    if operator == "$not":
        if not isinstance(value, Mapping) or depth > _MAX_DEPTH:
            raise UsageError("$not takes a dict of operators", where=where)
        return _operand(value, where, depth + 1)
    raise UsageError(f"There is no operator {operator}", where=where, hint=_HINT)


def _value(value: Any, where: str) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UsageError(f"{value} cannot be compared with in a filter", where=where)
        return value
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC).replace(tzinfo=None)
        return value.isoformat() + "Z"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_value(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _value(item, f"{where}.{key}") for key, item in value.items()}
    if callable(getattr(value, "tolist", None)):  # numpy
        return _value(value.tolist(), where)
    raise UsageError(f"A filter cannot hold a {type(value).__name__}", where=where)


def check_order(order: str | None) -> str:
    """`order` as it is sent: a sign and one field; None and "" are `+created_at`.

    Raises:
        UsageError: Not one field with at most one sign.
    """
    if not order:
        return "+created_at"
    if not isinstance(order, str) or not _ORDER.fullmatch(order):
        raise UsageError(
            f"Runs cannot be ordered by {order!r}",
            hint="Use + or - and one of created_at, heartbeat_at, config.KEY.value, summary_metrics.KEY.",
        )
    return order


def metric_order(order: str) -> str:
    """An order by a metric's plain name, as sweeps have it, as an order of runs.

    Without a sign the highest comes first, as W&B has it. `loss` is `-summary_metrics.loss`; fields of a run,
    and names below `config`, `summary_metrics` and `tags`, are what they say.

    Raises:
        UsageError: Not one field with at most one sign.
    """
    sign, key = (order[0], order[1:]) if order[:1] in {"+", "-"} else ("-", order)
    own = key in _OWN_FIELDS or key.split(".")[0] in _BRANCHES
    return check_order(f"{sign}{key if own else f'summary_metrics.{key}'}")
