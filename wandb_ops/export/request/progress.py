"""Bars for people who look, nothing for anyone else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """Hears how far an export is."""

    def expect(self, parts: int, rows: int) -> None:
        """There are so many parts of runs in all, and so many more rows than was known before."""
        ...

    def advance(self, parts: int, rows: int) -> None:
        """So many more parts of runs and rows are done."""
        ...


class _Quiet:
    def expect(self, parts: int, rows: int) -> None:
        """Nobody looks."""

    def advance(self, parts: int, rows: int) -> None:
        """Nobody looks."""


@contextmanager
def shown_progress(title: str, *, wanted: bool | None) -> Iterator[Progress]:
    """Progress bars on stderr.

    Args:
        title: What goes on.
        wanted: None shows bars when stderr is a terminal.
    """
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield _Quiet()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        by_part = bars.add_task(f"{title}: runs", total=None)
        by_row = bars.add_task(f"{title}: rows", total=None)

        class Bars:
            def __init__(self) -> None:
                self.rows = 0

            def expect(self, parts: int, rows: int) -> None:
                self.rows += rows
                bars.update(by_part, total=parts)
                bars.update(by_row, total=self.rows)

            def advance(self, parts: int, rows: int) -> None:
                bars.advance(by_part, parts)
                bars.advance(by_row, rows)

        yield Bars()
