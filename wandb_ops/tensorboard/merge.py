"""The rows of many directories as one sequence, in blocks, and those blocks as JSON lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wandb_ops.tensorboard.columns import MediaFile
    from wandb_ops.tensorboard.rows import RowBlock


@dataclass(slots=True)
class MergedRows:
    """Rows in their final order; arrays and lists have one entry per row."""

    wall: NDArray[np.float64]
    step: NDArray[np.int64]
    bodies: list[bytes]
    scalars: NDArray[np.int64]
    media: NDArray[np.int64]
    files: dict[int, list[MediaFile]]

    def __len__(self) -> int:
        return len(self.bodies)

    def lines(self, start: int, end: int, *, first_line: int, origin: float) -> list[bytes]:
        """Rows [start:end] as JSON lines; row 0 of this block is line `first_line`, `origin` is `_runtime`
        0."""
        wall = self.wall[start:end]
        times = _number_texts(wall)
        runtimes = _number_texts(wall - origin)
        steps = self.step[start:end].tolist()
        return [
            b'{"_step":%d,"_timestamp":%b,"_runtime":%b,"global_step":%d%b}' % row
            for row in zip(
                range(first_line + start, first_line + end),
                times,
                runtimes,
                steps,
                self.bodies[start:end],
                strict=True,
            )
        ]


def _number_texts(values: NDArray[np.float64]) -> list[bytes]:
    if not len(values):
        return []
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def merged(sources: list[Iterator[RowBlock]]) -> Iterator[MergedRows]:
    """Merge by (wall time so far, directory); each directory keeps its own order.

    Args:
        sources: One iterator of blocks per directory, in the order that settles ties. Of each, one block is
            held.
    """
    waiting: dict[int, RowBlock] = {}
    live = set(range(len(sources)))
    while True:
        for index in sorted(live):
            if index not in waiting:
                block = next((block for block in sources[index] if len(block)), None)
                if block is None:
                    live.discard(index)
                else:
                    waiting[index] = block
        if not waiting:
            return
        # Up to here nothing can come in between any more: every directory that goes on is past it.
        horizon = min(((float(waiting[index].order[-1]), index) for index in live), default=None)
        taken = []
        for index in sorted(waiting):
            block = waiting[index]
            count = len(block) if horizon is None else _count_up_to(block, index, horizon)
            if count == len(block):
                taken.append(waiting.pop(index))
            elif count:
                head, waiting[index] = block.split(count)
                taken.append(head)
        yield _joined(taken)


def _count_up_to(block: RowBlock, index: int, horizon: tuple[float, int]) -> int:
    if index <= horizon[1]:
        return int(np.searchsorted(block.order, horizon[0], side="right"))
    return int(np.searchsorted(block.order, horizon[0], side="left"))


def _joined(blocks: list[RowBlock]) -> MergedRows:
    if len(blocks) == 1:
        block = blocks[0]
        return MergedRows(block.wall, block.step, block.bodies, block.scalars, block.media, block.files)
    rank = np.argsort(np.concatenate([block.order for block in blocks]), kind="stable")
    bodies: list[bytes] = []
    files: dict[int, list[MediaFile]] = {}
    for block in blocks:
        files.update({len(bodies) + row: items for row, items in block.files.items()})
        bodies += block.bodies
    if files:
        place = np.empty(len(rank), dtype=np.int64)
        place[rank] = np.arange(len(rank))
        files = {int(place[row]): items for row, items in files.items()}
    return MergedRows(
        np.concatenate([block.wall for block in blocks])[rank],
        np.concatenate([block.step for block in blocks])[rank],
        [bodies[row] for row in rank.tolist()],
        np.concatenate([block.scalars for block in blocks])[rank],
        np.concatenate([block.media for block in blocks])[rank],
        files,
    )
