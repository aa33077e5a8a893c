"""G34-G39, G42: lists that change while they are read, ties, times, missing nodes, odd names."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from faults_plugin import json_answer

from wandb_ops import Api, NotFoundError, UsageError


@pytest.fixture
def faulty(fault_server: Any, make_transport: Callable[..., Any], sentinel_key: str) -> Api:
    """An Api whose answers the test writes."""
    api = Api(overrides={"base_url": fault_server.url, "entity": "e"}, api_key=sentinel_key)
    api._transport = make_transport(fault_server)
    return api


def page(names: list[str], count: int, *, more: bool = False) -> Any:
    nodes = [{"id": f"id-{name}", "name": name, "state": "finished", "tags": []} for name in names]
    runs = {
        "edges": [{"node": node, "cursor": node["name"]} for node in nodes],
        "pageInfo": {"endCursor": names[-1] if names else None, "hasNextPage": more},
    }
    return json_answer({"data": {"project": {"runCount": count, "runs": runs}}})


def test_pages_that_end_before_the_count_are_noticed(
    faulty: Api, fault_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """G34: the list says what it held, and how many the server counts."""
    fault_server.on("Runs", page(["a", "b"], 5, more=True), nth=1)
    fault_server.on("Runs", page(["c"], 5), nth=2)
    runs = faulty.runs("e/p")
    with caplog.at_level(logging.WARNING, "wandb_ops"):
        assert [run.id for run in runs] == ["a", "b", "c"]
    assert "counts 5" in caplog.text
    assert len(runs) == 3  # after the last page: what was there


def test_runs_that_are_made_and_deleted_meanwhile_shift_nothing(
    api: Api, writer: Any, entity: str, project: str
) -> None:
    """G35: oldest first, each once; what was made meanwhile comes at the end."""
    for number in range(9):
        writer.run(project, f"r{number}")
    runs = api.runs(f"{entity}/{project}", per_page=3)
    reading = iter(runs)
    first = [next(reading).id for _ in range(3)]
    api.run(f"{entity}/{project}/r1").delete()
    writer.run(project, "late")
    rest = [run.id for run in reading]
    assert first == ["r0", "r1", "r2"]
    assert rest == ["r3", "r4", "r5", "r6", "r7", "r8", "late"]


def test_no_run_is_lost_among_many_of_one_moment(
    make_api: Callable[..., Api], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G36: 250 runs of one heartbeat, 100 to a page, in either order."""
    from wandb_ops.local.serve import LocalServer

    with LocalServer(data=tmp_path) as server:
        api = Api(overrides={"base_url": server.url}, api_key=server.api_key)
        api.create_project("p", server.entity)
        with contextlib.closing(sqlite3.connect(tmp_path / "server.db")) as db:
            made = api.create_run(run_id="r000", project="p")
            row = db.execute("SELECT * FROM runs").fetchone()
            columns = [each[1] for each in db.execute("PRAGMA table_info(runs)")]
            place, number = columns.index("name"), columns.index("id")
            for index in range(1, 250):
                copy = list(row)
                copy[number], copy[place] = row[number] + index, f"r{index:03d}"
                db.execute(f"INSERT INTO runs VALUES({','.join('?' * len(copy))})", copy)
            db.commit()
        wanted = [f"r{index:03d}" for index in range(250)]
        at = made.heartbeat_at
        for order in ("+heartbeat_at", "-heartbeat_at", "+created_at"):
            found = [run.id for run in api.runs("p", order=order, per_page=100)]
            assert sorted(found) == wanted, order
        since = api.runs("p", {"heartbeatAt": {"$gte": at}}, order="+heartbeat_at", per_page=100)
        assert sorted(run.id for run in since) == wanted


@pytest.mark.parametrize("ahead", [-1, 1])
def test_moments_of_any_zone_mean_the_same(
    api: Api, writer: Any, entity: str, project: str, ahead: int
) -> None:
    """G37: the server's own moments are the signposts, our clock and its zone are never asked."""
    writer.run(project, "before")
    signpost = api.run(f"{entity}/{project}/before").created_at
    moment = datetime.fromisoformat(signpost)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    shifted = moment.astimezone(timezone(timedelta(hours=5 * ahead, minutes=30)))
    naive = moment.astimezone(UTC).replace(tzinfo=None)
    for same in (signpost, moment, shifted, naive, naive.isoformat(timespec="microseconds") + "Z"):
        since = api.runs(f"{entity}/{project}", {"createdAt": {"$gte": same}})
        assert [run.id for run in since] == ["before"], same
        assert list(api.runs(f"{entity}/{project}", {"createdAt": {"$lt": same}})) == []


def test_null_is_said_to_be_missing(faulty: Api, fault_server: Any) -> None:
    """G38: a null project or run is not found, and never an empty one."""
    fault_server.on("Runs", json_answer({"data": {"project": None}}))
    with pytest.raises(NotFoundError, match="no such project"):
        list(faulty.runs("e/p"))
    fault_server.on("Run", json_answer({"data": {"project": None}}), nth=1)
    fault_server.on("Run", json_answer({"data": {"project": {"run": None}}}), nth=2)
    with pytest.raises(NotFoundError, match="no such project"):
        faulty.run("e/p/r")
    with pytest.raises(NotFoundError, match="no such run"):
        faulty.run("e/p/r")


def test_a_config_with_bare_nan_and_a_large_one_are_read(faulty: Api, fault_server: Any) -> None:
    """G39: what Python's json writes, and 5 MB of it."""
    large = json.dumps({f"k{n}": {"value": "x" * 1000} for n in range(5000)})
    node = {"id": "1", "name": "r", "state": "finished", "tags": [], "systemMetrics": None}
    node |= {"config": large, "summaryMetrics": '{"loss": NaN, "top": Infinity}', "historyKeys": None}
    fault_server.on("Run", json_answer({"data": {"project": {"run": node}}}))
    run = faulty.run("e/p/r")
    assert len(run.config) == 5000
    assert str(run.summary["loss"]) == "nan"
    assert run.summary["top"] == float("inf")


@pytest.mark.parametrize("name", ["a.b", "$set", "a/b", "with space", "é", "a,b", "[0]"])
def test_odd_names_of_tags_and_keys_are_data(
    api: Api, writer: Any, entity: str, project: str, name: str
) -> None:
    """G42: a tag, a config key and a summary key of any name come back as they are."""
    writer.run(project, "r", config={name: 1}, summary={name: 2.5}, tags=[name], groupName=name)
    writer.run(project, "other", tags=["x"])
    run = api.run(f"{entity}/{project}/r")
    assert (run.config, dict(run.summary), run.tags, run.group) == ({name: 1}, {name: 2.5}, [name], name)
    for filters in ({"tags": {"$in": [name]}}, {"tags": name}, {"group": name}):
        assert [found.id for found in api.runs(f"{entity}/{project}", filters)] == ["r"]
    run.config[name] = 3
    run.tags = [name, "more"]
    run.update()
    again = api.run(f"{entity}/{project}/r")
    assert (again.config, sorted(again.tags)) == ({name: 3}, sorted([name, "more"]))


@pytest.mark.parametrize("key", ["a,b", "a$b", "a\nb"])
def test_keys_that_no_order_can_name_are_refused(api: Api, entity: str, project: str, key: str) -> None:
    """G42: they would be read as something else."""
    with pytest.raises(UsageError, match="cannot be ordered"):
        api.runs(f"{entity}/{project}", order=f"+summary_metrics.{key}")
