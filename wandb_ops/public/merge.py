"""Three-way merge of JSON values: what this side changed, put onto what the other side has now.

W&B stores the config and the summary of a run each as one text, and a client can only write the whole.
Whoever writes back what it read minutes ago wipes what others wrote since. So a save reads again and applies
only its own changes, found by comparing with what was first read.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


class _Absent:
    """No value at all, as opposed to None."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Change:
    """One value set, or deleted when `value` is ABSENT, at a path of keys."""

    path: tuple[str, ...]
    value: Any


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are written the same: NaN is itself, True is not 1, 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What turns `before` into `after`; dicts are followed inwards, all else changes as a whole."""
    found: list[Change] = []
    _collect(before, after, (), found)
    return found


def _collect(
    before: Mapping[str, Any], after: Mapping[str, Any], path: tuple[str, ...], found: list[Change]
) -> None:
    found.extend(Change((*path, key), ABSENT) for key in before if key not in after)
    for key, value in after.items():
        old = before.get(key, ABSENT)
        if _is_plain_dict(old) and _is_plain_dict(value):
            _collect(old, value, (*path, key), found)
        elif not same(old, value):
            found.append(Change((*path, key), value))


def _is_plain_dict(value: Any) -> bool:
    # {"_type": "histogram", ...} is one value: half of one and half of another is neither.
    return isinstance(value, dict) and "_type" not in value


def apply(wanted: list[Change], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """`theirs` with the `wanted` changes made; `theirs` itself is left alone."""
    merged = copy.deepcopy(dict(theirs))
    for change in wanted:
        *parents, last = change.path
        place = merged
        for key in parents:
            inner = place.get(key)
            if not isinstance(inner, dict):
                if change.value is ABSENT:
                    break  # deleted already, together with its surroundings
                inner = place[key] = {}
            place = inner
        else:
            if change.value is ABSENT:
                place.pop(last, None)
            else:
                place[last] = copy.deepcopy(change.value)
    return merged


def merge_tags(before: list[str], after: list[str], theirs: list[str]) -> list[str]:
    """Tags as a set that keeps its order: `theirs`, less what this side took away, plus what it added."""
    removed = set(before) - set(after)
    merged = [tag for tag in theirs if tag not in removed]
    return merged + [tag for tag in dict.fromkeys(after) if tag not in before and tag not in merged]


def conflicts(wanted: list[Change], before: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Places that both sides changed, and not to the same value; this side's value is going to win there."""
    return [
        ".".join(change.path)
        for change in wanted
        if not same(there := _look(theirs, change.path), _look(before, change.path))
        and not same(there, change.value)
    ]


def _look(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    place: Any = values
    for key in path:
        if not isinstance(place, Mapping) or key not in place:
            return ABSENT
        place = place[key]
    return place
