"""Console logs and the histories of many runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from wandb_ops import Api, ResponseTooLarge, UsageError
from wandb_ops.history.many import sampled_many
from wandb_ops.transport.session import Transport


def write(writer: Any, project: str, lines: list[str]) -> None:
    url = f"{writer.server.url}/files/{writer.server.entity}/{project}/r/file_stream"
    body = {"files": {"output.log": {"offset": 0, "content": lines}}}
    assert writer.session.post(url, json=body, timeout=30).status_code == 200


@pytest.fixture
def log(writer: Any, project: str) -> list[str]:
    """A run with 25 lines on its console."""
    writer.run(project, "r")
    lines = [f"2026-01-31T12:00:{number:02d}.250000 line {number}" for number in range(24)]
    write(writer, project, [*lines, "ERROR 2026-01-31T12:00:24.000000 broken"])
    return [f"line {number}" for number in range(24)] + ["broken"]


def test_the_console_is_read_from_its_beginning_page_by_page(
    api: Api, entity: str, project: str, log: list[str], sent: list[str]
) -> None:
    run = api.run(f"{entity}/{project}/r")
    logs = run.console_logs(per_page=10)
    assert [line.content for line in logs] == log
    assert [line.number for line in logs] == list(range(25))
    assert logs[3].timestamp == datetime(2026, 1, 31, 12, 0, 3, 250_000, tzinfo=UTC)
    assert logs[24].level == "error"
    assert sent.count("RunConsoleLogPage") == 3
    assert repr(logs) == f"<ConsoleLogs {entity}/{project}/r>"


def test_the_last_lines_cost_one_request(
    api: Api, entity: str, project: str, log: list[str], sent: list[str]
) -> None:
    run = api.run(f"{entity}/{project}/r")
    assert [line.content for line in run.console_logs(last=4)] == log[-4:]
    assert sent.count("RunConsoleLogTail") == 1
    with pytest.raises(UsageError, match="whole number"):
        run.console_logs(last=0)


@pytest.fixture
def runs(writer: Any, project: str) -> dict[str, list[dict[str, Any]]]:
    """30 runs of three rows each; only every third logs `extra`."""
    rows = {
        f"r{number:02d}": [
            {"_step": step, "loss": number + step / 8, **({"extra": "x"} if number % 3 == 0 else {})}
            for step in range(3)
        ]
        for number in range(30)
    }
    for name, each in rows.items():
        writer.run(project, name, rows=each, events=[{"system.cpu": 1.0, "_timestamp": 1.0}])
    return rows


def test_histories_of_thirty_runs_cost_a_few_requests(
    api: Api, entity: str, project: str, runs: dict[str, Any], sent: list[str]
) -> None:
    found = api.runs(f"{entity}/{project}", lazy=True).histories()
    assert found == [row | {"run_id": name} for name, rows in runs.items() for row in rows]
    assert sorted(sent) == ["Runs", "RunsHistories", "RunsHistories"]


def test_histories_come_as_frames_of_pandas_and_polars(
    api: Api, entity: str, project: str, runs: dict[str, Any]
) -> None:
    frame = api.runs(f"{entity}/{project}").histories(format="pandas")
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["_step", "extra", "loss", "run_id"]
    assert (len(frame), frame["extra"].notna().sum()) == (90, 30)
    assert frame["loss"].to_list() == [row["loss"] for rows in runs.values() for row in rows]
    assert frame["_step"].dtype == np.dtype("int64")
    table = api.runs(f"{entity}/{project}").histories(format="polars")
    assert isinstance(table, pl.DataFrame)
    assert table.columns == list(frame.columns)
    assert table["loss"].to_list() == frame["loss"].to_list()
    assert table["extra"].null_count() == 60


def test_histories_take_keys_samples_and_streams(
    api: Api, entity: str, project: str, runs: dict[str, Any]
) -> None:
    some = api.runs(f"{entity}/{project}", filters={"name": {"$in": ["r00", "r01"]}})
    assert some.histories(keys=["extra"]) == [
        {"_step": step, "extra": "x", "run_id": "r00"} for step in range(3)
    ]
    assert len(some.histories(samples=2)) == 4
    assert [row["run_id"] for row in some.histories(stream="system")] == ["r00", "r01"]
    nothing = api.runs(f"{entity}/{project}", filters={"name": "nobody"})
    assert nothing.histories() == []
    assert nothing.histories(format="pandas").empty
    assert nothing.histories(format="polars").is_empty()
    for wrong in ({"format": "csv"}, {"samples": 0}, {"keys": "loss"}, {"stream": "other"}):
        with pytest.raises(UsageError):
            some.histories(**wrong)  # type: ignore[call-overload]


def test_an_answer_that_would_be_too_large_is_asked_for_in_parts(
    api: Api, entity: str, project: str, runs: dict[str, Any]
) -> None:
    # Thirty runs need about 6 kB in one answer, one run needs 200 bytes.
    small = Transport(api.transport.settings, max_json_bytes=1000)
    names = list(runs)
    found = list(sampled_many(small, entity, project, names))
    assert found == [(name, runs[name]) for name in names]
    tiny = Transport(api.transport.settings, max_json_bytes=100)
    with pytest.raises(ResponseTooLarge):
        list(sampled_many(tiny, entity, project, names))
