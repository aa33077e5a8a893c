"""Which step window to ask for next: the arithmetic of exact paging, without any request.

`history(minStep, maxStep, samples)` returns the rows of the steps [minStep, maxStep), thinned out when
there are more than `samples`. So a window is proven complete only when fewer rows than `samples` come
back. Windows grow where steps are sparse and shrink where several rows share a step.
Servers with a limit of their own are reckoned with: where there are more rows than steps, windows begin
narrower; and a page of exactly the size wished for is asked for again in parts, unless its rows are one for
each step.

Pages grow too, up to a size in bytes, because each costs its own time at the server and on the way. A server
might hold larger pages to a limit of its own and say nothing, so a page that grew must prove itself: it is
taken only if its rows go on at the very stride of the page before it, up to the window's end, as those of
nearly every run do. Where they do not, pages are of the size asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

END_OF_STEPS = 2**62
"""Beyond every step, and still an Int64 after additions."""

_GROWTH = 4  # per empty window: three rows over 200,000 steps cost a few requests, not 200
_MARGIN = 0.9  # of a page: how full a window is aimed at, so that an uneven one seldom overflows
_MOST_SAMPLES = 10_000_000
_USUAL_LIMIT = 1000  # rows of a page, from which on servers may have a limit of their own
_TELLING = 50  # rows of a page, from which on their steps say something of those to come
PAGE_BYTES = 1 << 20
"""Of rows, that pages grow to."""
LARGEST_PAGE = 5000
"""Rows that a page grows to at most; W&B was seen to thin out at 10,000."""


@dataclass(frozen=True, slots=True)
class Window:
    """Steps from `low` (inclusive) to `high` (exclusive); `samples` rows or more mean rows may be missing.

    `grown` windows ask for more rows than the page size that was wished for.
    """

    low: int
    high: int
    samples: int
    grown: bool = False

    @property
    def width(self) -> int:
        """Steps in the window."""
        return self.high - self.low


def strided(steps: Sequence[int]) -> Sequence[int]:
    """The same as a range, when they go on at one stride: it is compared at once."""
    stride = steps[1] - steps[0] if len(steps) > 1 else 1
    if stride < 1 or isinstance(steps, range):
        return steps
    regular = range(steps[0], steps[0] + stride * len(steps), stride) if steps else range(0)
    return regular if list(regular) == steps else steps


class WindowPlan:
    """Cuts [low, high) into windows, learning from what each one held.

    Args:
        low: First step, inclusive.
        high: Last step, exclusive.
        page_size: Rows a page should hold.
        most_rows: No more rows than this can be in [low, high), if that is known. It lets one wide window
            take all that is left as soon as it is sure to fit a page.
        largest: Rows to which pages may grow; none above `page_size` do by default.

    Attributes:
        page_bytes: Size to which pages may grow; may be changed on the way.
    """

    def __init__(
        self, low: int, high: int, *, page_size: int, most_rows: int | None = None, largest: int = 0
    ) -> None:
        self.position = low
        self.end = high
        self.received = 0
        self._page_size = page_size
        self._width = page_size
        if most_rows is not None and low == 0 and most_rows > high > 0:  # several rows share a step
            self._width = max(1, int(page_size * _MARGIN * high / most_rows))
        self._samples = 0  # more than a page, when one step alone overflowed
        self._most_rows = most_rows
        self.page_bytes = PAGE_BYTES
        self._wished = page_size
        self._largest = max(largest, page_size)
        self._stride = 0  # of the last page's steps, when they had one
        self._following = low  # the step that comes next at that stride
        self._waits = 0  # pages at a stride to come before the next that grows
        self._doubts = 0

    def next(self) -> Window | None:
        """The window that follows the last one handed out; None at the end."""
        if self.position >= self.end:
            return None
        left = None if self._most_rows is None else self._most_rows - self.received
        page, high = self._page_size, min(self.end, self.position + self._width)
        if left is not None and left <= min(page, self._wished):
            page, high = min(page, self._wished), self.end
        # A page of one row per step is full and yet complete: one sample more tells it from an overflow.
        window = Window(self.position, high, max(page + 1, self._samples), page > self._wished)
        self.position = high
        return window

    def extend(self, high: int) -> None:
        """Go on to `high`: the server's last step was not the last."""
        self.end = high

    def is_full(self, window: Window, rows: int) -> bool:
        """Whether rows of this window may be missing."""
        return rows >= window.samples

    def is_cut(self, window: Window, steps: Sequence[int]) -> bool:
        """Whether a page may have been held to exactly the size wished for, by a server that says nothing."""
        rows = len(steps)
        if window.grown or rows != window.samples - 1 or rows < _USUAL_LIMIT:
            return False
        if self._most_rows is not None and self.received + rows == self._most_rows:
            return False
        return rows != window.width or len(set(steps)) != rows

    def is_doubtful(self, window: Window, steps: Sequence[int]) -> bool:
        """Whether rows of a window that grew may be missing in spite of their number."""
        if not window.grown:
            return False
        if not self._stride:
            return True
        expected = range(self._following, window.high, self._stride)
        return steps != expected and list(steps) != list(expected)

    def distrust(self, window: Window) -> None:
        """Start again at the window's first step with pages of the size wished for; later they may grow."""
        self._page_size = self._wished
        # Of sparse steps somewhat fewer: a page of exactly the size wished for would look cut again.
        fitting = self._wished if self._stride < 2 else int(self._wished * self._stride * _MARGIN)
        self._width = max(1, min(self._width, fitting))
        self._stride = 0
        self._doubts += 1
        self._waits = 4**self._doubts
        self.position = window.low

    def learn(self, steps: Sequence[int], size: int) -> None:
        """Look at a complete page, in order, for how large the next may be.

        Args:
            steps: Of its rows.
            size: Characters of its rows.
        """
        steps = strided(steps)
        if not isinstance(steps, range) or len(steps) < _TELLING:
            self._stride = 0
            self._page_size = min(self._page_size, self._wished)
            return
        self._stride, self._following = steps.step, steps[-1] + steps.step
        if self._waits:
            self._waits -= 1
            return
        fitting = self.page_bytes * len(steps) // max(1, size)
        self._page_size = max(min(fitting, self._largest), min(self._wished, self._page_size))

    def accept(self, window: Window, rows: int) -> None:
        """Learn from a complete window."""
        self.received += rows
        self._samples = 0
        if rows == 0:
            self._width = min(window.width * _GROWTH, END_OF_STEPS)
            return
        fitting = int(self._page_size * _MARGIN * window.width / rows)
        if rows <= window.width:
            fitting = max(fitting, self._page_size)
        self._width = max(1, min(fitting, window.width * _GROWTH))

    def overflow(self, window: Window) -> bool:
        """Start again at the window's first step, with a narrower window; False when that cannot be done."""
        self._most_rows = None  # the count was wrong, or old
        self.position = window.low
        if window.width > 1:
            # A wide window over dense steps goes straight to one that can hold one row per step.
            self._width = max(1, min(window.width // 2, self._page_size))
            return True
        # Rows of one step cannot be told apart by step: ask for more of them.
        self._samples = window.samples * _GROWTH
        return self._samples <= _MOST_SAMPLES

    def shrink(self, window: Window, *, floor: int) -> bool:
        """Start again at the window's first step, with half the page; False at the floor."""
        if self._page_size <= floor or window.width <= 1:
            return False
        self._largest = 0  # not again
        self._page_size = max(floor, self._page_size // 2)
        if self._most_rows is not None and self._most_rows - self.received <= self._page_size:
            self._most_rows = None  # one window for all that is left is what just failed
        self._width = max(1, min(window.width // 2, self._page_size))
        self.position = window.low
        return True
