"""Python numbers to a numpy array, all types checked, at the cost of copying them.

`numpy.array` asks every value what it is, and takes an integer or a bool among floats without a word.
CPython's own serializer writes a list of floats as records of nine octets, a type code and the double: one
pass in C, and the codes tell afterwards whether every value was a float. Integers that fit 32 bits are
records of five. No other list is taken, nor is any should a Python write them otherwise.
"""

from __future__ import annotations

import functools
import marshal
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_VERSION = 2  # the last one that writes values as such, without references to earlier ones
_HEAD = 5  # the list's own code and its length


def pack(column: list[Any]) -> np.ndarray[Any, Any] | None:
    """float64 of a list of floats, int64 of a list of integers of 32 bits; None for every other list.

    Args:
        column: Values of JSON, at least one.
    """
    kind = type(column[0])
    if (kind is not float and kind is not int) or not _as_expected():
        return None
    import numpy as np

    try:
        written, count = marshal.dumps(column, _VERSION), len(column)
    except ValueError:  # a list in the list, nested deeper than it writes
        return None
    floats, ints = _records()
    if len(written) == _HEAD + count * floats.itemsize:
        records = np.frombuffer(written, floats, offset=_HEAD)
        # Each code stands where the record before it ends, so that all of them are what they seem.
        return records["value"] if (records["code"] == ord("g")).all() else None
    if len(written) == _HEAD + count * ints.itemsize:
        records = np.frombuffer(written, ints, offset=_HEAD)
        return records["value"].astype(np.int64) if (records["code"] == ord("i")).all() else None
    return None


@functools.cache
def _records() -> tuple[np.dtype[Any], np.dtype[Any]]:
    import numpy as np

    return (
        np.dtype([("code", "u1"), ("value", "<f8")]),
        np.dtype([("code", "u1"), ("value", "<i4")]),
    )


@functools.cache
def _as_expected() -> bool:
    """Whether this Python writes lists as described above."""
    floats = struct.pack("<cicdcd", b"[", 2, b"g", 0.5, b"g", -1e300)
    ints = struct.pack("<cicici", b"[", 2, b"i", 7, b"i", -(2**31))
    return marshal.dumps([0.5, -1e300], _VERSION) == floats and marshal.dumps([7, -(2**31)], _VERSION) == ints
