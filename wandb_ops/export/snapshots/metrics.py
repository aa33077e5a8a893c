"""A metric of each run: by its summary, and where that does not say, by its whole history."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.errors import AuthenticationError, Error
from wandb_ops.export.request.limit import CONCURRENCY
from wandb_ops.export.rows.buffers import array_of
from wandb_ops.export.rows.runindex import RunIndex
from wandb_ops.export.rows.runs import path_of_field
from wandb_ops.export.rows.stream import stream_history, stream_of
from wandb_ops.export.runs.together import Together
from wandb_ops.transport.workers import workers

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

    from wandb_ops.export.rows.stream import HistoryStream
    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.export.snapshots.snapshots import Goal, Goals
    from wandb_ops.history.pages import Rows
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.snapshot")

Values = list["float | None"]
OWN = ("last", "mean")
"""Goals whose values have a column of their own."""

_TELLS_A_CHANGE = ("state", "heartbeat_at", "history_lines", "last_step")


def column_of(metric: str, goal: Goal) -> str:
    """The column of a snapshot that holds a metric's last value or mean."""
    return f"{goal}.{metric}".encode("utf-8", "backslashreplace").decode()


def values_of(table: pa.Table, metric: str, goal: Goal) -> Values:
    """A metric's value of each run: None where it has none, NaN where it is no number."""
    name = column_of(metric, goal)
    if goal in OWN and name in table.column_names:
        return cast("Values", table.column(name).to_pylist())
    return summarised(table, metric, goal)


def compared_by(schema: pa.Schema, goals: Goals) -> list[str]:
    """The columns of a snapshot that a later one looks at."""
    fixed = {"run_id", *_TELLS_A_CHANGE, *(column_of(*pair) for pair in goals)}
    paths = {path for pair in goals for path in _paths(*pair)}
    return [one.name for one in schema if one.name in fixed or path_of_field(one) in paths]


def _paths(metric: str, goal: Goal) -> list[tuple[str, ...]]:
    """Where in the summary a metric's value may be, the best place first."""
    plain = [("summary", metric), ("summary", *metric.split("."))]
    headed = [(*path, goal) for path in plain]
    return list(dict.fromkeys(headed if goal == "mean" else plain + headed))


def summarised(table: pa.Table, metric: str, goal: Goal) -> Values:
    """The same by the summary alone.

    A summary key of that name comes first, then nested values; of a metric that W&B summarises under several
    heads (`{"loss": {"min": …, "last": …}}`) the one called like the goal is taken. A plain value of the
    summary is the last one logged; it is no mean.
    """
    from wandb_ops.history.table import key_of_field, rows_of_batch

    names = {path_of_field(column): column.name for column in table.schema if path_of_field(column)}
    values: Values = [None] * table.num_rows
    for path in _paths(metric, goal):
        if path not in names:
            continue
        column = table.select([names[path]])
        key = key_of_field(column.schema.field(0))
        rows = [row for batch in column.to_batches() for row in rows_of_batch(batch)]
        for place, row in enumerate(rows):
            if values[place] is None and row.get(key) is not None:
                values[place] = _number(row[key])
    return values


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


# -- by the history ----------------------------------------------------------------------------------------


