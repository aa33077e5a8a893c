"""What decoding gives: values in file order, as columns, and what was learnt on the way.

One entry per summary value (not per event): an event with three values gives three entries with the same
step and wall time. Numbers that are floats stand in `value`; everything else (integers, histograms, media,
text) is an `Extra` that `extra` points to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from wandb_ops.tensorboard.tags import TagTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    I64 = NDArray[np.int64]
    I32 = NDArray[np.int32]
    F64 = NDArray[np.float64]

NO_EXTRA = -1


class MediaFile(NamedTuple):
    """A file that a history value refers to."""

    name: str  # media/images/<sha256>.png
    data: bytes | memoryview  # a view keeps the chunk in memory that it was read with


class Extra(NamedTuple):
    """A value that is no plain float: its JSON text, and the files it refers to."""

    text: bytes
    files: tuple[MediaFile, ...] = ()
    is_scalar: bool = False  # an integer or boolean


@dataclass(slots=True)
class Columns:
    """Values in file order; all arrays have one entry per value."""

    wall: F64
    step: I64
    tag: I32  # id in the directory's TagTable
    value: F64
    extra: I32  # index into `extras`, or NO_EXTRA
    extras: list[Extra]

    def __len__(self) -> int:
        return len(self.step)

    @classmethod
    def empty(cls) -> Self:
        """No values."""
        return cls(
            np.empty(0, np.float64),
            np.empty(0, np.int64),
            np.empty(0, np.int32),
            np.empty(0, np.float64),
            np.empty(0, np.int32),
            [],
        )

    def take(self, index: Any) -> Columns:
        """The entries that `index` (mask, positions or slice) selects; unused extras are let go."""
        extra = self.extra[index]
        used = np.flatnonzero(extra != NO_EXTRA)
        kept: list[Extra] = []
        if len(used):
            kept = [self.extras[position] for position in extra[used].tolist()]
            extra = extra.copy()
            extra[used] = np.arange(len(kept), dtype=np.int32)
        return Columns(self.wall[index], self.step[index], self.tag[index], self.value[index], extra, kept)

    def owned(self) -> Columns:
        """The same, with the files' bytes copied: to be kept for longer than the chunk they came from."""
        self.extras = [
            extra._replace(files=tuple(MediaFile(file.name, bytes(file.data)) for file in extra.files))
            if extra.files
            else extra
            for extra in self.extras
        ]
        return self

    def then(self, other: Columns) -> Columns:
        """These values followed by `other`'s."""
        if not len(self):
            return other
        shifted = np.where(other.extra == NO_EXTRA, NO_EXTRA, other.extra + len(self.extras)).astype(np.int32)
        return Columns(
            np.concatenate([self.wall, other.wall]),
            np.concatenate([self.step, other.step]),
            np.concatenate([self.tag, other.tag]),
            np.concatenate([self.value, other.value]),
            np.concatenate([self.extra, shifted]),
            self.extras + other.extras,
        )


@dataclass(slots=True)
class Context:
    """What decoding one directory's files remembers from event to event."""

    tags: TagTable = field(default_factory=TagTable)
    # Writers may name the plugin of a tag only once: tag -> (number of the record that named it, plugin).
    plugins: dict[bytes, tuple[int, str]] = field(default_factory=dict)
    hparams: dict[str, Any] = field(default_factory=dict)
    pr_curves: set[bytes] = field(default_factory=set)  # tags; each gets a chart
    left_out: Counter[str] = field(default_factory=Counter)
    records: int = 0  # decoded so far

    def learn(self, tag: bytes, plugin: str, record: int) -> None:
        """Remember that `tag` belongs to `plugin`; the earliest record to say so wins."""
        known = self.plugins.get(tag)
        if known is None or record < known[0]:
            self.plugins[tag] = (record, plugin)

    def plugin_of(self, tag: bytes, record: int) -> str:
        """The plugin that records up to `record` named for `tag`; empty when none did."""
        known = self.plugins.get(tag)
        return known[1] if known is not None and known[0] <= record else ""
