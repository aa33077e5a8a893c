"""The hparams plugin's messages: a session's start gives a run's config.

Experiment descriptions and session ends say nothing that a run needs.
"""

from __future__ import annotations

from typing import Any

from wandb_ops.tensorboard import wire


def read(data: bytes, start: int, end: int) -> dict[str, Any]:
    """The hyperparameters in the plugin's own data; a WireError when that is torn."""
    hparams: dict[str, Any] = {}
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 3 and kind == wire.BYTES:
            for inner, inner_kind, c, d in wire.fields(data, a, b):
                if inner == 1 and inner_kind == wire.BYTES:
                    key, item = _map_entry(data, c, d)
                    hparams[key] = item
    return hparams


def _map_entry(data: bytes, start: int, end: int) -> tuple[str, Any]:
    key, item = "", None
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 1 and kind == wire.BYTES:
            key = wire.text(data, a, b)
        elif number == 2 and kind == wire.BYTES:
            item = _struct_value(data, a, b)
    return key, item


def _struct_value(data: bytes, start: int, end: int) -> Any:
    """A google.protobuf.Value; numbers without a fraction become integers, as they were given."""
    item: Any = None
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 2 and kind == wire.FIXED64:
            item = wire.double(data, a)
            item = int(item) if item.is_integer() and abs(item) < 1 << 53 else item
        elif number == 3 and kind == wire.BYTES:
            item = wire.text(data, a, b)
        elif number == 4 and kind == wire.VARINT:
            item = bool(a)
        elif number == 5 and kind == wire.BYTES:
            item = dict(
                _map_entry(data, c, d) for n, k, c, d in wire.fields(data, a, b) if n == 1 and k == wire.BYTES
            )
        elif number == 6 and kind == wire.BYTES:
            item = [
                _struct_value(data, c, d)
                for n, k, c, d in wire.fields(data, a, b)
                if n == 1 and k == wire.BYTES
            ]
    return item
