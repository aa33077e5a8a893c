"""Numbers of Arrow arrays, straight from their buffers.

`Array.to_numpy` and `pa.scalar` load pandas, which takes a second and 45 MB that an export has no use for.
"""

from __future__ import annotations

from typing import Any


def numbers(array: Any) -> Any:
    """The values of an integer, floating or boolean array as numpy's, booleans as 0 and 1, nulls as 0.

    No copy but for booleans and nulls.
    """
    import numpy as np
    import pyarrow as pa

    data, start, length = array.buffers()[1], array.offset, len(array)
    if not length or data is None:
        return np.zeros(length, np.uint8)
    if pa.types.is_boolean(array.type):
        bits = np.frombuffer(data, np.uint8)
        values = np.unpackbits(bits, count=start + length, bitorder="little")[start:]
    else:
        width = array.type.bit_width // 8
        kind = "f" if pa.types.is_floating(array.type) else "u" if str(array.type).startswith("u") else "i"
        values = np.frombuffer(data, f"<{kind}{width}", length, start * width)
    if array.null_count:
        values = values.copy()
        values[nulls_of(array)] = 0
    return values


def nulls_of(array: Any) -> Any:
    """Places of the nulls."""
    import numpy as np

    if not array.null_count:
        return np.zeros(0, np.int64)
    return np.flatnonzero(numbers(array.is_null()))
