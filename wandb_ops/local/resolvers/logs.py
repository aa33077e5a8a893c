"""A run's console log, line by line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.history import lines
from wandb_ops.local.resolvers.context import (
    MAX_PAGE,
    Args,
    Context,
    Resolver,
    connection,
    cursor_number,
    number_cursor,
    page_size,
)

if TYPE_CHECKING:
    from wandb_ops.local.runs.runs import Run

# "ERROR 2026-01-31T12:00:00.000000 text": what W&B's SDK writes; the word is there for stderr only.
_LINE = re.compile(r"(?:(ERROR) )?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?) (.*)", re.DOTALL)


def _line(number: int, text: str) -> dict[str, Any]:
    match = _LINE.fullmatch(text)
    level, timestamp, line = match.groups() if match else (None, None, text)
    return {
        "number": number,
        "timestamp": timestamp,
        "level": "error" if level else "info",
        "label": None,
        "line": line.rstrip("\n"),
    }


def _log_lines(run: Run, context: Context, args: Args) -> dict[str, Any]:
    start = cursor_number(args.get("after"), -1) + 1
    last = args.get("last")
    if last is not None:
        if last < 1:
            raise Refused("last must be at least 1")
        start = max(start, run.log_lines - min(last, MAX_PAGE))
    stop = min(start + page_size(args, MAX_PAGE), run.log_lines)
    with context.service.store.reading() as db:
        found = db.execute(
            "SELECT line, text FROM lines WHERE run=? AND file=? AND line>=? AND line<? ORDER BY line",
            (run.pk, lines.LOG, start, stop),
        ).fetchall()
    nodes = [(_line(number, text), number_cursor(number)) for number, text in found]
    return connection(nodes, stop < run.log_lines)


RESOLVERS: dict[str, Resolver] = {"Run.logLines": _log_lines}
