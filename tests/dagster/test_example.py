"""The example of the README: it loads without a server, and runs for real against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.dagster

ROOT = Path(__file__).resolve().parents[2]

LOAD = """
import socket
def refuse(*args, **kwargs): raise AssertionError("network while loading")
socket.socket.connect = refuse
import dagster as dg
from example_dags.dagster_pipeline import defs
dg.Definitions.validate_loadable(defs)
"""


def run(arguments, **environ):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**kept, "DAGSTER_DISABLE_TELEMETRY": "yes", **environ},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_example_loads_without_a_server_a_key_or_a_training():
    done = run(["-c", LOAD])
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_example_runs_from_tfevents_to_parquet(wandb_server, tmp_path):
    import pyarrow.parquet as pq
    from tensorboardX import SummaryWriter

    written = {}
    for name, scale in (("small", 1.0), ("large", 0.5)):
        written[name] = [scale / (step + 1) for step in range(10)]
        with SummaryWriter(str(tmp_path / "tfevents" / name / "validation")) as writer:
            for step, loss in enumerate(written[name]):
                writer.add_scalar("loss", loss, step)
        (tmp_path / "tfevents" / name / "config.json").write_text(json.dumps({"scale": scale}))
    done = run(
        ["-m", "example_dags._run_dagster"],
        **wandb_server.env,
        WANDB_PROJECT="digits-test",
        WANDB_OPS_DEMO_TFEVENTS=str(tmp_path / "tfevents"),
        WANDB_OPS_DEMO_EXPORTS=str(tmp_path / "exports"),
        WANDB_OPS_DEMO_SNAPSHOTS=str(tmp_path / "snapshots"),
        DAGSTER_HOME=str(tmp_path / "dagster"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert wandb_server.api_key not in done.stdout + done.stderr
    files = sorted((tmp_path / "exports" / "digits-test").glob("*.parquet"))
    found = {tuple(pq.read_table(file).column("validation/loss").to_pylist()) for file in files}
    assert {tuple(round(value, 6) for value in values) for values in found} == {
        tuple(round(value, 6) for value in values) for values in written.values()
    }
    (table,) = (tmp_path / "snapshots" / "digits-test").glob("*.parquet")
    assert pq.read_metadata(table).num_rows == len(written)
    assert "history" in done.stdout


def test_a_failing_example_says_why_and_exits_non_zero(wandb_server, tmp_path):
    wrong = "f" * 40
    done = run(
        ["-m", "example_dags._run_dagster"],
        **{**wandb_server.env, "WANDB_API_KEY": wrong},
        WANDB_OPS_DEMO_TFEVENTS=str(tmp_path),
    )
    assert done.returncode == 1
    assert "failed" in done.stdout
    assert wrong not in done.stdout + done.stderr
