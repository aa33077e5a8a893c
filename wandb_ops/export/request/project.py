"""What an export of a project was asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args

from wandb_ops.errors import Error, UsageError
from wandb_ops.redaction import redact

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.export.runs.tables import ProjectTable
    from wandb_ops.history.pages import Rows

ProjectFormat = Literal["parquet", "csv", "jsonl", "delta"]
What = Literal["runs", "history", "system", "files", "artifacts"]
PerRun = Literal["history", "system", "files", "artifacts"]

DEFAULT: tuple[What, ...] = ("runs", "history")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRequest:
    """What to export, checked.

    Raises:
        UsageError: A format or a part that there is not, or `keys` as one text.
    """

    entity: str
    project: str
    to: str | os.PathLike[str]
    format: ProjectFormat = "parquet"
    filters: Mapping[str, Any] | None = None
    keys: Sequence[str] | None = None
    include: Sequence[What] = DEFAULT
    force: bool = False

    def __post_init__(self) -> None:
        if self.format not in get_args(ProjectFormat):
            raise UsageError(
                f"There is no format {self.format!r}", hint="There are parquet, csv, jsonl and delta."
            )
        named = () if isinstance(self.include, str) else tuple(self.include)
        if not named or not set(named) <= set(get_args(What)):
            raise UsageError(
                f"include={self.include!r} names no parts of a project",
                hint="There are runs, history, system, files and artifacts.",
            )
        if isinstance(self.keys, str):
            raise UsageError("keys is a list of names, not one text", hint=f"Write keys=[{self.keys!r}].")

    @property
    def per_run(self) -> tuple[PerRun, ...]:
        """What is taken run by run."""
        return tuple(cast("PerRun", what) for what in get_args(PerRun) if what in self.include)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One part of one run is at the destination."""

    run_id: str
    what: What
    action: Literal["written", "appended", "replaced", "unchanged"]
    rows: int = 0
    bytes: int = 0
    files: int = 0
    artifacts: int = 0  # versions
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """One part of one run could not be exported; what an earlier export left of it stands."""

    run_id: str
    what: What
    error: str  # the class of the error
    message: str
    retryable: bool

    @classmethod
    def of(cls, run_id: str, what: What, error: BaseException) -> NotTaken:
        """What an error says."""
        return cls(
            run_id=run_id,
            what=what,
            error=type(error).__name__,
            message=redact(str(error).split("\n", maxsplit=1)[0])[:500],
            retryable=isinstance(error, Error) and error.retryable,
        )


class Destination(Protocol):
    """Where an export goes. `standing` and `fetch` are called from several threads at once."""

    uri: str

    def check(self) -> None:
        """Refuse a place that holds something else, before anything is asked."""
        ...

    def standing(self, listed: Listed, what: PerRun) -> int | None:
        """Rows of that part of the run, when it is there already as the server has it; else None."""
        ...

    def begun(self, listed: Listed, what: PerRun) -> bool:
        """Whether it holds some rows of that part already, which `fetch` goes on from."""
        ...

    def fetch(self, listed: Listed, what: PerRun, concurrency: int, rows: Rows | None = None) -> Any:
        """Get it from the server: a list of outcomes when it is in place, or what `store` needs.

        `rows` are all rows of the part, where they came together with those of other runs.
        """
        ...

    def store(self, fetched: Sequence[Any]) -> list[Taken | NotTaken]:
        """Put in place what `fetch` brought; called from one thread."""
        ...

    def put_table(self, table: ProjectTable) -> Taken:
        """Write a table of the project; what is to stay of the one that stands there is merged into it."""
        ...


@dataclass(frozen=True, kw_only=True)
class ProjectExport:
    """What an export of a project did, and what it could not do."""

    entity: str
    project: str
    url: str
    uri: str
    format: ProjectFormat
    include: tuple[What, ...]
    runs: int  # looked at
    written: int  # parts of runs that were written anew or extended
    unchanged: int  # parts of runs that were there already
    rows: int  # history rows written
    system_rows: int
    files: int  # of runs and artifacts, written
    bytes: int
    deleted_upstream: tuple[str, ...]
    not_taken: tuple[NotTaken, ...]
    artifacts: int = 0  # versions whose files were brought
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything asked for is at the destination."""
        return not self.not_taken


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What an export would do. Nothing but the list of runs was asked for."""

    entity: str
    project: str
    url: str
    uri: str
    format: ProjectFormat
    include: tuple[What, ...]
    runs: int
    changed: int  # runs of which something is to be fetched
    rows: int  # history rows to fetch
    system_rows: int
    requests: int  # at least
    shards: tuple[dict[str, Any], ...]  # each a JSON value for `export_project(shard=)`
