"""Histories written to the embedded server as raw lines, read back: what was written is the oracle."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from wandb_ops.history.read import read_table, scan_rows
from wandb_ops.history.ref import RunRef, run_counts
from wandb_ops.history.sampled import sampled
from wandb_ops.local.serve import LocalServer
from wandb_ops.transport.session import Transport

UPSERT = """
mutation UpsertBucket($name: String!, $project: String!, $entity: String!) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity}) { bucket { id } inserted }
}
"""


class Server:
    """A running server, written to without the client under test."""

    def __init__(self, server: LocalServer, connect: Callable[[str, str], Transport]) -> None:
        self.url = server.url
        self.entity = server.entity
        self.transport = connect(server.url, server.api_key)
        self._session = requests.Session()
        self._session.auth = ("api", server.api_key)
        self._runs = 0

    def log(self, lines: list[str], *, events: list[str] | None = None, finish: bool = True) -> RunRef:
        """A new run with these history lines."""
        self._runs += 1
        ref = RunRef(self.entity, "proj", f"r{self._runs}")
        variables = {"name": ref.run_id, "project": ref.project, "entity": ref.entity}
        answer = self._session.post(
            f"{self.url}/graphql", json={"query": UPSERT, "variables": variables}
        ).json()
        assert answer["data"]["upsertBucket"]["inserted"]
        self.append(ref, 0, lines, events=events, finish=finish)
        return ref

    def append(
        self,
        ref: RunRef,
        offset: int,
        lines: list[str],
        *,
        events: list[str] | None = None,
        finish: bool = True,
    ) -> None:
        files: dict[str, Any] = {"wandb-history.jsonl": {"offset": offset, "content": lines}}
        if events:
            files["wandb-events.jsonl"] = {"offset": 0, "content": events}
        body: dict[str, Any] = {"files": files}
        if finish:
            body |= {"complete": True, "exitcode": 0}
        self._session.post(f"{self.url}/files/{ref.path}/file_stream", json=body).raise_for_status()


@pytest.fixture(scope="module")
def live(connect: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps every history live."""
    with LocalServer(tmp_path_factory.mktemp("live")) as server:
        yield Server(server, connect)


