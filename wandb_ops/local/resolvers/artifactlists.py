"""Lists of artifact things: filtered, ordered, and paged by a cursor that survives inserts and deletes."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.jsontext import loads_object
from wandb_ops.local.resolvers.context import Args, connection, page_size
from wandb_ops.local.runs.filters import compile_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Document = dict[str, Any]


def _cursor(value: Any, pk: int) -> str:
    return base64.b64encode(json.dumps([value, pk]).encode()).decode()


def _read_cursor(cursor: str) -> tuple[Any, int]:
    try:
        value, pk = json.loads(base64.b64decode(cursor, validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise Refused("the cursor is not one of this list") from None
    if not isinstance(pk, int):
        raise Refused("the cursor is not one of this list")
    return value, pk


def _rank(value: Any, pk: int) -> tuple[Any, ...]:
    """Null first, then numbers, then texts; equal values by number."""
    if value is None:
        return (0, 0, pk)
    return (1, value, pk) if isinstance(value, int | float) else (2, str(value), pk)


def _order(order: str | None, default: str, keys: Iterable[str]) -> tuple[str, bool]:
    """Key and whether descending, of an order such as ``-createdAt``."""
    text = order or default
    key = text.lstrip("+-")
    head, *rest = key.split("_")
    key = head + "".join(part.title() for part in rest)
    if key not in keys:
        raise Refused(f"unknown order {order!r}: + or - and one of {', '.join(sorted(keys))}")
    return key, text.startswith("-")


def select(
    nodes: list[tuple[int, Any]],
    args: Args,
    document: Callable[[Any], Document],
    *,
    default: str,
    per_page: int = 50,
) -> dict[str, Any]:
    """The connection that ``filters``, ``order``, ``after`` and ``first`` ask for.

    Args:
        nodes: Row numbers and nodes.
        document: What filters and orders see of a node. Dates are milliseconds.
        default: The order when none is asked for.
    """
    given = loads_object(args.get("filters"), "filters")
    matches = compile_filter(given) if given else None
    found = [(pk, node, document(node)) for pk, node in nodes]
    if matches is not None:
        found = [item for item in found if matches(item[2])]
    total = len(found)
    known = found[0][2] if found else {default.lstrip("+-"): None, **dict.fromkeys(_KEYS)}
    key, descending = _order(args.get("order"), default, known)
    ranked = sorted(
        ((_rank(row[key], pk), pk, node, row[key]) for pk, node, row in found),
        key=lambda item: item[0],
        reverse=descending,
    )
    if args.get("after"):
        place = _rank(*_read_cursor(args["after"]))
        try:
            ranked = [item for item in ranked if (item[0] < place if descending else item[0] > place)]
        except TypeError:
            raise Refused("the cursor is not one of this list") from None
    first = page_size(args, per_page)
    shown = [(node, _cursor(value, pk)) for _, pk, node, value in ranked[:first]]
    return connection(shown, len(ranked) > first, totalCount=total)


_KEYS = ("name", "createdAt", "updatedAt", "versionIndex", "size", "digest", "state", "description")
