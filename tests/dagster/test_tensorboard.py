"""What a materialization shows of a TensorBoard sync: all that the sync knows."""

from __future__ import annotations

import pytest

from dagster_resources import tensorboard_run_id, wandb_tensorboard_asset

pytestmark = pytest.mark.dagster


def test_what_could_not_be_read_is_on_the_assets_page(project, wandb, materialize, damaged_logs):
    folder, size = damaged_logs
    asset = wandb_tensorboard_asset(name="training", root_dir=folder, project=project, finish=False)
    (event,) = materialize(asset).get_asset_materialization_events()
    shown = {name: item.value for name, item in event.materialization.metadata.items()}
    assert (shown["rows_sent"], shown["history_rows"], shown["last_step"]) == (2, 2, 1)
    assert (shown["scalars"], shown["media"], shown["event_files"]) == (2, 0, 1)
    assert (shown["bytes_skipped"], shown["left_out"]) == (size, {"damaged record": 1})
    assert shown["resumed_at_line"] == 0
    (again,) = materialize(asset).get_asset_materialization_events()
    assert again.materialization.metadata["resumed_at_line"].value == 2
    assert wandb.api.run(f"{project}/{tensorboard_run_id(asset.key)}").state == "running"


def test_the_prefixed_step_of_older_versions_can_be_asked_for(project, wandb, materialize, damaged_logs):
    asset = wandb_tensorboard_asset(name="old", root_dir=damaged_logs[0], project=project, prefixed_step=True)
    materialize(asset)
    rows = wandb.api.run(f"{project}/{tensorboard_run_id(asset.key)}").scan_history()
    assert [row["train/global_step"] for row in rows] == [2, 3]
