"""The decisions alone: which failure is retried for which kind of operation, and for how long at most."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wandb_ops.transport.retry import (
    Action,
    Kind,
    Quota,
    Reason,
    RetryPolicy,
    backoff,
    decide,
    parse_retry_after,
)

POLICY = RetryPolicy()
RETRY, FAIL, AMBIGUOUS = Action.RETRY, Action.FAIL, Action.AMBIGUOUS


@pytest.mark.parametrize(
    ("reason", "status", "query", "upsert", "mutation"),
    [
        (Reason.NOT_SENT, None, RETRY, RETRY, RETRY),
        (Reason.LOST, None, RETRY, RETRY, AMBIGUOUS),
        (Reason.MALFORMED, 200, RETRY, RETRY, AMBIGUOUS),
        (Reason.TRANSIENT, None, RETRY, RETRY, FAIL),
        (Reason.FINAL, None, FAIL, FAIL, FAIL),
        (Reason.STATUS, 400, FAIL, FAIL, FAIL),
        (Reason.STATUS, 401, FAIL, FAIL, FAIL),
        (Reason.STATUS, 408, RETRY, RETRY, AMBIGUOUS),
        (Reason.STATUS, 409, FAIL, RETRY, FAIL),
        (Reason.STATUS, 410, FAIL, FAIL, FAIL),
        (Reason.STATUS, 429, RETRY, RETRY, RETRY),
        (Reason.STATUS, 500, RETRY, RETRY, AMBIGUOUS),
        (Reason.STATUS, 501, FAIL, FAIL, FAIL),
        (Reason.STATUS, 503, RETRY, RETRY, AMBIGUOUS),
        (Reason.STATUS, 599, RETRY, RETRY, AMBIGUOUS),
    ],
)
def test_n4_what_is_retried_depends_on_what_sending_twice_would_do(
    reason: Reason, status: int | None, query: Action, upsert: Action, mutation: Action
) -> None:
    """The whole table."""
    expected = {Kind.QUERY: query, Kind.UPSERT: upsert, Kind.MUTATION: mutation}
    for kind, action in expected.items():
        decision = decide(POLICY, kind, reason, attempt=1, status=status, rng=random.Random(1))
        assert decision.action is action


def test_the_last_attempt_is_the_last() -> None:
    """And a lost mutation stays ambiguous however often it failed before."""
    for attempt, action in ((5, RETRY), (6, FAIL), (7, FAIL)):
        assert decide(POLICY, Kind.QUERY, Reason.LOST, attempt=attempt, rng=random.Random(1)).action is action
    lost = decide(POLICY, Kind.MUTATION, Reason.LOST, attempt=6, rng=random.Random(1))
    assert lost.action is AMBIGUOUS


@given(attempt=st.integers(1, 10_000), seed=st.integers(), asked=st.none() | st.floats(0, 300))
def test_n6_no_wait_is_negative_or_endless_or_shorter_than_asked(
    attempt: int, seed: int, asked: float | None
) -> None:
    """Whatever the attempt and the server's wish."""
    policy = RetryPolicy(attempts=20_000)
    decision = decide(
        policy,
        Kind.QUERY,
        Reason.STATUS,
        attempt=attempt,
        status=503,
        retry_after=asked,
        rng=random.Random(seed),
    )
    assert decision.action is RETRY
    assert (asked or 0.0) <= decision.delay <= max(asked or 0.0, policy.cap)


@given(st.text("0123456789 ,.-+eEinfaGMT:WedJan", max_size=30) | st.floats().map(str), st.floats(0, 4e9))
def test_n6_no_header_makes_a_wait_that_is_not_a_number(text: str, now: float) -> None:
    """Whatever stands in Retry-After."""
    seconds = parse_retry_after(text, now=now)
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


def test_the_ceiling_doubles_and_the_jitter_is_full() -> None:
    """0.5, 1, 2, ... up to the cap; anywhere between nothing and the ceiling."""
    rng = random.Random(3)
    for attempt, ceiling in ((1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (60, 30.0)):
        waits = [backoff(POLICY, attempt, rng) for _ in range(300)]
        assert 0 <= min(waits) < ceiling * 0.1
        assert ceiling * 0.9 < max(waits) <= ceiling


def test_n27_a_quota_is_spent_and_earned_back_up_to_its_size() -> None:
    """Successes give back what they spent, or one."""
    quota = Quota(3)
    assert [quota.spend() for _ in range(4)] == [True, True, True, False]
    quota.give_back(2)
    assert [quota.spend() for _ in range(3)] == [True, True, False]
    for _ in range(10):
        quota.give_back(0)
    assert [quota.spend() for _ in range(4)] == [True, True, True, False]
