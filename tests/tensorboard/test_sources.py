"""Folders in a store, read by ranges from an S3 server on loopback, and compressed event files."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from upath import UPath

from wandb_ops.errors import CommError, NotFoundError, UsageError
from wandb_ops.tensorboard import sources, sync_directory
from wandb_ops.tensorboard.discover import find_directories
from wandb_ops.tensorboard.records import CHUNK
from wandb_ops.tensorboard.sources import GzipFile, is_remote, local_path

VERSION = Event(wall_time=1.0, file_version="brain.Event:2")  # every writer begins with it
NAME = "events.out.tfevents.1700000000.host"
PROJECT = "tb"


class Bytes:
    """A source in memory that notes what was read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0

    def read(self, offset: int, size: int) -> bytes:
        self.reads += 1
        return self.data[offset : offset + size]


@pytest.fixture
def folder(tmp_path, append_events, scalar_event):
    """Two directories, one below the other."""
    root = tmp_path / "logs"
    for name, late in (("train", 0.0), ("train/deep", 0.5)):
        events = [scalar_event(tag, n / 7, n, 1000 + n + late) for n in range(40) for tag in ("loss", "acc")]
        append_events(root / name / NAME, events)
    return root


def upload(folder: Path, url: str) -> None:
    """Every file of `folder`, by another client than the one under test uses for reading ranges."""
    store, root = fsspec.core.url_to_fs(url)
    for path in folder.rglob("*"):
        if path.is_file():
            store.pipe_file(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def test_a_folder_in_s3_gives_the_rows_of_the_local_one(folder, bucket, local_rows):
    upload(folder, f"{bucket}/exp")
    expected = local_rows(folder)
    assert len(expected) == 80
    assert local_rows(f"{bucket}/exp") == expected
    assert local_rows(f"{bucket}/exp/") == expected
    assert local_rows(f"{bucket}/exp", chunk=300) == expected
    assert local_rows(UPath(f"{bucket}/exp")) == expected


def test_objects_are_read_in_ranges_and_never_whole(
    tmp_path, append_events, scalar_event, bucket, local_rows, monkeypatch
):
    events = [scalar_event("x", n, n, 1.0 + n) for n in range(2_000)]
    path = append_events(tmp_path / "logs" / NAME, [VERSION, *events])
    upload(tmp_path / "logs", bucket)
    asked = []
    real = sources.RemoteFile.read

    def noted(self, offset, size):
        found = real(self, offset, size)
        asked.append((offset, size, len(found)))
        return found

    monkeypatch.setattr(sources.RemoteFile, "read", noted)
    assert len(local_rows(bucket, chunk=10_000)) == 2_000
    assert max(length for _, _, length in asked) <= 10_100
    # Once to look for restarts, once for the values; a record that a range cuts is read again.
    assert sum(length for _, _, length in asked) < path.stat().st_size * 2.05
    asked.clear()
    # What fits one range is read once.
    assert len(local_rows(bucket)) == 2_000
    assert sum(length for _, _, length in asked) == path.stat().st_size


def test_a_sync_from_s3_is_incremental(
    folder, bucket, transport, wandb_server, local_rows, append_events, scalar_event
):
    def sync():
        return sync_directory(
            transport, f"{bucket}/exp", entity=wandb_server.entity, project=PROJECT, run_id="r"
        )

    upload(folder, f"{bucket}/exp")
    assert (sync().rows, sync().rows) == (80, 0)
    append_events(folder / "train" / NAME, [scalar_event("loss", 9.0, 40, 3000.0)])
    upload(folder, f"{bucket}/exp")
    assert sync().rows == 1
    assert wandb_server.run(PROJECT, "r").history_rows() == local_rows(folder)


def test_a_folder_in_a_store_that_has_no_event_files_is_an_error(bucket, transport, wandb_server):
    with pytest.raises(NotFoundError, match="no TensorBoard event files") as raised:
        sync_directory(
            transport, f"{bucket}/nothing", entity=wandb_server.entity, project=PROJECT, run_id="r"
        )
    assert raised.value.where == f"{bucket}/nothing"


def test_a_bucket_that_is_not_there_is_empty(bucket):
    assert find_directories("s3://no-such-bucket-here/logs") == []


def test_an_object_that_went_away_while_it_was_read_is_an_error_of_ours(folder, bucket):
    upload(folder, bucket)
    (first, *_) = find_directories(bucket)
    store, root = fsspec.core.url_to_fs(bucket)
    store.rm(root, recursive=True)
    with pytest.raises(NotFoundError, match="has no"):
        first.files[0].read(0, 100)


def test_a_store_that_cannot_be_reached_is_a_retryable_error(bucket, monkeypatch, unused_port):
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with pytest.raises(CommError, match="the store did not give") as raised:
        find_directories(bucket)
    assert raised.value.retryable
    assert "loopback" not in str(raised.value)


def test_a_store_that_no_library_knows_is_a_wrong_call():
    with pytest.raises(UsageError, match="no URL that files can be read from"):
        find_directories("nosuchstore://user:secret@place/logs")
    with pytest.raises(UsageError) as raised:
        find_directories("nosuchstore://user:secret@place/logs")
    assert "secret" not in str(raised.value)


def test_fsspec_is_not_loaded_for_local_folders(folder):
    code = (
        "import sys\nfrom wandb_ops.tensorboard.reading import read_lines\n"
        f"print(sum(1 for _ in read_lines({str(folder)!r})), 'fsspec' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["80", "False"]


def test_paths_and_urls_are_told_apart():
    assert [is_remote(place) for place in ("logs", "/logs", "file:///logs", Path("s3:") / "x")] == [False] * 4
    assert [is_remote(place) for place in ("s3://b/logs", "gs://b", "simplecache::s3://b/x")] == [True] * 3
    assert local_path("file:///my%20logs") == Path("/my logs")
    with pytest.raises(UsageError, match="names another machine"):
        local_path("file://elsewhere/logs")


def compress(path: Path, *, members: int = 1, cut: int = 0) -> None:
    """Replace `path` by `path`.gz."""
    data = path.read_bytes()
    parts = [data[n * len(data) // members : (n + 1) * len(data) // members] for n in range(members)]
    whole = b"".join(gzip.compress(part) for part in parts)
    path.with_name(path.name + ".gz").write_bytes(whole[: len(whole) - cut])
    path.unlink()


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("chunk", [200, CHUNK])
def test_compressed_files_give_the_same_rows(folder, local_rows, members, chunk):
    expected = local_rows(folder)
    compress(folder / "train" / NAME, members=members)
    assert local_rows(folder, chunk=chunk) == expected


def test_compressed_objects_in_a_store_give_the_same_rows(folder, bucket, local_rows):
    expected = local_rows(folder)
    compress(folder / "train" / NAME)
    upload(folder, bucket)
    assert local_rows(bucket) == expected


def test_a_file_that_is_compressed_after_it_was_synced_is_the_same_file(
    folder, transport, wandb_server, append_events, scalar_event
):
    def sync():
        return sync_directory(transport, folder, entity=wandb_server.entity, project=PROJECT, run_id="r")

    assert sync().rows == 80
    compress(folder / "train" / NAME)
    append_events(folder / "train" / "events.out.tfevents.1800000000.host", [scalar_event("x", 1, 1, 9e3)])
    assert sync().rows == 1
    # While a tool compresses, both are there; the plain one counts.
    shutil.copy(folder / "train" / f"{NAME}.gz", folder / "train" / "deep" / f"{NAME}.gz")
    assert sync().rows == 0


def test_a_compressed_file_that_breaks_off_gives_what_it_has_and_is_reported(
    tmp_path, append_events, scalar_event, transport, wandb_server
):
    rng = random.Random(0)
    path = append_events(tmp_path / NAME, [scalar_event("x", rng.random(), n, 1.0 + n) for n in range(500)])
    expected = len(gzip.decompress(gzip.compress(path.read_bytes())))
    compress(path, cut=2_000)
    ((directory),) = find_directories(tmp_path)
    assert 0 < directory.files[0].size < expected
    done = sync_directory(transport, tmp_path, entity=wandb_server.entity, project=PROJECT, run_id="r")
    assert 300 < done.rows < 500
    assert done.left_out["gzip file that breaks off"] == 1


def test_a_file_that_is_no_gzip_is_reported(tmp_path, local_rows):
    (tmp_path / f"{NAME}.gz").write_bytes(b"not compressed at all")
    (directory,) = find_directories(tmp_path)
    assert (directory.files[0].size, directory.files[0].is_whole) == (0, False)
    assert local_rows(tmp_path) == []


@settings(max_examples=80, deadline=None)
@given(
    content=st.binary(max_size=3_000),
    members=st.integers(1, 4),
    reads=st.lists(st.tuples(st.integers(0, 3_200), st.integers(0, 900)), max_size=12),
    head=st.integers(0, 500),
    piece=st.integers(1, 400),
)
def test_any_order_of_reads_gives_the_uncompressed_bytes(content, members, reads, head, piece):
    parts = [content[n * len(content) // members : (n + 1) * len(content) // members] for n in range(members)]
    raw = Bytes(b"".join(gzip.compress(part) for part in parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_HEAD", head)
        patch.setattr(sources, "_PIECE", piece)
        file = GzipFile(raw)
        assert (file.measure(), file.whole) == (len(content), True)
        for offset, size in reads:
            assert file.read(offset, size) == content[offset : offset + size]


def test_reading_a_compressed_file_forwards_inflates_it_once():
    content = random.Random(1).randbytes(5_000_000)
    raw = Bytes(gzip.compress(content, compresslevel=1))
    file = GzipFile(raw)
    at = 0
    while at < len(content):
        assert file.read(at, 100_000) == content[at : at + 100_000]
        at += 99_950  # a reader goes back to the beginning of the record that it cut
    assert raw.reads <= len(raw.data) // (1 << 20) + 3


def test_the_state_of_a_sync_speaks_of_plain_names(folder, transport, wandb_server):
    compress(folder / "train" / NAME)
    sync_directory(transport, folder, entity=wandb_server.entity, project=PROJECT, run_id="r")
    state = wandb_server.run(PROJECT, "r").summary["_wandb"]["tensorboard_sync"]
    assert sorted(state["since"]) == [f"train/deep/{NAME}", f"train/{NAME}"]
    assert json.dumps(state)
