"""Types of table columns, as W&B writes them: JSON objects with a `wb_type`.

A column's type is found from its cells: each cell has one, and the types of a column are joined. What cannot
be joined (a number and a text) is an error of the caller, unless the column may hold anything.
"""

from __future__ import annotations

import math
from typing import Any

Type = dict[str, Any]

NONE: Type = {"wb_type": "none"}
UNKNOWN: Type = {"wb_type": "unknown"}
ANY: Type = {"wb_type": "any"}
NUMBER: Type = {"wb_type": "number"}
STRING: Type = {"wb_type": "string"}
BOOLEAN: Type = {"wb_type": "boolean"}
TIMESTAMP: Type = {"wb_type": "timestamp"}
HTML: Type = {"wb_type": "html-file"}
HISTOGRAM: Type = {"params": {"class_name": "Histogram"}, "wb_type": "pythonObject"}
#: An image without boxes and masks; W&B notes that there are none.
IMAGE: Type = {
    "params": {
        "box_class_maps": {"params": {"is_set": False, "val": {}}, "wb_type": "const"},
        "box_layers": {"params": {"is_set": False, "val": {}}, "wb_type": "const"},
        "box_score_keys": {"params": {"is_set": True, "val": []}, "wb_type": "const"},
        "class_map": {"params": {"is_set": False, "val": {}}, "wb_type": "const"},
        "mask_class_maps": {"params": {"is_set": False, "val": {}}, "wb_type": "const"},
        "mask_layers": {"params": {"is_set": False, "val": {}}, "wb_type": "const"},
    },
    "wb_type": "image-file",
}
_BY_KIND: tuple[tuple[type, Type], ...] = (
    (bool, BOOLEAN),
    (int, NUMBER),
    (float, NUMBER),
    (str, STRING),
)


def list_of(element: Type, length: int) -> Type:
    """The type of a list with so many elements."""
    return {"params": {"element_type": element, "length": length}, "wb_type": "list"}


def dict_of(members: dict[str, Type]) -> Type:
    """The type of a dict with these keys."""
    return {"params": {"type_map": members}, "wb_type": "typedDict"}


def union_of(*types: Type) -> Type:
    """One of several types, in the order that W&B writes them; unions among them are dissolved."""
    flat: list[Type] = []
    for one in types:
        flat += [each for each in members_of(one) if each not in flat]
    if len(flat) == 1:
        return flat[0]
    return {"params": {"allowed_types": sorted(flat, key=label)}, "wb_type": "union"}


def members_of(kind: Type) -> list[Type]:
    """The types of a union; of another type, that type."""
    return list(kind["params"]["allowed_types"]) if kind["wb_type"] == "union" else [kind]


def optional(kind: Type) -> Type:
    """That type, or nothing."""
    return union_of(NONE, kind)


def is_optional(kind: Type) -> bool:
    """Whether a cell may be empty."""
    return NONE in members_of(kind)


def type_of(value: Any) -> Type:
    """The type of a plain value: what `cells.plain` gives. NaN is a missing value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    for kind, found in _BY_KIND:
        if isinstance(value, kind):
            return found
    if isinstance(value, list):
        element = UNKNOWN
        for item in value:
            joined = join(element, type_of(item))
            if joined is None:
                return list_of(optional(ANY), len(value))  # W&B reads a gap in such a list, too
            element = joined
        return list_of(element, len(value))
    if isinstance(value, dict):
        return dict_of({key: type_of(item) for key, item in value.items()})
    if hasattr(value, "shape"):
        return {"params": {"serialization_path": None, "shape": list(value.shape)}, "wb_type": "ndarray"}
    own: Type | None = getattr(value, "_wb_type", None)
    return own if own is not None else TIMESTAMP


def join(first: Type, second: Type) -> Type | None:
    """The type of a column that holds cells of both types; None when there is none."""
    if second in (first, UNKNOWN):
        return first
    if first == UNKNOWN:
        return second
    if ANY in members_of(first) or ANY in members_of(second):
        return union_of(ANY, *(each for each in (*members_of(first), *members_of(second)) if each == NONE))
    mine, theirs = members_of(first), members_of(second)
    if len(mine) > 1 or len(theirs) > 1 or NONE in (first, second):
        return _join_members(mine, theirs)
    if first["wb_type"] == second["wb_type"] == "list":
        element = join(first["params"]["element_type"], second["params"]["element_type"])
        return None if element is None else list_of(element, second["params"]["length"])
    if first["wb_type"] == second["wb_type"] == "typedDict":
        return _join_dicts(first["params"]["type_map"], second["params"]["type_map"])
    return None


def _join_members(mine: list[Type], theirs: list[Type]) -> Type | None:
    """Each of the second takes a place among the first, or none when it is the absence of a value."""
    found = list(mine)
    for new in theirs:
        if new in found:
            continue
        if new == NONE:
            found.append(NONE)
            continue
        for place, old in enumerate(found):
            joined = join(old, new) if old != NONE else None
            if joined is not None:
                found[place] = joined
                break
        else:
            if found != [NONE]:
                return None
            found.append(new)
    return union_of(*found)


def _join_dicts(mine: dict[str, Type], theirs: dict[str, Type]) -> Type | None:
    members: dict[str, Type] = {}
    for key in [*mine, *(key for key in theirs if key not in mine)]:
        joined = join(mine.get(key, NONE), theirs.get(key, NONE))
        if joined is None:
            return None
        members[key] = joined
    return dict_of(members)


def label(kind: Type) -> str:
    """A short name for messages. Unions are sorted by it, as W&B sorts them."""
    name, params = str(kind["wb_type"]), kind.get("params") or {}
    if name == "union":
        return " or ".join(label(each) for each in params["allowed_types"])
    if name == "list":
        return f"{label(params['element_type'])}[]"
    if name == "typedDict":
        return "{" + ", ".join(f"{key!r}: {label(each)}" for key, each in params["type_map"].items()) + "}"
    if name == "const":
        return repr(params.get("val"))
    return name.capitalize()


def declared(dtype: Any) -> Type | None:
    """The type that a `dtype=` of a table means: a Python or numpy type, or None for any it does not know."""
    import datetime

    if isinstance(dtype, dict) and isinstance(dtype.get("wb_type"), str):
        return dtype
    if isinstance(dtype, (list, tuple)):
        found = [declared(each) for each in dtype]
        return union_of(*[each for each in found if each]) if found and all(found) else None
    if not isinstance(dtype, type):
        name = getattr(dtype, "kind", None)  # numpy's dtypes
        return {"b": BOOLEAN, "i": NUMBER, "u": NUMBER, "f": NUMBER, "U": STRING, "M": TIMESTAMP}.get(
            str(name)
        )
    if dtype.__module__ == "numpy":
        import numpy as np

        return declared(np.dtype(dtype))
    kinds: dict[type, Type] = {
        bool: BOOLEAN,
        int: NUMBER,
        float: NUMBER,
        str: STRING,
        type(None): NONE,
        datetime.datetime: TIMESTAMP,
        datetime.date: TIMESTAMP,
        list: list_of(UNKNOWN, 0),
        object: ANY,
    }
    own: Type | None = getattr(dtype, "_wb_type", None)  # media classes say it themselves
    return own or kinds.get(dtype)
