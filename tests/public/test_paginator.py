"""Lists of any length: what is kept of them, what is asked for again, and what is never given up."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import pytest

from wandb_ops import Api
from wandb_ops.protocol.idset import IdSet
from wandb_ops.protocol.pagination import Page
from wandb_ops.public import paginator
from wandb_ops.public.paginator import Paginator, SizedPaginator

TOTAL = 60


class Thing:
    """An object of the server that may be changed here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.changed = False

    def _unsaved(self) -> bool:
        return self.changed


class Things(SizedPaginator[Thing]):
    """Pages of the texts in `stored`, counted as they are asked for."""

    def __init__(self, stored: list[str], per_page: int, *, total: int | None = None) -> None:
        self.stored, self.asked, self.total = stored, list[str | None](), total
        self.made: weakref.WeakSet[Thing] = weakref.WeakSet()
        super().__init__(per_page=per_page, where="things")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        self.asked.append(cursor)
        later = [name for name in self.stored if cursor is None or name > cursor]
        nodes = tuple({"id": name} for name in later[:per_page])
        end = nodes[-1]["id"] if nodes else cursor
        return Page(nodes, end, len(later) > per_page, self.total)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Thing]:
        found = [Thing(node["id"]) for node in nodes]
        self.made.update(found)
        return found


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists keep ten objects."""
    monkeypatch.setattr(paginator, "KEPT", 10)


@pytest.fixture
def names() -> list[str]:
    return [f"n{number:02}" for number in range(TOTAL)]


def test_a_loop_keeps_a_few_objects_and_asks_for_each_page_once(few: None, names: list[str]) -> None:
    things = Things(names, 4)
    seen, most = [], 0
    for thing in things:
        seen.append(thing.name)
        if len(seen) % 20 == 0:
            gc.collect()
        most = max(most, len(things.made))
    assert seen == names
    assert len(things.asked) == TOTAL // 4
    assert most <= 16  # ten, the page that comes, and the one that was read last
    assert len(things) == TOTAL


def test_who_goes_back_gets_the_page_again(few: None, names: list[str]) -> None:
    things = Things(names, 4)
    assert [thing.name for thing in things] == names
    things.asked.clear()
    assert [things[at].name for at in (3, 2, 1, -1, 58)] == ["n03", "n02", "n01", "n59", "n58"]
    assert things.asked == [None]  # the last page was kept
    assert [thing.name for thing in things[9:14]] == names[9:14]
    assert things.asked == [None, "n07", "n11"]
    things.asked.clear()
    assert [thing.name for thing in things] == names
    assert len(things.asked) == TOTAL // 4


@pytest.mark.parametrize("loops_first", [False, True])
@pytest.mark.parametrize("per_page", [1, 7, 100])
def test_indices_and_slices_are_those_of_a_list(
    few: None, names: list[str], per_page: int, *, loops_first: bool
) -> None:
    bounds = [None, 0, 7, 59, 99, -1, -13, -99]
    for wanted in [slice(a, b, c) for a in bounds for b in bounds for c in (None, 3, -7)]:
        things = Things(names, per_page)
        if loops_first:
            list(things)
        assert [thing.name for thing in things[wanted]] == names[wanted], wanted
    things = Things(names, per_page)
    for at in range(-TOTAL, TOTAL):
        assert things[at].name == names[at]
    for at in (TOTAL, -TOTAL - 1):
        with pytest.raises(IndexError):
            things[at]
    with pytest.raises(ValueError, match=r"[zZ]ero|[sS]tep"):
        things[::0]


def test_what_was_changed_and_not_saved_is_never_given_up(few: None, names: list[str]) -> None:
    things = Things(names, 4)
    for thing in things:
        thing.changed = thing.name in {"n05", "n33"}
    gc.collect()
    assert [thing.name for thing in things if thing.changed] == ["n05", "n33"]
    for thing in things:
        thing.changed = False
    assert sum(1 for _ in things) == TOTAL


def test_a_list_that_keeps_nothing_back_does_not_notice_what_another_loop_lets_go(
    few: None, names: list[str]
) -> None:
    things = Things(names, 4)
    pairs = [(one.name, other.name) for one in things for other in things]
    assert pairs == [(one, other) for one in names for other in names]
    assert [next(things).name for _ in range(12)] == names[:12]


def test_what_was_deleted_meanwhile_is_left_out_and_told(
    few: None, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    things = Things(names, 4)
    assert len(list(things)) == TOTAL
    for name in ("n01", "n02", "n10"):
        things.stored.remove(name)
    left = [name for name in names if name not in {"n01", "n02", "n10"}]
    assert [thing.name for thing in things] == left
    assert "things: 2 that were listed before are not there any more" in caplog.text
    assert len(things) == len(left)
    assert [things[at].name for at in range(len(left))] == left
    assert things[-1].name == "n59"


def test_a_list_travels_without_what_it_let_go(few: None, names: list[str]) -> None:
    things = Things(names, 4)
    for thing in things:
        thing.changed = thing.name == "n05"
    things.made.clear()
    there = pickle.loads(pickle.dumps(_without_made(things)))
    assert [thing.changed for thing in there].count(True) == 1
    assert [thing.name for thing in there] == names


def _without_made(things: Things) -> Things:
    del things.made  # weak references do not travel
    things._convert = _converted  # type: ignore[method-assign]
    return things


def _converted(nodes: list[dict[str, Any]]) -> list[Thing]:
    return [Thing(node["id"]) for node in nodes]


def test_runs_come_again_whatever_became_of_their_place(
    few: None, api: Api, writer: Any, entity: str, project: str, sent: list[str]
) -> None:
    """Which filters they match and where they stand in the order is another matter by then."""
    for number in range(30):
        writer.run(project, f"r{number:02}", summary={"loss": number}, tags=["x"])
    runs = api.runs(f"{entity}/{project}", {"tags": "x"}, order="-summary_metrics.loss", per_page=6)
    sent.clear()
    assert [run.id for run in runs] == [f"r{29 - number:02}" for number in range(30)]
    assert sent == ["Runs"] * 5
    for name, loss in (("r29", -1), ("r03", 99)):
        run = api.run(f"{entity}/{project}/{name}")
        run.summary["loss"], run.tags = loss, []
        run.update()
    sent.clear()
    assert [(run.id, run.summary["loss"]) for run in runs[:2]] == [("r29", -1), ("r28", 28)]
    assert sent == ["Runs"] * 2  # the page, and by name what is no longer on it
    assert [run.id for run in runs] == [f"r{29 - number:02}" for number in range(30)]
    assert len(runs) == 30


def test_changes_made_in_one_loop_are_saved_in_another(
    few: None, api: Api, writer: Any, entity: str, project: str
) -> None:
    for number in range(25):
        writer.run(project, f"r{number:02}", config={"n": number})
    runs = api.runs(f"{entity}/{project}", per_page=5)
    for run in runs:
        if run.config["n"] % 12 == 0:
            run.config["n"] += 100
    gc.collect()
    for run in runs:
        run.update()
    stored = [api.run(f"{entity}/{project}/r{number:02}").config["n"] for number in range(25)]
    assert stored == [number + 100 * (number % 12 == 0) for number in range(25)]


def test_of_light_runs_a_page_that_comes_again_is_complete_after_an_upgrade(
    few: None, api: Api, writer: Any, entity: str, project: str, sent: list[str]
) -> None:
    for number in range(24):
        writer.run(project, f"r{number:02}", config={"n": number})
    runs = api.runs(f"{entity}/{project}", per_page=4, lazy=True)
    assert len(list(runs)) == 24
    runs.upgrade_to_full()
    sent.clear()
    assert [run.config["n"] for run in runs] == list(range(24))
    assert len(sent) == 6


def test_editable_objects_tell_whether_they_were_changed(
    api: Api, writer: Any, entity: str, project: str
) -> None:
    writer.run(project, "r", config={"a": 1}, summary={"b": 2.0})
    edits: list[Any] = [
        lambda run: run.config.update(a=2),
        lambda run: run.config.update(a=object()),
        lambda run: run.summary.__setitem__("b", 3),
        lambda run: run.tags.append("x"),
        lambda run: setattr(run, "notes", "seen"),
    ]
    for edit in edits:
        run = api.run(f"{entity}/{project}/r")
        assert not run._unsaved()
        edit(run)
        assert run._unsaved()


def test_an_idset_is_a_set() -> None:
    names, held = [f"run-{number * 7919 % 5000}" for number in range(9000)], set[str]()
    ids = IdSet()
    for name in names:
        assert ids.add(name) == (name not in held)
        held.add(name)
    assert len(ids) == len(held) == 5000
    assert all(name in ids for name in held)
    assert not any(f"other-{number}" in ids for number in range(5000))
    again = pickle.loads(pickle.dumps(ids))
    assert "run-1" in again
    assert "" not in again
    assert again.add("\ud800")


def test_an_idset_takes_a_few_bytes_of_each() -> None:
    ids = IdSet()
    for number in range(10_000):
        ids.add(f"{number:08}")
    assert len(ids._table) <= 45 * 10_000


def test_every_list_of_the_api_is_one_of_these() -> None:
    """None of them has a memory of its own."""
    found, waiting = [], [Paginator]
    while waiting:
        waiting += (kinds := waiting.pop().__subclasses__())
        found += [kind for kind in kinds if kind.__module__.startswith("wandb_ops.")]
    assert {"Runs", "SizedPaginator"} <= {kind.__name__ for kind in found}
    assert [kind.__name__ for kind in found if "__iter__" in vars(kind) or "_keep" in vars(kind)] == []
