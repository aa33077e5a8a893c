"""Lists of runs: complete, cheap, and as safe as lists."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from wandb_ops import Api, NotFoundError, UsageError

TOTAL = 120


@pytest.fixture(scope="module")
def crowd(writer: Any) -> str:
    """A project of 120 runs, r000 to r119."""
    for number in range(TOTAL):
        writer.run(
            "crowd",
            f"r{number:03}",
            config={"number": number, "nested": {"half": number / 2}},
            summary={"loss": 1 / (number + 1), "acc": {"best": number}},
            displayName=f"run {number}",
            tags=["even"] if number % 2 == 0 else ["odd"],
            groupName="small" if number < 10 else "large",
        )
    return f"{writer.server.entity}/crowd"


def test_config_and_summary_of_all_runs_cost_one_request_per_page(
    api: Api, crowd: str, sent: list[str]
) -> None:
    rows = [
        (run.id, run.config["number"], run.summary["loss"], run.summary.acc.best) for run in api.runs(crowd)
    ]
    assert rows == [(f"r{n:03}", n, 1 / (n + 1), n) for n in range(TOTAL)]
    assert sent == ["Runs"] * 3


def test_a_light_list_costs_one_more_request_per_page_when_asked_for_more(
    api: Api, crowd: str, sent: list[str]
) -> None:
    runs = api.runs(crowd, lazy=True)
    assert [run.name for run in runs] == [f"run {n}" for n in range(TOTAL)]
    assert [run.state for run in runs] == ["running"] * TOTAL
    assert len(sent) == 3
    assert [run.config for run in runs] == [{"number": n, "nested": {"half": n / 2}} for n in range(TOTAL)]
    assert [run.summary["loss"] for run in runs] == [1 / (n + 1) for n in range(TOTAL)]
    assert sent == ["Runs"] * 6


def test_a_light_run_can_be_changed_without_wiping_what_was_never_loaded(
    api: Api, writer: Any, project: str
) -> None:
    path = writer.run(project, "r", config={"a": 1}, summary={"b": 2})
    (run,) = api.runs(path.rsplit("/", 1)[0], lazy=True)
    run.notes = "seen"
    run.update()
    stored = writer.server.run(project, "r")
    assert (stored.notes, stored.config, stored.summary) == ("seen", {"a": 1}, {"b": 2})


def test_the_length_is_the_servers_count_and_costs_one_page(api: Api, crowd: str, sent: list[str]) -> None:
    runs = api.runs(crowd)
    assert len(runs) == TOTAL
    assert sent == ["Runs"]
    assert runs.more
    assert len(list(runs)) == TOTAL
    assert not runs.more
    assert len(runs) == TOTAL


def test_nested_loops_are_independent(api: Api, crowd: str, sent: list[str]) -> None:
    runs = api.runs(crowd)
    pairs = sum(1 for _ in runs for _ in runs)
    assert pairs == TOTAL * TOTAL
    assert sent == ["Runs"] * 3


def test_a_second_loop_begins_at_the_beginning_and_asks_nothing(
    api: Api, crowd: str, sent: list[str]
) -> None:
    runs = api.runs(crowd)
    assert [run.id for run in runs] == [run.id for run in runs]
    assert len(sent) == 3


def test_it_is_indexed_and_sliced_like_a_list(api: Api, crowd: str) -> None:
    ids = [f"r{n:03}" for n in range(TOTAL)]
    runs = api.runs(crowd)
    for index in (0, 49, 50, 119, -1, -120):
        assert runs[index].id == ids[index]
    for piece in (
        slice(None, 5),
        slice(2, None),
        slice(-3, None),
        slice(None, -118),
        slice(None, None, -1),
        slice(10, 0, -3),
        slice(100, 500),
        slice(7, 7),
        slice(None, None, 40),
    ):
        assert [run.id for run in api.runs(crowd)[piece]] == ids[piece]
    with pytest.raises(IndexError):
        runs[TOTAL]
    with pytest.raises(IndexError):
        runs[-TOTAL - 1]


def test_only_the_pages_that_are_needed_are_loaded(api: Api, crowd: str, sent: list[str]) -> None:
    runs = api.runs(crowd, per_page=20)
    assert runs[0].id == "r000"
    assert len(runs[:20]) == 20
    assert len(sent) == 1
    assert runs[20].id == "r020"
    assert len(sent) == 2


def test_next_goes_on_where_it_was(api: Api, crowd: str) -> None:
    runs = api.runs(crowd, per_page=50)
    assert next(runs).id == "r000"
    assert [run.id for run in runs][:2] == ["r000", "r001"]
    assert next(runs).id == "r001"


def test_four_threads_see_every_run_once_each(api: Api, crowd: str, sent: list[str]) -> None:
    runs = api.runs(crowd, per_page=7)
    seen: list[list[str]] = [[] for _ in range(4)]
    begin = threading.Barrier(4)

    def read(into: list[str]) -> None:
        begin.wait()
        into.extend(run.id for run in runs)

    threads = [threading.Thread(target=read, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [[f"r{n:03}" for n in range(TOTAL)]] * 4
    assert len(sent) == -(-TOTAL // 7)


def test_threads_that_ask_one_light_page_for_more_see_all_of_it(
    api: Api, crowd: str, sent: list[str]
) -> None:
    runs = list(api.runs(crowd, lazy=True, per_page=40))
    begin = threading.Barrier(4)
    wrong: list[str] = []

    def read() -> None:
        begin.wait()
        for number, run in enumerate(runs):
            if run.config.get("number") != number or run.summary.get("loss") != 1 / (number + 1):
                wrong.append(run.id)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sent == ["Runs"] * 6


def test_threads_share_one_next(api: Api, crowd: str) -> None:
    runs = api.runs(crowd, per_page=11)
    seen: list[str] = []

    def take() -> None:
        while (run := next(runs, None)) is not None:
            seen.append(run.id)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [f"r{n:03}" for n in range(TOTAL)]


def test_reading_goes_on_elsewhere_from_a_cursor(api: Api, make_api: Callable[..., Api], crowd: str) -> None:
    runs = api.runs(crowd, per_page=50)
    first = [run.id for run in runs[:50]]
    rest = make_api().runs(crowd, per_page=50, start=runs.cursor)
    assert first + [run.id for run in rest] == [f"r{n:03}" for n in range(TOTAL)]
    assert len(rest) == TOTAL - 50


def test_a_list_travels_with_its_place(api: Api, crowd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = api.runs(crowd, per_page=50)
    assert runs[0].id == "r000"
    there = pickle.loads(pickle.dumps(runs))
    assert [run.id for run in there] == [f"r{n:03}" for n in range(TOTAL)]
    assert api.api_key.encode() not in pickle.dumps(runs)
    light = pickle.loads(pickle.dumps(api.runs(crowd, lazy=True)[:3]))
    assert [run.config["number"] for run in light] == [0, 1, 2]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"config.number": {"$lt": 3}}, [0, 1, 2]),
        ({"config.nested.half": 2.5}, [5]),
        ({"summary_metrics.acc.best": {"$gte": 118}}, [118, 119]),
        ({"$or": [{"config.number": 7}, {"display_name": "run 9"}]}, [7, 9]),
        ({"group": "small", "tags": "odd"}, [1, 3, 5, 7, 9]),
        ({"display_name": {"$regex": "^run 1[01]$"}}, [10, 11]),
        ({"name": {"$in": ["r004", "r005"]}}, [4, 5]),
        ({"name": {"$in": ["r004", "r005", "none"]}, "tags": "odd"}, [5]),
        ({"name": {"$in": []}}, []),
        ({"$and": [{"config.number": {"$gt": 115}}, {"config.number": {"$ne": 117}}]}, [116, 118, 119]),
        ({"$nor": [{"config.number": {"$gte": 1}}]}, [0]),
        ({"config.missing": {"$exists": True}}, []),
    ],
)
def test_filters_pick_runs(api: Api, crowd: str, filters: dict[str, Any], expected: list[int]) -> None:
    runs = api.runs(crowd, filters=filters)
    assert [run.config["number"] for run in runs] == expected
    assert len(runs) == len(expected)


def test_the_order_is_the_servers(api: Api, crowd: str) -> None:
    best = api.runs(crowd, order="+summary_metrics.loss", per_page=3)[:3]
    assert [run.config["number"] for run in best] == [119, 118, 117]
    newest = api.runs(crowd, order="-created_at", per_page=3)[0]
    assert newest.id == "r119"


def test_wrong_arguments_are_refused_before_anything_is_sent(api: Api, crowd: str, sent: list[str]) -> None:
    for wrong in (
        {"filters": {"$where": "1"}},
        {"filters": "state=finished"},
        {"order": "created at"},
        {"per_page": 0},
        {"per_page": "50"},
        {"start": 50},
    ):
        with pytest.raises(UsageError):
            api.runs(crowd, **wrong)  # type: ignore[arg-type]  # wrong on purpose
    assert sent == []


def test_nothing_is_cached_between_two_calls(api: Api, writer: Any, project: str, entity: str) -> None:
    writer.run(project, "one")
    assert len(api.runs(f"{entity}/{project}")) == 1
    writer.run(project, "two")
    assert [run.id for run in api.runs(f"{entity}/{project}")] == ["one", "two"]


def test_an_empty_project_is_no_error(api: Api, entity: str, project: str) -> None:
    api.create_project(project, entity)
    runs = api.runs(f"{entity}/{project}")
    assert len(runs) == 0
    assert list(runs) == []
    assert runs[:5] == []
    with pytest.raises(IndexError):
        runs[0]


def test_a_missing_project_is_an_error_that_names_it(api: Api, entity: str) -> None:
    with pytest.raises(NotFoundError, match=f"{entity}/no-such-project") as missing:
        list(api.runs(f"{entity}/no-such-project"))
    assert isinstance(missing.value, ValueError)


def test_runs_that_move_while_they_are_read_come_once(
    api: Api, writer: Any, project: str, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Newest first, with a run created between two pages: the last of a page comes again."""
    for number in range(6):
        writer.run(project, f"r{number}")
    runs = api.runs(f"{entity}/{project}", order="-created_at", per_page=3)
    assert runs[0].id == "r5"
    writer.run(project, "late")
    ids = [run.id for run in runs]
    assert len(ids) == len(set(ids))
    assert {f"r{number}" for number in range(6)} <= set(ids)


def test_its_name_shows_where_it_is(api: Api, crowd: str) -> None:
    assert repr(api.runs(crowd)) == f"<Runs {crowd}>"
