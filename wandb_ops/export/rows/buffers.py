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


def array_of(values: Any, known: Any = None) -> Any:
    """An Arrow array of numpy's 64-bit integers or floats, without a copy; null where `known` is false."""
    import numpy as np
    import pyarrow as pa

    kind: Any = pa.float64() if values.dtype.kind == "f" else pa.int64()
    mask: Any = None if known is None else np.packbits(known, bitorder="little")
    data: Any = np.ascontiguousarray(values)
    buffers = [None if mask is None else pa.py_buffer(mask), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(values), buffers)


def copied(table: Any) -> Any:
    """A table in memory of its own: a column that was read from a file keeps all that was read with it."""
    import numpy as np

    return table.take(array_of(np.arange(table.num_rows)))


def nulls_of(array: Any) -> Any:
    """Places of the nulls."""
    import numpy as np

    if not array.null_count:
        return np.zeros(0, np.int64)
    return np.flatnonzero(numbers(array.is_null()))
