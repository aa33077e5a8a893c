"""What an event says besides its values: step, the writer's version, whether it is a restart, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wandb_ops.tensorboard import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSION_START = 1


def step_of_values(data: bytes, start: int, end: int) -> int | None:
    """The step of an event that has values; None for one that has none."""
    step, has_values = 0, False
    try:
        for number, kind, a, b in wire.fields(data, start, end):
            if number == 2 and kind == wire.VARINT:
                step = wire.signed(a)
            elif number == 5 and kind == wire.BYTES:
                has_values = has_values or b > a
    except wire.WireError:
        return None
    return step if has_values else None


class Outline(NamedTuple):
    """What an event says about which values stay; see `restarts`."""

    step: int
    version: float | None  # None when the event names none, -1 for one that is no number
    is_start: bool
    tags: list[bytes] | None  # of its values; None when it has no summary


def outline(data: bytes, start: int, end: int) -> Outline | None:
    """An event without its values; None when it cannot be decoded."""
    step, is_start = 0, False
    version: float | None = None
    tags: list[bytes] | None = None
    try:
        for number, kind, a, b in wire.fields(data, start, end):
            if number == 2 and kind == wire.VARINT:
                step = wire.signed(a)
            elif number == 3 and kind == wire.BYTES:
                version = _version(wire.text(data, a, b))
            elif number == 5 and kind == wire.BYTES:
                tags = [*(tags or ()), *_tags(data, a, b)]
            elif number == 7 and kind == wire.BYTES:
                for inner, inner_kind, status, _ in wire.fields(data, a, b):
                    if inner == 1 and inner_kind == wire.VARINT:
                        is_start = status == SESSION_START
    except wire.WireError:
        return None
    return Outline(step, version, is_start, tags)


def _version(said: str) -> float:
    try:
        return float(said.removeprefix("brain.Event:"))
    except ValueError:
        return -1


def _tags(data: bytes, start: int, end: int) -> Iterator[bytes]:
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 1 and kind == wire.BYTES:
            tag = b""
            for inner, inner_kind, c, d in wire.fields(data, a, b):
                if inner == 1 and inner_kind == wire.BYTES:
                    tag = data[c:d]
            yield tag
