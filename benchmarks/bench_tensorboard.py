"""How fast event files are decoded, beside TensorBoard's loaders, a protobuf loop and a plain read.

    python benchmarks/bench_tensorboard.py [--scalars 1000000] [--peer-scalars 100000] [--rounds 5]

Writes a folder of scalars (20 tags, train and validation, one event per scalar, as torch's SummaryWriter
does), then takes all candidates in turn, round by round, and prints median CPU seconds per million scalars
and the ratio to ours. The slow peers read a smaller folder of the same kind.
"""

from __future__ import annotations

import argparse
import random
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from wandb_ops.tensorboard import crc
from wandb_ops.tensorboard.columns import Context
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.reading import decode_chunk, read_lines
from wandb_ops.tensorboard.records import CHUNK, Damage, RecordReader

TAGS = [
    f"{part}/{name}" for part in ("loss", "acc", "lr", "grad") for name in ("a", "bb", "ccc", "dddd", "eeeee")
]


def write_folder(folder: Path, scalars: int) -> None:
    """Two directories with `scalars` events in all; CRCs are computed for all records at once."""
    rng = random.Random(0)
    for name in ("train", "validation"):
        (folder / name).mkdir(parents=True)
        payloads = [Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString()]
        for n in range(scalars // 2):
            value = Summary.Value(tag=TAGS[n % len(TAGS)], simple_value=rng.random())
            event = Event(
                wall_time=1.7e9 + n * 0.01 + rng.random() * 0.009,
                step=n // len(TAGS),
                summary=Summary(value=[value]),
            )
            payloads.append(event.SerializeToString())
        lengths = np.array([len(payload) for payload in payloads])
        block = np.zeros((len(payloads), crc.padded_width(int(lengths.max()))), dtype=np.uint8)
        for row, payload in enumerate(payloads):
            block[row, block.shape[1] - len(payload) :] = np.frombuffer(payload, dtype=np.uint8)
        sums = crc.masked_crc_rows(block, lengths).tolist()
        heads = crc.length_crc_table()
        with (folder / name / "events.out.tfevents.1700000000.host").open("wb") as file:
            for payload, payload_crc in zip(payloads, sums, strict=True):
                size = len(payload)
                file.write(struct.pack("<QI", size, heads[size]) + payload + struct.pack("<I", payload_crc))


def raw_read(folder: Path) -> int:
    for path in folder.rglob("*tfevents*"):
        with path.open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass
    return 0


def ours(folder: Path) -> int:
    count = 0
    for directory in find_directories(folder):
        context = Context()
        for file in directory.files:
            for chunk in RecordReader(file, start=0, end=file.size, damage=Damage()):
                count += len(decode_chunk(chunk, context))
    return count


def ours_to_lines(folder: Path) -> int:
    return sum(1 for _ in read_lines(folder)) * len(TAGS)


def upb_loop(folder: Path) -> int:
    """Frames by struct, events by the protobuf C library, no CRC."""
    count = 0
    for path in folder.rglob("*tfevents*"):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            for value in Event.FromString(data[at + 12 : at + 12 + size]).summary.value:
                count += value.HasField("simple_value")
            at += size + 16
    return count


def legacy_loader(folder: Path) -> int:
    return sum(
        len(event.summary.value)
        for path in folder.rglob("*tfevents*")
        for event in LegacyEventFileLoader(str(path)).Load()
    )


def event_accumulator(folder: Path) -> int:
    count = 0
    for path in folder.iterdir():
        accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0}).Reload()
        count += sum(len(accumulator.Scalars(tag)) for tag in accumulator.Tags()["scalars"])
    return count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scalars", type=int, default=1_000_000)
    parser.add_argument("--peer-scalars", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    candidates: dict[str, tuple[Callable[[Path], int], bool]] = {
        "plain read of the files": (raw_read, True),
        "wandb-ops: decode, CRC checked": (ours, True),
        "wandb-ops: decode to JSON rows": (ours_to_lines, True),
        "protobuf (upb) loop, no CRC": (upb_loop, True),
        "tensorboard LegacyEventFileLoader": (legacy_loader, False),
        "tensorboard EventAccumulator": (event_accumulator, False),
    }
    with tempfile.TemporaryDirectory() as temporary:
        large, small = Path(temporary) / "large", Path(temporary) / "small"
        write_folder(large, options.scalars)
        write_folder(small, options.peer_scalars)
        seconds: dict[str, list[float]] = {name: [] for name in candidates}
        for round_number in range(options.rounds):
            for name, (read, is_fast) in candidates.items():
                if not is_fast and round_number >= 3:
                    continue
                scalars = options.scalars if is_fast else options.peer_scalars
                start = time.process_time()
                count = read(large if is_fast else small)
                took = time.process_time() - start
                if count not in {0, scalars}:
                    raise SystemExit(f"{name} read {count} of {scalars} scalars")
                seconds[name].append(took * 1e6 / scalars)
        base = statistics.median(seconds["wandb-ops: decode, CRC checked"])
        print(f"{'CPU seconds per million scalars':<40}{'median':>9}{'min':>9}{'ratio':>9}")
        for name, taken in seconds.items():
            median = statistics.median(taken)
            print(f"{name:<40}{median:>9.3f}{min(taken):>9.3f}{median / base:>9.2f}")


if __name__ == "__main__":
    main()
