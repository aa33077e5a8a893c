"""One pass over a history, that proves it complete.

Where W&B has exported rows to Parquet these are downloaded and joined with the live rows; the rest, and
whatever the exports cannot prove, is read as step windows. The server says how many rows a run has; a whole
history is handed out only if exactly so many came, else `IncompleteHistory` is raised.

What can be proven differs with what is asked for:

- the whole history (no `min_step`, no `max_step` short of the last step): the number of rows, also under
  `keys=`, because whole rows are counted before keys are chosen;
- a range of steps: that no page was thinned out by the server; the server does not count rows of a range.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import IncompleteHistory
from wandb_ops.history import parquet
from wandb_ops.history.pages import PageReader, Rows, page_fetcher, parse_page, texts_of
from wandb_ops.history.ref import RunCounts, RunRef, fetch_run, run_counts
from wandb_ops.history.windows import END_OF_STEPS, LARGEST_PAGE, PAGE_BYTES, WindowPlan
from wandb_ops.protocol.documents import history as documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_ops.history.columns import Chunk
    from wandb_ops.history.select import Selection
    from wandb_ops.transport.session import Transport

_log = logging.getLogger("wandb_ops.history")

CONCURRENCY = 8
"""Pages of one run in flight: hides latency; all requests share the process's rate budget."""

