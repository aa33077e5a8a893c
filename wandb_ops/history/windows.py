"""Which step window to ask for next: the arithmetic of exact paging, without any request.

`history(minStep, maxStep, samples)` returns the rows of the steps [minStep, maxStep), thinned out when
there are more than `samples`. So a window is proven complete only when fewer rows than `samples` come
back. Windows grow where steps are sparse and shrink where several rows share a step.
"""

from __future__ import annotations

from dataclasses import dataclass

END_OF_STEPS = 2**62
"""Beyond every step, and still an Int64 after additions."""

_GROWTH = 4  # per empty window: three rows over 200,000 steps cost a few requests, not 200
_MARGIN = 0.9  # of a page: how full a window is aimed at, so that an uneven one seldom overflows
_MOST_SAMPLES = 10_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """Steps from `low` (inclusive) to `high` (exclusive); `samples` rows or more mean rows may be missing."""

    low: int
    high: int
    samples: int

    @property
    def width(self) -> int:
        """Steps in the window."""
        return self.high - self.low


class WindowPlan:
    """Cuts [low, high) into windows, learning from what each one held.

    Args:
        low: First step, inclusive.
        high: Last step, exclusive.
        page_size: Rows a page should hold.
        most_rows: No more rows than this can be in [low, high), if that is known. It lets one wide window
            take all that is left as soon as it is sure to fit a page.
    """

    def __init__(self, low: int, high: int, *, page_size: int, most_rows: int | None = None) -> None:
        self.position = low
        self.end = high
        self.received = 0
        self._page_size = page_size
        self._width = page_size
        self._samples = 0  # more than a page, when one step alone overflowed
        self._most_rows = most_rows

    def next(self) -> Window | None:
        """The window that follows the last one handed out; None at the end."""
        if self.position >= self.end:
            return None
        left = None if self._most_rows is None else self._most_rows - self.received
        high = self.end
        if left is None or left > self._page_size:
            high = min(self.end, self.position + self._width)
        # A page of one row per step is full and yet complete: one sample more tells it from an overflow.
        window = Window(self.position, high, max(self._page_size + 1, self._samples))
        self.position = high
        return window

    def extend(self, high: int) -> None:
        """Go on to `high`: the server's last step was not the last."""
        self.end = high

    def is_full(self, window: Window, rows: int) -> bool:
        """Whether rows of this window may be missing."""
        return rows >= window.samples

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
        self._page_size = max(floor, self._page_size // 2)
        if self._most_rows is not None and self._most_rows - self.received <= self._page_size:
            self._most_rows = None  # one window for all that is left is what just failed
        self._width = max(1, min(window.width // 2, self._page_size))
        self.position = window.low
        return True
