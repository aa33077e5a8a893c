"""Event files written by TensorBoard's own writer, and read by its own loader: the oracle of these tests."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from wandb_ops.settings import resolve
from wandb_ops.tensorboard.reading import read_lines
from wandb_ops.transport.session import Transport


def _scalar_event(tag: str, value: float, step: int, wall: float) -> Event:
    return Event(
        wall_time=wall, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    )


def _append_events(path: Path, events: Sequence[Event]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
        writer.flush()
    return path


def _load(path: Path) -> list[Event]:
    return list(LegacyEventFileLoader(str(path)).Load())


def _rows(folder: Path, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read_lines(folder, **options)]


@pytest.fixture(scope="session")
def scalar_event() -> Callable[..., Event]:
    """`(tag, value, step, wall)` -> an Event as TF1 and torch write it."""
    return _scalar_event


@pytest.fixture(scope="session")
def append_events() -> Callable[..., Path]:
    """`(path, events)`: appends records with TensorBoard's RecordWriter."""
    return _append_events


@pytest.fixture(scope="session")
def load_events() -> Callable[[Path], list[Event]]:
    """What TensorBoard's own loader reads."""
    return _load


@pytest.fixture(scope="session")
def local_rows() -> Callable[..., list[dict[str, Any]]]:
    """The rows a first sync of a folder would send, parsed by the standard library."""
    return _rows


@pytest.fixture
def transport(wandb_server: Any) -> Iterator[Transport]:
    """A client of a fresh embedded server."""
    client = Transport(resolve({"base_url": wandb_server.url}, api_key=wandb_server.api_key))
    yield client
    client.close()


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A loopback port that refuses connections for as long as the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening
        yield held.getsockname()[1]
