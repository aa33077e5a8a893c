"""TFRecord framing: which byte ranges of an event file are whole, undamaged records.

A record is `length (u64) | masked CRC of length | payload | masked CRC of payload`. From a known boundary the
next one follows from a length whose CRC holds, so a chain of frames is proven by induction. Candidates for
whole chains are found with numpy; where the chain breaks, one frame at a time is looked at.

Damage costs only what it touches: a payload whose CRC is wrong is skipped and counted; after a broken length
the scan goes on at the next position where a length and its payload both check, and the bytes between are
counted. What cannot be decided yet (a torn, damaged or zero-filled tail) is left for the next read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wandb_ops.tensorboard import crc
from wandb_ops.tensorboard.payloads import intact
from wandb_ops.tensorboard.views import view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    I64 = NDArray[np.int64]

HEADER = 12  # length and its CRC
FRAME = 16  # header and the payload's CRC
CHUNK = 4 << 20
_SHORT = 1 << 16  # lengths that the fast path looks at
_LONGEST = (1 << 31) - 1  # what protobuf allows; an 8-byte payload has the CRC that a length of its bytes has
_WALL_TIME_KEY = 9  # the first payload byte of an event that has a wall time
_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_SAMPLE = 64  # records that tell whether those of a buffer are long
_LONG = 640  # bytes: from this mean on, going from record to record costs less than looking at every byte
_GIVE_UP = 64 << 20  # broken bytes to look through before memory counts more than patience


class Source(Protocol):
    """Bytes that can be read in ranges: a local file, or a remote one."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer at the end."""


@dataclass(slots=True)
class Damage:
    """What could not be taken from the files, in total."""

    bad_payloads: int = 0  # records whose payload CRC is wrong
    bad_payload_bytes: int = 0
    resyncs: int = 0  # places where the framing was broken
    resync_bytes: int = 0

    @property
    def bytes(self) -> int:
        """All bytes given up."""
        return self.bad_payload_bytes + self.resync_bytes


@dataclass(slots=True)
class Chunk:
    """Whole records of one read.

    `data[offsets[i] : offsets[i] + lengths[i]]` is payload i. `start` and `end` are positions in the file:
    all bytes between them are dealt with. A reader takes `data` back when the next chunk is asked for.
    """

    data: bytes
    offsets: I64
    lengths: I64
    start: int
    end: int


@dataclass(slots=True)
class _Frames:
    """Payload offsets and lengths in scan order, collected as arrays."""

    offsets: list[I64] = field(default_factory=list)
    lengths: list[I64] = field(default_factory=list)

    def add(self, offsets: I64, lengths: I64) -> None:
        self.offsets.append(offsets)
        self.lengths.append(lengths)

    def pop(self) -> None:
        self.offsets[-1] = self.offsets[-1][:-1]
        self.lengths[-1] = self.lengths[-1][:-1]

    def joined(self) -> tuple[I64, I64]:
        if not self.offsets:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate(self.offsets), np.concatenate(self.lengths)


