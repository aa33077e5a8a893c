"""How fast event files are decoded and sent, beside TensorBoard's loaders, a protobuf loop and the limits.

    python -m benchmarks.bench_tensorboard [--scalars 1000000] [--peer-scalars 100000] [--rounds 5]

Writes a folder of scalars (20 tags, train and validation, one event per scalar, as torch's SummaryWriter
does) and folders of histograms and images, takes all candidates in turn, round by round, and prints medians
of CPU seconds. The slow peers read a smaller folder of the same kind. What was read is counted, and once
compared value for value. Last, fresh interpreters send a million scalars to a sink on loopback.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.text.summary_v2 import text_pb

from wandb_ops.tensorboard import crc, media
from wandb_ops.tensorboard.columns import Context
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.reading import decode_chunk, read_lines
from wandb_ops.tensorboard.records import CHUNK, Damage, RecordReader

TAGS = [
    f"{part}/{name}" for part in ("loss", "acc", "lr", "grad") for name in ("a", "bb", "ccc", "dddd", "eeeee")
]
FILE = "events.out.tfevents.1700000000.host"
Reading = Callable[[Path], int]


# ---------------------------------------------------------------- folders


def write_folder(folder: Path, scalars: int) -> None:
    """Two directories with `scalars` events in all."""
    rng = random.Random(0)
    for name in ("train", "validation"):
        write_file(
            folder / name,
            (
                Event(
                    wall_time=1.7e9 + n * 0.01 + rng.random() * 0.009,
                    step=n // len(TAGS),
                    summary=Summary(
                        value=[Summary.Value(tag=TAGS[n % len(TAGS)], simple_value=rng.random())]
                    ),
                )
                for n in range(scalars // 2)
            ),
        )


def write_file(folder: Path, events: Iterable[Event]) -> None:
    """One event file; the CRCs of short records are computed together."""
    payloads = [Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString()]
    payloads += [event.SerializeToString() for event in events]
    lengths = np.array([len(payload) for payload in payloads])
    if lengths.max() <= crc.SEGMENT:
        block = np.zeros((len(payloads), crc.padded_width(int(lengths.max()))), dtype=np.uint8)
        for row, payload in enumerate(payloads):
            block[row, block.shape[1] - len(payload) :] = np.frombuffer(payload, dtype=np.uint8)
        sums = crc.masked_crc_rows(block, lengths).tolist()
    else:
        sums = [crc.masked_crc(payload) for payload in payloads]
    folder.mkdir(parents=True)
    with (folder / FILE).open("wb") as file:
        for payload, payload_crc in zip(payloads, sums, strict=True):
            size = len(payload)
            file.write(
                struct.pack("<QI", size, crc.length_crc(size)) + payload + struct.pack("<I", payload_crc)
            )


def histogram_event(n: int, rng: np.random.Generator, bins: object) -> Event:
    values = rng.normal(size=500) * rng.random()
    counts, edges = np.histogram(values, bins=bins)  # type: ignore[call-overload]
    used = np.flatnonzero(counts)
    first, last = max(int(used[0]) - 1, 0), int(used[-1]) + 1  # as torch trims it
    proto = HistogramProto(
        min=values.min(),
        max=values.max(),
        num=len(values),
        sum=values.sum(),
        sum_squares=values.dot(values),
        bucket_limit=edges[first + 1 : last + 1],
        bucket=counts[first:last],
    )
    return Event(
        wall_time=1.7e9 + n,
        step=n // 10,
        summary=Summary(value=[Summary.Value(tag=f"layer{n % 10}/weight", histo=proto)]),
    )


def image_event(n: int, rng: np.random.Generator) -> Event:
    from PIL import Image

    encoded = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(encoded, "PNG")
    image = Summary.Image(height=64, width=64, colorspace=3, encoded_image_string=encoded.getvalue())
    return Event(
        wall_time=1.7e9 + n,
        step=n // 4,
        summary=Summary(value=[Summary.Value(tag=f"image{n % 4}", image=image)]),
    )


def tensor_histogram_event(n: int, rng: np.random.Generator) -> Event:
    """As TF2's summary ops write it: 30 bins by default, a tensor of doubles with its plugin's name."""
    summary = histogram_pb(f"layer{n % 10}/weight", rng.normal(size=500) * rng.random(), buckets=30)
    return Event(wall_time=1.7e9 + n, step=n // 10, summary=summary)


def tensor_image_event(n: int, rng: np.random.Generator) -> Event:
    """As TF2's summary ops write it: width, height and the encoded image as strings."""
    encoded = image_event(n, rng).summary.value[0].image.encoded_image_string
    tensor = TensorProto(dtype=7, string_val=[b"64", b"64", encoded])
    tensor.tensor_shape.dim.add(size=3)
    value = Summary.Value(tag=f"image{n % 4}", tensor=tensor)
    value.metadata.plugin_data.plugin_name = "images"
    return Event(wall_time=1.7e9 + n, step=n // 4, summary=Summary(value=[value]))


def tensor_text_event(n: int, _rng: np.random.Generator) -> Event:
    summary = text_pb(f"note{n % 4}", f"step {n}: " + "a sentence of some length. " * 4)
    return Event(wall_time=1.7e9 + n, step=n // 4, summary=summary)


def torch_bins() -> list[float]:
    """The bins of torch's add_histogram: growing by a tenth, on both sides of zero."""
    bins = [1e-12 * 1.1**n for n in range(774)]
    return [-edge for edge in reversed(bins)] + [0.0] + bins


# ---------------------------------------------------------------- readings


def raw_read(folder: Path) -> int:
    for path in folder.rglob("*tfevents*"):
        with path.open("rb", buffering=0) as file:
            while file.read(CHUNK):
                pass
    return 0


def compiled_crc(folder: Path) -> int:
    """Frames by struct, every payload's CRC by a C library, nothing decoded."""
    count = 0
    crc32c = crc.compiled()
    assert crc32c is not None
    for path in folder.rglob("*tfevents*"):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            crc32c(data[at + 12 : at + 12 + size])
            at += size + 16
            count += 1
        count -= 1  # the file version
    return count


def ours(folder: Path) -> int:
    count = 0
    for directory in find_directories(folder):
        context = Context()
        for file in directory.files:
            for chunk in RecordReader(file, start=0, end=file.size, damage=Damage()):
                count += len(decode_chunk(chunk, context))
    return count


def without_compiled_crc(read: Reading) -> Reading:
    """The same where no CRC library is installed."""

    def reading(folder: Path) -> int:
        compiled = crc.compiled
        crc.compiled = lambda: None  # type: ignore[assignment]
        try:
            return read(folder)
        finally:
            crc.compiled = compiled

    return reading


def ours_to_lines(folder: Path) -> int:
    return sum(1 for _ in read_lines(folder)) * len(TAGS)


def upb(folder: Path, *, checked: bool = False, numpy_crc: bool = False, valued: bool = False) -> int:
    """Frames by struct, events by the protobuf C library.

    Args:
        folder: What to read.
        checked: Compute every CRC with a C library, as a reader should.
        numpy_crc: Or with our numpy code, as who has no C library.
        valued: Make what we make: wall time, step, tag and the same history value, an image's name from its
            SHA-256 included. Nothing is collected, which we do.
    """
    check: Callable[[bytes], int] | None = None
    if checked:
        check = crc.compiled()
    elif numpy_crc:
        check = crc.masked_crc
    count = 0
    for path in folder.rglob("*tfevents*"):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            payload = data[at + 12 : at + 12 + size]
            if check is not None:
                check(payload)
            event = Event.FromString(payload)
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                if valued:
                    _ = event.wall_time, event.step, value.tag, history_value(value, kind)
                elif kind == "histo":
                    _ = np.array(value.histo.bucket_limit), np.array(value.histo.bucket)
                elif kind == "image":
                    _ = value.image.encoded_image_string
                count += 1
            at += size + 16
    return count


def history_value(value: Any, kind: str) -> object:
    """The history value of a Summary.Value, by the shortest way that protobuf's objects allow."""
    if kind == "histo":
        histo = value.histo
        limits, counts = np.array(histo.bucket_limit), np.array(histo.bucket)
        return media.proto_histogram(limits, counts, histo.min, histo.max)
    if kind == "image":
        image = value.image
        return media.images([image.encoded_image_string], image.width, image.height)
    return tensor_value(value)


def tensor_value(value: Any) -> object:
    """The history value of a TF2 tensor; every event of these folders names its plugin."""
    tensor = value.tensor
    plugin = value.metadata.plugin_data.plugin_name
    if plugin == "histograms":
        return media.tensor_histogram(np.frombuffer(tensor.tensor_content).reshape(-1, 3))
    if plugin == "images":
        width, height, *encoded = tensor.string_val
        return media.images(encoded, int(width), int(height))
    if plugin == "text":
        return media.text(tensor.string_val, tuple(dim.size for dim in tensor.tensor_shape.dim))
    return None


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


# ---------------------------------------------------------------- what is measured


def compare(
    title: str,
    unit: str,
    readings: dict[str, tuple[Reading, Path, int]],
    base: str,
    rounds: int,
) -> None:
    """Take all readings in turn; print medians of CPU time per value, in 1e-6 s, and ratios to `base`."""
    seconds: dict[str, list[float]] = {name: [] for name in readings}
    for _ in range(rounds):
        for name, (read, folder, expected) in readings.items():
            start = time.process_time()
            count = read(folder)
            took = time.process_time() - start
            if count not in {0, expected}:
                raise SystemExit(f"{name} read {count} of {expected} values")
            seconds[name].append(took * 1e6 / expected)
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"\n{title}\n{unit:<52}{'median':>9}{'min':>9}{'ratio':>9}")
    for name, taken in seconds.items():
        print(f"{name:<52}{median[name]:>9.3f}{min(taken):>9.3f}{median[name] / median[base]:>9.2f}")


def check_values(folder: Path) -> None:
    """Every step, tag and value, in order, against protobuf."""
    for path in sorted(folder.rglob("*tfevents*")):
        (directory,) = find_directories(path.parent)
        context = Context()
        tags, steps, values = [], [], []
        for chunk in RecordReader(directory.files[0], start=0, end=directory.files[0].size, damage=Damage()):
            columns = decode_chunk(chunk, context)
            tags += [context.tags.tags[tag].decode() for tag in columns.tag.tolist()]
            steps += columns.step.tolist()
            values += columns.value.tolist()
        data, at, n = path.read_bytes(), 0, 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + size])
            for value in event.summary.value:
                if (tags[n], steps[n], values[n]) != (value.tag, event.step, value.simple_value):
                    raise SystemExit(f"{path.name}: value {n} differs")
                n += 1
            at += size + 16
        print(f"{path.parent.name}: {n:,} values equal protobuf's, one by one")


