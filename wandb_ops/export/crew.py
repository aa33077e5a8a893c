"""Parts of runs, fetched side by side, while the next page of the list of runs is on its way.

Memory holds one page of runs and what is being fetched, however many runs there are.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import AuthenticationError, Error
from wandb_ops.export.request.project import NotTaken, Taken
from wandb_ops.export.runs.together import MOST_ROWS, Together
from wandb_ops.transport.workers import workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from wandb_ops.export.request.limit import LimitedTransport
    from wandb_ops.export.request.project import Destination, PerRun, ProjectRequest
    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.history.pages import Rows

logger = logging.getLogger("wandb_ops.export")

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})  # the next run would fare no better
_HELD_ROWS = 250_000  # rows that a destination may hold back for one commit
_HELD_PARTS = 500

Outcomes = list["Taken | NotTaken"]


@dataclass(frozen=True, slots=True)
class Item:
    """One part of one run."""

    listed: Listed
    what: PerRun

    @property
    def rows(self) -> int:
        """How many rows it has, as far as known."""
        counts = self.listed.counts
        if counts is None or self.what in ("files", "artifacts"):
            return 0
        return counts.history_lines if self.what == "history" else counts.events_lines or 0


class Crew:
    """Workers that bring parts of runs to a destination.

    Args:
        destination: Where to.
        request: What was asked for.
        transport: The connection.
        concurrency: Workers, and pages of a single run at once.
    """

    def __init__(
        self, destination: Destination, request: ProjectRequest, transport: LimitedTransport, concurrency: int
    ) -> None:
        self._destination = destination
        self._force = request.force
        self._concurrency = concurrency
        self._transport = transport
        self._together = Together(transport)
        self._stop = threading.Event()

    def is_there(self, item: Item) -> bool:
        """Whether the destination has it as the server does."""
        return not self._force and self._destination.standing(item.listed, item.what) is not None

    def outcomes(self, pages: Iterator[list[Item]]) -> Iterator[tuple[Item, Sequence[Taken | NotTaken]]]:
        """Fetch in parallel; hand what came to the destination in the order in which it comes."""
        most = 2 * self._concurrency
        waiting: deque[list[Item]] = deque()
        flying: dict[Future[Any], list[Item]] = {}
        held: list[tuple[Item, Any]] = []
        with self._workers(flying, held) as (lister, pool):
            coming: Future[Any] | None = lister.submit(next, pages, None)
            while coming or waiting or flying:
                while coming is not None and len(waiting) < most and (coming.done() or not flying):
                    items = coming.result()
                    coming = None if items is None else lister.submit(next, pages, None)
                    waiting.extend(self._bundles(items or []))
                while waiting and len(flying) < most:
                    bundle = waiting.popleft()
                    left = len(flying) + len(waiting) + 1
                    at_once = max(1, self._concurrency // min(left, self._concurrency))
                    flying[pool.submit(self._fetch_all, bundle, at_once)] = bundle
                awaited = [*flying, coming] if coming and len(waiting) < most else [*flying]
                for future in wait([f for f in awaited if f], return_when=FIRST_COMPLETED).done:
                    if flying.pop(future, None) is not None:
                        done = future.result()
                        held += [entry for entry in done if not isinstance(entry[1], list)]
                        yield from (entry for entry in done if isinstance(entry[1], list))
                enough = sum(item.rows for item, _ in held) >= _HELD_ROWS or len(held) >= _HELD_PARTS
                if held and (enough or not (waiting or flying or coming)):
                    batch = held[:]
                    held.clear()
                    yield from self._stored(batch)

    @contextmanager
    def _workers(
        self, flying: dict[Future[Any], list[Item]], held: list[tuple[Item, Any]]
    ) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
        """One that lists runs and those that fetch; whatever they hold in the end is freed."""
        try:
            with workers(1, "wandb-list") as lister, workers(self._concurrency, "wandb-export") as pool:
                try:
                    yield lister, pool
                except Exception:
                    raise
                except BaseException:  # an interrupt, also Airflow's and Dagster's
                    self._transport.stop()
                    raise
                finally:
                    self._stop.set()
        finally:
            for future in flying:
                _forget(future)
            for _, fetched in held:
                fetched.close()

    def _bundles(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """What one worker takes at once: the longest histories first, so that none is left running alone at
        the end; small ones together."""
        small: dict[PerRun, list[Item]] = {}
        for item in sorted(items, key=lambda item: -item.rows):
            if not self._together.fits(item.listed, item.what):
                yield [item]
                continue
            bundle = small.setdefault(item.what, [])
            full = sum(other.rows for other in bundle) + item.rows > MOST_ROWS
            if bundle and (full or len(bundle) >= self._together.most):
                yield small.pop(item.what)
                bundle = small.setdefault(item.what, [])
            bundle.append(item)
        yield from small.values()

    def _stored(self, batch: list[tuple[Item, Any]]) -> Iterator[tuple[Item, Sequence[Taken | NotTaken]]]:
        """One kind after the other: what was stored of one is told, also when the next cannot be."""
        try:
            for what in dict.fromkeys(item.what for item, _ in batch):
                mine = [(item, fetched) for item, fetched in batch if item.what == what]
                try:
                    outcomes = self._destination.store([fetched for _, fetched in mine])
                except (Error, OSError) as error:
                    self._note(error)
                    outcomes = [NotTaken.of(item.listed.ref.run_id, what, error) for item, _ in mine]
                yield mine[0][0], outcomes
                yield from ((item, ()) for item, _ in mine[1:])
        finally:
            for _, fetched in batch:
                fetched.close()

    def _fetch_all(self, bundle: list[Item], pages: int) -> list[tuple[Item, Any]]:
        """In a worker: for each item what `store` needs, or outcomes."""
        done: list[tuple[Item, Any]] = []
        missing: list[Item] = []
        for item in bundle:
            found = self._known(item)
            if found is None:
                missing.append(item)
            else:
                done.append((item, found))
        try:
            given = self._read_together(missing)
            for item in missing:
                fetched = self._fetch(item, pages, given.get(item.listed.ref.run_id))
                done.append((item, fetched))  # one by one: what is done is freed when the next one fails
        except BaseException:
            for _, fetched in done:
                if not isinstance(fetched, list):
                    fetched.close()
            raise
        return done

    def _read_together(self, items: list[Item]) -> dict[str, Rows]:
        fresh = [one for one in items if not self._destination.begun(one.listed, one.what)]
        if len(fresh) < 2 or self._stop.is_set():
            return {}
        try:
            return self._together.read([one.listed for one in fresh], fresh[0].what)
        except AuthenticationError:
            self._stop.set()
            raise
        except Error:
            return {}  # each is read alone, and says what is wrong with it

    def _known(self, item: Item) -> Outcomes | None:
        """What can be said without asking for the rows."""
        run_id = item.listed.ref.run_id
        if self._stop.is_set():
            message = "not tried: the destination or the server had failed for good before"
            return [
                NotTaken(run_id=run_id, what=item.what, error="NotTried", message=message, retryable=True)
            ]
        if self._force:
            return None
        found: Outcomes | None = self._guarded(item, lambda: self._standing(item))
        return found

    def _standing(self, item: Item) -> Outcomes | None:
        rows = self._destination.standing(item.listed, item.what)
        if rows is None:
            return None
        rows = rows if item.what in ("history", "system") else 0
        return [Taken(run_id=item.listed.ref.run_id, what=item.what, action="unchanged", rows=rows)]

    def _fetch(self, item: Item, pages: int, rows: Rows | None) -> Any:
        if self._stop.is_set():
            return self._known(item)
        return self._guarded(item, lambda: self._destination.fetch(item.listed, item.what, pages, rows))

    def _guarded(self, item: Item, work: Any) -> Any:
        try:
            return work()
        except AuthenticationError:
            self._stop.set()
            raise
        except (Error, OSError) as error:
            self._note(error)
            return [NotTaken.of(item.listed.ref.run_id, item.what, error)]

    def _note(self, error: BaseException) -> None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            self._stop.set()


def _forget(future: Future[Any]) -> None:
    """Free what a worker brought that nobody waits for any more."""
    if future.done() and not future.cancelled() and future.exception() is None:
        for _, fetched in future.result():
            if not isinstance(fetched, list):
                fetched.close()
