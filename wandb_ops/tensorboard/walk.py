"""Positions in many protobuf messages at once, stepped forward field by field in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    I64 = NDArray[np.int64]

_SIZE_BYTES = 4  # of a varint that is a length


class Walk:
    """One position per record; `fits` says which records have had the expected fields so far.

    Nothing is ever read outside the data: a position that ran away reads the last byte, and its record does
    not fit, because lengths are checked against `end`.
    """

    def __init__(self, data: NDArray[np.uint8], at: I64, end: I64) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.fits: Bools = np.ones(len(at), dtype=np.bool_)

    def some(self, which: Bools) -> tuple[I64, Walk]:
        """The records that fit and `which` are, and a walk on from here over them alone."""
        kept = np.flatnonzero(self.fits & which)
        return kept, Walk(self.data, self.at[kept], self.end[kept])

    def _next(self) -> NDArray[np.uint8]:
        return self.data.take(self.at, mode="clip")

    def sees(self, key: int) -> Bools:
        """Which records have `key` next."""
        found: Bools = self._next() == key
        return found

    def expect(self, key: int) -> None:
        """Step over a key that must be there."""
        self.fits &= self.sees(key)
        self.at = self.at + 1

    def skip_fixed64(self, key: int) -> tuple[Bools, I64]:
        """Step over an optional field of 8 bytes: who has it, and where its value is."""
        has = self.sees(key)
        where = self.at + 1
        self.at = self.at + 9 * has
        return has, where

    def varint(self, has: Bools | None = None, *, most: int = 10) -> NDArray[np.uint64]:
        """Step over a varint of at most `most` bytes; 0 for the records that have none."""
        byte = self._next()
        if has is None:
            going: Bools = byte >= 0x80
            value = (byte & 0x7F).astype(np.uint64)
            self.at = self.at + 1
        else:
            going = has & (byte >= 0x80)
            value = ((byte & 0x7F) * has).astype(np.uint64)
            self.at = self.at + has
        for nth in range(1, most):
            if not going.any():
                break
            byte = self._next()
            value |= ((byte & 0x7F) * going).astype(np.uint64) << np.uint64(7 * nth)
            self.at = self.at + going
            going &= byte >= 0x80
        self.fits &= ~going
        return value

    def optional_varint(self, key: int) -> NDArray[np.uint64]:
        """Step over an optional varint field; 0 where it is missing."""
        has = self.sees(key)
        self.at = self.at + has
        return self.varint(has)

    def length(self, key: int, *, to_end: bool) -> I64:
        """Step over key and length of a field, which must end within the record, or `to_end` with it."""
        self.expect(key)
        size = self.varint(most=_SIZE_BYTES).astype(np.int64)
        self.fits &= (self.at + size == self.end) if to_end else (self.at + size < self.end)
        return size
