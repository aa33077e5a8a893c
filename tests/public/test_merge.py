"""Three-way merges: nobody's change is lost, and a change of mine is made."""

from __future__ import annotations

import copy
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wandb_ops.public.merge import ABSENT, Change, apply, changes, conflicts, merge_tags, same

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_the_changes_turn_the_one_into_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert same(apply(changes(before, after), before), after)


@given(OBJECTS)
def test_what_is_the_same_needs_no_change(value: dict[str, Any]) -> None:
    assert changes(value, copy.deepcopy(value)) == []


@given(OBJECTS, OBJECTS)
def test_applying_twice_is_applying_once(before: dict[str, Any], after: dict[str, Any]) -> None:
    wanted = changes(before, after)
    once = apply(wanted, before)
    assert same(apply(wanted, once), once)


@given(OBJECTS, OBJECTS, OBJECTS)
def test_keys_that_only_others_touched_stay_theirs(
    before: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    merged = apply(changes(before, mine), theirs)
    untouched = [key for key in "abcd" if same(before.get(key, ABSENT), mine.get(key, ABSENT))]
    for key in untouched:
        assert same(merged.get(key, ABSENT), theirs.get(key, ABSENT))


def test_two_sides_inside_one_dict_both_win() -> None:
    before = {"optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 3}
    mine = {"optimizer": {"name": "adam", "lr": 0.1}, "epochs": 3}
    theirs = {"optimizer": {"name": "sgd", "lr": 0.5, "beta": 0.9}, "epochs": 3, "seed": 1}
    assert apply(changes(before, mine), theirs) == {
        "optimizer": {"name": "adam", "lr": 0.5, "beta": 0.9},
        "epochs": 3,
        "seed": 1,
    }


def test_a_deletion_is_made_and_one_made_already_is_no_trouble() -> None:
    wanted = changes({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 2}})
    assert wanted == [Change(("a",), ABSENT), Change(("b", "d"), ABSENT)]
    assert apply(wanted, {"a": 1, "b": {"d": 3}, "x": 0}) == {"b": {}, "x": 0}
    assert apply(wanted, {"x": 0}) == {"x": 0}


def test_typed_objects_change_as_a_whole() -> None:
    before = {"h": {"_type": "histogram", "values": [1], "bins": [0, 1]}}
    after = {"h": {"_type": "histogram", "values": [2], "bins": [0, 1]}}
    assert changes(before, after) == [Change(("h",), after["h"])]


def test_values_are_compared_as_they_are_written() -> None:
    assert same(math.nan, math.nan)
    assert same([math.nan], [math.nan])
    assert not same(1, 1.0)
    assert not same(True, 1)
    assert not same(None, ABSENT)
    assert changes({"a": 1}, {"a": 1.0}) == [Change(("a",), 1.0)]


def test_a_conflict_is_what_both_changed_to_different_values() -> None:
    before = {"a": 1, "b": 1, "c": 1}
    wanted = changes(before, {"a": 2, "b": 2, "c": 2})
    assert conflicts(wanted, before, {"a": 1, "b": 2, "c": 3}) == ["c"]
    assert conflicts(wanted, before, {"a": 1, "b": 1}) == ["c"]


def test_tags_of_both_sides_stay_and_removed_ones_go() -> None:
    assert merge_tags(["a", "b"], ["b", "c"], ["a", "b", "theirs"]) == ["b", "theirs", "c"]
    assert merge_tags([], ["x", "x"], ["x"]) == ["x"]
    assert merge_tags(["a"], ["a"], []) == []
