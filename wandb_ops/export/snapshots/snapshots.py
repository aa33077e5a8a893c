"""What a snapshot of a project says."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

Goal = Literal["min", "max", "last", "mean"]
Ranked = Literal["min", "max"]
Goals = tuple[tuple[str, Goal], ...]


@dataclass(frozen=True, kw_only=True)
class BestRun:
    """The best run of a snapshot, by one metric."""

    metric: str
    goal: Ranked
    value: float
    run_id: str
    display_name: str
    url: str
    delta: float | None  # to the best of the previous snapshot; None when there is none


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """A metric over the runs of a snapshot, and the run in which it changed most since the one before."""

    metric: str
    goal: Goal
    runs: int  # that have a finite value
    changed: int  # of those, runs with another value than in the previous snapshot
    run_id: str | None = None  # that changed most; None when none did
    display_name: str | None = None
    url: str | None = None
    value: float | None = None
    delta: float | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One row per run at one moment: `table`, and what the rows come to."""

    entity: str
    project: str
    url: str
    at: str  # ISO 8601, UTC
    uri: str  # "" when no file was asked for
    runs: int
    rows: int
    bytes: int
    metrics: tuple[str, ...]
    states: dict[str, int]  # state -> runs
    best: tuple[BestRun, ...]
    new_runs: int  # not in the previous snapshot; all of them when there is none
    previous: str | None  # uri of the snapshot compared with
    changes: tuple[MetricChange, ...] = ()
    report: str = ""  # uri of the page; "" when none was asked for
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> values or runs not taken
    arrow: InitVar[Callable[[], pa.Table] | None] = None

    def __post_init__(self, arrow: Callable[[], pa.Table] | None) -> None:
        # No field: `asdict` and `==` are about the numbers, and a table is neither JSON nor comparable.
        object.__setattr__(self, "_arrow", arrow)

    @property
    def table(self) -> pa.Table:
        """One row per run: columns as `wandb_ops.export.rows.runs` makes them, `last.METRIC`, `mean.METRIC`.

        It waits on disk until it is first asked for; from then on it is in memory.
        """
        if "_table" not in self.__dict__:
            object.__setattr__(self, "_table", self.__dict__["_arrow"]())
        return cast("pa.Table", self.__dict__["_table"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": self.table, "_arrow": None}
