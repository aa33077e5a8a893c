"""`HistoryScan`: the rows of a run's history, read exactly and lazily."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.history.ref import RunRef

if TYPE_CHECKING:
    from wandb_ops.public.runs.run import Run


class HistoryScan(Iterator[dict[str, Any]]):
    """Rows of a run's history as dicts, in order of step, fetched as they are asked for.

    Each `for` loop begins anew and asks the server again; `next()` goes on in a place of its own.

    Attributes:
        run: The run.
        keys: Metrics asked for; None is all.
        min_step: First step (inclusive).
        page_size: Steps or rows per request, at first.
    """

    def __init__(
        self,
        run: Run,
        *,
        keys: list[str] | None,
        keys_mode: Literal["all", "any"],
        page_size: int,
        min_step: int,
        max_step: int | None,
    ) -> None:
        self.run = run
        self.keys = keys
        self.page_size = page_size
        self.min_step = min_step
        self._keys_mode: Literal["all", "any"] = keys_mode
        self._stop = max_step
        self._going: Iterator[dict[str, Any]] | None = None

    @property
    def max_step(self) -> int | None:
        """The highest step that can come; None when the scan goes to the end."""
        return None if self._stop is None else self._stop - 1

    def _begin(self) -> Iterator[dict[str, Any]]:
        from wandb_ops.history.read import scan_rows

        wanted = self.keys
        # Rows cut down to some keys keep their step, as the SDK's do.
        rows = scan_rows(
            self.run._transport,
            RunRef(self.run.entity, self.run.project, self.run.id),
            keys=None if wanted is None else list(dict.fromkeys(("_step", *wanted))),
            keys_mode=self._keys_mode,
            min_step=self.min_step,
            max_step=self._stop,
            page_size=self.page_size,
        )
        if wanted is None or self._keys_mode == "all":
            return rows
        return (row for row in rows if any(key in row for key in wanted))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._begin()

    def __next__(self) -> dict[str, Any]:
        if self._going is None:
            self._going = self._begin()
        return next(self._going)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_going": None}  # a generator cannot be pickled; the copy begins anew

    def __repr__(self) -> str:
        return f"<HistoryScan {'/'.join(self.run.path)}>"
