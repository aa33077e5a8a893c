"""Framing, CRCs and damage, against TensorBoard's reader and its CRC."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from wandb_ops.tensorboard import crc, records
from wandb_ops.tensorboard.records import Damage, RecordReader


class Bytes:
    """A source in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


def frame(payload: bytes) -> bytes:
    """A record as the format defines it, with TensorBoard's CRC."""
    header = len(payload).to_bytes(8, "little")
    crcs = [masked_crc32c(part).to_bytes(4, "little") for part in (header, payload)]
    return header + crcs[0] + payload + crcs[1]


def payloads(data: bytes, *, chunk: int = records.CHUNK) -> tuple[list[bytes], Damage, int]:
    damage = Damage()
    reader = RecordReader(Bytes(data), start=0, end=len(data), damage=damage, chunk=chunk)
    found = [
        part.data[offset : offset + length]
        for part in reader
        for offset, length in zip(part.offsets.tolist(), part.lengths.tolist(), strict=True)
    ]
    return found, damage, reader.position


EVENTS = [b"\x09" + os.urandom(n) for n in (12, 30, 30, 31, 0, 200, 30)] + [
    b"",
    b"\x1a\x0dbrain.Event:2",
    b"\x10\x05",
]


@pytest.mark.parametrize("length", [*range(70), 127, 128, 129, 500, 4096, 70_001])
def test_the_crc_is_the_one_that_tensorboard_writes(length):
    data = random.Random(length).randbytes(length)
    assert crc.masked_crc(data) == masked_crc32c(data)


def test_crcs_of_rows_of_different_lengths_are_computed_together():
    rng = random.Random(1)
    rows = [rng.randbytes(rng.randrange(300)) for _ in range(200)]
    width = crc.padded_width(300)
    block = np.zeros((len(rows), width), dtype=np.uint8)
    for place, row in enumerate(rows):
        block[place, width - len(row) :] = np.frombuffer(row, dtype=np.uint8)
    found = crc.masked_crc_rows(block, np.array([len(row) for row in rows]))
    assert found.tolist() == [masked_crc32c(row) for row in rows]


@pytest.mark.parametrize("chunk", [16, 17, 64, 100, 1 << 20])
def test_records_are_found_whatever_the_chunk_size(chunk):
    found, damage, position = payloads(b"".join(map(frame, EVENTS)), chunk=chunk)
    assert found == EVENTS
    assert damage == Damage()
    assert position == len(b"".join(map(frame, EVENTS)))


def test_many_records_of_many_lengths_are_found():
    rng = random.Random(2)
    written = [b"\x09" + rng.randbytes(rng.choice([30, 31, 35, 35, 35, 900, 5_000])) for _ in range(800)]
    found, damage, _ = payloads(b"".join(map(frame, written)), chunk=1 << 16)
    assert found == written
    assert damage == Damage()


def test_every_cut_gives_the_records_before_it_and_the_rest_is_read_later():
    data = b"".join(map(frame, EVENTS))
    ends = np.cumsum([len(frame(event)) for event in EVENTS]).tolist()
    for cut in range(len(data) + 1):
        found, damage, position = payloads(data[:cut])
        whole = sum(end <= cut for end in ends)
        assert found == EVENTS[:whole]
        assert position == ([0, *ends][whole])
        assert damage == Damage()
        later = RecordReader(Bytes(data), start=position, end=len(data), damage=Damage())
        assert sum(len(part.offsets) for part in later) == len(EVENTS) - whole


def test_one_wrong_byte_costs_only_the_record_it_is_in():
    data = b"".join(map(frame, EVENTS))
    ends = np.cumsum([len(frame(event)) for event in EVENTS]).tolist()
    for at in range(ends[-2]):  # damage in the last record cannot be told from one still being written
        torn = bytearray(data)
        torn[at] ^= 0x41
        found, damage, _ = payloads(bytes(torn))
        hit = sum(end <= at for end in ends)
        assert found == EVENTS[:hit] + EVENTS[hit + 1 :], at
        assert damage.bad_payloads + damage.resyncs == 1
        assert damage.bytes == len(frame(EVENTS[hit]))


