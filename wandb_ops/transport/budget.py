"""One rate budget per process and origin: what one thread learns of the server's limits, all obey.

W&B sends `RateLimit-Remaining` and `RateLimit-Reset` (seconds) with its answers. At 0 remaining, nobody in
this process asks that server again before the reset.
"""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A reset further away than this is no rate window; believing it would stop the process for hours.
LONGEST_PAUSE = 300.0


class RateBudget:
    """The time before which an origin must not be asked; shared by threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._not_before = -math.inf

    def delay(self) -> float:
        """Seconds to wait before the next request; 0 when it may go now."""
        with self._lock:
            return max(0.0, self._not_before - self._clock())

    def pause(self, seconds: float) -> None:
        """Nobody asks for `seconds`; a pause already longer stays. Unbelievable values are ignored."""
        if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_PAUSE):
            return
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + seconds)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take in the rate headers of an answer."""
        remaining, reset = (
            _number(headers.get("RateLimit-Remaining")),
            _number(headers.get("RateLimit-Reset")),
        )
        if remaining is not None and remaining == 0 and reset is not None:
            self.pause(reset)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


_lock = threading.Lock()
_budgets: dict[tuple[str, Callable[[], float]], RateBudget] = {}


def budget_for(origin: str, clock: Callable[[], float]) -> RateBudget:
    """This process's budget of `origin`; times of different clocks do not mix."""
    with _lock:
        key = (origin, clock)
        if key not in _budgets:
            _budgets[key] = RateBudget(clock)
        return _budgets[key]


def _forget_after_fork() -> None:
    # A lock held by another thread at the time of the fork would stay held for ever in the child.
    global _lock  # noqa: PLW0603 - the lock is replaced, not shared
    _lock = threading.Lock()
    _budgets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)

__all__ = ["LONGEST_PAUSE", "RateBudget", "budget_for"]