class _Scan:
    """One pass over one buffer that starts at a record boundary (or, `trusted=False`, at a likely one)."""

    def __init__(self, data: bytes, damage: Damage, *, trusted: bool, last: bool) -> None:
        self.data = data
        self.size = len(data)
        self.bytes = np.frombuffer(data, dtype=np.uint8)
        self.lengths = view(data, "<u8", self.size - 7)
        self.words = view(data, "<u4", self.size - 3)
        self.damage = damage
        self.trusted = trusted
        self.last = last  # nothing comes behind this buffer, for now
        self.frames = _Frames()
        self.previous = -1  # start of the frame before, while it may still turn out to be damaged
        self.torn = 0  # bytes of the whole record that this buffer ends in the middle of; 0 when it does not

    def run(self) -> int:
        """Collect frames; the position up to which everything is dealt with."""
        at = self._hop(0, _SAMPLE) if self.trusted else 0
        long_ones = at >= _SAMPLE * _LONG
        starts, lengths = (np.empty(0, np.int64),) * 2 if long_ones else self._candidates(at)
        ends = starts + lengths + FRAME
        breaks = np.flatnonzero(ends[:-1] != starts[1:]) if len(starts) else starts
        while True:
            index = int(np.searchsorted(starts, at)) if len(starts) else 0
            if self.trusted and index < len(starts) and starts[index] == at:
                position = int(np.searchsorted(breaks, index))
                last = int(breaks[position]) if position < len(breaks) else len(starts) - 1
                if ends[last] > self.size:
                    last -= 1
                if last >= index:
                    self.frames.add(starts[index : last + 1] + HEADER, lengths[index : last + 1])
                    at, self.previous = int(ends[last]), int(starts[last])
                    continue
            if long_ones and self.trusted:
                at = self._hop(at, self.size)
            following = self._step(at) if self.size - at >= HEADER else self._end(at)
            if following is None:
                break
            at = following
        if self._previous_is_bad():
            # Whether only its payload is damaged or its length is no longer true, what follows will tell.
            self.frames.pop()
            return self.previous
        return at

    def _hop(self, at: int, most: int) -> int:
        """Take up to `most` frames, one after the other, while they hold; the position behind them."""
        data, size = self.data, self.size
        starts: list[int] = []
        begin = at
        while at + HEADER <= size and len(starts) < most:
            (length,) = _LENGTH.unpack_from(data, at)
            end = at + FRAME + length
            if end > size or not 0 < length <= _LONGEST:  # no hopping through zeros
                break
            starts.append(at)
            at = end
        # The lengths were believed so far. Up to the first whose CRC does not hold, each proves the next.
        frames = np.array(starts, np.int64)
        lengths = self.lengths[frames].astype(np.int64)
        wrong = np.flatnonzero(crc.length_crcs(lengths) != self.words[frames + 8])
        if len(wrong):
            at = int(frames[wrong[0]])
            frames, lengths = frames[: wrong[0]], lengths[: wrong[0]]
        if at > begin:
            self.previous = int(frames[-1])
            self.frames.add(frames + HEADER, lengths)
        return at

    def _candidates(self, at: int) -> tuple[I64, I64]:
        """Starts and lengths of everything from `at` on that looks like a frame of a short event."""
        starts = np.flatnonzero(self.bytes[at + HEADER :] == _WALL_TIME_KEY) + at
        lengths = self.lengths[starts]
        keep = lengths < _SHORT
        starts, lengths = starts[keep], lengths[keep].astype(np.int64)
        keep = crc.length_crc_table()[lengths] == self.words[starts + 8]
        return starts[keep], lengths[keep]

    def _step(self, at: int) -> int | None:
        """Take one frame, or get over damage; None when the buffer holds too little to decide."""
        length: int
        length, check = _HEADER.unpack_from(self.data, at)
        if length > _LONGEST or crc.length_crc(length) != check:
            return self._resync(at)
        if at + FRAME + length > self.size:
            self.previous = -1  # a true length here proves where the frame before ended
            self.torn = FRAME + length
            return None
        if not self.trusted:
            if not self._payload_holds(at, length):
                return self._resync(at)
            self.trusted = True
        self.frames.add(np.array([at + HEADER]), np.array([length]))
        self.previous = at
        return at + FRAME + length

    def _payload_holds(self, at: int, length: int) -> bool:
        end = at + HEADER + length
        return crc.masked_crc(self.data[at + HEADER : end]) == int(self.words[end])

    def _previous_is_bad(self) -> bool:
        return self.previous >= 0 and not self._payload_holds(self.previous, int(self.lengths[self.previous]))

    def _end(self, at: int) -> int | None:
        """What to do with the few bytes at the end of the buffer: nothing, unless it is the file's end."""
        return self._resync(at) if self.last and self._previous_is_bad() else None

    def _resync(self, at: int) -> int | None:
        """The next provable boundary after broken framing at `at`; None when there is none yet."""
        # With bytes missing from the frame before, or too many in it, its end proves nothing.
        rewind = self._previous_is_bad()
        begin = self.previous if rewind else at
        found = self._boundary(begin + 1)
        if found is None:
            return None
        if rewind:
            self.frames.pop()
        self.previous = -1
        self.damage.resyncs += 1
        self.damage.resync_bytes += found - begin
        self.trusted = self.size >= found + FRAME + int(self.lengths[found])
        return found

    def _boundary(self, begin: int) -> int | None:
        # A possible length has four zero bytes at its end; few positions have, so few CRCs are computed.
        count = self.size - begin - HEADER + 1
        if count <= 0:
            return None
        likely = np.flatnonzero(self.words[begin + 4 : begin + 4 + count] == 0) + begin
        for block in np.array_split(likely, max(1, len(likely) // 4096)):
            if not len(block):
                continue
            headers = view(self.data, "V8", self.size - 7)[block].view(np.uint8).reshape(len(block), 8)
            holds = crc.masked_crc_rows(headers, 8) == self.words[block + 8]
            for start in block[holds].tolist():
                length = int(self.lengths[start])
                if length > _LONGEST:
                    continue
                if start + FRAME + length > self.size or self._payload_holds(start, length):
                    return int(start)
        return None


class RecordReader:
    """The records of `source` between two byte positions, in chunks.

    Args:
        source: Where the bytes are.
        start: A record boundary, 0 or what `position` was at the end of an earlier reader.
        end: Bytes to look at; what is written behind it later is not seen.
        damage: Counts what cannot be taken.
        chunk: Bytes per read; a record that is longer is read whole.
        trusted: Whether `start` is surely a boundary; if not, reading begins at the first one that is proven.
    """

    def __init__(
        self,
        source: Source,
        *,
        start: int,
        end: int,
        damage: Damage,
        chunk: int = CHUNK,
        trusted: bool = True,
    ) -> None:
        self.position = start  # everything before is dealt with
        self.bytes_read = 0
        self._source = source
        self._end = end
        self._damage = damage
        self._chunk = chunk
        self._trusted = trusted

    def __iter__(self) -> Iterator[Chunk]:
        size = self._chunk
        trusted = self._trusted
        while self.position < self._end:
            want = min(size, self._end - self.position)
            data = self._source.read(self.position, want)
            self.bytes_read += len(data)
            last = len(data) < want or self.position + want >= self._end
            scan = _Scan(data, self._damage, trusted=trusted, last=last)
            consumed = scan.run()
            if consumed == 0 and (last or scan.torn > self._end - self.position):
                return
            if consumed == 0 and not scan.torn and len(data) >= _GIVE_UP:
                # Nothing provable in all these bytes: let go of all but what may begin a header.
                consumed = len(data) - HEADER + 1
                self._damage.resyncs += 1
                self._damage.resync_bytes += consumed
                self.position += consumed
                trusted = False
                continue
            if consumed == 0:
                size = max(size * 2, scan.torn)
                continue
            start, self.position = self.position, self.position + consumed
            trusted, size = scan.trusted, max(self._chunk, scan.torn)
            offsets, lengths = scan.frames.joined()
            good = intact(data, offsets, lengths)
            if not good.all():
                self._damage.bad_payloads += int((~good).sum())
                self._damage.bad_payload_bytes += int((lengths[~good] + FRAME).sum())
                offsets, lengths = offsets[good], lengths[good]
            done = last and consumed == len(data)
            found = Chunk(data, offsets, lengths, start, self.position)
            # Memory that is new to the process costs more than reading into it: the next read is to find what
            # this one leaves behind.
            del data, scan
            if len(offsets):
                yield found
                found.data = b""
            if done:
                return
