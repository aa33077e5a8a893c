"""`ConsoleLogs`: what a run's process wrote to its console."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol.documents import logs as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.paginator import Paginator

if TYPE_CHECKING:
    from wandb_ops.public.runs.run import Run


@dataclass(frozen=True)
class ConsoleLogLine:
    """One line.

    Attributes:
        number: Its place in the log, from 0.
        timestamp: When it was written (UTC); None where the server does not know.
        level: "error" for what came on stderr.
        label: Which of several writers wrote it; mostly empty.
        content: The text, without the end of the line.
    """

    number: int
    timestamp: datetime | None
    level: str
    label: str
    content: str


class ConsoleLogs(Paginator[ConsoleLogLine]):
    """The lines of a run's console, oldest first: iterate, index, slice.

    Args:
        run: The run.
        per_page: Lines per request.
        last: Only that many of the last lines, in one request.

    Raises:
        UsageError: `last` is no whole number from 1.
        NotFoundError: On the first page: the run is gone.
    """

    def __init__(self, run: Run, per_page: int = 1000, last: int | None = None) -> None:
        if last is not None and (isinstance(last, bool) or not isinstance(last, int) or last < 1):
            raise UsageError(f"last is a whole number from 1, not {last!r}")
        self.run = run
        self._last = last
        super().__init__(per_page=per_page, where=f"console of {'/'.join(run.path)}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        entity, project, name = self.run.path
        variables: dict[str, Any] = {"entity": entity, "project": project, "runName": name}
        if self._last is not None:
            operation = documents.CONSOLE_LOG_TAIL
            variables["last"] = self._last
        else:
            operation = documents.CONSOLE_LOG_PAGE
            variables |= {"first": per_page, "after": cursor}
        data = execute(self.run._transport, operation, variables, where=self._where)
        run = (data.get("project") or {}).get("run")
        if run is None:
            raise NotFoundError("There is no such run", where="/".join(self.run.path))
        lines = run.get("logLines") or {"edges": []}
        return connection_page({"pageInfo": {}, **lines}, where=self._where)

    def _key(self, node: dict[str, Any]) -> str:
        return str(node["number"])

    def _convert(self, nodes: list[dict[str, Any]]) -> list[ConsoleLogLine]:
        return [
            ConsoleLogLine(
                number=int(node["number"]),
                timestamp=_moment(node.get("timestamp")),
                level=node.get("level") or "",
                label=node.get("label") or "",
                content=node.get("line") or "",
            )
            for node in nodes
        ]

    def __repr__(self) -> str:
        return f"<ConsoleLogs {'/'.join(self.run.path)}>"


def _moment(text: str | None) -> datetime | None:
    """The time in an ISO 8601 text, which is in UTC when it names no zone; None for anything else."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
