"""Look again and again until something has come: the one loop of everything that waits.

A wait may last for hours, and W&B may be away for some minutes of them. So a look that fails with something
that may pass does not end the wait: the next looks come later and later, and only several failures in a row,
or the end of the time, let the failure through. An interrupt goes through at once; looks only read.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from wandb_ops.errors import CommError, RateLimited, UsageError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("wandb_ops.polling")

Found = TypeVar("Found")

#: So many looks in a row may fail with something that may pass; each has the transport's own tries behind it.
MAX_FAILURES = 5
#: Seconds; failures make no pause longer than this, if `poll_interval` is not.
LONGEST_PAUSE = 300.0


@dataclass(frozen=True, slots=True)
class NotYet:
    """What a look returns when that which is waited for has not come.

    Attributes:
        state: What there is instead, in a word or two: "running".
    """

    state: str


def wait_for(
    look: Callable[[], Found | NotYet],
    *,
    what: str,
    where: str,
    timeout: float | None,
    poll_interval: float,
    sleep: Callable[[float], object],
    clock: Callable[[], float],
) -> Found:
    """The first thing that `look` returns and that is not `NotYet`.

    It looks at once, then every `poll_interval` seconds, and a last time when `timeout` is over; a `timeout`
    of 0 is one look. What `look` raises ends the wait, but for talks with W&B that failed in a way that may
    pass (`CommError` with `retryable`): after those the pauses double, and after `MAX_FAILURES` in a row the
    next failure is raised. A rate limit that says how long is waited out and is no failure. A failure of the
    last look is raised as it is: nobody knows then whether the thing has come.

    Args:
        look: Asks the server; it is to change nothing.
        what: What is waited for, as the error is to begin: "The run".
        where: Its place, for errors.
        timeout: Seconds until `WaitTimeout`; None waits for ever. A look that hangs is ended by the
            transport's deadline, not by this one.
        poll_interval: Seconds between two looks.
        sleep: Waits so many seconds.
        clock: A monotonic clock in seconds.

    Raises:
        UsageError: `poll_interval` is not positive, or `timeout` negative.
        WaitTimeout: It has not come in time; the same wait again goes on.
    """
    if not 0 < poll_interval < math.inf or not (timeout is None or timeout >= 0):
        raise UsageError("poll_interval must be positive and timeout not negative", where=where)
    end = math.inf if timeout is None else clock() + timeout
    failures = 0
    while True:
        pause = poll_interval
        failed: CommError | None = None
        state = ""
        try:
            found = look()
        except CommError as error:
            if not error.retryable:
                raise
            failed = error
        else:
            if not isinstance(found, NotYet):
                return found
            state, failures = found.state, 0
        left = end - clock()
        if failed is not None:
            asked = failed.retry_after if isinstance(failed, RateLimited) else None
            failures += asked is None
            if left <= 0 or failures > MAX_FAILURES:
                raise failed
            pause = max(asked or 0.0, _pause_after(failures, poll_interval))
            logger.warning("%s [%s]: a look failed; the next in %.0f s: %s", what, where, pause, failed)
        elif left <= 0:
            raise WaitTimeout(f"{what} is still {state} after {timeout:g} s", where=where)
        sleep(min(pause, left))


def _pause_after(failures: int, poll_interval: float) -> float:
    """Seconds until the next look after so many failures in a row."""
    longer = poll_interval * 2.0 ** max(failures - 1, 0)
    return max(poll_interval, min(longer, LONGEST_PAUSE))


__all__ = ["LONGEST_PAUSE", "MAX_FAILURES", "NotYet", "wait_for"]
