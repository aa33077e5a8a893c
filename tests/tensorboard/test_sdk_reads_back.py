"""What a sync wrote, read by the real wandb SDK."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wandb_ops.tensorboard import sync_directory

READ = """
import json, wandb
run = wandb.Api().run("{path}")
print(json.dumps({{"state": run.state, "config": run.config, "rows": list(run.scan_history())}}))
"""


@pytest.mark.sdk
def test_the_sdk_reads_the_rows_that_tensorboard_reads(
    wandb_server, transport, tmp_path, append_events, scalar_event, load_events
):
    import json
    import os

    path = append_events(
        tmp_path / "train" / "events.out.tfevents.1.host",
        [scalar_event("loss", n / 3, n, 1000.0 + n) for n in range(1_200)],
    )
    done = sync_directory(transport, tmp_path, entity=wandb_server.entity, project="tb", run_id="read")
    environment = os.environ | wandb_server.env | {"WANDB_SILENT": "true", "HOME": str(tmp_path / "home")}
    answer = subprocess.run(
        [sys.executable, "-c", READ.format(path=done.path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    read = json.loads(answer.stdout.splitlines()[-1])
    expected = [(event.step, event.summary.value[0].simple_value) for event in load_events(path)]
    assert [(row["global_step"], row["train/loss"]) for row in read["rows"]] == expected
    assert read["state"] == "finished"