SEND = """
import json, re, sys, time
from pathlib import Path
from wandb_ops.settings import resolve
from wandb_ops.tensorboard import sync_directory
from wandb_ops.transport.session import Transport
transport = Transport(resolve({"base_url": sys.argv[2]}, api_key="b" * 40))
start, wall = time.process_time(), time.monotonic()
done = sync_directory(transport, sys.argv[1], entity="local", project="bench", run_id="r")
print(json.dumps([done.rows, done.scalars, time.process_time() - start, time.monotonic() - wall,
                  # Not getrusage: that begins with the memory of the process that started this one.
                  int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024]))
"""


def send(folder: Path, scalars: int, rounds: int) -> None:
    """To acknowledged rows on a sink of another process."""
    taken = []
    for _ in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks._sink"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as sink:
            assert sink.stdin is not None
            assert sink.stdout is not None
            url = sink.stdout.readline().strip()
            command = [sys.executable, "-c", SEND, str(folder), url]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            rows, sent, cpu, wall, megabytes = json.loads(answer.stdout)
            with urllib.request.urlopen(f"{url}/lines") as said:
                acknowledged = json.load(said)["lines"]
            sink.stdin.close()
        if (sent, acknowledged) != (scalars, rows):
            raise SystemExit(f"{sent} of {scalars} scalars, {acknowledged} of {rows} rows arrived")
        taken.append((cpu * 1e6 / scalars, wall * 1e6 / scalars, megabytes))
    cpu, wall, megabytes = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"\n{scalars:,} scalars in {rows:,} rows to a sink that acknowledges them, medians of {rounds}")
    print(f"CPU s per million {cpu:.2f}, wall s per million {wall:.2f}, peak {megabytes:.0f} MB")


