"""Group commit: what several requests write at the same time goes into one transaction.

One thread takes the jobs that wait, runs each under a savepoint of its own, commits once, and only then
answers all of them: an acknowledged write is a committed one, and one that is refused takes no other with it.
Twenty runs that stream at once so pay for one commit, and their requests do not wake each other for the lock.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from wandb_ops.local.database.store import Store

_MOST_JOBS = 64
_MOST_BYTES = 2 << 20  # of bodies in one transaction: others wait for the lock as long as it takes


@dataclass(frozen=True, slots=True)
class _Job:
    """Work in two steps, and where its outcome goes."""

    size: int
    prepare: Callable[[], Any]
    write: Callable[[sqlite3.Connection, Any], Any]
    future: Future[Any]


class GroupCommit:
    """The thread that commits for many, started by the first job."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(
        self, size: int, prepare: Callable[[], Any], write: Callable[[sqlite3.Connection, Any], Any]
    ) -> Future[Any]:
        """Queue a job; its future holds what ``write`` returned, once that is committed.

        Args:
            size: Bytes that the job is about, roughly.
            prepare: What can be done before the transaction, such as reading a body.
            write: Gets the connection and what ``prepare`` returned.
        """
        job = _Job(size, prepare, write, Future())
        with self._lock:
            if self._closed:
                raise RuntimeError("the server is stopped")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="wandb-local-writer", daemon=True)
                self._thread.start()
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Finish the jobs that wait, and end the thread."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._jobs.put(None)
            thread.join()

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, size, last = [first], first.size, False
            while len(batch) < _MOST_JOBS and size < _MOST_BYTES:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    last = True
                    break
                batch.append(job)
                size += job.size
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[_Job]) -> None:
        ready = [(job, content) for job in batch for content in _prepared(job)]
        if not ready:
            return
        done: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            with self._store.writing() as db:
                done = [_written(db, job, content) for job, content in ready]
        except Exception as error:  # noqa: BLE001 - belongs to those who wait: the disk is full, say
            done = [(job.future, None, error) for job, _ in ready]
        for future, result, problem in done:
            if problem is not None:
                future.set_exception(problem)
            else:
                future.set_result(result)


def _prepared(job: _Job) -> list[Any]:
    """What the job's first step gives; nothing when it failed or nobody waits any more."""
    if not job.future.set_running_or_notify_cancel():
        return []
    try:
        return [job.prepare()]
    except Exception as error:  # noqa: BLE001 - belongs to who waits
        job.future.set_exception(error)
        return []


def _written(db: sqlite3.Connection, job: _Job, content: Any) -> tuple[Future[Any], Any, Exception | None]:
    """The outcome of the second step; what a failure wrote is taken back."""
    db.execute("SAVEPOINT job")
    try:
        result = job.write(db, content)
    except Exception as error:
        # A full disk has ended the whole transaction already: then nothing of the batch can be kept.
        if not db.in_transaction:
            raise
        db.execute("ROLLBACK TO job")
        db.execute("RELEASE job")
        return job.future, None, error
    db.execute("RELEASE job")
    return job.future, result, None
