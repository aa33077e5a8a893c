"""What a run logged, for reading: its history, whole or as a sample, and its console."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, cast

from wandb_ops.errors import UsageError
from wandb_ops.history.ref import RunRef
from wandb_ops.public.runs.attributes import RunAttributes
from wandb_ops.public.runs.history import HistoryScan

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from wandb_ops.public.runs.console_logs import ConsoleLogs
    from wandb_ops.public.runs.exports import DownloadHistoryResult
    from wandb_ops.public.runs.run import Run


class RunReading(RunAttributes):
    """Part of `Run`."""

    @property
    def history_keys(self) -> dict[str, Any] | None:
        """The server's index of the metrics: `{"lastStep": ..., "keys": {...}}`, when last looked."""
        keys: dict[str, Any] | None = self._need("historyKeys")
        return keys

    @property
    def lastHistoryStep(self) -> int:  # noqa: N802 - W&B's name
        """The last step of the history, asked for anew; -1 when there is none."""
        from wandb_ops.history.ref import run_counts

        return run_counts(self._transport, self._ref).last_step

    def history(
        self,
        samples: int = 500,
        keys: list[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: Literal["default", "system", "events"] = "default",
    ) -> pd.DataFrame | Any:
        """A sample of the history: at most `samples` rows that the server picks. `scan_history` gives all.

        Args:
            samples: Rows at most.
            keys: Metrics to take; only rows that have all of them come.
            x_axis: Metric that orders the rows, when `keys` are given.
            pandas: False gives a list of dicts.
            stream: "default" for metrics, "system" or "events" for measurements of the machine.

        Returns:
            A DataFrame, whose `attrs["sampled"]` is True, or a list of dicts.

        Raises:
            UsageError: An argument is of the wrong kind, or keys were given for the system stream.
        """
        from wandb_ops.history.sampled import sampled

        _check_keys(keys)
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
            raise UsageError(f"samples is a whole number from 1, not {samples!r}", where=self._where)
        if stream not in {"default", "system", "events"}:
            raise UsageError(f"stream is 'default', 'system' or 'events', not {stream!r}", where=self._where)
        if keys and stream != "default":
            raise UsageError("keys can be asked for in the default stream only", where=self._where)
        rows = sampled(
            self._transport, self._ref, samples=samples, keys=keys or None, x_axis=x_axis, stream=stream
        )
        if not pandas:
            return rows
        import pandas as pd

        frame = pd.DataFrame.from_records(rows)
        frame.attrs["sampled"] = True
        return frame

    def scan_history(
        self,
        keys: list[str] | None = None,
        page_size: int = 1_000,
        min_step: int = 0,
        max_step: int | None = None,
        use_cache: bool = True,  # noqa: ARG002 - W&B's argument; there is no cache that could be stale
        *,
        keys_mode: Literal["all", "any"] = "all",
    ) -> HistoryScan:
        """Every row of the history, fetched while it is iterated over.

        Args:
            keys: Metrics to take, besides `_step`; None is all.
            page_size: Rows per request, at first.
            min_step: First step (inclusive).
            max_step: Step to stop before; None is the end.
            use_cache: Accepted as W&B does; the answer always comes from the server.
            keys_mode: "all", as W&B: only rows that have every key. "any": rows that have one of them.

        Raises:
            UsageError: An argument is of the wrong kind.
            IncompleteHistory: While iterating: fewer rows came than the server says exist.
        """
        _check_keys(keys)
        if isinstance(page_size, bool) or not isinstance(page_size, int) or page_size < 1:
            raise UsageError(f"page_size is a whole number from 1, not {page_size!r}", where=self._where)
        if keys_mode not in {"all", "any"}:
            raise UsageError(f"keys_mode is 'all' or 'any', not {keys_mode!r}", where=self._where)
        return HistoryScan(
            self._run,
            keys=keys or None,
            keys_mode=keys_mode,
            page_size=page_size,
            min_step=min_step,
            max_step=max_step,
        )

    def console_logs(self, *, per_page: int = 1000, last: int | None = None) -> ConsoleLogs:
        """What the run's process wrote to its console, line by line, loaded while it is iterated over.

        Args:
            per_page: Lines per request.
            last: Only that many of the last lines, in one request; the server has a limit of its own.
        """
        from wandb_ops.public.runs.console_logs import ConsoleLogs

        return ConsoleLogs(self._run, per_page=per_page, last=last)

    def download_history_exports(
        self, download_dir: Path | str, require_complete_history: bool = True
    ) -> DownloadHistoryResult:
        """Download the Parquet files into which the server exported the history.

        They appear together, under W&B's names (`entity_project_run_0.runhistory.parquet`, ...), when all of
        them are there, are whole, and do not hold more rows than the run. After an interruption the next call
        goes on with the file that was not finished.

        Args:
            download_dir: Folder to save in, made if missing.
            require_complete_history: Refuse a run with rows that are not exported yet.

        Returns:
            Where the files are, and whether the run holds rows beyond them.

        Raises:
            IncompleteRunHistoryError: Rows are not exported yet, as the server says or as their count shows.
            UnsupportedServer: The server exports nothing.
            DataError: What came is no Parquet, or holds rows twice.
        """
        from wandb_ops.public.runs.exports import download_exports

        return download_exports(
            self._transport, self._ref, download_dir, require_complete=require_complete_history
        )

    def beta_scan_history(
        self,
        keys: list[str] | None = None,
        page_size: int = 1_000,
        min_step: int = 0,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> HistoryScan:
        """Deprecated, as in W&B: the earlier name of `scan_history`."""
        warnings.warn("beta_scan_history is deprecated; use scan_history", DeprecationWarning, stacklevel=2)
        return self.scan_history(keys, page_size, min_step, max_step, use_cache)

    @property
    def _ref(self) -> RunRef:
        return RunRef(self._entity, self._project, self._run_id)

    @property
    def _run(self) -> Run:
        return cast("Run", self)

    def _need(self, field: str) -> Any:
        """The value of a field of the node; `Run` loads it."""
        raise NotImplementedError


def _check_keys(keys: object) -> None:
    if keys is None:
        return
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) for key in keys):
        raise UsageError("keys is a list of texts")