_SDK_PAGE = 1000  # rows; the page size of W&B's own client
_SURE_PAGE = 500
"""Rows; to so few no server was seen to hold its pages."""
_MEMORY = 128 << 20  # of exported parts as they came, while a table is made of them
_MOST_UNWINDOWED = 100_000  # rows for which one page outside all windows may be asked


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be read.

    Attributes:
        transport: How.
        ref: The run.
        selection: Keys.
        low: First step, inclusive.
        high: Last step, exclusive; None for the end.
        page_size: Rows per page.
        concurrency: Pages in flight.
        eager: Whether all of them are asked for before the first rows were taken.
        exports: Whether Parquet exports may be used.
        at_once: Whether all rows are wanted in memory: exported parts are then read whole.
        page_bytes: Size to which pages grow; smaller ones cost time and save memory.
    """

    transport: Transport
    ref: RunRef
    selection: Selection
    low: int
    high: int | None
    page_size: int
    concurrency: int = CONCURRENCY
    eager: bool = True
    exports: bool = True
    at_once: bool = False
    page_bytes: int = PAGE_BYTES


class Reading:
    """One pass over a history, counting what comes.

    Attributes:
        counts: What the server said before the first page.
        received: Rows that came, before keys were chosen.
        whole: Whether the whole history was asked for, so that `received` can be checked.
        used_exports: Whether some rows came from Parquet exports.

    Args:
        request: What is to be read.
        counts: What the server said about the run.
        urls: What it said about exports; None asks when that may be worth it.
    """

    def __init__(self, request: Request, counts: RunCounts, urls: parquet.Urls | None = None) -> None:
        self._request = request
        self._urls = urls
        self.counts = counts
        self.received = 0
        self.used_exports = False
        self._shrank = False
        reaches_end = request.high is None or (counts.last_step >= 0 and request.high > counts.last_step)
        self.whole = request.low == 0 and reaches_end

    def pieces(self) -> Iterator[Rows | Chunk]:
        """Pages (rows whole) and chunks (keys chosen), in order of step."""
        request, counts = self._request, self.counts
        if counts.history_lines == 0 or (request.high is not None and request.high <= request.low):
            return
        low = request.low
        export = self._export()
        if export is not None:
            self.used_exports = True
            try:
                yield from self._exported(export)
            finally:
                export.close()
            low = max(low, export.tail_from)
        yield from self._paged(low)

    def _export(self) -> parquet.Export | None:
        """The export, if there is one that can be joined with pages without doubt."""
        request, counts = self._request, self.counts
        if not request.exports or counts.history_lines <= request.page_size:
            return None  # one page costs less than asking
        try:
            export = parquet.fetch_export(
                request.transport, request.ref, urls=self._urls, memory=_MEMORY if request.at_once else 0
            )
        except parquet.UnreadableExportError as error:
            _log.warning(
                "%s: the exported history cannot be used (%s); reading pages", request.ref.path, error.message
            )
            return None
        if export is None:
            return None
        missing = export.live_from is None and export.rows < counts.history_lines and counts.ended
        doubtful = export.rows > counts.history_lines or (export.overlaps and not self.whole) or missing
        if doubtful or not all(parquet.can_select(part, request.selection) for part in export.parts):
            export.close()
            return None
        return export

    def _exported(self, export: parquet.Export) -> Iterator[Chunk]:
        request = self._request
        high = END_OF_STEPS if request.high is None else request.high
        if export.live_from is not None:
            high = min(high, export.live_from)
        for part in export.parts:
            if part.first < high and part.last >= request.low:
                for rows, chunk in parquet.read_part(
                    part, request.selection, request.low, high, at_once=request.at_once
                ):
                    self.received += rows
                    yield chunk
            part.file.close()

    def _paged(self, low: int) -> Iterator[Rows]:
        request, counts = self._request, self.counts
        end = counts.last_step + 1 if counts.last_step >= 0 else END_OF_STEPS
        high = end if request.high is None else min(end, request.high)
        left = counts.history_lines - self.received
        largest = LARGEST_PAGE if request.page_size >= _SDK_PAGE else 0  # a smaller page is a wish
        plan = WindowPlan(low, high, page_size=request.page_size, most_rows=left, largest=largest)
        plan.page_bytes = request.page_bytes
        reader = PageReader(
            page_fetcher(request.transport, request.ref),
            plan,
            where=request.ref.path,
            concurrency=request.concurrency,
            eager=request.eager,
            far_bytes=PAGE_BYTES * (2 if request.at_once else 1),
        )
        yield from self._count(reader.pages())
        if self.whole and self.received < counts.history_lines and high < END_OF_STEPS:
            plan.extend(END_OF_STEPS)  # rows beyond what the server called the last step
            yield from self._count(reader.pages())
        if self.whole and self.received < counts.history_lines and not self.used_exports:
            yield from self._count(self._unwindowed())

    def _unwindowed(self) -> Iterator[Rows]:
        """Rows that no step window shows, because they have no `_step`, or one below 0."""
        request, expected = self._request, self.counts.history_lines
        if expected > _MOST_UNWINDOWED:
            return
        where = f"{request.ref.path}, rows without a step"
        run = fetch_run(
            request.transport,
            request.ref,
            documents.FULL_HISTORY,
            where=where,
            samples=expected + request.page_size,
        )
        rows = parse_page(texts_of(run.get("history"), where), where)
        if len(rows) == expected:
            yield [row for row in rows if not _has_step(row)]

    def _count(self, pages: Iterator[Rows]) -> Iterator[Rows]:
        for page in pages:
            self.received += len(page)
            yield page
            del page

    def again(self, error: IncompleteHistory | parquet.UnreadableExportError) -> Request | None:
        """How the same rows may come whole after all; None when nothing is left to try.

        Logs what is done.
        """
        request = self._request
        if self.used_exports:
            _log.warning(
                "%s: the exported history cannot be used (%s); reading pages", request.ref.path, error.message
            )
            return replace(request, exports=False)
        if not self._may_be_cut():
            return None
        _log.warning("%s: %s; reading again in pages of %d rows", request.ref.path, error.message, _SURE_PAGE)
        return replace(request, exports=False, page_size=_SURE_PAGE)

    def _may_be_cut(self) -> bool:
        """Whether the server may have held pages to fewer rows than were asked for."""
        lacks = _SURE_PAGE <= self.received < self.counts.history_lines
        return self._request.page_size > _SURE_PAGE and lacks and not self._shrank

    def check(self) -> None:
        """Compare what came with what the server says exists.

        Rows that are logged while a run is read may or may not be among those that came: then the number
        must lie between what the server said before and what it says now.

        Raises:
            IncompleteHistory: The numbers differ.
        """
        expected, received = self.counts.history_lines, self.received
        if received == expected or (not self.whole and received < expected):
            return
        now = run_counts(self._request.transport, self._request.ref).history_lines
        if expected <= received <= now:
            return
        problem = (
            f"{received} rows came of {expected}"
            if received < expected
            else f"{received} rows came, not {expected}"
        )
        if now < expected:
            self._shrank = True
            problem += ", and the history shrank while it was read"
        raise IncompleteHistory(
            problem,
            expected=expected,
            received=received,
            where=self._request.ref.path,
            hint="The run may have been rewound while it was read, or the server is missing rows."
            + (f" If it holds pages to a limit, page_size={_SURE_PAGE} helps." if self._may_be_cut() else ""),
        )


def _has_step(row: dict[str, Any]) -> bool:
    step = row.get("_step")
    return isinstance(step, (int, float)) and step >= 0


__all__ = ["CONCURRENCY", "Reading", "Request"]
