"""Does a JSON text hold an integer beyond 64 bits, which the fast parser would silently make a double?

A regular expression tells, but over a page of history it takes five times as long as parsing the page. Large
texts are therefore looked at with numpy, all octets of a block at once.
"""

from __future__ import annotations

import re
from typing import Any

_LONG_INTEGER = re.compile(rb"(?:^|[\s:,\[])(?:-\d{19}|\d{20})")
_SMALL = 1 << 14
_BLOCK = 1 << 17  # octets looked at together: what is made of them stays in the processor's cache
_OVERLAP = 32  # more than the digits that make an integer long, and its sign


def has_long_integer(text: bytes) -> bool:
    """Whether `text` holds an integer that may not fit 64 bits; True too for text that looks like one."""
    return _has_long_integer(text) if len(text) >= _SMALL else _LONG_INTEGER.search(text) is not None


def _has_long_integer(text: bytes) -> bool:
    """The same for large texts.

    An integer that crosses into a block was seen whole at the end of the one before.
    """
    import numpy as np

    if _LONG_INTEGER.match(text):  # with nothing before it
        return True
    octets = np.frombuffer(text, np.uint8)
    starts = range(0, len(octets) - _OVERLAP, _BLOCK - _OVERLAP)
    return any(_in_block(octets[start : start + _BLOCK]) for start in starts)


def _in_block(octets: Any) -> bool:
    """Whether so many digits follow an octet that is no digit and begins neither a fraction nor a text.

    `runs[i]` says that the octets from i on are digits: two, then four, eight, sixteen and nineteen of them.
    """
    digits = (octets - ord("0")) < 10
    runs = digits[:-1] & digits[1:]
    for more in (2, 4, 8, 3):
        runs = runs[:-more] & runs[more:]
    leading = ~digits & (octets != ord(".")) & (octets != ord('"'))
    long = runs[1:] & leading[: len(runs) - 1]
    if not long.any():
        return False
    # Nineteen digits are too many after a sign only; without one they fit, as nanoseconds do.
    longer = runs[1:-1] & runs[2:] & leading[: len(runs) - 2]
    return bool(longer.any() or (long & (octets[: len(long)] == ord("-"))).any())
