"""Rows of many directories: one order, whatever blocks they come in, and no dearer for their number."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_ops.tensorboard import merge
from wandb_ops.tensorboard.columns import MediaFile
from wandb_ops.tensorboard.rows import RowBlock


def block_of(directory, first, walls):
    """A block of a directory that has given `first` rows; each row says where it is from, and has a file."""
    count = len(walls)
    names = [f"{directory}-{first + n}" for n in range(count)]
    return RowBlock(
        np.array(walls, dtype=np.float64),
        np.array(walls, dtype=np.float64),
        np.arange(first, first + count),
        [name.encode() for name in names],
        np.full(count, directory),
        np.ones(count, dtype=np.int64),
        {n: [MediaFile(name, b"")] for n, name in enumerate(names)},
    )


def source(directory, blocks):
    first = 0
    for walls in blocks:
        yield block_of(directory, first, walls)
        first += len(walls)


def played(folder):
    """What a merge gives: (body, wall, step, scalars, file) of each row."""
    rows = []
    for block in merge.merged([source(n, blocks) for n, blocks in enumerate(folder)]):
        assert set(block.files) == set(range(len(block)))
        files = [block.files[n][0].name for n in range(len(block))]
        rows += zip(
            block.bodies,
            block.wall.tolist(),
            block.step.tolist(),
            block.scalars.tolist(),
            files,
            strict=True,
        )
    return rows


def expected(folder):
    """The rule, spelled out: by wall time, then by directory, each directory's order kept."""
    rows = [
        (wall, directory, nth)
        for directory, blocks in enumerate(folder)
        for nth, wall in enumerate(itertools.chain.from_iterable(blocks))
    ]
    return [(f"{d}-{nth}".encode(), wall, nth, d, f"{d}-{nth}") for wall, d, nth in sorted(rows)]


@st.composite
def folders(draw):
    """Up to 40 directories of blocks, of which some are empty; many rows have the same wall time."""
    found = []
    for _ in range(draw(st.integers(0, 40))):
        walls = sorted(draw(st.lists(st.integers(0, 12), max_size=9)))
        cuts = sorted(draw(st.lists(st.integers(0, len(walls)), max_size=4)))
        found.append([walls[a:b] for a, b in itertools.pairwise([0, *cuts, len(walls)])])
    return found


@settings(max_examples=60, deadline=None)
@given(folder=folders())
def test_rows_come_by_wall_time_and_directory_in_whatever_blocks(folder):
    assert played(folder) == expected(folder)


@pytest.mark.parametrize("kind", ["side by side", "one after the other"])
def test_looks_per_block_do_not_grow_with_the_directories(kind, monkeypatch):
    """A folder of 400 trials is looked at as often for each of its blocks as one of 50."""
    looks = []
    count_up_to = merge._count_up_to
    monkeypatch.setattr(merge, "_count_up_to", lambda *args: looks.append(args) or count_up_to(*args))

    def looks_per_block(directories):
        folder = [
            [
                [
                    block * 4 + n if kind == "side by side" else directory * 100 + block * 4 + n
                    for n in range(4)
                ]
                for block in range(5)
            ]
            for directory in range(directories)
        ]
        looks.clear()
        assert played(folder) == expected(folder)
        return len(looks) / (5 * directories)

    assert looks_per_block(400) < 1.5 * looks_per_block(50)


@pytest.mark.parametrize("directories", [1, 2, 7, 64])
def test_not_much_more_than_a_block_of_each_directory_is_held(directories):
    read = []

    def watched(directory):
        for block in source(directory, [[n * 3, n * 3 + directory % 3] for n in range(20)]):
            read.append(block)
            yield block

    given_out = 0
    for block in merge.merged([watched(n) for n in range(directories)]):
        # Of each block that is held in part, a row may be out already.
        assert 2 * len(read) - given_out <= 2 * (directories + directories // 8 + 1)
        given_out += len(block)
    assert given_out == 40 * directories
