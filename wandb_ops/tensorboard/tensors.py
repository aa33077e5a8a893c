"""TensorProto and its neighbours: numeric and string tensors as numpy arrays and lists."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from wandb_ops.tensorboard import wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

DT_STRING = 7
_BFLOAT16 = 14
# DataType number -> numpy type of `tensor_content`.
_DTYPES: dict[int, str] = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "|u1",
    5: "<i2",
    6: "|i1",
    9: "<i8",
    10: "|b1",
    _BFLOAT16: "<u2",
    17: "<u2",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
_HALF_VAL = 13
# TensorProto field -> width of its items where they are not varints.
_FIXED = {5: "<f4", 6: "<f8"}
_VARINTS = frozenset({7, 10, 11, _HALF_VAL, 16, 17})
_MAX_ITEMS = 1 << 26


class UnsupportedTensorError(ValueError):
    """A tensor of a kind that no summary plugin writes; the message is a short reason."""


class Tensor:
    """One TensorProto: `array` for numbers and booleans, `strings` for DT_STRING."""

    def __init__(self, shape: tuple[int, ...], array: NDArray[Any] | None, strings: list[bytes]) -> None:
        self.shape = shape
        self.array = array
        self.strings = strings


def parse(data: bytes, start: int, end: int) -> Tensor:
    """Decode a TensorProto; WireError or UnsupportedTensorError when it cannot be."""
    dtype = 0
    dims: tuple[int, ...] = ()
    content: bytes | None = None
    strings: list[bytes] = []
    numbers: list[NDArray[Any]] = []
    ints: list[int] = []
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 1 and kind == wire.VARINT:
            dtype = a
        elif number == 2 and kind == wire.BYTES:
            dims = shape(data, a, b)
        elif number == 4 and kind == wire.BYTES:
            content = data[a:b]
        elif number == 8 and kind == wire.BYTES:
            strings.append(data[a:b])
        elif number in _FIXED and kind in (wire.BYTES, wire.FIXED32, wire.FIXED64):
            if (b - a) % np.dtype(_FIXED[number]).itemsize:
                raise wire.WireError("a packed field is torn")
            numbers.append(np.frombuffer(data[a:b], dtype=_FIXED[number]))
        elif number in _VARINTS:
            ints.extend(wire.varints(data, a, b) if kind == wire.BYTES else [a])
    size = math.prod(dims)
    if size > _MAX_ITEMS:
        raise UnsupportedTensorError("tensor too large")
    if dtype == DT_STRING:
        return Tensor(dims, None, strings[:1] * size if len(strings) == 1 else strings)
    return Tensor(dims, _numbers(dtype, dims, content, numbers, ints), [])


def shape(data: bytes, start: int, end: int) -> tuple[int, ...]:
    """Decode a TensorShapeProto."""
    dims = []
    for number, kind, a, b in wire.fields(data, start, end):
        if number == 2 and kind == wire.BYTES:
            size = 0
            for inner, inner_kind, value, _ in wire.fields(data, a, b):
                if inner == 1 and inner_kind == wire.VARINT:
                    size = wire.signed(value)
            if size < 0:
                raise UnsupportedTensorError("tensor of unknown shape")
            dims.append(size)
    return tuple(dims)


def _numbers(
    dtype: int, shape: tuple[int, ...], content: bytes | None, numbers: list[NDArray[Any]], ints: list[int]
) -> NDArray[Any]:
    if dtype not in _DTYPES:
        raise UnsupportedTensorError(f"tensor dtype {dtype}")
    wanted = np.dtype(_DTYPES[dtype])
    size = math.prod(shape)
    if content:
        if len(content) != size * wanted.itemsize:
            raise wire.WireError("tensor_content does not fit the shape")
        flat: NDArray[Any] = np.frombuffer(content, dtype=wanted)
    elif numbers:
        flat = np.concatenate(numbers)
    elif ints:
        flat = _from_varints(ints, wanted)
    else:
        flat = np.zeros(1, dtype=wanted)  # proto3: a tensor of one zero may be written as nothing
    if dtype == _BFLOAT16:
        flat = (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if len(flat) < size:  # the last value stands for all that follow
        flat = np.concatenate([flat, np.repeat(flat[-1:], size - len(flat))])
    return flat[:size].reshape(shape)


def _from_varints(ints: list[int], wanted: np.dtype[Any]) -> NDArray[Any]:
    raw = np.array(ints, dtype=np.uint64)
    if wanted.kind == "f":  # half: the varint carries the 16 bits
        half: NDArray[Any] = raw.astype(np.uint16).view(wanted)
        return half
    if wanted.kind == "b":
        return raw.astype(np.bool_)
    wrapped: NDArray[Any] = raw.astype(wanted)  # as two's complement does
    return wrapped


def scalar_text(array: NDArray[Any]) -> bytes | float:
    """A one-element array as a float, or as exact JSON digits when it holds an integer or a boolean."""
    item = array.reshape(-1)[0]
    if array.dtype.kind in "iub":
        return str(int(item)).encode()
    return float(item)
