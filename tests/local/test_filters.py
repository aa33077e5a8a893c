"""Filters against an independent implementation of MongoDB's query language."""

from __future__ import annotations

from typing import Any

import mongomock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_ops.local.errors import Refused
from wandb_ops.local.runs.filters import compile_filter

# Without booleans: within arrays the oracle takes false for 0, which MongoDB does not.
SCALARS = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.sampled_from([0.5, -1.5, 2.0]),
    st.sampled_from(["", "a", "ab", "b", "2"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)
    ),
    max_leaves=5,
)
DOCUMENTS = st.fixed_dictionaries(
    {"config": st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3)},
    optional={
        "group": SCALARS,
        "tags": st.lists(SCALARS, max_size=3),
        "summary_metrics": st.just({"loss": 0.5}),
    },
)
KEYS = st.sampled_from(["config.a", "config.b", "config.c", "group", "tags"])
# Below a scalar or within an array the oracle strays from MongoDB on null, absence and negation.
DEEP = st.sampled_from(["config.a.x", "config.a.y.x", "config.b.0", "summary_metrics.loss"])
# MongoDB compares only values of one type; the oracle raises on some mixtures, so numbers and texts only.
ORDERED = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 2.0]), st.sampled_from(["a", "ab", "b"]))
SOLID = SCALARS.filter(lambda value: value is not None)


def positive(scalars: st.SearchStrategy[Any]) -> list[st.SearchStrategy[Any]]:
    return [
        scalars,
        st.builds(lambda op, value: {op: value}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ORDERED),
        st.builds(lambda value: {"$eq": value}, scalars),
        st.builds(lambda values: {"$in": values}, st.lists(scalars, max_size=3)),
        st.builds(lambda value: {"$regex": value}, st.sampled_from(["^a", "b$", "a.*b", "[0-9]"])),
        st.builds(lambda low, high: {"$gte": low, "$lt": high}, st.integers(-3, 0), st.integers(0, 3)),
    ]


NEGATIVE = [
    st.builds(lambda value: {"$ne": value}, SCALARS),
    st.builds(lambda values: {"$nin": values}, st.lists(SCALARS, max_size=3)),
    st.builds(lambda value: {"$not": {"$gt": value}}, st.integers(-3, 3)),
    st.builds(lambda value: {"$exists": value}, st.booleans()),
    st.lists(SCALARS, max_size=2),
]
FIELDS = st.one_of(
    st.dictionaries(KEYS, st.one_of(*positive(SCALARS), *NEGATIVE), min_size=1, max_size=2),
    st.dictionaries(DEEP, st.one_of(*positive(SOLID)), min_size=1, max_size=1),
)
QUERIES = st.recursive(
    FIELDS,
    lambda inner: st.builds(
        lambda op, parts: {op: parts},
        st.sampled_from(["$and", "$or", "$nor"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(documents=st.lists(DOCUMENTS, min_size=1, max_size=5), query=QUERIES)
def test_filters_agree_with_mongodb(documents: list[dict[str, Any]], query: dict[str, Any]) -> None:
    collection = mongomock.MongoClient().db.runs
    collection.insert_many([{**document, "_id": index} for index, document in enumerate(documents)])
    try:
        expected = {found["_id"] for found in collection.find(query)}
    except (TypeError, NotImplementedError):
        return  # the oracle gives up on some mixtures of types
    matches = compile_filter(query)
    assert {index for index, document in enumerate(documents) if matches(document)} == expected


@pytest.mark.parametrize(
    ("document", "query", "expected"),
    [
        ({"config": {"x": {"value": 3}}}, {"config.x.value.value": 3}, True),
        ({"config": {"x": None}}, {"config.x.y": None}, True),
        ({"config": {"x": 1}}, {"config.x.y": {"$ne": 1}}, True),
        ({"config": {"x": 1}}, {"config.x.y": {"$not": {"$gt": 0}}}, True),
        ({"config": {"x": 1}}, {"config.x.y": {"$exists": False}}, True),
        ({"config": {"x": [{"y": 1}, {"y": 2}]}}, {"config.x.y": 2}, True),
        ({"config": {"x": [0]}}, {"config.x": False}, False),
        ({"config": {"x": [False]}}, {"config.x": False}, True),
        ({"config": {"x": True}}, {"config.x": {"$gt": 0}}, False),
        ({"config": {}}, {"config.x": {"$gte": None}}, True),
        ({"config": {"x": {"value": 3}}}, {"config.x.value": {"value": 3}}, True),
        ({"config": {"a.b": {"c": 1}}}, {"config.a.b.c": 1}, True),
        ({"config": {"x": float("nan")}}, {"config.x": {"$gt": 0}}, False),
        ({"config": {"x": float("nan")}}, {"config.x": float("nan")}, True),
        ({"config": {"x": "A"}}, {"config.x": {"$regex": "a", "$options": "i"}}, True),
        ({"createdAt": 1_700_000_000_000}, {"createdAt": {"$eq": "2023-11-14T22:13:20Z"}}, True),
        ({"createdAt": 1_700_000_000_000}, {"createdAt": {"$gt": "2023-11-14T23:13:20+01:00"}}, False),
        ({"createdAt": 1_700_000_000_000}, {"createdAt": {"$gte": {"$date": "2023-11-14T22:13:20"}}}, True),
        ({"createdAt": 1_700_000_000_000}, {"created_at": {"$gte": "2023-11-14", "$lt": "2023-11-15"}}, True),
    ],
)
def test_what_is_special_about_runs(document: dict[str, Any], query: dict[str, Any], expected: bool) -> None:
    assert compile_filter(query)(document) is expected


def test_a_filter_nested_without_end_is_refused() -> None:
    query: dict[str, Any] = {"state": "x"}
    for _ in range(100):
        query = {"$and": [query]}
    with pytest.raises(Refused, match="nested too deeply"):
        compile_filter(query)