def measure_scalars(root: Path, scalars: int, peer_scalars: int, rounds: int) -> None:
    """Decoding, beside a protobuf loop, TensorBoard's loaders and the limits."""
    write_folder(root / "small", peer_scalars)
    check_values(root / "large")
    large, small = (root / "large", scalars), (root / "small", peer_scalars)
    decode = "wandb-ops: decode, CRC checked"
    readings: dict[str, tuple[Reading, Path, int]] = {
        "plain read of the files": (raw_read, *large),
        decode: (ours, *large),
        "wandb-ops: decode to JSON rows": (ours_to_lines, *large),
        "protobuf (upb) loop, no CRC": (upb, *large),
    }
    if crc.compiled() is not None:
        readings["frames and compiled CRC alone"] = (compiled_crc, *large)
        readings["protobuf (upb) loop, compiled CRC"] = (lambda f: upb(f, checked=True), *large)
    compare("Scalars", "CPU seconds per million", readings, decode, rounds)
    peers: dict[str, tuple[Reading, Path, int]] = {
        decode: (ours, *large),
        "tensorboard LegacyEventFileLoader": (legacy_loader, *small),
        "tensorboard EventAccumulator": (event_accumulator, *small),
    }
    compare("Scalars, TensorBoard's own", "CPU seconds per million", peers, decode, min(rounds, 3))


