"""CRC-32C over many byte rows at once, in numpy.

TFRecord framing protects each length and each payload with a masked CRC-32C (Castagnoli). A Python loop over
bytes is too slow and the C packages are one more dependency (where one is installed, long records go to it),
so the linearity of the CRC is used: the CRC of
a row is the xor of one table entry per 16-bit word, the table chosen by the word's distance from the end.
Rows longer than a segment are cut into segments whose CRCs are combined pairwise ("append n zero bytes" is a
linear map, kept as two 65536-entry tables). Leading zero bytes do not change a raw CRC (initial value 0), so
rows of different lengths share one matrix, padded on the left.

Many long rows are made short first, without tables: where x^a = x^b + x^c + 1 modulo the CRC's polynomial, a
byte that stands a bytes before the end of a row may be moved to the places b, c and 0 bytes before it. A few
such identities with byte-aligned powers, found by search, leave `xor` of whole stretches to be done.
"""

from __future__ import annotations

import importlib
import warnings
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    U8 = NDArray[np.uint8]
    U32 = NDArray[np.uint32]

SEGMENT = 64  # bytes; the most distant table in use is SEGMENT / 2 - 1
_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_ALL_ONES = 0xFFFFFFFF
_WORDS = 1 << 16
# Below this many rows, looking for constant columns costs more than it saves.
_FEW_ROWS = 64
_BLOCK = 4096  # segments whose bytes stay in the processor's cache
# (a, b, c, ...): x^8a = x^8b + x^8c + ... + 1 modulo the polynomial. The wider the gap between a and b, the
# longer the stretches; a is about what is left of a row.
_IDENTITIES = ((40145, 151, 48), (6777, 484, 100), (1285, 40, 38, 19, 8), (563, 109, 58, 53, 31))
_SHORTENED = 576  # bytes: the first multiple of SEGMENT above the last identity's reach
_WORTH_SHORTENING = 1 << 16  # bytes of a matrix; below, the calls cost more than the bytes


@cache
def _word_table(words_after: int) -> U32:
    """Entry w: raw CRC of the little-endian word w followed by `words_after` zero words."""
    if words_after == 0:
        table = np.arange(_WORDS, dtype=np.uint32)
        for _ in range(16):
            table = (table >> np.uint32(1)) ^ (np.uint32(_POLYNOMIAL) * (table & np.uint32(1)))
        return table
    before = _word_table(words_after - 1)
    after: U32 = _word_table(0)[before & np.uint32(0xFFFF)] ^ (before >> np.uint32(16))
    return after


