"""A whole project as an asset: exact, incremental, checked, by windows of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow.parquet as pq
import pytest

from dagster_resources import WandbProjectExportConfig, wandb_project_export_asset

pytestmark = pytest.mark.dagster


def metadata_of(result):
    (event,) = result.get_asset_materialization_events()
    return event.materialization.metadata


def losses(folder):
    files = sorted((folder / "history").glob("*.parquet"))
    return {path.stem: pq.read_table(path).column("loss").to_pylist() for path in files}


@pytest.fixture
def written(write_run):
    rows = {"a": write_run("a"), "b": write_run("b", [{"loss": 0.5}, {"loss": 0.25}])}
    return {run_id: [row["loss"] for row in found] for run_id, found in rows.items()}


def test_a_project_is_exported_whole_and_the_second_time_nothing_is_fetched(
    project, written, materialize, tmp_path
):
    export = wandb_project_export_asset(project=project, destination=tmp_path)
    first = materialize(export)
    metadata = metadata_of(first)
    assert losses(tmp_path) == written
    assert (metadata["runs"].value, metadata["rows"].value) == (2, 22)
    assert metadata["wandb/project"].value == project
    table = [record.data for record in metadata["latest_runs"].records]
    assert {(row["run"], row["rows"]) for row in table} == {("name of a", 20), ("name of b", 2)}
    assert metadata["chart"].value.startswith("![")
    (check,) = first.get_asset_check_evaluations()
    assert (check.passed, check.metadata["rows"].value) == (True, 22)
    again = metadata_of(materialize(export))
    assert (again["written"].value, again["rows"].value) == (0, 0)


def test_the_files_of_artifacts_come_along_when_asked_for(project, written, wandb, materialize, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights")
    run = f"{wandb.resolve_entity()}/{project}/a"
    wandb.log_artifact(run=run, name="model", type="model", content=str(tmp_path / "model.bin"))
    export = wandb_project_export_asset(
        project=project, destination=tmp_path / "out", include=["runs", "artifacts"]
    )
    metadata = metadata_of(materialize(export))
    assert (metadata["artifacts"].value, metadata["include"].value) == (1, ["runs", "artifacts"])
    (found,) = (tmp_path / "out").rglob("model.bin")
    assert found.read_bytes() == b"weights"


def test_what_is_damaged_or_missing_does_not_pass_the_check(
    project, written, materialize, write_run, tmp_path
):
    export = wandb_project_export_asset(project=project, destination=tmp_path)
    materialize(export)
    marked = tmp_path / "history" / "b.parquet"
    spoiled = bytearray(marked.read_bytes())
    spoiled[4:40] = bytes(36)  # the marks, at the end, still say that all is well
    marked.write_bytes(spoiled)
    result = materialize(export)
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "b" in str(check.metadata["problems"].value)
    config = dg.RunConfig(ops={export.op.name: WandbProjectExportConfig(force=True)})
    (mended,) = materialize(export, run_config=config.to_config_dict()).get_asset_check_evaluations()
    assert mended.passed
    assert losses(tmp_path) == written


def test_runs_that_fail_hold_back_no_other_and_are_named(project, written, materialize, server, tmp_path):
    with server.service.store.writing() as connection:
        connection.execute(
            "UPDATE runs SET history_lines = history_lines + 1 WHERE name = 'b' AND project IN"
            " (SELECT id FROM projects WHERE name = ?)",
            (project,),
        )
    export = wandb_project_export_asset(project=project, destination=tmp_path)
    failed = materialize(export, raise_on_error=False)
    assert not failed.success
    retried = [event for event in failed.all_events if event.is_step_up_for_retry]
    assert retried
    assert losses(tmp_path) == {"a": written["a"]}
    lenient = wandb_project_export_asset(project=project, destination=tmp_path, allow_partial=True)
    result = materialize(lenient)
    assert metadata_of(result)["not_taken"].records[0].data["run"] == "b"
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.metadata["not_taken"].value) == (False, ["b"])


def test_each_partition_has_the_runs_of_its_window(project, written, materialize, instance, tmp_path):
    today = datetime.now(UTC)
    days = dg.DailyPartitionsDefinition((today - timedelta(days=3)).strftime("%Y-%m-%d"), end_offset=1)
    export = wandb_project_export_asset(project=project, destination=tmp_path, partitions_def=days)
    runs = {}
    for day in (today - timedelta(days=1), today):
        key = day.strftime("%Y-%m-%d")
        result = materialize(export, partition_key=key, instance=instance)
        assert all(check.passed for check in result.get_asset_check_evaluations())
        runs[key] = (metadata_of(result)["runs"].value, len(losses(tmp_path / key)))
    assert list(runs.values()) == [(0, 0), (2, 2)]


def test_an_export_may_go_unverified(project, written, materialize, tmp_path):
    export = wandb_project_export_asset(project=project, destination=tmp_path)
    config = dg.RunConfig(ops={export.op.name: WandbProjectExportConfig(verify=False, force=True)})
    for _ in range(2):
        result = materialize(export, run_config=config.to_config_dict())
        assert metadata_of(result)["rows"].value == 22
    (check,) = result.get_asset_check_evaluations()
    assert "Not verified" in check.description


def test_a_store_is_reached_with_options_from_variables(
    project, written, materialize, bucket, s3_url, monkeypatch
):
    """The secrets stand in no definition, and in no metadata."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MY_STORE_SECRET", "store-secret-1")
    export = wandb_project_export_asset(
        project=project,
        destination=f"{bucket}/export",
        storage_options={
            "key": "testing",
            "secret": dg.EnvVar("MY_STORE_SECRET"),
            "endpoint_url": s3_url,
        },
    )
    result = materialize(export)
    assert metadata_of(result)["dagster/uri"].value == f"{bucket}/export"
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert "store-secret-1" not in str(result.all_events)
