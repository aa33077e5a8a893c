"""Threads that make requests side by side, and how one stops waiting for them.

An error is waited out: what the others hold can be freed then. An interrupt (Ctrl-C, and what Airflow and
Dagster raise when a task is to end: none of them is an `Exception`) is not, as a request may take minutes to
give up.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def workers(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A pool for the length of a block. Work that did not begin when the block fails never begins.

    Args:
        count: Threads, at most.
        name: What their names begin with.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    try:
        yield pool
    except Exception:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


__all__ = ["workers"]
