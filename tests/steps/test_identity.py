"""Run ids must find the same run again, for ever, and never two callers' runs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wandb_ops.errors import UsageError
from wandb_ops.steps import stable_run_id

PART = st.one_of(st.none(), st.integers(), st.text(max_size=40))


def test_the_id_of_a_known_caller_never_changes_between_versions():
    # Written down, not computed: a changed rule would orphan every run of every user.
    assert stable_run_id("train", "scheduled__2026-01-01T00:00:00+00:00", "create", -1) == "train-qpxgbrxo6z2"


@given(st.lists(PART, min_size=1, max_size=5).filter(lambda parts: any(p not in (None, "") for p in parts)))
def test_every_id_is_one_that_wandb_takes_and_the_same_twice(parts):
    made = stable_run_id(*parts)
    assert re.fullmatch(r"[a-z0-9-]{1,32}", made)
    assert made == stable_run_id(*parts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "bc"), ("ab", "c")),
        (("a", 1), ("a", "1")),
        (("a", None), ("a",)),
        (("a", ""), ("a", None)),
        (("task", 0), ("task", 1)),
        (("x" * 30,), ("x" * 31,)),
    ],
)
def test_different_callers_get_different_ids(one, other):
    assert stable_run_id(*one) != stable_run_id(*other)


@pytest.mark.parametrize("parts", [(), ("",), (None,), ("", None)])
def test_a_caller_without_a_name_is_refused(parts):
    with pytest.raises(UsageError):
        stable_run_id(*parts)
