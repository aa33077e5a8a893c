"""In which row each of very many runs stands."""

from __future__ import annotations

from typing import Any

from wandb_ops.export.rows.buffers import array_of, numbers

_PART = 4096


class RunIndex:
    """Finds rows by the ids of their runs; sixteen bytes of each, where a dict takes a hundred.

    Args:
        ids: An Arrow array of texts, each once.
    """

    def __init__(self, ids: Any) -> None:
        import numpy as np

        self._ids = ids
        found = _hashes(ids)
        self._order = np.argsort(found, kind="stable")
        self._sorted = found[self._order]

    def rows(self, ids: Any) -> Any:
        """Row of each of some runs, as numpy's integers; -1 for a run that is not there."""
        import numpy as np
        import pyarrow.compute

        pc: Any = pyarrow.compute  # its stubs know neither scalars nor arrays apart
        if not len(self._ids):
            return np.full(len(ids), -1, np.int64)
        at = np.searchsorted(self._sorted, _hashes(ids))
        rows = self._order[np.minimum(at, len(self._order) - 1)]
        same = numbers(pc.equal(self._ids.take(array_of(rows)), ids)).astype(bool)
        return np.where(same, rows, -1)


def _hashes(ids: Any) -> Any:
    import numpy as np

    texts = (text for start in range(0, len(ids), _PART) for text in ids.slice(start, _PART).to_pylist())
    return np.fromiter(map(hash, texts), np.int64, len(ids))
