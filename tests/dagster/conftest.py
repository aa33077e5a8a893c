"""An embedded server, a resource that points at it, and runs whose rows the tests know."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_resources import WandbResource

_numbers = itertools.count()

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _quiet_dagster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    with warnings.catch_warnings():
        for category in (dg.BetaWarning, dg.PreviewWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield


@pytest.fixture
def server(wandb_server_session: Any) -> Any:
    """One server for all tests; each test has a project of its own."""
    return wandb_server_session


@pytest.fixture
def project() -> str:
    """A project no other test writes to; its name is not one that Dagster takes as it is."""
    return f"dagster-test-{next(_numbers)}"


@pytest.fixture
def wandb(server: Any) -> WandbResource:
    return WandbResource(
        base_url=server.url, api_key=server.api_key, entity=server.entity, max_retries=1, retry_delay=0
    )


@pytest.fixture
def write_run(wandb: WandbResource, project: str) -> Callable[..., Rows]:
    """`write_run("abc", rows)` logs rows to a run and ends it; gives back the rows as they were written."""

    def write(run_id: str, rows: Sequence[dict[str, Any]] | None = None, *, finish: bool = True) -> Rows:
        written = list(rows) if rows is not None else training(20)
        run = wandb.create_run(
            project=project, run_id=run_id, display_name=f"name of {run_id}", on_finished="resume"
        )
        start = wandb.run_status(run=run.path).history_lines
        wandb.log_metrics(run=run.path, rows=written, first_line=start)
        if finish:
            wandb.finish_run(run=run.path)
        return written

    return write


def training(length: int, *, start: int = 0) -> Rows:
    """Rows as a training logs them: floats, an int, a string, a bool, and a NaN in the last row."""
    rows: Rows = [
        {
            "_step": step,
            "loss": 1 / (step + 1),
            "val/loss": 1.1 / (step + 1),
            "epoch": step,
            "phase": "a",
            "ok": True,
        }
        for step in range(start, start + length)
    ]
    rows[-1]["diverged"] = math.nan
    return rows


@pytest.fixture
def materialize(wandb: WandbResource) -> Callable[..., dg.ExecuteInProcessResult]:
    """`dg.materialize` of one asset against the server, quietly."""

    def run(asset: dg.AssetsDefinition, **options: Any) -> dg.ExecuteInProcessResult:
        run_config = {
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            **options.pop("run_config", {}),
        }
        resources = options.pop("resources", {"wandb": wandb})
        return dg.materialize([asset], resources=resources, run_config=run_config, **options)

    return run


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance on disk, as a daemon has: a sensor's partitions are looked up through its reference.

    One for all tests, since making it costs a second; partitions are named by project, so none meet.
    """
    home = tmp_path_factory.mktemp("dagster-home")
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


@pytest.fixture
def read_rows() -> Callable[[str | Path], Rows]:
    """The rows of a Parquet file, keys without a value left out, and without W&B's own time stamps."""

    def read(path: str | Path) -> Rows:
        import pyarrow.parquet as pq

        return [
            {
                key: value
                for key, value in row.items()
                if value is not None and key not in {"_timestamp", "_runtime"}
            }
            for row in pq.read_table(path).to_pylist()
        ]

    return read
