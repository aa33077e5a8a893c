"""Errors of wandb-ops as Dagster understands them: try again later, or stop here.

A worker that sleeps in a retry holds a slot; `RetryRequested` gives the slot back and carries the time that
the server asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from wandb_ops.errors import Error, RateLimited

MAX_RETRIES = 3
RETRY_DELAY = 30.0


@contextmanager
def wandb_failures(
    *,
    max_retries: int = MAX_RETRIES,
    retry_delay: float = RETRY_DELAY,
    retried: tuple[type[Error], ...] = (),
) -> Iterator[None]:
    """Raise what the errors of wandb-ops mean to Dagster.

    Args:
        max_retries: Step retries for errors that a retry may cure.
        retry_delay: Seconds until such a retry, where the server names no time.
        retried: Errors that are final in themselves, but not for this step, which starts something anew: the
            retry policy of the step decides.

    Raises:
        dagster.RetryRequested: The same call may succeed later; W&B's `Retry-After` is kept.
        dagster.Failure: It cannot succeed unchanged; step retries are switched off, unless it is `retried`.
    """
    try:
        yield
    except Error as error:
        if error.retryable:
            wait = error.retry_after if isinstance(error, RateLimited) else None
            raise dg.RetryRequested(max_retries, retry_delay if wait is None else wait) from error
        raise dg.Failure(
            description=str(error), metadata=_describe(error), allow_retries=isinstance(error, retried)
        ) from error


def _describe(error: Error) -> dict[str, dg.MetadataValue]:
    found = {"error": type(error).__name__, "where": error.where, "hint": error.hint}
    return {name: dg.MetadataValue.text(text) for name, text in found.items() if text}
