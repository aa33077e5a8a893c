"""TensorBoard, queue and snapshot assets, and the snapshot's schedule, against a real server."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from dagster_resources import (
    WandbSnapshotConfig,
    tensorboard_run_id,
    wandb_run_queue_asset,
    wandb_snapshot_asset,
    wandb_snapshot_schedule,
    wandb_tensorboard_asset,
)

pytestmark = pytest.mark.dagster


def metadata_of(result):
    (event,) = result.get_asset_materialization_events()
    return event.materialization.metadata


@pytest.fixture
def write_scalars():
    """Write a tfevents file with `loss` at steps `start`..; gives back what was written."""
    from tensorboardX import SummaryWriter

    def write(folder, count, start=0):
        values = {step: 1 / (step + 2) for step in range(start, start + count)}
        with SummaryWriter(str(folder), filename_suffix=f".{start}") as writer:
            for step, value in values.items():
                writer.add_scalar("loss", value, step)
        return values

    return write


def logged(wandb, path, key):
    return [row[key] for row in wandb.api.run(path).scan_history(keys=[key])]


def test_a_folder_of_tfevents_becomes_a_run_with_its_values(
    project, wandb, materialize, tmp_path, write_scalars
):
    values = write_scalars(tmp_path / "train", 12)
    asset = wandb_tensorboard_asset(
        name="training", root_dir=tmp_path, project=project, config={"lr": 0.1}, tags=["x"], group="g"
    )
    metadata = metadata_of(materialize(asset))
    run = wandb.api.run(f"{project}/{tensorboard_run_id(asset.key)}")
    assert metadata["wandb/run_id"].value == run.id
    assert run.state == "finished"
    assert run.name == "training"
    assert run.config == {"lr": 0.1}
    assert run.tags == ["x"]
    assert metadata["history_rows"].value == len(values)
    assert metadata["scalars"].value == len(values)
    assert logged(wandb, "/".join(run.path), "train/loss") == pytest.approx(list(values.values()), rel=1e-6)


def test_materializing_again_sends_only_what_is_new(project, wandb, materialize, tmp_path, write_scalars):
    first = write_scalars(tmp_path / "train", 6)
    asset = wandb_tensorboard_asset(name="training", root_dir=tmp_path, project=project)
    assert metadata_of(materialize(asset))["rows_sent"].value == len(first)
    assert metadata_of(materialize(asset))["rows_sent"].value == 0
    run = wandb.api.run(f"{project}/{tensorboard_run_id(asset.key)}")
    assert run.history_line_count == len(first)
    assert run.state == "finished"


def test_each_partition_is_a_run_of_its_own(project, wandb, materialize, tmp_path, write_scalars):
    keys = ["wide", "deep"]
    written = {key: write_scalars(tmp_path / key / "train", 3 + n) for n, key in enumerate(keys)}
    asset = wandb_tensorboard_asset(
        name="trainings",
        root_dir=tmp_path,
        project=project,
        partitions_def=dg.StaticPartitionsDefinition(keys),
        config=lambda key: {"kind": key},
    )
    for key in keys:
        materialize(asset, partition_key=key)
    for key in keys:
        run = wandb.api.run(f"{project}/{tensorboard_run_id(asset.key, key)}")
        assert (run.name, run.config) == (key, {"kind": key})
        assert run.history_line_count == len(written[key])


def test_a_missing_folder_fails_without_retries(project, materialize, tmp_path):
    asset = wandb_tensorboard_asset(name="training", root_dir=tmp_path / "nowhere", project=project)
    result = materialize(asset, raise_on_error=False)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "is not a folder" in failure.user_failure_data.description
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_one_run_id_cannot_serve_many_partitions(tmp_path):
    with pytest.raises(dg.DagsterInvalidDefinitionError):
        wandb_tensorboard_asset(
            name="t", root_dir=tmp_path, project="p", run_id="x",
            partitions_def=dg.StaticPartitionsDefinition(["a"]),
        )  # fmt: skip


def test_a_queue_is_created_left_alone_and_changed(project, materialize):
    def queue(**config):
        return wandb_run_queue_asset(
            name=f"queue-{project}", resource_type="local-container", resource_config=config
        )

    actions = [metadata_of(materialize(queue(cpus=n)))["action"].value for n in (1, 1, 2)]
    assert actions == ["created", "unchanged", "changed"]
    changed = metadata_of(materialize(queue(cpus=3)))
    assert (
        changed["changes"].value["resource_config"]["before"]
        != changed["changes"].value["resource_config"]["after"]
    )


@pytest.fixture
def snapshot(project, tmp_path):
    return wandb_snapshot_asset(
        project=project, destination=tmp_path, metrics={"loss": "min", "accuracy": "max"}
    )


def test_a_snapshot_shows_the_best_runs_as_a_table(snapshot, write_run, materialize, tmp_path):
    write_run("worse", [{"loss": 0.9, "accuracy": 0.5}])
    write_run("better", [{"loss": 0.1, "accuracy": 0.7}])
    write_run("sharper", [{"loss": 0.4, "accuracy": 0.9}], finish=False)
    metadata = metadata_of(materialize(snapshot))
    records = [record.data for record in metadata["best_runs"].records]
    assert [(record["metric"], record["best"], record["run"]) for record in records] == [
        ("loss", "0.1", "name of better"),
        ("accuracy", "0.9", "name of sharper"),
    ]
    assert metadata["best/loss"].value == 0.1
    assert metadata["best/accuracy"].value == 0.9
    assert metadata["runs"].value == metadata["dagster/row_count"].value == 3
    assert (metadata["runs_finished"].value, metadata["runs_running"].value) == (2, 1)
    assert metadata["chart"].value.startswith("![")
    assert len(metadata["chart"].value) <= 20_000
    assert len(list(tmp_path.glob("*.parquet"))) == 1


def test_the_next_snapshot_says_what_changed(snapshot, write_run, materialize):
    write_run("run-1", [{"loss": 0.5}])
    at = [dg.RunConfig(ops={snapshot.op.name: WandbSnapshotConfig(at=f"2026-01-0{day}")}) for day in (1, 2)]
    materialize(snapshot, run_config=at[0].to_config_dict())
    write_run("run-2", [{"loss": 0.2}])
    metadata = metadata_of(materialize(snapshot, run_config=at[1].to_config_dict()))
    assert metadata["delta/loss"].value == pytest.approx(-0.3)
    assert metadata["new_runs"].value == 1
    assert metadata["previous"].value


def test_a_metric_may_have_several_goals_and_the_snapshot_a_page(project, write_run, materialize, tmp_path):
    snapshot = wandb_snapshot_asset(
        project=project,
        destination=tmp_path,
        metrics={"loss": ["min", "max", "mean"]},
        report=tmp_path / "page.html",
    )
    at = [dg.RunConfig(ops={snapshot.op.name: WandbSnapshotConfig(at=f"2026-01-0{day}")}) for day in (1, 2)]
    write_run("run-1", [{"loss": 0.5}])
    first = metadata_of(materialize(snapshot, run_config=at[0].to_config_dict()))
    assert "changes" not in first
    write_run("run-1", [{"loss": 0.25, "_step": 1}])
    write_run("run-2", [{"loss": 1.0}])
    metadata = metadata_of(materialize(snapshot, run_config=at[1].to_config_dict()))
    assert (metadata["best/loss.min"].value, metadata["best/loss.max"].value) == (0.25, 1.0)
    means = [record.data for record in metadata["changes"].records if record.data["metric"] == "loss (mean)"]
    assert [(row["runs"], row["changed"], row["by"]) for row in means] == [(2, 1, "-0.125")]
    assert metadata["report"].value == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!")


def test_the_same_scheduled_time_writes_the_same_file(snapshot, write_run, materialize, tmp_path):
    """A late tick and a repeated one stand for the time they were scheduled for."""
    write_run("run-1", [{"loss": 0.5}])
    schedule = wandb_snapshot_schedule(snapshot, cron_schedule="0 6 * * *")
    defs = dg.Definitions(assets=[snapshot], schedules=[schedule], resources={"wandb": object()})
    due = datetime(2026, 3, 1, 6, tzinfo=UTC)
    for _ in range(2):
        with dg.build_schedule_context(
            scheduled_execution_time=due, repository_def=defs.get_repository_def()
        ) as context:
            (request,) = schedule.evaluate_tick(context).run_requests
        metadata = metadata_of(materialize(snapshot, run_config=dict(request.run_config)))
        assert datetime.fromisoformat(metadata["at"].value) == due
    assert len(list(tmp_path.glob("*.parquet"))) == 1


def test_an_empty_project_has_a_snapshot_of_no_runs(snapshot, wandb, project, materialize):
    wandb.api.create_project(project, wandb.resolve_entity())
    metadata = metadata_of(materialize(snapshot))
    assert metadata["runs"].value == 0
    assert "best_runs" not in metadata


def test_tfevents_in_a_store_become_runs(project, wandb, materialize, tmp_path, write_scalars, bucket):
    """A folder per partition below a URL, synced again when it has grown."""
    import fsspec

    store = fsspec.filesystem("s3")
    asset = wandb_tensorboard_asset(
        name="trainings",
        root_dir=f"{bucket}/trainings",
        project=project,
        partitions_def=dg.StaticPartitionsDefinition(["wide", "deep"]),
    )
    written = {}
    for rounds, sent in ((1, 4), (2, 3)):
        for key in ("wide", "deep"):
            start = 0 if rounds == 1 else 4
            written.setdefault(key, {}).update(write_scalars(tmp_path / key / "train", sent, start=start))
            store.put(str(tmp_path / key), f"{bucket}/trainings/{key}", recursive=True)
            metadata = metadata_of(materialize(asset, partition_key=key))
            assert (metadata["rows_sent"].value, metadata["history_rows"].value) == (
                sent,
                4 + sent * (rounds - 1),
            )
            store.rm(f"{bucket}/trainings/{key}", recursive=True)
    for key, values in written.items():
        path = f"{wandb.resolve_entity()}/{project}/{tensorboard_run_id(asset.key, key)}"
        assert logged(wandb, path, "train/loss") == pytest.approx(list(values.values()), rel=1e-6)


def test_a_store_without_the_folder_fails_without_retries(project, materialize, bucket):
    asset = wandb_tensorboard_asset(name="training", root_dir=f"{bucket}/nothing", project=project)
    result = materialize(asset, raise_on_error=False)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "nothing" in failure.user_failure_data.description
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
