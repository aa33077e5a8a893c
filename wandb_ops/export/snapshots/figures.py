"""The metrics of very many runs, compared with those of an earlier snapshot.

In memory are a run's id and one number for each metric, however much its config and its summary hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.export.rows.buffers import copied, nulls_of, numbers
from wandb_ops.export.rows.runindex import RunIndex
from wandb_ops.export.snapshots.metrics import OWN, values_of
from wandb_ops.export.snapshots.snapshots import BestRun, MetricChange

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from wandb_ops.export.snapshots.snapshots import Goal, Goals

    Pair = tuple[str, Goal]
    About = Callable[[int], dict[str, Any]]


class Figures:
    """Of each row of a snapshot the run's id and the values of the metrics.

    Args:
        tables: The rows.
        goals: Metrics and goals.

    Attributes:
        ids: Run ids, in the order of the rows.
        values: (metric, goal) -> null where the run has none, NaN where it is no number.
    """

    def __init__(self, tables: Iterable[pa.Table], goals: Goals) -> None:
        import pyarrow as pa

        ids: list[Any] = []
        values: dict[Pair, list[Any]] = {pair: [] for pair in goals}
        for table in tables:
            ids += copied(table.select(["run_id"])).column(0).chunks
            for pair, found in values.items():
                found.append(pa.array(values_of(table, *pair), pa.float64()))
        self.ids: Any = pa.chunked_array(ids, pa.string()).combine_chunks()
        self.values: dict[Pair, Any] = {
            pair: pa.chunked_array(found, pa.float64()).combine_chunks() for pair, found in values.items()
        }

    def finite(self, pair: Pair) -> tuple[Any, Any]:
        """(values, whether each is there and finite), as numpy's arrays."""
        import numpy as np

        found = self.values[pair]
        values = numbers(found).astype(np.float64)
        there = np.isfinite(values)
        there[nulls_of(found)] = False
        return values, there

    def by_run(self, pair: Pair) -> dict[str, float]:
        """Run id -> value, of the runs that have a finite one."""
        values, there = self.finite(pair)
        rows = zip(self.ids.to_pylist(), values.tolist(), there.tolist(), strict=True)
        return {run_id: value for run_id, value, known in rows if known}


class Comparison:
    """A snapshot beside the one before, if there is one.

    Args:
        now: Its figures.
        before: Those of the earlier one.
        about: Row -> id, name and address of its run.
    """

    def __init__(self, now: Figures, before: Figures | None, about: About) -> None:
        self._now = now
        self._before = before
        self._about = about
        self._rows: Any = None if before is None else RunIndex(before.ids).rows(now.ids)

    @property
    def new_runs(self) -> int:
        """Runs that were not there; all of them when there is nothing to compare with."""
        return len(self._now.ids) if self._before is None else int((self._rows < 0).sum())

    def deltas(self, pair: Pair) -> tuple[Any, Any]:
        """(change of each run, whether it has a finite value in both), as numpy's arrays."""
        import numpy as np

        values, known = self._now.finite(pair)
        if self._before is None or not len(self._before.ids):
            return np.zeros_like(values), np.zeros_like(known)
        old, there = self._before.finite(pair)
        known &= (self._rows >= 0) & there[self._rows]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(known, values - old[self._rows], 0.0), known

    def best_runs(self, left_out: Counter[str]) -> tuple[BestRun, ...]:
        """The best run by each metric that has a best; counts the runs that have no finite value."""
        best = []
        for pair, values in self._now.values.items():
            metric, goal = pair
            finite = int(self._now.finite(pair)[1].sum())
            odd = len(values) - values.null_count - finite
            left_out.update({f"{metric}: missing": values.null_count} if values.null_count else {})
            left_out.update({f"{metric}: not a finite number": odd} if odd else {})
            found = None if goal in OWN else _winner(self._now, pair)
            if found is None:
                continue
            old = None if self._before is None else _winner(self._before, pair)
            best.append(
                BestRun(
                    metric=metric,
                    goal=goal,  # type: ignore[arg-type]  # one of those that rank
                    value=found[1],
                    delta=None if old is None else found[1] - old[1],
                    **self._about(found[0]),
                )
            )
        return tuple(best)

    def changes(self) -> tuple[MetricChange, ...]:
        """What became of each metric since the snapshot before."""
        import numpy as np

        found = []
        for pair in self._now.values:
            values, finite = self._now.finite(pair)
            deltas, _ = self.deltas(pair)
            changed = int(np.count_nonzero(deltas))
            about: dict[str, Any] = {}
            if changed:
                most = int(np.argmax(np.abs(deltas)))
                about = {**self._about(most), "value": float(values[most]), "delta": float(deltas[most])}
            found.append(
                MetricChange(metric=pair[0], goal=pair[1], runs=int(finite.sum()), changed=changed, **about)
            )
        return tuple(found)


def _winner(figures: Figures, pair: Pair) -> tuple[int, float] | None:
    """(row, value) of the best finite value, the earlier run when two are equal."""
    import numpy as np

    values, there = figures.finite(pair)
    if not there.any():
        return None
    sign = 1.0 if pair[1] == "min" else -1.0
    row = int(np.argmin(np.where(there, sign * values, np.inf)))
    return row, float(values[row])
