"""Just enough of the protobuf wire format to walk messages in a buffer without copying."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIGN = 1 << 63
_MAX_VARINT_BITS = 70


class WireError(ValueError):
    """The bytes are not a protobuf message."""


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The unsigned varint at `at`, and the position after it."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift >= _MAX_VARINT_BITS:
            break
    raise WireError("a varint does not end")


def signed(value: int) -> int:
    """An int32/int64 field's value from its unsigned 64-bit varint."""
    return value - (_SIGN << 1) if value & _SIGN else value


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of the message at data[start:end], in order.

    Yields:
        (field number, wire type, a, b): for BYTES, FIXED32 and FIXED64 the value is data[a:b]; for VARINT
        `a` is the unsigned value and `b` the position after it. Groups and torn fields raise WireError.
    """
    at = start
    while at < end:
        key, at = varint(data, at, end)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError("field number 0")
        if kind == VARINT:
            value, at = varint(data, at, end)
            yield number, kind, value, at
            continue
        if kind == BYTES:
            size, at = varint(data, at, end)
        elif kind == FIXED64:
            size = 8
        elif kind == FIXED32:
            size = 4
        else:
            raise WireError(f"wire type {kind}")
        if at + size > end:
            raise WireError("a field runs over its message")
        yield number, kind, at, at + size
        at += size


def double(data: bytes, at: int) -> float:
    """The little-endian float64 at `at`."""
    value: float = struct.unpack_from("<d", data, at)[0]
    return value


def single(data: bytes, at: int) -> float:
    """The little-endian float32 at `at`, widened."""
    value: float = struct.unpack_from("<f", data, at)[0]
    return value


def text(data: bytes, start: int, end: int) -> str:
    """A string field; bytes that are not UTF-8 become U+FFFD."""
    return data[start:end].decode("utf-8", errors="replace")


def varints(data: bytes, start: int, end: int) -> list[int]:
    """A packed repeated varint field."""
    values = []
    at = start
    while at < end:
        value, at = varint(data, at, end)
        values.append(value)
    return values
