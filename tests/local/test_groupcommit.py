"""What waits at the same time is committed together, and each job is whole or not there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wandb_ops.local.database.groupcommit import GroupCommit
from wandb_ops.local.database.store import Store


class Broken(Exception):
    """What a job of a test raises."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "server.db")
    with made.writing() as db:
        db.execute("CREATE TABLE notes(text TEXT)")
    yield made
    made.close()


def notes(store: Store) -> list[str]:
    with store.reading() as db:
        return [text for (text,) in db.execute("SELECT text FROM notes ORDER BY rowid")]


def add(db: sqlite3.Connection, text: str) -> str:
    db.execute("INSERT INTO notes VALUES(?)", (text,))
    return text.upper()


def add_and_break(db: sqlite3.Connection, text: str) -> str:
    add(db, text)
    raise Broken(text)


def never() -> Any:
    raise Broken("not even read")


def test_jobs_that_wait_are_committed_and_one_that_fails_takes_no_other_with_it(store: Store) -> None:
    group = GroupCommit(store)
    with store.writing():  # so that all of them wait
        futures = [
            group.submit(1, lambda text=text: text, add_and_break if text == "c" else add) for text in "abcde"
        ]
        unread = group.submit(1, never, add)
        assert not any(future.done() for future in futures)
    assert [future.result(10) for future in futures if future is not futures[2]] == ["A", "B", "D", "E"]
    for future, said in ((futures[2], "c"), (unread, "not even read")):
        with pytest.raises(Broken, match=said):
            future.result(10)
    assert notes(store) == ["a", "b", "d", "e"]
    group.close()


def test_what_waits_is_done_before_the_end_and_nothing_is_taken_after_it(store: Store) -> None:
    group = GroupCommit(store)
    futures = [group.submit(1, lambda text=text: text, add) for text in "xyz"]
    group.close()
    assert all(future.done() for future in futures)
    assert notes(store) == ["x", "y", "z"]
    with pytest.raises(RuntimeError, match="stopped"):
        group.submit(1, never, add)
    GroupCommit(store).close()  # one that had nothing to do


def test_a_commit_that_fails_is_told_to_everybody_in_it(store: Store) -> None:
    with store.writing() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute("PRAGMA max_page_count=%d" % pages)  # noqa: UP031 - a PRAGMA takes no parameters
    group = GroupCommit(store)
    with store.writing():
        futures = [group.submit(1, lambda: "x" * 100_000, add) for _ in range(3)]
    for future in futures:
        with pytest.raises(sqlite3.OperationalError, match="full"):
            future.result(10)
    assert notes(store) == []
    with store.writing() as db:
        db.execute("PRAGMA max_page_count=100000")
    assert group.submit(1, lambda: "y", add).result(10) == "Y"
    group.close()
