"""A run's history as pages of exact rows, read by step windows.

Pages come in order of step; a few are fetched ahead when asked for. What was proven about them: no window
was thinned out by the server, none was left out, and no row was returned twice. Whether the server has rows
that no window shows (rows without a `_step`) is for `read` to find, which knows how many there should be.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError, DeadlineExceeded, ProtocolError, ResponseTooLarge, ServerError
from wandb_ops.history.ref import RunRef, fetch_run
from wandb_ops.history.windows import END_OF_STEPS, PAGE_BYTES, Window, WindowPlan, strided
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import history as documents

if TYPE_CHECKING:
    from wandb_ops.transport.session import Transport

_log = logging.getLogger("wandb_ops.history")

Fetch = Callable[[Window], list[str]]
Rows = list[dict[str, Any]]

_AT_FIRST = 4  # pages in flight
_FEWEST = 3  # with two, the server has nothing to do while a page is looked at
_LONG = 0.05  # seconds of waiting for a page, from which on more in flight are worth their memory
_FAR = 0.15  # seconds of waiting for a page, from which on larger ones are
_STEP = itemgetter("_step")
_NO_TEXTS = "history is not a list of JSON texts"
_GATEWAY_FAILURES = frozenset({502, 504})
_SLOW_FLOOR = 50  # rows per page; a server that cannot serve these in time is down, not slow


def page_fetcher(transport: Transport, ref: RunRef) -> Fetch:
    """Fetches the JSON texts of one window's rows."""

    def fetch(window: Window) -> list[str]:
        where = f"{ref.path}, steps {window.low} to {window.high - 1}"
        run = fetch_run(
            transport,
            ref,
            documents.HISTORY_PAGE,
            where=where,
            minStep=window.low,
            maxStep=window.high,
            pageSize=window.samples,
        )
        return texts_of(run.get("history"), where)

    return fetch


