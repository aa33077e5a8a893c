"""Bars for people who look, nothing for anyone else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """Hears how far an export is."""

    def advance(self, runs: int, rows: int) -> None:
        """So many more runs and rows are done."""
        ...


class _Quiet:
    def advance(self, runs: int, rows: int) -> None:
        """Nobody looks."""


@contextmanager
def shown_progress(title: str, *, runs: int, rows: int, wanted: bool | None) -> Iterator[Progress]:
    """Progress bars on stderr.

    Args:
        title: What goes on.
        runs: How many runs there are to take.
        rows: How many rows they have.
        wanted: None shows bars when stderr is a terminal.
    """
    if not (sys.stderr.isatty() if wanted is None else wanted) or not runs:
        yield _Quiet()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        by_run = bars.add_task(f"{title}: runs", total=runs)
        by_row = bars.add_task(f"{title}: rows", total=rows)

        class Bars:
            def advance(self, runs: int, rows: int) -> None:
                bars.advance(by_run, runs)
                bars.advance(by_row, rows)

        yield Bars()
