"""Files of a sync: many per request and several at once, each once, and there before its row."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import Counter

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from wandb_ops.errors import Error
from wandb_ops.tensorboard import sending, sync_directory
from wandb_ops.testing import Fault
from wandb_ops.transport.retry import RetryPolicy
from wandb_ops.transport.session import Transport

VERSION = Event(wall_time=1.0, file_version="brain.Event:2")
NAME = "events.out.tfevents.1700000000.host"
PROJECT = "tb"
IMAGES = 130  # the addresses of 100 files are asked for at a time


def png(number):
    """A picture of 1 x 1 pixels; each number has its own bytes."""

    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = part(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = part(b"tEXt", b"n\0" + str(number).encode())
    return b"\x89PNG\r\n\x1a\n" + header + text + part(b"IDAT", zlib.compress(b"\0\0")) + part(b"IEND", b"")


def image_event(step, data):
    image = Summary.Image(width=1, height=1, colorspace=1, encoded_image_string=data)
    value = Summary.Value(tag="img", image=image)
    return Event(wall_time=10.0 + step, step=step, summary=Summary(value=[value]))


@pytest.fixture
def pictures():
    return [png(n) for n in range(IMAGES)]


@pytest.fixture
def folder(tmp_path, append_events, pictures):
    """A step per picture, and the first picture once more."""
    events = [image_event(n, data) for n, data in enumerate([*pictures, pictures[0]])]
    append_events(tmp_path / NAME, [VERSION, *events])
    return tmp_path


@pytest.fixture
def sync(wandb_server, transport):
    def call(folder, client=transport):
        return sync_directory(client, folder, entity=wandb_server.entity, project=PROJECT, run_id="r")

    return call


def pictures_of(run):
    """The picture that each row of the run names, from the server's store."""
    return [run.files[row["img"]["filenames"][0]] for row in run.history_rows()]


def asked(seen):
    return Counter(request.operation or request.method for request in seen)


def test_addresses_are_asked_for_together_and_each_picture_is_sent_once(sync, folder, pictures, wandb_server):
    with wandb_server.requests() as seen:
        done = sync(folder)
    assert (done.rows, done.media) == (IMAGES + 1, IMAGES + 1)
    found = asked(seen)
    assert (found["CreateRunFiles"], found["PUT"]) == (2, IMAGES)
    assert pictures_of(wandb_server.run(PROJECT, "r")) == [*pictures, pictures[0]]
    with wandb_server.requests() as seen:
        assert sync(folder).rows == 0
    assert not {"CreateRunFiles", "PUT"} & set(asked(seen))


def test_files_are_taken_out_of_the_chunk_a_few_bytes_at_a_time(
    sync, folder, pictures, wandb_server, monkeypatch
):
    monkeypatch.setattr(sending, "_FILES_AT_ONCE", 10 * len(pictures[0]))
    with wandb_server.requests() as seen:
        sync(folder)
    assert asked(seen)["CreateRunFiles"] >= IMAGES // 10
    assert asked(seen)["PUT"] == IMAGES
    assert pictures_of(wandb_server.run(PROJECT, "r")) == [*pictures, pictures[0]]


def test_every_picture_is_there_before_the_rows_are_sent(sync, folder, wandb_server):
    with wandb_server.requests() as seen:
        sync(folder)
    kinds = [request.operation or request.path for request in seen]
    last_picture = max(n for n, request in enumerate(seen) if request.method == "PUT")
    streams = [n for n, kind in enumerate(kinds) if kind.endswith("file_stream")]
    # The first tells what the pass reads, and no row.
    assert streams[0] < last_picture < streams[1]


def test_a_lost_answer_is_asked_for_again_and_doubles_nothing(
    folder, pictures, sync, wandb_server, transport
):
    client = Transport(transport.settings, policy=RetryPolicy(base=0.001, cap=0.01))
    lost = [
        Fault.lost_answer(operation="CreateRunFiles"),
        Fault.lost_answer(method="PUT", skip=5, times=3),
        Fault.lost_answer(operation="MarkRunFilesUploaded"),
    ]
    with wandb_server.faults(*lost) as struck:
        done = sync(folder, client)
    assert struck.hits == 5
    assert done.rows == IMAGES + 1
    run = wandb_server.run(PROJECT, "r")
    assert pictures_of(run) == [*pictures, pictures[0]]
    assert len([name for name in run.files if name.startswith("media/")]) == IMAGES


def test_a_picture_that_is_refused_is_named_and_no_row_goes_before_it(folder, pictures, sync, wandb_server):
    refused = hashlib.sha256(pictures[110]).hexdigest()[:32]
    wandb_server.fail_next(status=403, method="PUT", path=refused)
    with pytest.raises(Error, match=f"r/media/images/{refused}.png"):
        sync(folder)
    assert wandb_server.run(PROJECT, "r").history_rows() == []
    assert sync(folder).rows == IMAGES + 1
    assert pictures_of(wandb_server.run(PROJECT, "r")) == [*pictures, pictures[0]]
