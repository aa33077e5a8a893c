"""How an error of wandb-ops becomes a decision of Airflow's.

================================  =====================================================================
the error                         what Airflow does
================================  =====================================================================
a retry may help                  the task fails this try; `retries` and `retry_delay` apply
a retry cannot help               the task fails for good; no retry is burnt on a wrong key or name
`RateLimited` with `retry_after`  the task gives its worker back and starts again when W&B said; no
                                  retry is spent, for at most `LONGEST_RATE_LIMIT`
================================  =====================================================================

Steps are idempotent, so a try that starts again finds what the one before it has done.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import AirflowFailException

from wandb_ops.errors import Error, RateLimited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

log = logging.getLogger("wandb_ops.airflow")

LONGEST_RATE_LIMIT = timedelta(hours=6)
"""A task that was told to wait for longer than this, in all, fails its try instead."""


@contextmanager
def airflow_failures(context: Context, *, retried: tuple[type[Error], ...] = ()) -> Iterator[None]:
    """Translate errors of wandb-ops raised inside; anything else passes untouched.

    :param context: the task's context.
    :param retried: errors that are final in themselves, but not for this task, which starts something anew.
    :raises AirflowFailException: when a retry cannot help.
    :raises AirflowRescheduleException: when W&B said how long to stay away.
    """
    try:
        yield
    except RateLimited as error:
        if error.retry_after is None or _has_waited_long(context):
            raise
        log.warning("W&B asks to wait %.0f s; the task gives its worker back until then", error.retry_after)
        when = datetime.now(UTC) + timedelta(seconds=error.retry_after)
        raise AirflowRescheduleException(when) from error  # type: ignore[no-untyped-call]  # Airflow's own gap
    except Error as error:
        if retry_may_help(error) or isinstance(error, retried):
            raise
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


def retry_may_help(error: Error) -> bool:
    """Whether the same task may succeed later with nothing changed.

    `AmbiguousOutcome` does not count: steps that can look whether their change was made do so themselves, and
    what is left, such as a job put on a queue, would be made a second time.
    """
    return error.retryable


def _has_waited_long(context: Context) -> bool:
    first: datetime | None = context["ti"].get_first_reschedule_date(context)
    return first is not None and datetime.now(UTC) - first > LONGEST_RATE_LIMIT
