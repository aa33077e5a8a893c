"""The tags of one directory, numbered as they appear; looked up one by one, or a column of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I32 = NDArray[np.int32]
    U8 = NDArray[np.uint8]
    U64 = NDArray[np.uint64]

# Odd multiplier for the words of a tag; any will do, equality is checked exactly.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(slots=True)
class _Known:
    """Tags of one length that were seen before: sorted hashes, and the words they are made of."""

    hashes: U64
    ids: I32
    words: U64  # (tags, words per tag)


class TagTable:
    """Tag to number and back."""

    def __init__(self) -> None:
        self.tags: list[bytes] = []
        self._ids: dict[bytes, int] = {}
        self._known: dict[int, _Known] = {}  # tag length -> tags

    def id(self, tag: bytes) -> int:
        """The number of `tag`, a new one when it is new."""
        found = self._ids.get(tag)
        if found is None:
            found = self._ids[tag] = len(self.tags)
            self.tags.append(tag)
        return found

    def __len__(self) -> int:
        return len(self.tags)

    def ids(self, block: U8, start: int, size: int) -> I32:
        """The numbers of the tags in the rows of a byte matrix.

        Args:
            block: (rows, width), C-contiguous.
            start: The column at which every tag begins.
            size: Bytes of every tag, at least 1.
        """
        words = _words(block, start, size)
        if all(bool((word == word[0]).all()) for word in words):
            only = self.id(block[0, start : start + size].tobytes())
            return np.full(len(block), only, dtype=np.int32)
        hashes = words[0] * _MULTIPLIER
        for nth, word in enumerate(words[1:], start=1):
            hashes ^= (word + np.uint64(nth)) * (_MULTIPLIER << np.uint64(1) | np.uint64(1)) + (
                hashes >> np.uint64(29)
            )
        ids, found = _look_up(self._known.get(size), hashes, words)
        if found.all():
            return ids
        missing = np.flatnonzero(~found)
        _, first = np.unique(hashes[missing], return_index=True)
        new = missing[first]
        new_ids = [self.id(block[row, start : start + size].tobytes()) for row in new.tolist()]
        self._known[size] = _more(
            self._known.get(size),
            hashes[new],
            np.array(new_ids, dtype=np.int32),
            np.stack(words, axis=1)[new],
        )
        ids, found = _look_up(self._known[size], hashes, words)
        for row in np.flatnonzero(~found).tolist():  # two tags with one hash
            ids[row] = self.id(block[row, start : start + size].tobytes())
        return ids


def _words(block: U8, start: int, size: int) -> list[U64]:
    """A tag's bytes as 64-bit words, the last one overlapping; together they are the whole tag."""
    rows, width = block.shape
    if size < 8:
        word = np.zeros(rows, dtype=np.uint64)
        for nth in range(size):
            word |= block[:, start + nth].astype(np.uint64) << np.uint64(8 * nth)
        return [word]
    starts = [*range(start, start + size - 7, 8)]
    if size % 8:
        starts.append(start + size - 8)
    return [
        np.ndarray(shape=(rows,), dtype="<u8", buffer=block, offset=at, strides=(width,)).astype(np.uint64)
        for at in starts
    ]


def _look_up(known: _Known | None, hashes: U64, words: list[U64]) -> tuple[I32, NDArray[np.bool_]]:
    if known is None:
        return np.zeros(len(hashes), dtype=np.int32), np.zeros(len(hashes), dtype=np.bool_)
    place = np.minimum(np.searchsorted(known.hashes, hashes), len(known.hashes) - 1)
    found = known.hashes[place] == hashes
    for nth, word in enumerate(words):
        found &= known.words[place, nth] == word
    return known.ids[place], found


def _more(known: _Known | None, hashes: U64, ids: I32, words: U64) -> _Known:
    if known is not None:
        hashes = np.concatenate([known.hashes, hashes])
        ids = np.concatenate([known.ids, ids])
        words = np.concatenate([known.words, words])
    # Of two tags with one hash the first keeps its place; the other is looked up by name.
    hashes, first = np.unique(hashes, return_index=True)
    return _Known(hashes, ids[first], words[first])
