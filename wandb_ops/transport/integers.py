"""Does a JSON text hold an integer beyond 64 bits, which the fast parser would silently make a double?

A regular expression tells, but over a page of history it takes five times as long as parsing the page. Large
texts are therefore looked at with numpy, all octets of a block at once.
"""

from __future__ import annotations

import re
from typing import Any

_LONG_INTEGER = re.compile(rb"(?:^|[\s:,\[])(?:-\d{19}|\d{20})")
_SMALL = 1 << 14
_BLOCK = 1 << 18  # octets looked at together: what is made of them stays in the processor's cache
_OVERLAP = 32  # octets; more than the digits that make an integer long, its sign, and one to either side


def has_long_integer(text: bytes) -> bool:
    """Whether `text` holds an integer that may not fit 64 bits; True too for text that looks like one."""
    return _has_long_integer(text) if len(text) >= _SMALL else _LONG_INTEGER.search(text) is not None


def _has_long_integer(text: bytes) -> bool:
    """The same for large texts.

    An integer that crosses into a block was seen whole at the end of the one before.
    """
    import numpy as np

    # At the ends there are no octets before or behind to look at.
    if _LONG_INTEGER.match(text) or _LONG_INTEGER.search(text, len(text) - 2 * _OVERLAP):
        return True
    octets = np.frombuffer(text, np.uint8)
    starts = range(0, len(octets) - _OVERLAP, _BLOCK - _OVERLAP)
    return any(_in_block(octets[start : start + _BLOCK]) for start in starts)


def _in_block(octets: Any) -> bool:
    """Whether so many digits follow an octet that is no digit and begins neither a fraction nor a text.

    A run of nineteen digits has nine pairs of them in a row at even places, and few shorter ones have: only
    where there are nine is looked closer.
    """
    import numpy as np

    digits = (octets[: len(octets) & ~1] - np.uint8(ord("0"))) < 10
    runs = digits.view(np.uint16) == 0x0101
    for more in (1, 2, 4, 1):
        runs = runs[:-more] & runs[more:]
    found = np.flatnonzero(runs) * 2
    found = found[(found >= 2) & (found < len(digits) - 20)]  # the others are inside of a block next to this
    if not len(found):
        return False
    ahead = found - 1
    ahead -= digits[ahead]  # the run may begin at an odd place
    first = octets[ahead]
    leading = ~digits[ahead] & (first != ord(".")) & (first != ord('"'))
    # Nineteen digits are too many after a sign only; without one they fit, as nanoseconds do.
    return bool((leading & digits[ahead + 19] & (digits[ahead + 20] | (first == ord("-")))).any())
