"""The rows of many directories as one sequence, in blocks, and those blocks as JSON lines."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wandb_ops.tensorboard.columns import MediaFile
    from wandb_ops.tensorboard.rows import RowBlock

_SHARE = 8  # of the directories are read on between two looks at all of them: that much more is held


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

    Which rows come together in one block says nothing; their order is a function of the sources alone.

    Args:
        sources: One iterator of blocks per directory, in the order that settles ties. About one block of each
            is held.
    """
    held: dict[int, list[RowBlock]] = {}
    # The last row held of each directory that goes on: up to the first of them nothing can come in between.
    ends: list[tuple[float, int]] = []

    def read_on(index: int) -> None:
        block = next((block for block in sources[index] if len(block)), None)
        if block is not None:
            held.setdefault(index, []).append(block)
            heappush(ends, (float(block.order[-1]), index))

    for index in range(len(sources)):
        read_on(index)
    while held:
        yield _joined(_taken(held, ends[0] if ends else None))
        # To take looks at every directory. So before it is done again, a share of them is read on.
        for _ in range(min(len(ends), 1 + len(ends) // _SHARE)):
            read_on(heappop(ends)[1])


def _taken(held: dict[int, list[RowBlock]], horizon: tuple[float, int] | None) -> list[RowBlock]:
    """Take the rows up to `horizon`, or all, out of `held`; by directory."""
    taken: list[RowBlock] = []
    for index in sorted(held):
        blocks = held[index]
        count = 0
        while blocks and (count := _count_up_to(blocks[0], index, horizon)) == len(blocks[0]):
            taken.append(blocks.pop(0))
        if not blocks:
            del held[index]
        elif count:
            head, blocks[0] = blocks[0].split(count)
            taken.append(head)
    return taken


def _count_up_to(block: RowBlock, index: int, horizon: tuple[float, int] | None) -> int:
    if horizon is None:
        return len(block)
    return int(block.order.searchsorted(horizon[0], side="right" if index <= horizon[1] else "left"))


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
