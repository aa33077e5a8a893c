"""Filters and orders of registries, their collections and versions, checked before they are sent.

Organisations with advanced search know some fields by other names, as far as versions are looked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import UsageError
from wandb_ops.public.filters import check_filters

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "wandb-registry-"

_DATED = ("name", "created_at", "updated_at")


@dataclass(frozen=True)
class Fields:
    """What may be filtered by.

    Attributes:
        known: Field as users write it -> as it is sent.
        registry_name: Whether `name` is that of a registry, which is sent with its prefix.
    """

    known: Mapping[str, str]
    registry_name: bool = False


def _fields(*names: str, **aliases: str) -> dict[str, str]:
    return {**{name: name for name in names}, **aliases}


REGISTRIES = Fields(
    _fields("id", "name", "entity_id", "description", "created_at", "updated_at"), registry_name=True
)
COLLECTIONS = Fields(
    _fields(
        "artifact_collection_id",
        "name",
        "tag",
        "description",
        "created_at",
        "updated_at",
        id="artifact_collection_id",
        collection_id="artifact_collection_id",
    )
)
VERSIONS = Fields(_fields("id", "version", "tag", "alias", "metadata", "created_at", "updated_at"))

ADVANCED_REGISTRIES = Fields(_fields("project_id", "name", "entity_id", id="project_id"), registry_name=True)
ADVANCED_COLLECTIONS = Fields(
    _fields(
        "artifact_collection_id",
        "name",
        "tag",
        tags="tag",
        id="artifact_collection_id",
        collection_id="artifact_collection_id",
        collection_name="name",
        artifact_collection_name="name",
    )
)
ADVANCED_VERSIONS = Fields(
    _fields(
        "artifact_id",
        "version",
        "tag",
        "alias",
        "metadata",
        "artifact_created_at",
        "artifact_size",
        "acm_created_at",
        id="artifact_id",
        version_index="version",
        tags="tag",
        aliases="alias",
        artifact_metadata="metadata",
        created_at="artifact_created_at",
        linked_at="acm_created_at",
    )
)

_ADVANCED_ORDERS = _fields(
    "artifact_created_at",
    "artifact_size",
    "acm_created_at",
    created_at="artifact_created_at",
    linked_at="acm_created_at",
)


def to_json(filters: Mapping[str, Any] | None, fields: Fields) -> str | None:
    """The JSON text of a filter as it is sent; None for no filter.

    Raises:
        UsageError: An operator or a field that is not known, or an operand of the wrong type.
    """
    checked = check_filters(filters)
    return json.dumps(_renamed(checked, fields)) if checked else None


def _renamed(condition: dict[str, Any], fields: Fields) -> dict[str, Any]:
    sent: dict[str, Any] = {}
    for key, value in condition.items():
        if key.startswith("$"):
            sent[key] = [_renamed(each, fields) for each in value]
            continue
        head, dot, rest = key.partition(".")
        if head not in fields.known:
            raise UsageError(f"There is no field {head!r} here", hint=f"Known are {', '.join(fields.known)}.")
        sent[fields.known[head] + dot + rest] = (
            prefixed(value) if fields.registry_name and key == "name" else value
        )
    return sent


def prefixed(operand: Any) -> Any:
    """A registry's name with its prefix, in whatever the name is compared with; patterns stay as they are."""
    if isinstance(operand, str):
        return operand if operand.startswith(PREFIX) else PREFIX + operand
    if isinstance(operand, list):
        return [prefixed(each) for each in operand]
    if isinstance(operand, dict):
        return {
            key: value if key in {"$regex", "$exists"} else prefixed(value) for key, value in operand.items()
        }
    return operand


def check_order(order: str | None) -> str | None:
    """An order of registries or collections.

    Raises:
        UsageError: Not + or - and one of the fields.
    """
    if order is None:
        return None
    if not isinstance(order, str) or order.removeprefix("-").removeprefix("+") not in _DATED:
        raise UsageError(f"There is no order {order!r} here", hint=f"+ or - and one of {', '.join(_DATED)}.")
    return order


def check_version_order(order: str) -> str:
    """An order of versions, with the field as it is sent. Errors as `check_order`."""
    key = order.removeprefix("-").removeprefix("+") if isinstance(order, str) else ""
    if key not in _ADVANCED_ORDERS:
        raise UsageError(
            f"There is no order {order!r} here", hint=f"+ or - and one of {', '.join(_ADVANCED_ORDERS)}."
        )
    return ("-" if order.startswith("-") else "+") + _ADVANCED_ORDERS[key]
