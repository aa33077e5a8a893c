"""Which run is meant, and what the server says it holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError, ProtocolError, UsageError
from wandb_ops.protocol import graphql, values
from wandb_ops.protocol.documents import history as documents
from wandb_ops.protocol.states import TERMINAL_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.protocol.graphql import Operation
    from wandb_ops.transport.session import Transport


@dataclass(frozen=True, slots=True)
class RunRef:
    """One run, by the three names that identify it."""

    entity: str
    project: str
    run_id: str

    @property
    def path(self) -> str:
        """entity/project/run_id"""
        return f"{self.entity}/{self.project}/{self.run_id}"

    @property
    def variables(self) -> dict[str, Any]:
        """The variables that name the run in every operation of `protocol.documents.history`."""
        return {"entity": self.entity, "project": self.project, "run": self.run_id}

    @classmethod
    def parse(cls, path: str) -> RunRef:
        """The run of "entity/project/run_id".

        Raises:
            UsageError: The text does not have three parts.
        """
        parts = path.strip("/").split("/")
        if len(parts) != 3 or not all(parts):
            raise UsageError(f"{path!r} does not name a run", hint="Write entity/project/run_id.")
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What the server says a run holds, at one moment.

    Attributes:
        history_lines: Rows in the history.
        last_step: The largest `_step`; -1 when there is none or the server does not say.
        state: running, finished, ...
        heartbeat_at: When the run was last heard of, as the server wrote it.
        keys: What the server knows of each logged key (W&B's `historyKeys.keys`).
        events_lines: Rows of system metrics; None when not asked for.
    """

    history_lines: int
    last_step: int
    state: str
    heartbeat_at: str | None
    keys: Mapping[str, Any] = field(default_factory=dict)
    events_lines: int | None = None

    @property
    def ended(self) -> bool:
        """Whether no more rows are to be expected."""
        return self.state in TERMINAL_STATES


def run_counts(transport: Transport, ref: RunRef, *, events: bool = False) -> RunCounts:
    """What the server says the run holds; one request, two with `events`.

    Raises:
        NotFoundError: There is no such run, or the account may not see it.
        ProtocolError: The server does not say how many rows there are, so that nothing could be proven.
    """
    counts = counts_of(fetch_run(transport, ref, documents.RUN_COUNTS), ref)
    if not events:
        return counts
    events_lines = _count(fetch_run(transport, ref, documents.EVENTS_COUNT).get("eventsLineCount"))
    return replace(counts, events_lines=events_lines)


def counts_of(run: Mapping[str, Any], ref: RunRef) -> RunCounts:
    """The counts in an answer that has the fields of `RUN_COUNTS`; errors as `run_counts`."""
    known = _object(run.get("historyKeys"), ref, "historyKeys")
    history_lines = _count(run.get("historyLineCount"))
    last_step = _count(known.get("lastStep"))
    if history_lines is None and last_step is not None:
        raise ProtocolError("the server has history but does not say how many rows", where=ref.path)
    return RunCounts(
        history_lines=history_lines or 0,
        last_step=-1 if last_step is None else last_step,
        state=str(run.get("state") or ""),
        heartbeat_at=run.get("heartbeatAt"),
        keys=known.get("keys") or {},
    )


def fetch_run(
    transport: Transport, ref: RunRef, operation: Operation, *, where: str = "", **variables: Any
) -> dict[str, Any]:
    """The `project.run` of an operation's answer.

    Raises:
        NotFoundError: The server answered null for the project or the run.
    """
    data = graphql.execute(transport, operation, {**ref.variables, **variables}, where=where or ref.path)
    project = data.get("project")
    if project is None:
        raise NotFoundError(f"there is no project {ref.entity}/{ref.project}", where=ref.path)
    run = project.get("run")
    if run is None:
        raise NotFoundError(f"there is no run {ref.run_id} in {ref.entity}/{ref.project}", where=ref.path)
    return run  # type: ignore[no-any-return]  # JSON


def _object(value: Any, ref: RunRef, name: str) -> dict[str, Any]:
    if isinstance(value, str):
        value = values.loads_object(value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError(f"{name} is not an object but {type(value).__name__}", where=ref.path)
    return value


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value >= 0 else None
