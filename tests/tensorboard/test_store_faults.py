"""A folder in S3 whose store fails, grows and changes while it is read; what the store was asked for."""

from __future__ import annotations

import http.client
import http.server
import random
import re
import socket
import struct
import threading
import urllib.parse

import boto3
import pytest
from tensorboard.compat.proto.event_pb2 import Event

from wandb_ops.errors import TransportError
from wandb_ops.tensorboard import follow_directory, sync_directory, writer

VERSION = Event(wall_time=1.0, file_version="brain.Event:2")
NAME = "events.out.tfevents.1700000000.host"
PROJECT = "tb"
_HOP = {"connection", "content-length", "date", "server", "transfer-encoding"}


class Between(http.server.BaseHTTPRequestHandler):
    """Hands requests on to the store and notes those for bytes; a fault comes first."""

    protocol_version = "HTTP/1.1"
    store: str  # host:port
    asked: list[tuple[str, int, int]]  # path, first byte asked for, bytes given
    faults: list  # of what to do with the next reads: None, 503, "reset", or something to call before

    def _hand_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        is_read = self.command == "GET" and "tfevents" in self.path
        fault = self.faults.pop(0) if is_read and self.faults else None
        if callable(fault):
            fault()
        if fault == 503:
            self._answer(503, [], b"")
            return
        connection = http.client.HTTPConnection(self.store)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        length = int(answer.getheader("Content-Length") or 0) if self.command == "HEAD" else len(data)
        connection.close()
        if is_read:
            self.asked.append((self.path, int(wanted[1]) if wanted else -1, len(data)))
        self._answer(answer.status, headers, data, length=length, cut=fault == "reset")

    def do_GET(self):
        self._hand_on()

    def do_HEAD(self):
        self._hand_on()

    def _answer(self, status, headers, data, *, length=0, cut=False):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def store(bucket, s3_url, monkeypatch):
    """What stands between the reader and its bucket; `put` writes past it, as a training elsewhere does."""
    import s3fs

    handler = type("Handler", (Between,), {"store": urllib.parse.urlsplit(s3_url).netloc})
    handler.asked, handler.faults = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setattr(random, "random", lambda: 0.0)  # the client's wait before its second try
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3", endpoint_url=s3_url, aws_access_key_id="x", aws_secret_access_key="x")
    name = bucket.removeprefix("s3://")
    handler.url = f"{bucket}/exp"
    handler.put = staticmethod(
        lambda path, data: client.put_object(Bucket=name, Key=f"exp/{path}", Body=data)
    )
    yield handler
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()


@pytest.fixture
def written(tmp_path, append_events, scalar_event):
    """The bytes of an event file of 600 steps, at any number of them."""
    path = append_events(tmp_path / NAME, [VERSION])
    ends = [path.stat().st_size]
    append_events(path, [scalar_event("x", n, n, 1.0 + n) for n in range(600)])
    data = path.read_bytes()
    step = (len(data) - ends[0]) / 600
    sizes = [len(scalar_event("x", n, n, 1.0 + n).SerializeToString()) + 16 for n in range(600)]
    assert step == sum(sizes) / 600
    return lambda count: data[: ends[0] + sum(sizes[:count])]


@pytest.fixture
def sync(store, wandb_server, transport, monkeypatch):
    """Syncs the folder in ranges of 4 kB."""
    monkeypatch.setattr(writer, "CHUNK", 4_000)
    monkeypatch.setattr(writer, "_SMALLEST_CHUNK", 4_000)
    monkeypatch.setattr(writer, "_HELD_BYTES", 4_000)
    return lambda: sync_directory(
        transport, store.url, entity=wandb_server.entity, project=PROJECT, run_id="r"
    )


@pytest.fixture
def values(wandb_server):
    return lambda: [row["train/x"] for row in wandb_server.run(PROJECT, "r").history_rows()]