def texts_of(value: Any, where: str) -> list[str]:
    """The list that `history` and `events` are; `parse_page` looks at what is in it.

    Raises:
        ProtocolError: It is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise ProtocolError(_NO_TEXTS, where=where)
    return value


def parse_page(texts: list[str], where: str) -> Rows:
    """The rows of a page; a row that cannot be read is named by its place.

    Raises:
        DataError: A text is not a JSON object, or is beyond the limits of docs/values.md.
        ProtocolError: Something in the list is not a text.
    """
    try:
        return values.loads_rows(texts)
    except DataError as error:
        raise DataError(error.message, where=where) from None
    except TypeError:
        raise ProtocolError(_NO_TEXTS, where=where) from None


def inside(rows: Rows, window: Window) -> Rows:
    """The rows that belong to the window: a server that counts `maxStep` in would return some twice."""
    steps = [row.get("_step", window.low) for row in rows]
    if set(map(type, steps)) <= {int} and (not steps or window.low <= min(steps) <= max(steps) < window.high):
        return rows
    return [
        row
        for row, step in zip(rows, steps, strict=True)
        if not isinstance(step, (int, float)) or window.low <= step < window.high
    ]


def steps_of(rows: Rows) -> Sequence[int]:
    """The steps of rows, as a range when they are one; none when a row has no integer `_step`."""
    try:
        steps = list(map(_STEP, rows))
    except KeyError:
        return ()
    return strided(steps) if set(map(type, steps)) == {int} else ()


def _outside(steps: Sequence[int], window: Window) -> bool:
    """Whether there are no steps, or some that do not belong to the window."""
    if isinstance(steps, range):
        return steps[0] < window.low or steps[-1] >= window.high
    return not steps or min(steps) < window.low or max(steps) >= window.high


class PageReader:
    """Reads the windows of a plan in order.

    Attributes:
        received: Rows handed out so far.
        requests: Pages asked for so far, the thinned-out ones included.

    Args:
        fetch: Fetches one window.
        plan: Which windows.
        where: The run, for messages.
        concurrency: Pages in flight; 1 asks only for the page that is wanted next.
        eager: Ask for several at once. Else the first page is asked for alone, and more ahead with each
            page that was taken: who looks at the first rows only pays for no more.
        far_bytes: Size to which pages grow when the server is slow or far away.
    """

    def __init__(
        self,
        fetch: Fetch,
        plan: WindowPlan,
        *,
        where: str,
        concurrency: int = 1,
        eager: bool = True,
        far_bytes: int = PAGE_BYTES,
    ) -> None:
        self._fetch = fetch
        self._plan = plan
        self._where = where
        self._concurrency = concurrency
        self._reach = min(concurrency, _AT_FIRST) if eager else 1
        self._ready = 0  # pages in a row that were there when they were wanted
        self._enough = concurrency
        self._far_bytes = far_bytes
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[tuple[Window, Future[list[str]] | None]] = deque()
        self.received = 0
        self.requests = 0

    def pages(self) -> Iterator[Rows]:
        """The pages, empty ones left out; each is handed out once."""
        try:
            yield from self._read()
        finally:
            if self._pool is not None:
                # Pages nobody waits for any more are not worth a wait either.
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None

    def _ask(self, window: Window) -> Future[list[str]] | None:
        """Begin to fetch; with no page ahead there is nothing to gain from a thread."""
        if self._reach == 1:
            return None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="wandb-history")
        return self._pool.submit(self._fetch, window)

    def _read(self) -> Iterator[Rows]:
        while True:
            while len(self._ahead) < self._reach and (window := self._plan.next()) is not None:
                self._ahead.append((window, self._ask(window)))
            if not self._ahead:
                return
            window, future = self._ahead.popleft()
            self.requests += 1
            asked_for = time.monotonic()
            try:
                texts = future.result() if future else self._fetch(window)
                self._adapt(time.monotonic() - asked_for if future else _LONG)
            except (ServerError, DeadlineExceeded, ResponseTooLarge) as error:
                self._retry_smaller(window, error)
                continue
            del future  # it holds the texts
            if self._plan.is_full(window, len(texts)):
                self._drop_ahead()
                if not self._plan.overflow(window):
                    raise DataError(
                        f"step {window.low} has more than {window.samples} rows; they cannot be read apart",
                        where=self._where,
                    )
                continue
            rows, size = parse_page(texts, f"{self._where}, steps from {window.low}"), sum(map(len, texts))
            del texts
            steps = steps_of(rows)
            if _outside(steps, window):
                rows = inside(rows, window)
                steps = steps_of(rows)
            if self._plan.is_cut(window, steps) and self._plan.overflow(window):
                del rows
                self._drop_ahead()
                continue
            if self._plan.is_doubtful(window, steps):
                del rows
                self._drop_ahead()
                self._plan.distrust(window)
                continue
            if rows:
                self._plan.learn(steps, size)
            self._plan.accept(window, len(rows))
            if rows:
                self.received += len(rows)
                yield rows
                del rows  # whoever took them decides how long they live

    def _adapt(self, waited: float) -> None:
        """More pages ahead while they are waited for, fewer when they lie about: they are memory."""
        if waited >= _FAR:
            self._plan.page_bytes = self._far_bytes
        if waited >= _LONG:
            self._reach = min(self._concurrency, self._reach * 2)
            self._ready = 0
            return
        self._ready += 1
        if self._reach < min(_FEWEST, self._concurrency):
            self._reach += 1
        if self._ready >= self._enough and self._reach > _FEWEST:
            self._reach = max(_FEWEST, self._reach // 2)
            self._ready = 0
            self._enough *= 2  # it may have been too few: then it takes longer until the next time

    def _retry_smaller(self, window: Window, error: Exception) -> None:
        """Halve the page when its size may be what the server could not serve."""
        too_large = isinstance(error, ResponseTooLarge)
        if isinstance(error, ServerError) and error.status not in _GATEWAY_FAILURES:
            raise error
        self._drop_ahead()
        if not self._plan.shrink(window, floor=1 if too_large else _SLOW_FLOOR):
            raise error
        _log.info(
            "%s: %s on %d steps; going on with smaller pages", self._where, type(error).__name__, window.width
        )

    def _drop_ahead(self) -> None:
        for _, future in self._ahead:
            if future is not None:
                future.cancel()
        self._ahead.clear()


__all__ = ["END_OF_STEPS", "Fetch", "PageReader", "Rows", "inside", "page_fetcher", "parse_page", "texts_of"]
