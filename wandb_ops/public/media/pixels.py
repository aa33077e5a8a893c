"""Pictures as bytes: what format and size they have, and arrays written as PNG without another library."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PNG = b"\x89PNG\r\n\x1a\n"
_COLOURS = {1: 0, 3: 2, 4: 6}  # channels: grey, RGB, RGBA
_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SHAPES = "An image is an array of height x width, or of height x width x 1, 3 or 4 channels"


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of height x width x (1, 3 or 4) bytes."""
    height, width, channels = pixels.shape
    lines = b"".join(b"\0" + pixels[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return _PNG + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def pixels_of(array: Any) -> NDArray[np.uint8]:
    """The bytes to show of an array: whole numbers 0 to 255, fractions of 1, or bools.

    Raises:
        UsageError: It has another shape, or values that no picture has.
    """
    import numpy as np

    found = np.asarray(array)
    if found.ndim == 2:
        found = found[:, :, None]
    if found.ndim != 3 or found.shape[2] not in _COLOURS:
        raise UsageError(f"{_SHAPES}, not of shape {np.asarray(array).shape}")
    if not found.size:
        raise UsageError("An image has at least one pixel")
    if found.dtype == np.uint8:
        return np.ascontiguousarray(found)
    if found.dtype == bool:
        return found.astype(np.uint8) * np.uint8(255)
    if found.dtype.kind not in "iuf":
        raise UsageError(f"An image is made of numbers, not of {found.dtype}")
    low, high = float(found.min()), float(found.max())
    if not (low >= 0 and high <= 255):  # also for NaN
        raise UsageError(
            f"An image has values from 0 to 255, or fractions of 1; these go from {low:g} to {high:g}",
            hint="Scale them first.",
        )
    if found.dtype.kind == "f" and high <= 1:
        found = np.round(found * 255)
    return found.astype(np.uint8)


def format_and_size(data: bytes) -> tuple[str, int, int] | None:
    """Format, width and height of a PNG, JPEG, GIF or BMP file; None for anything else."""
    try:
        if data.startswith(_PNG):
            width, height = struct.unpack_from(">II", data, 16)
            return "png", width, height
        if data.startswith(b"GIF8"):
            width, height = struct.unpack_from("<HH", data, 6)
            return "gif", width, height
        if data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            return "bmp", width, abs(height)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
    except struct.error:
        pass  # cut off before its size is told
    return None


def _jpeg(data: bytes) -> tuple[str, int, int] | None:
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in _STARTS_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return "jpg", width, height
        place += 2 + int(struct.unpack_from(">H", data, place + 2)[0])
    return None
