"""The summary is a dict, inside and out; nothing is saved before it is told to."""

from __future__ import annotations

import datetime
import pickle
from enum import Enum
from typing import Any

import numpy as np
import pytest

import wandb_ops as wandb
from wandb_ops.public.runs.summary import HTTPSummary, SummarySubDict


class Owner:
    """Holds values and counts saves, as a run does."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.saves = 0
        self.path = ["entity", "project", "run"]

    def _summary_values(self) -> dict[str, Any]:
        return self.values

    def _save_summary(self) -> None:
        self.saves += 1


@pytest.fixture
def owner() -> Owner:
    return Owner({"loss": 0.5, "best": {"acc": 0.9, "at": {"epoch": 3}}, "text": "x"})


@pytest.fixture
def summary(owner: Owner) -> HTTPSummary:
    return HTTPSummary(owner)


def test_it_reads_like_a_dict(summary: HTTPSummary) -> None:
    assert summary["loss"] == 0.5
    assert summary.get("val_acc", 0) == 0
    assert "loss" in summary
    assert " loss " in summary
    assert list(summary) == ["loss", "best", "text"]
    assert len(summary) == 3
    assert dict(summary) == {"loss": 0.5, "best": {"acc": 0.9, "at": {"epoch": 3}}, "text": "x"}
    with pytest.raises(KeyError):
        summary["missing"]


def test_nested_values_are_reached_by_key_and_by_attribute(summary: HTTPSummary) -> None:
    assert summary["best"]["at"]["epoch"] == 3
    assert summary.best.at.epoch == 3
    assert isinstance(summary["best"], SummarySubDict)
    assert summary.best == {"acc": 0.9, "at": {"epoch": 3}}
    assert not hasattr(summary, "missing")
    assert not hasattr(summary.best, "missing")


def test_the_plain_dict_is_what_will_be_stored(summary: HTTPSummary, owner: Owner) -> None:
    assert summary._json_dict is owner.values
    assert summary.best._json_dict == {"acc": 0.9, "at": {"epoch": 3}}


def test_changes_are_local_until_update(summary: HTTPSummary, owner: Owner) -> None:
    summary["loss"] = 0.25
    summary.best.acc = 0.95
    summary["best"]["at"]["step"] = 7
    summary[" spaced "] = 1
    del summary["text"]
    assert owner.saves == 0
    assert owner.values == {
        "loss": 0.25,
        "best": {"acc": 0.95, "at": {"epoch": 3, "step": 7}},
        "spaced": 1,
    }
    summary.update()
    assert owner.saves == 1


def test_update_sets_and_saves(summary: HTTPSummary, owner: Owner) -> None:
    summary.update({"key": "val", "best": {"acc": 1.0}})
    assert owner.values["key"] == "val"
    assert owner.values["best"] == {"acc": 1.0}
    assert owner.saves == 1


def test_update_can_spare_what_was_set_by_hand(summary: HTTPSummary, owner: Owner) -> None:
    summary["loss"] = 0.1
    summary.update({"loss": 9.0, "text": "y"}, overwrite=False)
    assert owner.values["loss"] == 0.1
    assert owner.values["text"] == "y"


def test_values_are_stored_in_jsons_types(summary: HTTPSummary, owner: Owner) -> None:
    class Color(Enum):
        RED = "red"

    summary["histogram"] = wandb.Histogram(np_histogram=([1], [0, 1]))
    summary["float32"] = np.float32(0.5)
    summary["array"] = np.arange(3)
    summary["when"] = datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)
    summary["color"] = Color.RED
    summary["tuple"] = (1, {"a": np.int64(2)})
    summary["copied"] = summary["best"]
    assert owner.values["histogram"] == {"_type": "histogram", "values": [1], "bins": [0, 1]}
    assert owner.values["float32"] == 0.5
    assert type(owner.values["float32"]) is float
    assert owner.values["array"] == [0, 1, 2]
    assert owner.values["when"] == "2024-01-02T00:00:00+00:00"
    assert owner.values["color"] == "red"
    assert owner.values["tuple"] == [1, {"a": 2}]
    assert owner.values["copied"] == {"acc": 0.9, "at": {"epoch": 3}}


def test_what_has_no_form_is_refused_with_its_place(summary: HTTPSummary, owner: Owner) -> None:
    with pytest.raises(wandb.UsageError, match=r"object.*summary\.a\.b"):
        summary["a"] = {"b": object()}
    assert "a" not in owner.values


def test_it_travels_between_processes(summary: HTTPSummary) -> None:
    summary["loss"] = 1.0
    there = pickle.loads(pickle.dumps(summary))
    assert there == summary
    nested = pickle.loads(pickle.dumps(summary.best))
    assert nested == {"acc": 0.9, "at": {"epoch": 3}}