@pytest.fixture(scope="module")
def exporting(connect: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that exports histories of runs that ended, a few hundred rows a file."""
    data = tmp_path_factory.mktemp("exporting")
    with LocalServer(data, parquet_after_rows=1, parquet_rows_per_part=400) as server:
        yield Server(server, connect)


def training(rows: int, seed: int = 3) -> list[dict[str, Any]]:
    """Rows of a training that logs different keys at different times."""
    rng = random.Random(seed)
    made = []
    for step in range(rows):
        row: dict[str, Any] = {
            "_step": step,
            "_timestamp": 1.7e9 + step,
            "_runtime": step / 8,
            "loss": rng.random(),
        }
        if step % 10 == 0:
            row |= {"val/acc": rng.random(), "epoch": step // 10, "best": step % 20 == 0}
        if step % 100 == 7:
            row |= {
                "hist": {"_type": "histogram", "bins": [0.0, 0.5, 1.0], "values": [step, 1]},
                "note": f"at {step}",
            }
        made.append(row)
    return made


def lines_of(rows: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(row) for row in rows]


@pytest.mark.parametrize("page_size", [70, 1000])
def test_a_live_history_is_read_as_it_was_written(page_size: int, live: Server) -> None:
    rows = training(2300)
    ref = live.log(lines_of(rows), finish=False)
    assert list(scan_rows(live.transport, ref, page_size=page_size)) == rows
    table = read_table(live.transport, ref, page_size=page_size)
    assert list(table.iter_rows()) == rows
    assert (table.rows, table.expected_rows, table.counts.state) == (2300, 2300, "running")
    assert table.kinds["hist"] == "json"
    assert table.kinds["best"] == "bool"


@pytest.mark.parametrize("page_size", [70, 1000])
def test_an_exported_history_is_read_as_it_was_written(page_size: int, exporting: Server) -> None:
    rows = training(2300)
    ref = exporting.log(lines_of(rows))
    assert list(scan_rows(exporting.transport, ref, page_size=page_size)) == rows
    table = read_table(exporting.transport, ref, page_size=page_size)
    assert list(table.iter_rows()) == rows


def test_a_run_that_was_resumed_is_read_from_its_export_and_its_live_rows(exporting: Server) -> None:
    rows = training(1500)
    ref = exporting.log(lines_of(rows[:1000]))
    exporting.append(ref, 1000, lines_of(rows[1000:]), finish=False)
    assert list(scan_rows(exporting.transport, ref, page_size=100)) == rows
    assert list(read_table(exporting.transport, ref, page_size=100).iter_rows()) == rows


def test_pages_and_exports_give_the_same_table(live: Server, exporting: Server) -> None:
    rows = lines_of(training(1234))
    one = read_table(live.transport, live.log(rows), page_size=100).to_arrow()
    other = read_table(exporting.transport, exporting.log(rows), page_size=100).to_arrow()
    assert one.schema.equals(other.schema, check_metadata=True)
    assert one.combine_chunks().equals(other.combine_chunks())


def test_lines_written_over_are_read_in_their_last_form(live: Server) -> None:
    rows = training(40)
    ref = live.log(lines_of(rows), finish=False)
    again = [row | {"loss": -1.0} for row in rows[30:]]
    live.append(ref, 30, lines_of(again))
    assert list(scan_rows(live.transport, ref)) == rows[:30] + again


def test_odd_steps_are_all_read(live: Server) -> None:
    lines = [
        '{"_step":5,"a":1}',
        '{"_step":5,"a":2}',
        '{"_step":2,"a":3}',
        '{"_step":1000000000000,"a":4}',
        '{"a":5}',
    ]
    ref = live.log(lines)
    got = list(scan_rows(live.transport, ref, page_size=2))
    assert sorted(row["a"] for row in got) == [1, 2, 3, 4, 5]
    assert sorted(row["a"] for row in read_table(live.transport, ref, page_size=2).iter_rows()) == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize("which", ["live", "exporting"])
def test_values_survive_the_way_through_a_server(which: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(which)
    lines = [
        '{"_step":0,"x":NaN,"big":1000000000000000000000,"n":9007199254740993,"z":-0.0,"s":"NaN","b":true,"t":5e-324}',
        '{"_step":1,"x":-Infinity,"s":"3","n":3,"m":{"_type":"image-file","path":"media/a.png"},"\\u043a.a/b":[1,null]}',
        '{"_step":2,"x":1,"s":"","n":-9223372036854775808,"e":{},"null":null}',
    ] + [json.dumps({"_step": step}) for step in range(3, 60)]
    ref = server.log(lines)
    for rows in (
        list(scan_rows(server.transport, ref, page_size=20)),
        list(read_table(server.transport, ref, page_size=20).iter_rows()),
    ):
        first, second, third = rows[:3]
        assert math.isnan(first.pop("x"))
        assert repr(first.pop("z")) == "-0.0"
        assert first == {"_step": 0, "big": 10**21, "n": 2**53 + 1, "s": "NaN", "b": True, "t": 5e-324}
        assert second == {
            "_step": 1,
            "x": -math.inf,
            "s": "3",
            "n": 3,
            "m": {"_type": "image-file", "path": "media/a.png"},
            "к.a/b": [1, None],
        }
        assert third == {"_step": 2, "x": 1, "s": "", "n": -(2**63), "e": {}, "null": None}
        assert rows[3:] == [{"_step": step} for step in range(3, 60)]


def test_a_sample_is_a_selection_of_the_rows(live: Server) -> None:
    rows = training(1000)
    ref = live.log(lines_of(rows))
    some = sampled(live.transport, ref, samples=50)
    assert 1 <= len(some) <= 50
    assert all(row == rows[row["_step"]] for row in some)
    with_key = sampled(live.transport, ref, samples=20, keys=["val/acc"])
    assert len(with_key) == 20
    assert all(row == {"_step": row["_step"], "val/acc": rows[row["_step"]]["val/acc"]} for row in with_key)


def test_counts_and_system_metrics_come_as_written(live: Server) -> None:
    events = [json.dumps({"_timestamp": 1.5 + n, "_runtime": n, "system.gpu": n * 2}) for n in range(120)]
    ref = live.log(lines_of(training(11)), events=events)
    counts = run_counts(live.transport, ref, events=True)
    assert (counts.history_lines, counts.last_step, counts.state, counts.events_lines) == (
        11,
        10,
        "finished",
        120,
    )
    assert "loss" in counts.keys
    table = read_table(live.transport, ref, stream="events")
    assert [json.dumps(row) for row in table.iter_rows()] == events
    assert sampled(live.transport, ref, stream="system", samples=500) == [json.loads(text) for text in events]
