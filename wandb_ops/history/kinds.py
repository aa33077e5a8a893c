"""What kinds of values a column holds, and the one type that keeps all of them.

A set of kinds is an int of bits, so that the kinds of parts of a column can be joined with `|`: what a
column becomes depends on the values in it, never on how they were cut into pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

INT: Final = 1
LARGE: Final = 2  # an integer that no int64 holds
ROUNDED: Final = 4  # an integer that no double holds
FLOAT: Final = 8
NONFINITE_TEXT: Final = 16  # "NaN", "Infinity", "-Infinity" as text
TEXT: Final = 32
BOOL: Final = 64
JSON: Final = 128  # lists, objects, and text that is not valid UTF-8

ColumnType = Literal["int", "bigint", "float", "bool", "str", "json", "null"]

NONFINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}

_EXACT = 2**53
_INT64 = 2**63


def kind_of(value: Any) -> int:
    """The kinds of one value (never None)."""
    if type(value) is float:
        return FLOAT
    if type(value) is int:
        return INT if -_EXACT <= value <= _EXACT else _kind_of_large(value)
    if type(value) is str:
        if value in NONFINITE:
            return NONFINITE_TEXT
        return TEXT if is_utf8(value) else JSON
    return BOOL if type(value) is bool else JSON


def _kind_of_large(value: int) -> int:
    kind = INT
    if not -_INT64 <= value < _INT64:
        kind |= LARGE
    try:
        exact = int(float(value)) == value
    except OverflowError:
        exact = False
    return kind if exact else kind | ROUNDED


def kinds_of(values: Iterable[Any]) -> int:
    """The kinds of all the values."""
    kinds = 0
    for value in values:
        kinds |= kind_of(value)
    return kinds


def kinds_of_ints(values: Iterable[int], low: int, high: int) -> int:
    """`kinds_of` integers between `low` and `high`: looks at each only when one may be large."""
    return INT if low >= -_EXACT and high <= _EXACT else kinds_of(values)


def is_utf8(text: str) -> bool:
    """Whether the text can be stored as UTF-8: it has no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def column_type(kinds: int) -> ColumnType:
    """The type that keeps every value of these kinds.

    int and float together are float while every integer is exactly a double; "NaN" and the infinities as
    text among numbers are those numbers; any other mixture is kept value by value, as JSON text.
    """
    if not kinds:
        return "null"
    if kinds & JSON:
        return "json"
    if kinds & BOOL:
        return "bool" if kinds == BOOL else "json"
    numbers = kinds & (INT | FLOAT)
    if kinds & TEXT:
        return "json" if numbers else "str"
    if not numbers:
        return "str"
    if kinds & (FLOAT | NONFINITE_TEXT):
        return "json" if kinds & ROUNDED else "float"
    return "bigint" if kinds & LARGE else "int"
