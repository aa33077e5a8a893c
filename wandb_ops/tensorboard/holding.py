"""Where the row begins that may still grow, for a folder that is followed.

A writer's values of one step reach the disk in several flushes. A pass that ended in the middle of a step
would make two rows of it. So a pass over a growing folder ends before the last step of each directory: the
position is the beginning of a record, what lies behind it is the next pass's, and nothing is read twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_ops.tensorboard.outlines import step_of_values
from wandb_ops.tensorboard.records import HEADER, Damage, RecordReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.tensorboard.discover import Directory, EventFile

# A step of more bytes than this is sent as it comes; no more than this is looked at again at every look.
WINDOW = 1 << 20


def before_open_rows(directories: list[Directory], since: Mapping[str, int]) -> dict[str, int]:
    """File name -> the byte at which a pass that begins at `since` should end."""
    until = {
        file.name: max(file.size, since.get(file.name, 0))
        for directory in directories
        for file in directory.files
    }
    for directory in directories:
        step: int | None = None
        for file in reversed(directory.files):
            begin = since.get(file.name, 0)
            if file.size <= begin:
                continue
            found = _last_step(file, begin, step)
            if found is None:
                break
            until[file.name], step, goes_on = found
            if not goes_on:
                break
    return until


def _last_step(file: EventFile, since: int, step: int | None) -> tuple[int, int | None, bool] | None:
    """Where the values of the file's last step begin, that step, and whether the file before may have more.

    Args:
        file: What was written so far.
        since: Where the next pass begins.
        step: The step with which the next file begins; None when there is none.

    Returns:
        None when the file ends with another step than `step`, or its last step is too long to be held back.
    """
    begin = max(since, file.size - WINDOW)
    reader = RecordReader(
        file, start=begin, end=file.size, damage=Damage(), chunk=WINDOW, trusted=begin == since
    )
    records = [
        (chunk.start + offset - HEADER, chunk.data, offset, offset + length)
        for chunk in reader
        for offset, length in zip(chunk.offsets.tolist(), chunk.lengths.tolist(), strict=True)
    ]
    cut: int | None = None
    for position, data, start, end in reversed(records):
        found = step_of_values(data, start, end)
        if found is None:
            continue
        if step is None:
            step = found
        if found != step:
            return None if cut is None else (cut, step, False)
        cut = position
    if begin > since:
        return None
    return (file.size if cut is None else cut), step, True
