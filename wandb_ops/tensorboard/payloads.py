"""Which payloads of a buffer have the CRC that stands behind them, by numpy or by a C library.

Many short rows of one length are fastest in numpy, which computes their CRCs together. Longer ones go to the
C library, one by one; where there is none, rows of similar lengths share a matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wandb_ops.tensorboard import crc
from wandb_ops.tensorboard.views import rows_of, view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    I64 = NDArray[np.int64]
    U8 = NDArray[np.uint8]
    U32 = NDArray[np.uint32]

_ROOM = 12  # bytes that stand before every payload: its length and the length's CRC
# (rows, bytes): at least so many rows of one length, up to so long, are quicker together in numpy than
_BEATS_C = (256, crc.SEGMENT)  # ... one by one in C,
_BEATS_PADDING = (16, 4 * crc.SEGMENT)  # ... or in numpy with rows of similar lengths.
_WORTH_NO_COPY = 1 << 16  # bytes: below, a copy of a payload costs less than an array over it
_MATRIX = 2 << 20  # bytes of rows at once


def intact(data: bytes, offsets: I64, lengths: I64) -> NDArray[np.bool_]:
    """Which payloads have the CRC that stands behind them."""
    good = np.zeros(len(offsets), dtype=np.bool_)
    if not len(offsets):
        return good
    stored = view(data, "<u4", len(data) - 3)[offsets + lengths]
    compiled = crc.compiled()
    many, short = _BEATS_PADDING if compiled is None else _BEATS_C
    if compiled is not None and int(lengths.min()) > short:
        good[:] = _crc_compiled(compiled, data, offsets, lengths) == stored
        return good
    waiting: list[I64] = []
    order = np.argsort(lengths, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        length = int(lengths[group[0]])
        if len(group) >= many and length <= short:
            good[group] = _crc_equal(data, offsets[group], length) == stored[group]
        else:
            waiting.append(group)
    if compiled is not None and waiting:
        rest = np.concatenate(waiting)
        good[rest] = _crc_compiled(compiled, data, offsets[rest], lengths[rest]) == stored[rest]
        return good
    for group in _similar(waiting, lengths):
        good[group] = _crc_ragged(data, offsets[group], lengths[group]) == stored[group]
    return good


def _crc_compiled(compiled: Callable[[bytes | U8], int], data: bytes, offsets: I64, lengths: I64) -> U32:
    bounds = zip(offsets.tolist(), (offsets + lengths).tolist(), strict=True)
    source = data if int(lengths.max()) < _WORTH_NO_COPY else np.frombuffer(data, dtype=np.uint8)
    return crc.masked(np.array([compiled(source[start:end]) for start, end in bounds], dtype=np.uint32))


def _crc_equal(data: bytes, offsets: I64, length: int) -> U32:
    width = crc.padded_width(length)
    # A payload has header bytes before it; they serve as padding and are cleared.
    if width - length <= _ROOM:
        block = rows_of(data, offsets - (width - length), width)
        block[:, : width - length] = 0
    else:
        block = np.zeros((len(offsets), width), dtype=np.uint8)
        if length:
            block[:, width - length :] = rows_of(data, offsets, length)
    return crc.masked_crc_rows(block, length)


def _similar(groups: list[I64], lengths: I64) -> Iterator[I64]:
    """Join groups of growing length into batches whose padding stays small and whose matrix stays bounded."""
    batch: list[I64] = []
    rows = 0
    longest = 0
    for group in groups:
        length = int(lengths[group[0]])
        if batch and (length > longest or (rows + len(group)) * length > _MATRIX):
            yield np.concatenate(batch)
            batch, rows = [], 0
        if not batch:
            longest = crc.padded_width(length + length // 4)
        batch.append(group)
        rows += len(group)
    if batch:
        yield np.concatenate(batch)


def _crc_ragged(data: bytes, offsets: I64, lengths: I64) -> U32:
    width = crc.padded_width(int(lengths.max()))
    block = np.zeros((len(offsets), width), dtype=np.uint8)
    source = np.frombuffer(data, dtype=np.uint8)
    for row, (offset, length) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True)):
        block[row, width - length :] = source[offset : offset + length]
    return crc.masked_crc_rows(block, lengths)
