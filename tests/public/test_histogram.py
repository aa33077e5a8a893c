"""`Histogram` has W&B's form on the wire."""

from __future__ import annotations

import numpy as np
import pytest

import wandb_ops as wandb


def test_a_sequence_is_counted_as_numpy_counts() -> None:
    data = np.array([0.0, 0.1, 0.9, 1.0])
    assert wandb.Histogram(data, num_bins=2).to_json() == {
        "_type": "histogram",
        "values": [2, 2],
        "bins": [0.0, 0.5, 1.0],
    }


def test_there_are_64_bins_unless_said_otherwise() -> None:
    histogram = wandb.Histogram(range(1000))
    assert len(histogram.histogram) == 64
    assert len(histogram.bins) == 65
    assert sum(histogram.histogram) == 1000


def test_a_finished_histogram_is_taken_as_it_is() -> None:
    counts, edges = np.histogram([1, 2, 2, 3], bins=[1, 2, 3, 4])
    histogram = wandb.Histogram(np_histogram=(counts, edges))
    assert histogram.to_json() == {"_type": "histogram", "values": [1, 2, 1], "bins": [1, 2, 3, 4]}
    assert wandb.Histogram(np_histogram=([1, 2, 1], [1, 2, 3, 4])) == histogram
    assert type(histogram.histogram[0]) is int


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"sequence": [1], "np_histogram": ([1], [0, 1])},
        {"np_histogram": ([1], [0, 1], [2])},
        {"np_histogram": ([1, 2], [0, 1])},
        {"sequence": [1, 2], "num_bins": 513},
        {"np_histogram": ([0] * 513, list(range(514)))},
        {"sequence": ["a", "b"]},
        {"sequence": [float("nan"), 1.0]},
    ],
)
def test_what_makes_no_histogram_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(wandb.UsageError):
        wandb.Histogram(**arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_five_hundred_and_twelve_bins_are_the_most() -> None:
    assert len(wandb.Histogram(range(600), num_bins=512).histogram) == 512
