"""Arrays over a buffer whose items lie anywhere in it: unaligned, overlapping, rows at any positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64 = NDArray[np.int64]
    U8 = NDArray[np.uint8]


def view(buffer: bytes | U8, dtype: str, count: int) -> NDArray[Any]:
    """All `dtype` items of `buffer`, one starting at every byte (overlapping, unaligned)."""
    return np.ndarray(shape=(max(0, count),), dtype=dtype, buffer=buffer, strides=(1,))


def rows_of(data: bytes, offsets: I64, length: int) -> U8:
    """The byte rows data[offset : offset + length], as a fresh (n, length) matrix."""
    items = view(data, f"V{length}", len(data) - length + 1)
    return items[offsets].view(np.uint8).reshape(len(offsets), length)
