"""Does a JSON text hold an integer beyond 64 bits, which the fast parser would silently make a double?

A regular expression tells, but over a page of history it takes five times as long as parsing the page. Large
texts are therefore looked at four digits at a time.
"""

from __future__ import annotations

import re

_LONG_INTEGER = re.compile(rb"(?:^|[\s:,\[])(?:-\d{19}|\d{20})")
_SMALL = 1 << 14


def has_long_integer(text: bytes) -> bool:
    """Whether `text` holds an integer that may not fit 64 bits; True too for text that looks like one."""
    if len(text) < _SMALL:
        return _LONG_INTEGER.search(text) is not None
    return _has_long_integer(text)


def _has_long_integer(text: bytes) -> bool:
    """The same for large texts.

    Every run of 19 digits holds four aligned words of four digits. The octet that a run is preceded by tells
    integers from the fractions of doubles; the few runs left are looked at one by one.
    """
    import numpy as np

    data = b"    " + text + b" " * (8 - len(text) % 4)
    octets = np.frombuffer(data, np.uint8)
    words = ((octets - ord("0")) < 10).view(np.uint32) == 0x01010101
    runs = np.flatnonzero(words[3:] & words[2:-1] & words[1:-2] & words[:-3])
    starts = runs[~words[runs - 1]] * 4
    if not len(starts):
        return False
    # The run begins in the four octets before its first full word; the last non-digit there precedes it.
    before = octets[starts[:, None] + np.arange(-4, 0)]
    digits = (before - ord("0")) < 10
    leading = np.argmin(digits[:, ::-1], axis=1)  # digits of the run ahead of its first full word
    previous = before[np.arange(len(starts)), 3 - leading]
    integers = np.isin(previous, np.frombuffer(b" \t\r\n:,[-", np.uint8))
    for start, sign in zip((starts - leading)[integers].tolist(), previous[integers].tolist(), strict=True):
        if data[start : start + (19 if sign == ord("-") else 20)].isdigit():
            return True
    return False
