"""The line files of a run (history, events, console log): stored as they came, keyed by line number.

A line is never re-encoded. Only ``_step`` is read from a history line, when it is written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from wandb_ops.local.errors import Refused

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

HISTORY, EVENTS, LOG = 0, 1, 2
FILES = {"wandb-history.jsonl": HISTORY, "wandb-events.jsonl": EVENTS, "output.log": LOG}
COUNTERS = {HISTORY: "history_lines", EVENTS: "events_lines", LOG: "log_lines"}

_MAX_STEP = 2**63 - 1
_MAX_ANSWER = 256 << 20  # characters of lines in one answer
_CHUNK = 500  # bound variables per statement


def steps_of(content: Sequence[str], offset: int) -> list[int]:
    """The ``_step`` of every history line; a line without one takes its line number.

    Raises:
        Refused: A line is not a JSON object; says which.
    """
    steps: list[int] = []
    for index, text in enumerate(content):
        try:
            row: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                raise Refused(f"line {offset + index} of wandb-history.jsonl is not valid JSON") from None
        if type(row) is not dict:
            raise Refused(f"line {offset + index} of wandb-history.jsonl is not a JSON object")
        step = row.get("_step", offset + index)
        if type(step) is float and step.is_integer():
            step = int(step)
        if type(step) is not int or not -_MAX_STEP <= step <= _MAX_STEP:
            raise Refused(f"line {offset + index} of wandb-history.jsonl: _step must be an integer")
        steps.append(step)
    return steps


def write(
    connection: sqlite3.Connection,
    run: int,
    file: int,
    offset: int,
    content: Sequence[str],
    steps: Sequence[int] | None,
    known_lines: int,
) -> int:
    """Store lines at their numbers, over what was there; returns the number of the line that comes next."""
    numbers = range(offset, offset + len(content))
    verb = "INSERT" if offset >= known_lines else "INSERT OR REPLACE"
    if steps is None:
        connection.executemany(
            f"{verb} INTO lines(run, file, line, step, text) VALUES({run},{file},?,NULL,?)",
            zip(numbers, content, strict=True),
        )
    else:
        connection.executemany(
            f"{verb} INTO lines(run, file, line, step, text) VALUES({run},{file},?,?,?)",
            zip(numbers, steps, content, strict=True),
        )
    if file == HISTORY and offset < known_lines:
        connection.execute("DELETE FROM history_keys WHERE run=?", (run,))
    return max(known_lines, offset + len(content))


def _texts(rows: Iterable[tuple[str]]) -> list[str]:
    texts: list[str] = []
    size = 0
    for (text,) in rows:
        size += len(text)
        if size > _MAX_ANSWER:
            raise Refused("the answer would be too large: ask for fewer rows")
        texts.append(text)
    return texts


def spread(count: int, samples: int) -> list[int]:
    """``samples`` of the numbers 0…count-1, evenly spread, with the first and the last."""
    if samples >= count:
        return list(range(count))
    if samples <= 1:
        return [count - 1][:samples]
    return [round(index * (count - 1) / (samples - 1)) for index in range(samples)]


def _numbered(connection: sqlite3.Connection, run: int, file: int, numbers: Sequence[int]) -> list[str]:
    texts: list[str] = []
    for start in range(0, len(numbers), _CHUNK):
        part = numbers[start : start + _CHUNK]
        marks = ",".join("?" * len(part))
        texts += _texts(
            connection.execute(
                f"SELECT text FROM lines WHERE run=? AND file=? AND line IN ({marks}) ORDER BY line",  # noqa: S608 - only constants are put in
                (run, file, *part),
            )
        )
    return texts


def sample(connection: sqlite3.Connection, run: int, file: int, lines: int, samples: int) -> list[str]:
    """All lines of a file when they are no more than ``samples``, else that many, evenly spread."""
    if lines <= samples:
        return between(connection, run, file, 0, lines)
    return _numbered(connection, run, file, spread(lines, samples))


def between(connection: sqlite3.Connection, run: int, file: int, start: int, stop: int) -> list[str]:
    """The lines numbered start…stop-1."""
    query = "SELECT text FROM lines WHERE run=? AND file=? AND line>=? AND line<? ORDER BY line"
    return _texts(connection.execute(query, (run, file, start, stop)))


def window(connection: sqlite3.Connection, run: int, low: int, high: int, samples: int) -> list[str]:
    """History lines with low <= _step < high, in line order; evenly sampled when more than ``samples``."""
    query = "SELECT line FROM lines WHERE run=? AND step>=? AND step<? ORDER BY step, line LIMIT ?"
    numbers = sorted(number for (number,) in connection.execute(query, (run, low, high, samples + 1)))
    if len(numbers) > samples:
        every = sorted(number for (number,) in connection.execute(query, (run, low, high, -1)))
        return _numbered(connection, run, HISTORY, [every[index] for index in spread(len(every), samples)])
    if numbers and numbers[-1] - numbers[0] + 1 == len(numbers):
        return between(connection, run, HISTORY, numbers[0], numbers[-1] + 1)
    return _numbered(connection, run, HISTORY, numbers)


def tail(connection: sqlite3.Connection, run: int, file: int, count: int = 1) -> list[str]:
    """The last ``count`` lines, oldest first."""
    query = "SELECT text FROM lines WHERE run=? AND file=? ORDER BY line DESC LIMIT ?"
    return _texts(connection.execute(query, (run, file, count)))[::-1]


def last_step(connection: sqlite3.Connection, run: int) -> int:
    """The highest ``_step`` of the history, -1 when it is empty."""
    found = connection.execute(
        "SELECT step FROM lines WHERE run=? AND step IS NOT NULL ORDER BY step DESC LIMIT 1", (run,)
    ).fetchone()
    return int(found[0]) if found else -1


def first_step_from(connection: sqlite3.Connection, run: int, line: int) -> int | None:
    """The lowest ``_step`` among history lines numbered ``line`` and above."""
    found = connection.execute(
        "SELECT min(step) FROM lines WHERE run=? AND file=0 AND line>=?", (run, line)
    ).fetchone()
    return None if found[0] is None else int(found[0])