def measure_media(root: Path, rounds: int) -> None:
    """Histograms, images and text, of TF1's and torch's form and of TF2's."""
    rng, torch_edges = np.random.default_rng(0), torch_bins()
    kinds: dict[str, tuple[int, Callable[[int], Event]]] = {
        "histograms of 64 bins": (3_000, lambda n: histogram_event(n, rng, 64)),
        "histograms with torch's bins": (3_000, lambda n: histogram_event(n, rng, torch_edges)),
        "images of 12 kB": (1_200, lambda n: image_event(n, rng)),
        "TF2 histograms": (6_000, lambda n: tensor_histogram_event(n, rng)),
        "TF2 images of 12 kB": (1_200, lambda n: tensor_image_event(n, rng)),
        "TF2 texts": (6_000, lambda n: tensor_text_event(n, rng)),
    }
    for name, (count, make) in kinds.items():
        write_file(root / name, map(make, range(count)))
        folder = (root / name, count)
        values = "wandb-ops: CRC checked, history values made"
        readings: dict[str, tuple[Reading, Path, int]] = {
            values: (ours, *folder),
            "upb loop, values only looked at, no CRC": (upb, *folder),
            "upb loop, same history values, no CRC": (lambda f: upb(f, valued=True), *folder),
        }
        if crc.compiled() is not None:
            readings |= {
                "upb loop, same history values, compiled CRC": (
                    lambda f: upb(f, checked=True, valued=True),
                    *folder,
                ),
                "wandb-ops: the same, CRC by numpy": (without_compiled_crc(ours), *folder),
                "upb loop, same history values, CRC by numpy": (
                    without_compiled_crc(lambda f: upb(f, numpy_crc=True, valued=True)),
                    *folder,
                ),
            }
        compare(name, "CPU microseconds each", readings, values, rounds * 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scalars", type=int, default=1_000_000)
    parser.add_argument("--peer-scalars", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("scalars", "media", "send"), help="measure this part alone")
    options = parser.parse_args()
    if crc.compiled() is None:
        print("google-crc32c is not installed: rows with a compiled CRC are left out")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        if options.only != "media":
            write_folder(root / "large", options.scalars)
        if options.only in {None, "scalars"}:
            measure_scalars(root, options.scalars, options.peer_scalars, options.rounds)
        if options.only in {None, "media"}:
            measure_media(root, options.rounds)
        if options.only in {None, "send"}:
            send(root / "large", options.scalars, min(options.rounds, 3))


if __name__ == "__main__":
    main()
