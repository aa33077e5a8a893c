"""Which of very many texts came already, in a few bytes each.

A list of runs must not give a run twice, however far apart its two places are. A `set` of a hundred thousand
ids takes ten megabytes; this takes two to four, because it keeps no texts but 128 bits of a hash of each: two
different ones of a billion are taken for one another with a chance of one to 10^20.
"""

from __future__ import annotations

import hashlib

_WIDTH = 16
_EMPTY = bytes(_WIDTH)
_SMALLEST = 1024


class IdSet:
    """A set of texts that can be added to and asked, and nothing else."""

    def __init__(self) -> None:
        self._table = bytearray(_WIDTH * _SMALLEST)
        self._mask = _SMALLEST - 1
        self._count = 0

    def add(self, text: str) -> bool:
        """Take `text` in; whether it is new."""
        digest = _digest(text)
        place = self._place(digest)
        if self._table[place : place + _WIDTH] == digest:
            return False
        self._table[place : place + _WIDTH] = digest
        self._count += 1
        if self._count * 5 > self._mask * 4:
            self._grow()
        return True

    def __contains__(self, text: str) -> bool:
        digest = _digest(text)
        place = self._place(digest)
        return self._table[place : place + _WIDTH] == digest

    def __len__(self) -> int:
        return self._count

    def _place(self, digest: bytes) -> int:
        """Where the digest is in the table, or would be."""
        table, mask = self._table, self._mask
        slot = int.from_bytes(digest[:8], "little") & mask
        while True:
            place = slot * _WIDTH
            found = table[place : place + _WIDTH]
            if found in (digest, _EMPTY):
                return place
            slot = (slot + 1) & mask

    def _grow(self) -> None:
        old = self._table
        self._mask = 2 * self._mask + 1
        self._table = bytearray(2 * len(old))
        for start in range(0, len(old), _WIDTH):
            digest = bytes(old[start : start + _WIDTH])
            if digest != _EMPTY:
                place = self._place(digest)
                self._table[place : place + _WIDTH] = digest


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_WIDTH).digest()