class HistoryMetrics:
    """Columns `last.METRIC` and `mean.METRIC`, page by page of the list of runs.

    What the summary says is taken. Else the run's whole history is read, exactly, as far as these keys go;
    unless the snapshot before has the value and the run has not changed since.

    Args:
        transport: The connection.
        goals: Metrics and goals; those that the summary ranks by are not looked at.
        before: The snapshot before.
        left_out: Counts what could not be read, by reason.
    """

    def __init__(
        self, transport: Transport, goals: Goals, before: pa.Table | None, left_out: Counter[str]
    ) -> None:
        self._transport = transport
        self._goals = [(metric, goal) for metric, goal in goals if goal in OWN]
        self._before = _Before(before, self._goals)
        self._left_out = left_out
        self._together = Together(transport)

    def added_to(self, table: pa.Table, listed: Sequence[Listed]) -> pa.Table:
        """`table`, whose rows are those of `listed`, with the columns."""
        import pyarrow as pa

        from wandb_ops.history.unify import KIND

        if not self._goals:
            return table
        columns = {pair: summarised(table, *pair) for pair in self._goals}
        missing = self._from_before(table, columns)
        for place, found in self._read(listed, missing):
            for (metric, goal), value in found.items():
                columns[metric, goal][place] = value
        for (metric, goal), values in columns.items():
            one = pa.field(column_of(metric, goal), pa.float64(), metadata=cast("Any", {KIND: b"float"}))
            table = table.append_column(one, pa.chunked_array([pa.array(values, pa.float64())]))
        return table

    def _from_before(
        self, table: pa.Table, columns: dict[tuple[str, Goal], Values]
    ) -> dict[int, list[tuple[str, Goal]]]:
        """Fill in what the snapshot before knows; place -> what is still to be read."""
        known = table.select([*_TELLS_A_CHANGE]).to_pylist()
        before = self._before.rows(table)
        missing: dict[int, list[tuple[str, Goal]]] = {}
        for place, (row, old) in enumerate(zip(known, before, strict=True)):
            for pair, values in columns.items():
                if values[place] is not None or not row["history_lines"]:
                    continue
                if old is not None and _stands(row, old, pair):
                    values[place] = old[column_of(*pair)]
                else:
                    missing.setdefault(place, []).append(pair)
        return missing

    def _read(
        self, listed: Sequence[Listed], missing: dict[int, list[tuple[str, Goal]]]
    ) -> Iterable[tuple[int, dict[tuple[str, Goal], float | None]]]:
        """Histories as far as they are needed, several at a time; small ones together."""
        wanted = {place: pairs for place, pairs in missing.items() if _logs(listed[place], pairs)}
        small = [place for place in wanted if self._together.fits(listed[place], "history")]
        bundles = [small[i : i + self._together.most] for i in range(0, len(small), self._together.most)]
        bundles += [[place] for place in wanted if place not in set(small)]

        def work(places: list[int]) -> list[tuple[int, dict[tuple[str, Goal], float | None]]]:
            rows = self._together.read([listed[place] for place in places], "history")
            return [
                (place, self._one(listed[place], wanted[place], rows.get(listed[place].ref.run_id)))
                for place in places
            ]

        with workers(CONCURRENCY, "wandb-snapshot") as pool:
            for found in pool.map(work, bundles):
                yield from found

    def _one(
        self, listed: Listed, pairs: list[tuple[str, Goal]], rows: Rows | None
    ) -> dict[tuple[str, Goal], float | None]:
        keys = list(dict.fromkeys(metric for metric, _ in pairs))
        try:
            if rows is not None and listed.counts is not None:
                stream = stream_of(listed.counts, rows, keys=keys)
            else:
                stream = stream_history(self._transport, listed.ref, keys=keys)
            with stream:
                folded = _folded(stream, keys)
        except AuthenticationError:
            raise
        except (Error, OSError) as error:
            logger.warning("%s: the history could not be read: %s", listed.ref.path, error)
            for metric, _ in pairs:
                self._left_out[f"{metric}: history that could not be read"] += 1
            return dict.fromkeys(pairs)
        return {(metric, goal): folded[metric].of(goal) for metric, goal in pairs}


class _Before:
    """What the snapshot before says of the runs of a page."""

    def __init__(self, table: pa.Table | None, goals: Sequence[tuple[str, Goal]]) -> None:
        self._table: pa.Table | None = None
        names = [column_of(*pair) for pair in goals if table and column_of(*pair) in table.column_names]
        if table is not None and names:
            self._table = table.select([*_TELLS_A_CHANGE, *names])
            self._index = RunIndex(table.column("run_id").combine_chunks())

    def rows(self, page: pa.Table) -> list[dict[str, Any] | None]:
        """For each run of the page its row there; None where there is none."""
        if self._table is None:
            return [None] * page.num_rows
        rows = self._index.rows(page.column("run_id").combine_chunks())
        found = iter(self._table.take(array_of(rows[rows >= 0])).to_pylist())
        return [next(found) if row >= 0 else None for row in rows]


def _stands(row: Mapping[str, Any], old: Mapping[str, Any], pair: tuple[str, Goal]) -> bool:
    """Whether the run stands as it stood, and the column was there."""
    if column_of(*pair) not in old or row["state"] == "running":
        return False
    return all(old[name] == row[name] for name in _TELLS_A_CHANGE)


def _logs(listed: Listed, pairs: Sequence[tuple[str, Goal]]) -> bool:
    """Whether the run logged one of the metrics, as far as the server's index of its keys says."""
    known = listed.run.history_keys
    keys = known.get("keys") if isinstance(known, Mapping) else None
    return not isinstance(keys, Mapping) or any(metric in keys for metric, _ in pairs)


@dataclass(slots=True)
class _Fold:
    """A metric over a history: finite values summed, the last number kept."""

    sums: list[float] = field(default_factory=list)
    count: int = 0
    last: float | None = None

    def of(self, goal: Goal) -> float | None:
        if goal == "last":
            return self.last
        return math.fsum(self.sums) / self.count if self.count else None

    def add(self, values: Any) -> None:
        """More values, an array of floats in order of step."""
        import numpy as np

        if len(values):
            self.last = float(values[-1])
            finite = values[np.isfinite(values)]
            self.count += len(finite)
            self.sums.append(float(finite.sum()))


def _folded(stream: HistoryStream, keys: Sequence[str]) -> dict[str, _Fold]:
    import numpy as np

    from wandb_ops.history.table import key_of_field, kind_of_field, rows_of_batch

    folded = {key: _Fold() for key in keys}
    for table in stream.tables():
        for place, one in enumerate(table.schema):
            key = key_of_field(one)
            if key not in folded:
                continue
            if kind_of_field(one) in ("int", "float"):
                kept = table.column(place).drop_null()
                folded[key].add(np.array(kept.to_pylist(), np.float64))
                continue
            rows = (row for batch in table.select([place]).to_batches() for row in rows_of_batch(batch))
            values = [value for row in rows if not math.isnan(value := _number(row.get(key)))]
            folded[key].add(np.array(values, np.float64))
    return folded
