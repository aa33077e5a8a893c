"""A look into an exported Parquet file: last values, trends, and the lines worth drawing.

Numbers and picture come from the very file that was written, not from a second question to the server.
Columns are read one at a time, so a long run costs the memory of one column.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_resources.metadata import MAX_NUMBERS, Trend
from wandb_ops import charts
from wandb_ops.steps import MetricBest

MAX_LINES = 4
MAX_TRENDS = 12
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 16
# Counters that rise with the step: lines, but no news.
_COUNTERS = frozenset({"epoch", "epochs", "step", "global_step", "iteration", "batch"})


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a page about one history file can show."""

    final: dict[str, float] = field(default_factory=dict)  # metric -> last finite value
    trends: tuple[Trend, ...] = ()
    lines: dict[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)

    def draw(self, title: str, format: charts.ChartFormat, width: int) -> bytes:
        """The lines as a picture."""
        return charts.line_chart(
            self.lines,
            title=title,
            x_label="step",
            y_label="",
            width=width,
            height=width * 9 // 16,
            format=format,
        )


def preview_parquet(path: str | Path, *, chart_keys: Sequence[str] | None = None) -> Preview:
    """Last values of the numeric columns (at most 40), trends of the metrics among them, and a chart's lines.

    Args:
        path: A local Parquet file with a `_step` column.
        chart_keys: Columns to draw; None takes what is named a loss, else the first metrics.
    """
    import numpy as np
    import pyarrow.parquet as pq

    final: dict[str, float] = {}
    trends: list[Trend] = []
    lines: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    with pq.ParquetFile(path) as file:
        names = _numeric(file.schema_arrow)
        drawn = _choose(names) if chart_keys is None else [key for key in chart_keys if key in names]
        has_steps = "_step" in file.schema_arrow.names
        steps = _column(file, "_step")[0] if has_steps else np.arange(file.metadata.num_rows)
        for name in dict.fromkeys([*drawn, *names[:MAX_NUMBERS]]):
            values, logged = _column(file, name)
            finite = values[np.isfinite(values)]
            if len(finite) and not _counts(name):
                final[name] = float(finite[-1])
                if len(trends) < MAX_TRENDS:
                    trends.append(_trend(name, finite))
            if name in drawn and logged.any():
                lines[name] = (steps[logged].tolist(), values[logged].tolist())
    return Preview(final=final, trends=tuple(trends), lines=lines)


def ranking(path: str | Path, best: MetricBest, *, most: int = 12) -> dict[str, float]:
    """The runs of a snapshot file by one metric, best first: name -> value."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        wanted = (f"summary.{best.metric}", f"summary.{best.metric}.{best.goal}")
        metric = next((name for name in wanted if name in _numeric(file.schema_arrow)), None)
        if metric is None:
            return {}
        rows = file.read(columns=[metric, "display_name", "run_id"]).to_pylist()
    found = [row for row in rows if row[metric] is not None and math.isfinite(row[metric])]
    found.sort(key=lambda row: row[metric], reverse=best.goal == "max")
    alike = Counter(row["display_name"] for row in found)
    bars: dict[str, float] = {}
    for row in found[:most]:
        name = str(row["display_name"] or row["run_id"])
        bars[name if alike[row["display_name"]] == 1 else f"{name} ({row['run_id']})"] = float(row[metric])
    return bars


def _numeric(schema: Any) -> list[str]:
    import pyarrow.types as kinds

    return [
        field.name
        for field in schema
        if not field.name.startswith("_") and (kinds.is_floating(field.type) or kinds.is_integer(field.type))
    ]


def _counts(name: str) -> bool:
    return name.rsplit("/", 1)[-1].lower() in _COUNTERS


def _choose(names: Sequence[str]) -> list[str]:
    """The losses, for they are what people look at first; without any, the first few metrics."""
    metrics = [name for name in names if not _counts(name)]
    losses = [name for name in metrics if "loss" in name.lower()]
    return (losses or metrics)[:MAX_LINES]


def _column(file: Any, name: str) -> tuple[Any, Any]:
    """A column as floats, and where it was logged: an absent value is no gap in a line, a NaN is."""
    import numpy as np

    column = file.read(columns=[name]).column(name)
    return column.to_numpy().astype(np.float64), column.is_valid().to_numpy()


def _trend(name: str, finite: Any) -> Trend:
    return Trend(
        metric=name,
        least=float(finite.min()),
        greatest=float(finite.max()),
        last=float(finite[-1]),
        line=_spark(finite),
    )


def _spark(finite: Any) -> str:
    """The course of a metric in one line of text: unlike a picture, it shows without a click."""
    import numpy as np

    means = [part.mean() for part in np.array_split(finite, min(_WIDTH, len(finite)))]
    low, span = min(means), max(means) - min(means)
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1)) if span > 0 else 0] for mean in means)
