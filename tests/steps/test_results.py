"""Results must fit an XCom and Dagster's metadata."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from wandb_ops.steps import MetricBest, SnapshotResult
from wandb_ops.steps.results import json_safe


def test_a_result_with_nested_results_becomes_plain_json():
    best = MetricBest(
        metric="loss", goal="min", value=math.inf, run_id="r", display_name="n", url="u", delta=None
    )
    result = SnapshotResult(
        entity="e", project="p", url="u", at="2026-01-01T00:00:00+00:00", uri="f", runs=1, rows=1, bytes=9,
        metrics=("loss",), states={"finished": 1}, best=(best,), new_runs=1, previous=None,
    )  # fmt: skip
    plain = result.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["best"][0]["value"] == "Infinity"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(math.nan, "NaN"), (-math.inf, "-Infinity"), (1.5, 1.5), (True, True), ((1, 2), [1, 2])],
)
def test_numbers_that_json_lacks_become_words(value, expected):
    assert json_safe(value) == expected


@pytest.mark.parametrize("value", [np.int64(1), b"x", object(), {1, 2}])
def test_a_foreign_type_is_an_error_and_not_its_repr(value):
    with pytest.raises(TypeError):
        json_safe({"k": value})
