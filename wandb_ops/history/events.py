"""System metrics: rows without steps, so they are read in one request for more rows than there are.

W&B's `events` takes a number of samples and nothing else: there is no asking for a part of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_ops.errors import IncompleteHistory, ResponseTooLarge
from wandb_ops.history.columns import ColumnBuilder
from wandb_ops.history.pages import parse_page, texts_of
from wandb_ops.history.ref import RunRef, fetch_run, run_counts
from wandb_ops.history.table import HistoryTable
from wandb_ops.history.unify import unify
from wandb_ops.protocol.documents import history as documents

if TYPE_CHECKING:
    from wandb_ops.history.select import Selection
    from wandb_ops.transport.session import Transport

_ROOM = 1000  # rows that may come while the run is read
_ROOM_BYTES = documents.FULL_EVENTS.max_bytes or 0


def read_events(transport: Transport, ref: RunRef, selection: Selection) -> HistoryTable:
    """All system metrics of a run.

    Raises:
        IncompleteHistory: Other than the number of rows came that the server says exist.
        ResponseTooLarge: They do not fit one answer of 512 MiB.
    """
    counts = run_counts(transport, ref, events=True)
    expected = counts.events_lines or 0
    builder = ColumnBuilder()
    if expected:
        try:
            run = fetch_run(transport, ref, documents.FULL_EVENTS, samples=expected + _ROOM)
        except ResponseTooLarge:
            size = f"the {_ROOM_BYTES >> 20} MiB of one answer"
            raise ResponseTooLarge(
                f"{expected:,} rows of system metrics are larger than {size}",
                where=ref.path,
                hint="W&B can only be asked for all of them at once. run.history(stream='system', samples=n)"
                " takes a sample.",
            ) from None
        rows = parse_page(texts_of(run.get("events"), ref.path), f"{ref.path}, events")
        if len(rows) != expected:
            _must_have_grown(transport, ref, expected, len(rows))
        builder.add(selection.rows(rows, extra=("_timestamp",)))
    table = unify(builder.finish())
    return HistoryTable(table, counts=counts, expected_rows=None if selection else expected)


def _must_have_grown(transport: Transport, ref: RunRef, expected: int, received: int) -> None:
    now = run_counts(transport, ref, events=True).events_lines or 0
    if not expected <= received <= now or received >= expected + _ROOM:
        raise IncompleteHistory(
            f"{received} rows of system metrics came of {expected}",
            expected=expected,
            received=received,
            where=ref.path,
        )
