"""Rows into CSV and JSON lines, with nothing lost that the format can carry.

CSV has one type, text, and every reader guesses. These files leave nothing to guess: what is quoted is text
(or JSON), what is not quoted is a number, `true`, `false`, `NaN`, `Infinity`, `-Infinity`, or nothing at all.
JSON lines leave absent keys absent; JSON has no NaN, so non-finite numbers are the strings that W&B itself
uses for them. docs/export.md has the whole contract.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_CHUNK = 1 << 20
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], out: BinaryIO, *, excel_safe: bool = False
) -> int:
    """Write a heading and one line per row; returns the number of rows.

    Args:
        rows: Values by column; a column that a row lacks, and None, are empty cells.
        columns: The columns, in order.
        out: Gets UTF-8 with `\\n` line ends.
        excel_safe: Put `'` before text cells and headings that a spreadsheet would run as a formula.
            Numbers such as -1.5 stay as they are.
    """
    lines = _Lines(out)
    lines.add(",".join(_heading(name, excel_safe) for name in columns))
    for row in rows:
        lines.add(",".join([_cell(row.get(name), excel_safe) for name in columns]))
    return lines.finish() - 1


def write_jsonl(rows: Iterable[Mapping[str, Any]], out: BinaryIO) -> int:
    """Write one JSON object per row, keys in the row's order; returns the number of rows."""
    lines = _Lines(out)
    for row in rows:
        lines.add(json_text(row))
    return lines.finish()


def json_text(value: Any) -> str:
    """`value` as strict JSON on one line.

    Non-finite numbers become "NaN", "Infinity", "-Infinity"; integers of any size stay exact; a lone
    surrogate, which UTF-8 cannot carry, is escaped.
    """
    value = _finite(value)
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        # Integers beyond 64 bits, lone surrogates, deep nesting: the slow writer takes them.
        return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else _non_finite(value)
    if kind is dict:
        return {key: _finite(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_finite(item) for item in value]
    return value


def _non_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _cell(value: Any, excel_safe: bool) -> str:
    kind = type(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else _non_finite(value)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    text = value if kind is str else json_text(value)
    return _quoted(text, excel_safe)


def _heading(name: str, excel_safe: bool) -> str:
    plain = name and not any(c in name for c in ',"\r\n')
    return _quoted(name, excel_safe) if not plain or name.startswith(_FORMULA_STARTS) else name


def _quoted(text: str, excel_safe: bool) -> str:
    if excel_safe and text.startswith(_FORMULA_STARTS):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"'


class _Lines:
    """Lines into a binary file, a megabyte at a time."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._pending: list[str] = []
        self._size = 0
        self._count = 0

    def add(self, line: str) -> None:
        self._pending.append(line)
        self._size += len(line)
        self._count += 1
        if self._size > _CHUNK:
            self._flush()

    def finish(self) -> int:
        self._flush()
        return self._count

    def _flush(self) -> None:
        if self._pending:
            text = "\n".join(self._pending) + "\n"
            self._out.write(text.encode("utf-8", "backslashreplace"))
        self._pending = []
        self._size = 0
