"""Rows appended to the history of a run, once each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError, RunConflict
from wandb_ops.protocol.states import ENDED_STATES
from wandb_ops.steps.results import LogResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wandb_ops.public.api import Api

HISTORY_FILE = "wandb-history.jsonl"


def log_metrics(
    api: Api,
    *,
    run: str,
    rows: Iterable[Mapping[str, Any]],
    first_line: int | None = None,
    clock: Callable[[], float] = time.time,
) -> LogResult:
    """Append rows to a run's history.

    Rows get `_step` (their line number), `_timestamp` (seconds, now) and `_runtime` where they lack them.

    Args:
        api: The client.
        run: `entity/project/run_id`.
        rows: One mapping per row: numbers, strings, bools, lists, dicts; NaN and infinities are kept. Also
            `Histogram`, `Image` (or a list of them), `Html` and `Table`; their files are stored first.
        first_line: History line the first row is meant for. With it the call is idempotent: rows that the
            server has already are skipped. Without it rows go to the end, and repeating the call repeats
            the rows.
        clock: Seconds since the epoch.

    Raises:
        RunConflict: The server's history does not fit `first_line`, or its last row is not the one this
            call would have written there: someone else writes this run. Or there are rows to add and the
            run has ended: they would reopen it, and nobody would end it again.
    """
    from wandb_ops.protocol import values
    from wandb_ops.protocol.filestream import FileStream
    from wandb_ops.protocol.runs import resume_status
    from wandb_ops.public.media.rows import RunMedia

    found = api.run(run)
    entity, project, run_id = found.path
    media = RunMedia(entity, project, run_id)
    status = resume_status(api.transport, entity=entity, project=project, run_id=run_id)
    if status is None:
        raise NotFoundError("the run does not exist", where=run)
    wanted = list(rows)
    lines_there = status.history_lines
    begin = lines_there if first_line is None else first_line
    skipped = lines_there - begin
    if not 0 <= skipped <= len(wanted):
        raise RunConflict(
            f"the history has {lines_there} lines; {len(wanted)} rows from line {begin} do not follow on",
            where=run,
            hint="Another writer appended to this run, or the run was rewound.",
        )
    if skipped:
        last = wanted[skipped - 1]
        seen = RunMedia(entity, project, run_id).row(last, last.get("_step", lines_there - 1))
        _must_match(seen, status.last_history_row, run)
    if skipped < len(wanted) and found.state in ENDED_STATES:
        raise RunConflict(
            f"the run has ended as {found.state}; {len(wanted) - skipped} more rows would reopen it",
            where=run,
            hint='Reopen it with create_run(..., on_finished="resume"), and end it again afterwards.',
        )
    summary: dict[str, Any] = dict(status.summary)
    lines: list[str] = []
    started = summary.get("_timestamp", 0.0) - summary.get("_runtime", 0.0) if lines_there else None
    for number, row in enumerate(wanted[skipped:], start=lines_there):
        now = clock()
        started = now if started is None else started
        stamp = row.get("_timestamp", now)
        full = {**row, "_step": row.get("_step", number), "_timestamp": stamp}
        full.setdefault("_runtime", max(0.0, stamp - started))
        full = media.row(full, full["_step"])
        lines.append(values.dumps(full))
        summary.update(full)
    if lines:
        media.save(api.transport)
        stream = FileStream(
            api.transport,
            entity=entity,
            project=project,
            run_id=run_id,
            offsets={HISTORY_FILE: lines_there},
        )
        stream.append(HISTORY_FILE, lines)
        stream.set_summary(values.dumps(summary))
        stream.flush()
    return LogResult(
        path=run,
        url=found.url,
        rows=len(lines),
        skipped=skipped,
        last_step=int(summary.get("_step", -1)),
        history_lines=lines_there + len(lines),
    )


def _must_match(wanted: Mapping[str, Any], there: Mapping[str, Any] | None, where: str) -> None:
    from wandb_ops.protocol import values

    shared = {key: value for key, value in wanted.items() if key not in {"_timestamp", "_runtime", "_step"}}
    theirs = {key: (there or {}).get(key) for key in shared}
    # Through the wire form, so that NaN equals NaN and 1.0 read back as 1.0 equals itself.
    if values.dumps(values.loads(values.dumps(shared))) != values.dumps(theirs):
        raise RunConflict(
            "the last row on the server is not the one this call wrote",
            where=where,
            hint="Another writer appended to this run.",
        )