@settings(max_examples=250, deadline=None)
@given(
    events=st.lists(st.binary(max_size=60).map(lambda tail: b"\x09" + tail), min_size=3, max_size=30),
    data=st.data(),
)
def test_missing_and_foreign_bytes_cost_only_the_records_they_touch(events, data):
    whole = b"".join(map(frame, events))
    ends = np.cumsum([len(frame(event)) for event in events]).tolist()
    at = data.draw(st.integers(0, ends[-2] - 1))
    if data.draw(st.booleans()):
        gone = data.draw(st.integers(1, ends[-2] - at))
        broken = whole[:at] + whole[at + gone :]
        touched = [n for n, end in enumerate(ends) if end > at and ([0, *ends][n]) < at + gone]
    else:
        broken = whole[:at] + data.draw(st.binary(min_size=1, max_size=50)) + whole[at:]
        touched = [n for n, end in enumerate(ends) if end > at and ([0, *ends][n]) < at]
    # Where the damaged record's length happens to lead to another true boundary, it owns what lies between.
    claimed = next(end for end in ends if end > at)
    shift = len(broken) - len(whole)
    assume(claimed not in {end + shift for end in ends if end > claimed})
    # What is left may be a whole record by chance (8 bytes and their CRC look like a header; a byte that went
    # equals the one behind it): then the damage is in the next one as well.
    begin = ([0, *ends])[touched[0]] if touched else at
    made = broken[begin + 12 : begin + 12 + int.from_bytes(broken[begin : begin + 8], "little")]
    assume(frame(made) != broken[begin : begin + 16 + len(made)])
    chunk = data.draw(st.sampled_from([40, 200, 1 << 20]))
    # More than the longest record follows: before that, one that lost bytes looks like one being written.
    closing = b"\x09" + bytes(range(1, 101))
    found, _, _ = payloads(broken + frame(closing), chunk=chunk)
    assert found.pop() == closing
    kept = [event for n, event in enumerate(events) if n not in touched]
    missing = list(kept)
    for event in found:
        if event in missing:
            missing.remove(event)
    assert missing == []
    assert len(found) <= len(events)


def test_a_zero_filled_tail_is_waited_for():
    data = b"".join(map(frame, EVENTS))
    found, damage, position = payloads(data + bytes(5_000))
    assert found == EVENTS
    assert (damage, position) == (Damage(), len(data))


def test_a_look_alike_inside_a_payload_is_no_record():
    inner = frame(b"\x09" + bytes(40))
    written = [b"\x09" + b"x" * 30, b"\x09" + inner * 5, b"\x09" + b"y" * 30]
    found, damage, _ = payloads(b"".join(map(frame, written)))
    assert found == written
    assert damage == Damage()


def test_a_long_stretch_of_rubbish_is_let_go(monkeypatch):
    monkeypatch.setattr(records, "_GIVE_UP", 4_096)
    rubbish = random.Random(3).randbytes(50_000)
    found, damage, _ = payloads(frame(EVENTS[0]) + rubbish + frame(EVENTS[1]), chunk=1_024)
    assert found == [EVENTS[0], EVENTS[1]]
    assert damage.resync_bytes == len(rubbish)


def test_a_damaged_file_gives_what_tensorboard_stops_short_of(
    tmp_path: Path, append_events, scalar_event, load_events
):
    events = [scalar_event("loss", n / 7, n, 1000.0 + n) for n in range(200)]
    path = append_events(tmp_path / "events.out.tfevents.1.host", events)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    found, damage, _ = payloads(bytes(data))
    assert len(found) == 199
    assert damage.bad_payloads + damage.resyncs == 1
    assert found[:99] == [event.SerializeToString() for event in load_events(path)][:99]