@cache
def _append_zeros(log2_segments: int) -> tuple[U32, U32]:
    """Tables (low, high) of the map "append 2**log2_segments * SEGMENT zero bytes to a raw CRC"."""
    if log2_segments == 0:
        return _word_table(SEGMENT // 2 - 1), _word_table(SEGMENT // 2 - 2)
    low, high = half = _append_zeros(log2_segments - 1)
    return _apply(half, low), _apply(half, high)


def _apply(operator: tuple[U32, U32], crc: U32) -> U32:
    low, high = operator
    after: U32 = low[crc & np.uint32(0xFFFF)] ^ high[crc >> np.uint32(16)]
    return after


@lru_cache(maxsize=1 << 16)
def _initial(length: int) -> int:
    """What the initial value 0xFFFFFFFF contributes to the CRC of `length` bytes."""
    state = _ALL_ONES
    segments, rest = divmod(length, SEGMENT)
    for _ in range(rest):
        low = state & 0xFF
        # One byte is the word table's entry with nothing after, for a state shifted up by a byte.
        state = (state >> 8) ^ int(_word_table(0)[low << 8])
    log2 = 0
    while segments:
        if segments & 1:
            lo, hi = _append_zeros(log2)
            state = int(lo[state & 0xFFFF]) ^ int(hi[state >> 16])
        segments >>= 1
        log2 += 1
    return state


def _raw_segments(words: NDArray[np.uint16]) -> U32:
    """Raw CRC of each row of at most SEGMENT bytes, given as little-endian words."""
    rows, width = words.shape
    crc = np.zeros(rows, dtype=np.uint32)
    entries = np.empty(rows, dtype=np.uint32)
    constant = 0
    for column in range(width):
        table = _word_table(width - 1 - column)
        word = words[:, column]
        # Structure is the same in all rows of a kind; a few of them tell most columns where it is not.
        if rows > _FEW_ROWS and (word[:_FEW_ROWS] == word[0]).all() and (word == word[0]).all():
            constant ^= int(table[word[0]])
        else:
            crc ^= table.take(word, out=entries, mode="clip")  # no word is out of bounds
    return crc ^ np.uint32(constant)


@cache
def _byte_tables() -> list[U32]:
    """For each place in a segment: entry b is the raw CRC of byte b there, with zeros behind it."""
    every_byte = np.arange(256)
    return [
        np.ascontiguousarray(_word_table((SEGMENT - 1 - place) // 2)[every_byte << (8 * (place % 2))])
        for place in range(SEGMENT)
    ]


def _raw_full_segments(block: U8) -> U32:
    """Raw CRC of each row of SEGMENT bytes, by small tables, a cache's worth at a time."""
    crc = np.zeros(len(block), dtype=np.uint32)
    for start in range(0, len(block), _BLOCK):
        columns = np.ascontiguousarray(block[start : start + _BLOCK].T)
        part = crc[start : start + _BLOCK]
        for table, column in zip(_byte_tables(), columns, strict=True):
            part ^= table.take(column)
    return crc


def _shortened(block: U8) -> U8:
    """Rows of _SHORTENED bytes with the raw CRCs of the long ones, which are overwritten."""
    width = block.shape[1]
    at = 0  # everything before is moved
    for reach, *others in _IDENTITIES:
        while width - at > reach:
            # No byte may be moved onto one that is being moved.
            size = min(reach - others[0], width - at - reach)
            moved = block[:, at : at + size].copy()  # or numpy would, each time, as the places may overlap
            for other in (*others, 0):
                begin = at + reach - other
                block[:, begin : begin + size] ^= moved
            at += size
    start = width - _SHORTENED
    block[:, start:at] = 0
    return np.ascontiguousarray(block[:, start:])


def _raw_rows(block: U8) -> U32:
    """Raw CRC (initial value 0) of each row; the width is even and, above SEGMENT, a multiple of it."""
    rows, width = block.shape
    if width <= SEGMENT:
        return _raw_segments(block.view("<u2"))
    if width > 2 * _SHORTENED and block.size >= _WORTH_SHORTENING:
        block = _shortened(block)
        width = _SHORTENED
    segments = width // SEGMENT
    crc = _raw_full_segments(block.reshape(rows * segments, SEGMENT)).reshape(rows, segments)
    level = 0
    while segments > 1:
        if segments % 2:
            crc = np.concatenate([np.zeros((rows, 1), dtype=np.uint32), crc], axis=1)
            segments += 1
        crc = _apply(_append_zeros(level), crc[:, 0::2]) ^ crc[:, 1::2]
        segments //= 2
        level += 1
    return crc[:, 0]


def padded_width(length: int) -> int:
    """The matrix width that rows of up to `length` bytes need."""
    if length <= SEGMENT:
        return max(2, (length + 1) // 2 * 2)
    return -(-length // SEGMENT) * SEGMENT


def masked(crc: U32) -> U32:
    """The form in which TFRecord files store a CRC."""
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(_MASK_DELTA)


def masked_crc_rows(block: U8, lengths: int | NDArray[np.int64]) -> U32:
    """Masked CRC-32C of each row.

    Args:
        block: (rows, padded_width(longest)), C-contiguous; a row's bytes stand at its right end, after zeros.
            It may be overwritten.
        lengths: Bytes per row, or one length for all rows.
    """
    initial: Any
    if isinstance(lengths, int):
        initial = np.uint32(_initial(lengths))
    else:
        distinct, inverse = np.unique(lengths, return_inverse=True)
        initial = np.array([_initial(int(n)) for n in distinct], dtype=np.uint32)[inverse]
    return masked(_raw_rows(block) ^ initial ^ np.uint32(_ALL_ONES))


@cache
def compiled() -> Callable[[bytes | U8], int] | None:
    """CRC-32C of bytes, or of a read-only array, by the C package `google-crc32c`; None without it."""
    try:
        with warnings.catch_warnings():  # it warns where it could not be compiled
            warnings.simplefilter("ignore", RuntimeWarning)
            google = importlib.import_module("google_crc32c")
    except ImportError:
        return None
    value: Callable[[bytes | U8], int] = google.value
    return value if google.implementation == "c" else None


@cache
def _byte_table() -> list[int]:
    """Entry b: raw CRC of byte b."""
    table: list[int] = _word_table(0)[np.arange(256) << 8].tolist()
    return table


def length_crc(length: int) -> int:
    """Masked CRC of the 8-byte header that says `length`."""
    if length < _WORDS:
        return int(length_crc_table()[length])
    table = _byte_table()
    crc = _ALL_ONES
    for byte in length.to_bytes(8, "little"):
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    crc ^= _ALL_ONES
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & _ALL_ONES


def masked_crc(data: bytes | memoryview) -> int:
    """Masked CRC-32C of one byte string."""
    length = len(data)
    fast = compiled()
    if fast is not None:
        crc = fast(bytes(data))
        return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & _ALL_ONES
    width = padded_width(length)
    block = np.zeros((1, width), dtype=np.uint8)
    if length:
        block[0, width - length :] = np.frombuffer(data, dtype=np.uint8)
    return int(masked_crc_rows(block, length)[0])


def length_crcs(lengths: NDArray[np.int64]) -> U32:
    """As `length_crc`, of many lengths below 2**32."""
    # Of such a header only two words are not zero, and zeros add nothing to a raw CRC.
    raw = _word_table(3)[lengths & 0xFFFF] ^ _word_table(2)[lengths >> 16]
    return masked(raw ^ np.uint32(_initial(8)) ^ np.uint32(_ALL_ONES))


@cache
def length_crc_table() -> U32:
    """Masked CRC of the 8-byte header of every length below 65536."""
    return length_crcs(np.arange(_WORDS))
