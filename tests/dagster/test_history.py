"""History assets against a real server: the oracle is the rows that were logged."""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode
from pathlib import Path

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value

from dagster_resources import WandbExportConfig, WandbResource, wandb_history_assets

pytestmark = pytest.mark.dagster


@pytest.fixture
def history(project, tmp_path):
    return wandb_history_assets(project=project, destination=tmp_path / "exports")


def partition(instance, asset, *run_ids):
    instance.add_dynamic_partitions(asset.partitions_def.name, list(run_ids))


def metadata_of(result):
    (event,) = result.get_asset_materialization_events()
    return event.materialization.metadata


def same(left, right):
    """Equality by value and type, with NaN equal to itself."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right


def test_a_partition_holds_every_row_that_was_logged(
    history, write_run, materialize, instance, tmp_path, read_rows
):
    written = write_run("run-1")
    partition(instance, history, "run-1")
    result = materialize(history, partition_key="run-1", instance=instance)
    rows = read_rows(tmp_path / "exports" / "run-1.parquet")
    assert len(rows) == len(written)
    for read, logged in zip(rows, written, strict=True):
        assert read.keys() == logged.keys()
        assert all(same(read[key], logged[key]) for key in logged)
    (check,) = result.get_asset_check_evaluations()
    assert check.passed


def test_the_metadata_say_what_the_file_is(
    history, write_run, materialize, instance, tmp_path, project, server
):
    written = write_run("run-1")
    partition(instance, history, "run-1")
    metadata = metadata_of(materialize(history, partition_key="run-1", instance=instance))
    file = tmp_path / "exports" / "run-1.parquet"
    assert metadata["rows"].value == len(written)
    assert metadata["dagster/partition_row_count"].value == len(written)
    assert metadata["bytes"].value == file.stat().st_size
    assert metadata["dagster/uri"].value == str(file)
    assert metadata["last_step"].value == written[-1]["_step"]
    assert metadata["complete"].value is True
    assert metadata["state"].value == "finished"
    assert metadata["url"].value.startswith(server.url)
    assert metadata["wandb/project"].value == project
    columns = {column.name: column.type for column in metadata["dagster/column_schema"].value.columns}
    assert {"_step", "loss", "val/loss", "epoch", "phase", "ok", "diverged"} <= columns.keys()
    assert columns["loss"] == "double"


def test_final_values_are_numbers_that_plot_and_nan_is_not_among_them(
    history, write_run, materialize, instance
):
    written = write_run("run-1")
    partition(instance, history, "run-1")
    metadata = metadata_of(materialize(history, partition_key="run-1", instance=instance))
    assert metadata["final/loss"].value == written[-1]["loss"]
    assert metadata["final/val/loss"].value == written[-1]["val/loss"]
    assert "final/diverged" not in metadata
    floats = [entry.value for entry in metadata.values() if isinstance(entry, dg.FloatMetadataValue)]
    assert floats
    assert all(math.isfinite(value) for value in floats)


def test_the_chart_is_a_picture_of_the_losses(history, write_run, materialize, instance):
    write_run("run-1")
    partition(instance, history, "run-1")
    metadata = metadata_of(materialize(history, partition_key="run-1", instance=instance))
    text = metadata["chart"].value
    image = re.fullmatch(r"!\[[^\]]*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", text)
    assert image
    svg = b64decode(image[1]).decode()
    assert "val/loss" in svg
    assert "epoch" not in svg
    assert "name of run-1" in svg


def test_trends_are_shown_as_a_table(history, write_run, materialize, instance):
    written = write_run("run-1")
    partition(instance, history, "run-1")
    metadata = metadata_of(materialize(history, partition_key="run-1", instance=instance))
    rows = {record.data["metric"]: record.data for record in metadata["metrics"].records}
    assert rows.keys() == {"loss", "val/loss"}
    losses = [row["loss"] for row in written]
    assert [float(rows["loss"][name]) for name in ("last", "min", "max")] == [
        pytest.approx(value, rel=1e-5) for value in (losses[-1], min(losses), max(losses))
    ]
    assert rows["loss"]["trend"][0] == "█"
    assert rows["loss"]["trend"][-1] == "▁"


def test_a_long_and_noisy_run_still_fits_into_one_event(history, write_run, materialize, instance):
    rows = [
        {
            "_step": i,
            **{f"loss/{n}": math.sin(i * (n + 1)) for n in range(6)},
            **{f"m{n}": 0.5 for n in range(99)},
        }
        for i in range(1200)
    ]
    write_run("run-1", rows)
    partition(instance, history, "run-1")
    result = materialize(history, partition_key="run-1", instance=instance)
    assert len(metadata_of(result)["chart"].value) <= 20_000
    assert len([key for key in metadata_of(result) if key.startswith("final/")]) == 40
    (event,) = result.get_asset_materialization_events()
    assert len(serialize_value(event)) <= 60_000


def test_a_partition_materialized_again_leaves_its_file_as_it_is(
    history, write_run, materialize, instance, tmp_path
):
    write_run("run-1")
    partition(instance, history, "run-1")
    first = materialize(history, partition_key="run-1", instance=instance)
    file = tmp_path / "exports" / "run-1.parquet"
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    second = materialize(history, partition_key="run-1", instance=instance)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert metadata_of(first)["action"].value == "written"
    assert metadata_of(second)["action"].value == "unchanged"
    assert metadata_of(second)["sha256"].value == metadata_of(first)["sha256"].value
    versions = [
        event.materialization.tags["dagster/data_version"]
        for result in (first, second)
        for event in result.get_asset_materialization_events()
    ]
    assert versions[0] == versions[1] == metadata_of(first)["sha256"].value


def test_force_writes_the_file_again(history, write_run, materialize, instance):
    write_run("run-1")
    partition(instance, history, "run-1")
    materialize(history, partition_key="run-1", instance=instance)
    forced = dg.RunConfig(ops={history.op.name: WandbExportConfig(force=True)}).to_config_dict()
    again = materialize(history, partition_key="run-1", instance=instance, run_config=forced)
    assert metadata_of(again)["action"].value == "written"


def test_a_run_that_grew_is_exported_anew(history, write_run, materialize, instance, tmp_path, read_rows):
    first = write_run("run-1")
    partition(instance, history, "run-1")
    materialize(history, partition_key="run-1", instance=instance)
    more = write_run("run-1", [{"_step": 20 + i, "loss": 0.001} for i in range(5)])
    metadata = metadata_of(materialize(history, partition_key="run-1", instance=instance))
    assert metadata["action"].value == "written"
    assert metadata["rows"].value == len(first) + len(more)
    assert read_rows(tmp_path / "exports" / "run-1.parquet")[-5:] == more


def test_a_backfill_in_one_step_says_of_each_partition_its_own(
    project, write_run, materialize, instance, tmp_path
):
    history = wandb_history_assets(
        project=project, destination=tmp_path, backfill_policy=dg.BackfillPolicy.single_run()
    )
    lengths = {"run-a": 3, "run-b": 5, "run-c": 8}
    for run_id, length in lengths.items():
        write_run(run_id, [{"_step": i, "loss": 1.0} for i in range(length)])
    partition(instance, history, *lengths)
    result = materialize(
        history,
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": "run-a",
            "dagster/asset_partition_range_end": "run-c",
        },
    )
    found = {
        event.materialization.partition: event.materialization.metadata["rows"].value
        for event in result.get_asset_materialization_events()
    }
    assert found == lengths
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert check.metadata["rows"].value == check.metadata["server_rows"].value == sum(lengths.values())


def test_the_check_fails_for_a_run_that_goes_on_and_names_it(history, write_run, materialize, instance):
    written = write_run("run-1", finish=False)
    partition(instance, history, "run-1")
    result = materialize(history, partition_key="run-1", instance=instance)
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["incomplete"].value == {"run-1": f"running, {len(written)} of {len(written)} rows"}
    assert metadata_of(result)["complete"].value is False


def test_a_run_that_must_have_ended_fails_the_step_without_retries(
    project, write_run, materialize, instance, tmp_path
):
    history = wandb_history_assets(project=project, destination=tmp_path, require_finished=True)
    write_run("run-1", finish=False)
    partition(instance, history, "run-1")
    result = materialize(history, partition_key="run-1", instance=instance, raise_on_error=False)
    assert not result.success
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_exist_fails_with_words_that_help(history, materialize, instance, project):
    partition(instance, history, "nowhere")
    result = materialize(history, partition_key="nowhere", instance=instance, raise_on_error=False)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data.metadata["error"].value == "NotFoundError"
    assert f"{project}/nowhere" in failure.user_failure_data.description


def test_a_partition_key_cannot_leave_the_folder(project, materialize, tmp_path):
    keys = dg.StaticPartitionsDefinition(["../escaped"])
    history = wandb_history_assets(project=project, destination=tmp_path / "in", partitions_def=keys)
    result = materialize(history, partition_key="../escaped", raise_on_error=False)
    assert not result.success
    assert [path.name for path in tmp_path.rglob("*.parquet")] == []


def test_chosen_keys_only_are_exported_and_the_check_does_not_count_rows(
    project, write_run, materialize, instance, tmp_path, read_rows
):
    history = wandb_history_assets(project=project, destination=tmp_path, keys=["rare"], chart_keys=["rare"])
    write_run("run-1", [{"_step": i, "loss": 0.5, **({"rare": i} if i % 4 == 0 else {})} for i in range(12)])
    partition(instance, history, "run-1")
    result = materialize(history, partition_key="run-1", instance=instance)
    assert [row["rare"] for row in read_rows(tmp_path / "run-1.parquet")] == [0, 4, 8]
    assert all(check.passed for check in result.get_asset_check_evaluations())


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_other_formats_are_written_too(format, project, write_run, materialize, instance, tmp_path):
    history = wandb_history_assets(project=project, destination=tmp_path, format=format)
    written = write_run("run-1", [{"_step": i, "loss": i / 4} for i in range(6)])
    partition(instance, history, "run-1")
    result = materialize(history, partition_key="run-1", instance=instance)
    text = (tmp_path / f"run-1.{format}").read_text()
    if format == "jsonl":
        assert [json.loads(line)["loss"] for line in text.splitlines()] == [row["loss"] for row in written]
    else:
        assert len(text.splitlines()) == len(written) + 1
    assert metadata_of(result)["rows"].value == len(written)


def test_histories_go_to_one_table_of_a_lake(project, write_run, materialize, instance, tmp_path):
    import deltalake

    history = wandb_history_assets(project=project, destination=tmp_path / "lake", format="delta")
    for run_id, loss in (("run-1", 0.5), ("run-2", 0.25)):
        write_run(run_id, [{"_step": i, "loss": loss} for i in range(6)])
        partition(instance, history, run_id)
        metadata = metadata_of(materialize(history, partition_key=run_id, instance=instance))
        assert metadata["rows"].value == 6
        assert "sha256" not in metadata
    table = deltalake.DeltaTable(str(tmp_path / "lake" / "history")).to_pyarrow_table()
    assert sorted(zip(table["run_id"].to_pylist(), table["loss"].to_pylist(), strict=True)) == sorted(
        [("run-1", 0.5)] * 6 + [("run-2", 0.25)] * 6
    )


def test_a_run_without_rows_is_a_file_without_rows(history, wandb, project, materialize, instance, tmp_path):
    run = wandb.create_run(project=project, run_id="empty")
    wandb.finish_run(run=run.path)
    partition(instance, history, "empty")
    result = materialize(history, partition_key="empty", instance=instance)
    assert metadata_of(result)["rows"].value == 0
    assert Path(tmp_path / "exports" / "empty.parquet").exists()
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_the_key_is_in_no_event_and_no_log(history, write_run, materialize, instance, server, capfd):
    """Everything Dagster keeps of a run that works and of one that fails, and all it printed."""
    write_run("run-1")
    partition(instance, history, "run-1", "nowhere")
    monkey = WandbResource(base_url=server.url, api_key=server.api_key, entity=server.entity)
    for key in ("run-1", "nowhere"):
        result = materialize(
            history,
            partition_key=key,
            instance=instance,
            raise_on_error=False,
            resources={"wandb": monkey},
            run_config={"loggers": {"console": {"config": {"log_level": "DEBUG"}}}},
        )
        kept = [serialize_value(entry) for entry in instance.all_logs(result.run_id)]
        assert kept
        assert not [entry for entry in kept if server.api_key in entry]
    printed = capfd.readouterr()
    assert server.api_key not in printed.out + printed.err
