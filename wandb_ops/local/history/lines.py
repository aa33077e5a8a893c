"""The line files of a run (history, events, console log): stored as they came, keyed by line number.

A line is never re-encoded. Only ``_step`` is read from a history line, when it is written.

The `sqlite3` module lets go of the interpreter's lock and takes it again for every row that it steps over,
which with many requests at once costs more than the rows: lines go in by the block and come out as one text.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import orjson

from wandb_ops.local.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HISTORY, EVENTS, LOG = 0, 1, 2
FILES = {"wandb-history.jsonl": HISTORY, "wandb-events.jsonl": EVENTS, "output.log": LOG}
COUNTERS = {HISTORY: "history_lines", EVENTS: "events_lines", LOG: "log_lines"}

_MAX_STEP = 2**63 - 1
_MAX_ANSWER = 256 << 20  # characters of lines in one answer
_CHUNK = 500  # bound variables per statement
_BLOCKS = (256, 64, 16, 4, 1)  # lines of one INSERT; few sizes, so that each is compiled once
_SEPARATOR = "\x1e"  # JSON text holds no control characters


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


@functools.cache
def _insert(new: bool, size: int) -> str:
    """The statement that puts in so many lines."""
    rows = (f"(?1,?2,?{3 * row + 3},?{3 * row + 4},?{3 * row + 5})" for row in range(size))
    verb = "INSERT" if new else "INSERT OR REPLACE"
    return f"{verb} INTO lines(run, file, line, step, text) VALUES {','.join(rows)}"


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
    values: list[Any] = []
    for index, text in enumerate(content):
        values += (offset + index, None if steps is None else steps[index], text)
    start = 0
    for size in _BLOCKS:
        while len(content) - start >= size:
            block = values[3 * start : 3 * (start + size)]
            connection.execute(_insert(offset >= known_lines, size), (run, file, *block))
            start += size
    if file == HISTORY and offset < known_lines:
        connection.execute("DELETE FROM history_keys WHERE run=?", (run,))
    return max(known_lines, offset + len(content))


def _texts(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[str]:
    """The texts that a query of one column selects, in its order."""
    joined = f"SELECT count(*), group_concat(text, char(30)) FROM ({query})"  # noqa: S608 - only constants are put in
    try:
        count, text = connection.execute(joined, values).fetchone()
    except sqlite3.DataError:  # beyond what SQLite takes for one text
        raise _too_large() from None
    if not count:
        return []
    if len(text) > _MAX_ANSWER:
        raise _too_large()
    texts: list[str] = text.split(_SEPARATOR)
    # A line of the console may hold the separator itself.
    return texts if len(texts) == count else list(_one_by_one(connection.execute(query, values)))


def _too_large() -> Refused:
    return Refused("the answer would be too large: ask for fewer rows")


def _one_by_one(rows: Iterable[tuple[str]]) -> Iterator[str]:
    size = 0
    for (text,) in rows:
        size += len(text)
        if size > _MAX_ANSWER:
            raise _too_large()
        yield text


def spread(count: int, samples: int) -> list[int]:
    """``samples`` of the numbers 0…count-1, evenly spread, with the first and the last."""
    if samples >= count:
        return list(range(count))
    if samples <= 1:
        return [count - 1][:samples]
    return [round(index * (count - 1) / (samples - 1)) for index in range(samples)]


def holding(connection: sqlite3.Connection, run: int, names: tuple[str, str]) -> list[int]:
    """The numbers of the history lines whose text holds one of two texts, in line order."""
    query = (
        "SELECT line FROM lines WHERE run=? AND file=? AND (instr(text, ?) OR instr(text, ?)) ORDER BY line"
    )
    return [number for (number,) in connection.execute(query, (run, HISTORY, *names))]


def numbered(connection: sqlite3.Connection, run: int, file: int, numbers: Sequence[int]) -> list[str]:
    """The lines of these numbers, which are in order."""
    texts: list[str] = []
    for start in range(0, len(numbers), _CHUNK):
        part = numbers[start : start + _CHUNK]
        marks = ",".join("?" * len(part))
        query = f"SELECT text FROM lines WHERE run=? AND file=? AND line IN ({marks}) ORDER BY line"  # noqa: S608 - only constants are put in
        texts += _texts(connection, query, (run, file, *part))
    return texts


def sample(connection: sqlite3.Connection, run: int, file: int, lines: int, samples: int) -> list[str]:
    """All lines of a file when they are no more than ``samples``, else that many, evenly spread."""
    if lines <= samples:
        return between(connection, run, file, 0, lines)
    return numbered(connection, run, file, spread(lines, samples))


def between(connection: sqlite3.Connection, run: int, file: int, start: int, stop: int) -> list[str]:
    """The lines numbered start…stop-1."""
    query = "SELECT text FROM lines WHERE run=? AND file=? AND line>=? AND line<? ORDER BY line"
    return _texts(connection, query, (run, file, start, stop))


def window(connection: sqlite3.Connection, run: int, low: int, high: int, samples: int) -> list[str]:
    """History lines with low <= _step < high, in line order; evenly sampled when more than ``samples``."""
    query = "SELECT line FROM lines WHERE run=? AND step>=? AND step<? ORDER BY step, line LIMIT ?"
    count, first, last = connection.execute(
        f"SELECT count(*), min(line), max(line) FROM ({query})",  # noqa: S608 - only constants are put in
        (run, low, high, samples + 1),
    ).fetchone()
    if not count:
        return []
    if count <= samples and last - first + 1 == count:  # as nearly always
        return between(connection, run, HISTORY, first, last + 1)
    numbers = sorted(number for (number,) in connection.execute(query, (run, low, high, -1)))
    return numbered(connection, run, HISTORY, [numbers[index] for index in spread(len(numbers), samples)])


def tail(connection: sqlite3.Connection, run: int, file: int, count: int = 1) -> list[str]:
    """The last ``count`` lines, oldest first."""
    query = "SELECT text FROM lines WHERE run=? AND file=? ORDER BY line DESC LIMIT ?"
    return [text for (text,) in connection.execute(query, (run, file, count))][::-1]


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