def test_the_store_is_asked_for_ranges_and_never_for_an_object(store, sync, written, values):
    store.put(f"train/{NAME}", written(600))
    sync()
    assert values() == [*range(600)]
    assert len(store.asked) > 10
    assert min(first for _, first, _ in store.asked) >= 0
    assert max(size for _, _, size in store.asked) <= 4_100
    # Once to look for restarts, once for the values; and the first record, which tells files apart.
    assert sum(size for _, _, size in store.asked) < 2.1 * len(written(600))
    store.asked.clear()
    store.put(f"train/{NAME}", written(600) + written(0)[:10])
    assert sync().rows == 0
    # A later sync reads what came before once more, for what it says about tags.
    assert sum(size for _, _, size in store.asked) < 1.1 * len(written(600))


@pytest.mark.parametrize("fault", [503, "reset"])
def test_a_store_that_stumbles_costs_nothing(store, sync, written, values, fault):
    store.put(f"train/{NAME}", written(600))
    store.faults += [None, fault, None, None, fault]
    assert sync().rows == 600
    assert store.faults == []
    assert values() == [*range(600)]


def test_a_store_that_stays_away_is_an_error_to_be_retried_and_the_retry_goes_on(
    store, sync, written, values, wandb_server
):
    store.put(f"train/{NAME}", written(600))
    # Through the first look and half of the second: rows have left.
    store.faults += [None] * (3 * len(written(600)) // 2 // 4_000) + [503] * 4
    with pytest.raises(TransportError, match="the store did not give") as raised:
        sync()
    assert raised.value.retryable
    assert wandb_server.run(PROJECT, "r").state == "running"
    sent = values()
    store.faults.clear()
    assert sync().rows == 600 - len(sent)
    assert values() == [*range(600)]


def test_an_object_that_grows_while_it_is_read_is_read_as_it_was_and_then_the_rest(
    store, sync, written, values
):
    store.put(f"train/{NAME}", written(300))
    store.faults += [None, lambda: store.put(f"train/{NAME}", written(600)), None]
    assert sync().rows == 300
    assert sync().rows == 300
    assert values() == [*range(600)]


def test_an_object_that_is_replaced_by_a_shorter_one_while_it_is_read_ends_nothing_early(
    store, sync, written, values, wandb_server
):
    store.put(f"train/{NAME}", written(600))
    store.faults += [None, None, lambda: store.put(f"train/{NAME}", written(100) + b"\0" * 2_000)]
    with pytest.raises(TransportError, match=r"gave \d+ of|did not give"):
        sync()
    assert values() == []


def test_a_folder_in_a_store_is_followed_while_others_write_there(
    store, written, values, wandb_server, transport
):
    """New objects, and what was put in the place of others, are seen at the next look."""
    later = [
        lambda: store.put(f"train/{NAME}", written(10)),
        lambda: store.put(f"train/{NAME}", written(25)[:-7]),
        lambda: store.put(f"train/{NAME}", written(40)),
        lambda: store.put("train/events.out.tfevents.1800000000.host", written(0)),
    ]
    seen = []

    def sleep(_seconds):
        seen.append(0 if not later or len(later) == 4 else len(values()))
        if later:
            later.pop(0)()

    done = follow_directory(
        transport,
        store.url,
        entity=wandb_server.entity,
        project=PROJECT,
        run_id="r",
        should_stop=lambda: not later,
        sleep=sleep,
        clock=lambda: 0.0,
    )
    # The last step is held back while it may still grow.
    assert seen == [0, 9, 23, 39]
    assert (values(), done.files, wandb_server.run(PROJECT, "r").state) == ([*range(40)], 2, "finished")


def test_a_page_that_grows_on_a_server_without_ranges_is_read_as_it_was(
    tmp_path, append_events, scalar_event, local_rows
):
    path = append_events(tmp_path / NAME, [VERSION, *[scalar_event("x", n, n, 1.0 + n) for n in range(90)]])
    expected = local_rows(tmp_path)
    more = []

    class Growing(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=str(tmp_path))

        def do_GET(self):
            if "tfevents" in self.path and not more:
                more.append(append_events(path, [scalar_event("x", n, n, 1.0 + n) for n in range(90, 200)]))
            super().do_GET()

        def log_message(self, *arguments):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Growing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert local_rows(f"http://127.0.0.1:{server.server_port}/", chunk=1_000) == expected
    finally:
        server.shutdown()
        server.server_close()
    assert len(more) == 1
