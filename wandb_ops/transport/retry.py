"""When to send again, and how long to wait: pure decisions, no I/O and no clock.

What matters is not the HTTP method (GraphQL is all POST) but whether sending twice can do harm. A query and
an upsert by a client-made id can always be sent again. A mutation can only when it surely was not carried
out: the connection was never made, or the server refused it with 429.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Kind(StrEnum):
    """What sending an operation twice would do."""

    QUERY = "query"  # reads; nothing
    UPSERT = "upsert"  # writes by id or offset; nothing more than sending it once
    MUTATION = "mutation"  # makes something new each time


class Reason(StrEnum):
    """Why one attempt failed."""

    NOT_SENT = "not sent"  # refused, unknown host, connect timeout: the server saw nothing
    LOST = "answer lost"  # sent, and no whole answer came
    STATUS = "status"  # a whole answer that says no
    MALFORMED = "malformed"  # 200, but not what W&B answers
    TRANSIENT = "transient"  # 200 whose words mean a passing condition
    FINAL = "final"  # no retry can help


class Action(StrEnum):
    """What to do after a failed attempt."""

    RETRY = "retry"
    FAIL = "fail"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of retrying.

    Attributes:
        attempts: Tries of one call, the first included.
        base: Seconds; the ceiling of the first wait, doubled for each further one.
        cap: Seconds; no wait of our own choosing is longer.
        max_retry_after: Seconds; a server that asks for more gets no retry, the caller gets `RateLimited`.
        total: Seconds for one call with all tries and waits; None takes `Settings.timeout`.
        quota: Retries that may be outstanding per client: successes earn them back, an outage spends them,
            and then calls fail fast.
        malformed: Retries after an answer that is not W&B's.
    """

    attempts: int = 6
    base: float = 0.5
    cap: float = 30.0
    max_retry_after: float = 300.0
    total: float | None = None
    quota: int = 100
    malformed: int = 2


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and after how many seconds."""

    action: Action
    delay: float = 0.0


# 408 and 425 are the server's own "send that again"; 5xx but 501 pass.
def is_transient_status(status: int) -> bool:
    """Whether an HTTP status means a passing condition."""
    return status in (408, 425, 429) or (status >= 500 and status != 501)


def decide(
    policy: RetryPolicy,
    kind: Kind,
    reason: Reason,
    *,
    attempt: int,
    status: int | None = None,
    retry_after: float | None = None,
    malformed_before: int = 0,
    rng: random.Random,
) -> Decision:
    """What to do after attempt number `attempt` (from 1) failed for `reason`.

    Args:
        policy: The bounds.
        kind: What sending it twice would do.
        reason: Why it failed.
        attempt: How many were made.
        status: The HTTP status when there is one.
        retry_after: Seconds the server asked for, if it did.
        malformed_before: Malformed answers to this call before this one.
        rng: Source of the jitter.
    """
    action = _action(policy, kind, reason, status, malformed_before)
    if action is not Action.RETRY or attempt >= policy.attempts:
        return Decision(Action.FAIL if action is Action.RETRY else action)
    delay = backoff(policy, attempt, rng)
    if retry_after is not None:
        if retry_after > policy.max_retry_after:
            return Decision(Action.FAIL)
        # Never before the server's time; jitter keeps many clients from coming back at once.
        delay = max(delay, retry_after)
    return Decision(Action.RETRY, delay)


def _action(
    policy: RetryPolicy, kind: Kind, reason: Reason, status: int | None, malformed_before: int
) -> Action:
    harmless = kind is not Kind.MUTATION
    if reason is Reason.FINAL:
        return Action.FAIL
    if reason is Reason.NOT_SENT or status == 429:
        return Action.RETRY
    if reason is Reason.LOST:
        return Action.RETRY if harmless else Action.AMBIGUOUS
    if reason is Reason.MALFORMED:
        if not harmless:
            return Action.AMBIGUOUS
        return Action.RETRY if malformed_before < policy.malformed else Action.FAIL
    if reason is Reason.TRANSIENT:
        return Action.RETRY if harmless else Action.FAIL
    if status == 409:
        return Action.RETRY if kind is Kind.UPSERT else Action.FAIL
    if status is not None and is_transient_status(status):
        return Action.RETRY if harmless else Action.AMBIGUOUS
    return Action.FAIL


def backoff(policy: RetryPolicy, attempt: int, rng: random.Random) -> float:
    """Full jitter: anything between nothing and the doubled ceiling, in seconds."""
    ceiling = min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 32))
    return rng.uniform(0.0, ceiling)


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Seconds that a Retry-After header asks for; None when it does not say anything usable.

    Understands seconds and HTTP dates; of several values the longest counts. A time in the past is 0.

    Args:
        value: The header, None when there is none.
        now: The server's idea of the present (its Date header) or ours, as a POSIX timestamp.
    """
    if value is None:
        return None
    text = value.strip()
    single = _seconds(text)
    if single is not None:
        return single if math.isfinite(single) and single >= 0 else None
    date = _date(text)
    if date is not None:
        return max(0.0, date - now)
    several = [_seconds(part.strip()) for part in text.split(",")]
    usable = [each for each in several if each is not None and math.isfinite(each) and each >= 0]
    return max(usable) if usable and len(usable) == len(several) else None


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def server_time(date_header: str | None, *, fallback: float) -> float:
    """The server's present from its Date header, so that our clock's error does not matter."""
    parsed = _date(date_header.strip()) if date_header else None
    return fallback if parsed is None else parsed


class Quota:
    """Retries that one client may spend before its calls fail fast; thread-safe."""

    def __init__(self, tokens: int) -> None:
        self._capacity = tokens
        self._tokens = tokens
        self._lock = threading.Lock()

    def spend(self) -> bool:
        """Take one retry; False when none is left."""
        with self._lock:
            if self._tokens <= 0:
                return False
            self._tokens -= 1
            return True

    def give_back(self, retries: int) -> None:
        """A call succeeded: what it spent comes back, and one more for a call that spent nothing."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + max(1, retries))


__all__ = [
    "Action",
    "Decision",
    "Kind",
    "Quota",
    "Reason",
    "RetryPolicy",
    "backoff",
    "decide",
    "is_transient_status",
    "parse_retry_after",
    "server_time",
]
