"""Filters and orders are checked before anything is sent."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pytest

from wandb_ops import UsageError
from wandb_ops.public.filters import check_filters, check_order, check_run_filters

ACCEPTED: list[dict[str, Any]] = [
    {},
    {"config.experiment_name": "foo"},
    {"$or": [{"config.experiment_name": "foo"}, {"config.experiment_name": "bar"}]},
    {"config.experiment_name": {"$regex": "b.*"}},
    {"display_name": {"$regex": "^foo.*"}},
    {"config.experiment.category": "testing"},
    {"summary_metrics.model1.loss": 0.5},
    {"$and": [{"state": {"$in": ["finished", "failed"]}}, {"tags": {"$nin": ["old"]}}]},
    {"$nor": [{"username": "bob"}], "createdAt": {"$gte": "2023-01-01T12:00:00Z", "$lt": "2024-01-01"}},
    {"config.lr": {"$gt": 0.1, "$lte": 1, "$ne": None}, "config.x": {"$exists": False}},
    {"config.lr": {"$not": {"$gt": 0.1}}},
    {"config.model": {"layers": 3, "sizes": [1, 2]}},
    {"group": None, "config.flag": True},
]


@pytest.mark.parametrize("filters", ACCEPTED, ids=lambda value: json.dumps(value)[:40])
def test_what_wandb_documents_is_accepted_and_unchanged(filters: dict[str, Any]) -> None:
    assert check_filters(filters) == filters


def test_a_checked_filter_is_a_copy() -> None:
    mine: dict[str, Any] = {"$or": [{"config.a": [1, 2]}]}
    checked = check_filters(mine)
    mine["$or"][0]["config.a"].append(3)
    assert checked == {"$or": [{"config.a": [1, 2]}]}


def test_dates_and_numpy_numbers_become_what_the_server_compares_with() -> None:
    """G37, G41."""
    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    filters = {
        "createdAt": {"$gt": datetime.datetime(2024, 5, 1, 9, 30, tzinfo=tokyo)},
        "heartbeatAt": {"$lt": datetime.datetime(2024, 5, 1, 9, 30)},
        "config.day": datetime.date(2024, 5, 1),
        "config.lr": np.float32(0.5),
        "config.n": {"$in": np.array([1, 2])[0:1].tolist()},
    }
    assert check_filters(filters) == {
        "createdAt": {"$gt": "2024-05-01T00:30:00Z"},
        "heartbeatAt": {"$lt": "2024-05-01T09:30:00Z"},
        "config.day": "2024-05-01",
        "config.lr": 0.5,
        "config.n": {"$in": [1]},
    }


REFUSED: list[tuple[Any, str]] = [
    ('{"state": "finished"}', "is a dict"),
    ([{"state": "finished"}], "is a dict"),
    ({"$where": "this.x > 1"}, r"\$where"),
    ({"tags": {"$all": ["a"]}}, r"\$all"),
    ({"config.a": {"$gte": 1, "b": 2}}, "mixed"),
    ({"$or": {"a": 1}}, "takes a list"),
    ({"$and": []}, "takes a list"),
    ({"$or": ["a"]}, "is a dict"),
    ({"state": {"$in": "finished"}}, "takes a list"),
    ({"config.a": {"$exists": 1}}, "True or False"),
    ({"config.a": {"$regex": 1}}, "text"),
    ({"config.a": {"$not": 1}}, "takes a dict"),
    ({"config.a": float("nan")}, "cannot be compared"),
    ({"config.a": object()}, "cannot hold a object"),
    ({1: 2}, "named by text"),
    ({"": 2}, "named by text"),
    ({"$or": [{"config.a": {"$wat": 1}}]}, r"filters\.\$or\[0\]\.config\.a"),
]


@pytest.mark.parametrize(("filters", "message"), REFUSED)
def test_what_the_server_would_not_understand_is_refused_here(filters: Any, message: str) -> None:
    """G41."""
    with pytest.raises(UsageError, match=message):
        check_filters(filters)


def test_a_filter_without_bottom_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["$and"] = [endless]
    with pytest.raises(UsageError, match="deep"):
        check_filters(endless)


@pytest.mark.parametrize(
    "order",
    [
        "+created_at",
        "-created_at",
        "created_at",
        "-heartbeat_at",
        "+config.lr.value",
        "-summary_metrics.val/acc",
        "+summary_metrics.val acc",
        "-summary_metrics.a.b",
    ],
)
def test_documented_orders_are_sent_as_they_are(order: str) -> None:
    assert check_order(order) == order


@pytest.mark.parametrize("order", ["", None])
def test_no_order_is_oldest_first(order: str | None) -> None:
    assert check_order(order) == "+created_at"


@pytest.mark.parametrize(
    "order", ["--created_at", "+", "created at", "+a,-b", "config.", "$where", "+config.a,b", 3]
)
def test_other_orders_are_refused(order: Any) -> None:
    """G42."""
    with pytest.raises(UsageError, match="cannot be ordered"):
        check_order(order)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"state": 1}, "state is text"),
        ({"display_name": {"$in": ["a", 2]}}, "display_name is text"),
        ({"$or": [{"tags": {"$ne": True}}]}, r"tags is text.*filters\.\$or\[0\]\.tags"),
        ({"createdAt": {"$gt": 1_700_000_000}}, "is a moment.*ISO 8601"),
        ({"heartbeat_at": {"$not": {"$lt": 5.0}}}, "is a moment"),
        ({"duration": {"$gt": "60"}}, "number of seconds"),
        ({"duration": True}, "number of seconds"),
    ],
)
def test_fields_of_a_run_are_compared_with_what_they_hold(filters: Any, message: str) -> None:
    """G41: W&B answers these with no runs."""
    with pytest.raises(UsageError, match=message):
        check_run_filters(filters)


def test_what_fields_of_a_run_hold_may_be_compared() -> None:
    filters = {
        "state": {"$in": ["finished", None]},
        "duration": {"$gt": 60, "$lt": 0.5},
        "tags": "a",
        "display_name": {"$regex": "^a"},
        "group": {"$exists": False},
        "config.state": 3,
        "$and": [{"createdAt": {"$gt": "2024-05-01"}}],
    }
    assert check_run_filters(filters) == filters
