"""Filters, orders and pages of runs against an independent implementation of MongoDB's query language."""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import mongomock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_ops.local.errors import Refused
from wandb_ops.local.runs.filters import compile_filter
from wandb_ops.local.serve import LocalServer

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
        "summary_metrics": st.dictionaries(st.sampled_from(["loss", "a/b"]), SCALARS, max_size=2),
    },
)
KEYS = st.sampled_from(
    ["config.a", "config.b", "config.c", "group", "tags", "summary_metrics.loss", "summary_metrics.a/b"]
)
# Below a scalar or within an array the oracle strays from MongoDB on null, absence and negation.
DEEP = st.sampled_from(
    ["config.a.x", "config.a.y.x", "config.b.0", "config.b.1.x", "config.a.x.0", "tags.0", "tags.2"]
)
# MongoDB compares only values of one type; the oracle raises on some mixtures, so numbers and texts only.
ORDERED = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 2.0]), st.sampled_from(["a", "ab", "b"]))
SOLID = SCALARS.filter(lambda value: value is not None)


def positive(scalars: st.SearchStrategy[Any]) -> list[st.SearchStrategy[Any]]:
    return [
        scalars,
        st.builds(lambda op, value: {op: value}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ORDERED),
        st.builds(lambda value: {"$eq": value}, scalars),
        st.builds(lambda values: {"$in": values}, st.lists(scalars, max_size=3)),
        st.builds(lambda value: {"$regex": value}, st.sampled_from(["^a", "b$", "a.*b", "[0-9]", ""])),
        st.builds(
            lambda value, options: {"$regex": value, "$options": options},
            st.sampled_from(["^A", "B$", "a . b", "^b"]),
            st.sampled_from(["i", "x", "im", "s"]),
        ),
        st.builds(lambda low, high: {"$gte": low, "$lt": high}, st.integers(-3, 0), st.integers(0, 3)),
    ]


NEGATIVE = [
    st.builds(lambda value: {"$ne": value}, SCALARS),
    st.builds(lambda values: {"$nin": values}, st.lists(SCALARS, max_size=3)),
    st.builds(lambda value: {"$not": {"$gt": value}}, st.integers(-3, 3)),
    st.builds(lambda value: {"$not": {"$in": [value, 1]}}, SCALARS),
    st.builds(lambda value: {"$not": {"$regex": value}}, st.sampled_from(["^a", "b$"])),
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


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
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


@pytest.mark.parametrize("operator", ["$all", "$elemMatch", "$size", "$type", "$mod", "$where", "$expr"])
def test_an_operator_that_wandb_does_not_take_is_refused_by_name(operator: str) -> None:
    with pytest.raises(Refused, match=re.escape(operator)):
        compile_filter({"tags": {operator: ["a"]}})


# -- dates -------------------------------------------------------------------------------------------------

FIRST = datetime(2024, 2, 28, 22, 0, tzinfo=UTC)
MOMENTS = st.integers(0, 20).map(lambda step: FIRST + timedelta(minutes=17 * step))
FORMS = [
    lambda moment: moment.isoformat(),
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S"),
    lambda moment: (moment + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00"),
    lambda moment: {"$date": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")},
]


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    moments=st.lists(MOMENTS, min_size=1, max_size=6),
    bound=MOMENTS,
    other=MOMENTS,
    form=st.sampled_from(FORMS),
    operators=st.sampled_from([["$gt"], ["$gte"], ["$lt"], ["$lte"], ["$eq"], ["$ne"], ["$gte", "$lt"]]),
    key=st.sampled_from(["createdAt", "heartbeatAt"]),
)
def test_dates_in_every_form_compare_as_moments(
    moments: Any, bound: Any, other: Any, form: Any, operators: list[str], key: str
) -> None:
    """The oracle compares real dates; the server's documents hold milliseconds, its filters texts."""
    collection = mongomock.MongoClient(tz_aware=True).db.runs
    collection.insert_many([{"_id": at, key: moment} for at, moment in enumerate(moments)])
    bounds = dict(zip(operators, (bound, other), strict=False))
    expected = {found["_id"] for found in collection.find({key: bounds})}
    matches = compile_filter({key: {name: form(moment) for name, moment in bounds.items()}})
    documents = [{key: int(moment.timestamp() * 1000)} for moment in moments]
    assert {at for at, document in enumerate(documents) if matches(document)} == expected


# -- orders and pages --------------------------------------------------------------------------------------

PAGE = """query Q($p: String!, $o: String, $f: JSONString, $n: Int, $c: String) { project(name: $p) {
  runCount(filters: $f) runs(order: $o, filters: $f, first: $n, after: $c) {
    edges { node { name } } pageInfo { endCursor hasNextPage } } } }"""
SORTED = st.one_of(
    st.none(), st.integers(-2, 2), st.sampled_from([0.5, -1.5]), st.sampled_from(["", "a", "b"])
)
ROWS = st.lists(
    st.fixed_dictionaries({}, optional={"x": SORTED, "y": st.integers(0, 2)}), min_size=1, max_size=9
)
numbers = itertools.count()


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    rows=ROWS,
    order=st.sampled_from(["+config.x.value", "-config.x.value", "+summary_metrics.x", "-summary_metrics.x"]),
    size=st.integers(1, 4),
    narrowed=st.booleans(),
)
def test_pages_in_any_order_hold_every_run_once_in_mongodbs_order(
    server: LocalServer, bare_client: Any, rows: list[dict[str, Any]], order: str, size: int, narrowed: bool
) -> None:
    bare, project = bare_client(server), f"ordered-{next(numbers)}"
    collection = mongomock.MongoClient().db.runs
    for number, row in enumerate(rows):
        config = json.dumps({key: {"value": value} for key, value in row.items()})
        bare.upsert(name=f"r{number}", modelName=project, config=config, summaryMetrics=json.dumps(row))
        collection.insert_one({"_id": f"r{number}", **row})
    query = {"y": {"$lt": 2}} if narrowed else {}
    filters = json.dumps({f"summary_metrics.{key}": value for key, value in query.items()})
    seen: list[str] = []
    cursor, more = None, True
    while more:
        found = bare.data(PAGE, p=project, o=order, f=filters, n=size, c=cursor)["project"]
        page = found["runs"]
        seen += [edge["node"]["name"] for edge in page["edges"]]
        cursor, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        assert len(page["edges"]) == size or not more
    expected = list(collection.find(query).sort("x", 1 if order[0] == "+" else -1))
    assert sorted(seen) == sorted(row["_id"] for row in expected)
    assert found["runCount"] == len(seen)
    # Runs of equal values may stand in any order among themselves.
    assert [rows[int(name[1:])].get("x") for name in seen] == [row.get("x") for row in expected]
