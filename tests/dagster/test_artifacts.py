"""Artifacts: the asset, the sensor, and the IO manager between two assets."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_resources import (
    WandbArtifactIOManager,
    build_wandb_artifact_sensor,
    wandb_artifact_asset,
    wandb_artifact_spec,
)

pytestmark = pytest.mark.dagster


def metadata_of(result):
    (event,) = result.get_asset_materialization_events()
    return event.materialization.metadata


@pytest.fixture
def content(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("a\n1\n")
    return tmp_path / "data"


def test_a_folder_is_a_version_and_the_same_content_the_same_one(project, wandb, content, materialize):
    asset = wandb_artifact_asset(
        name="rows", artifact_type="dataset", content=content, project=project, aliases=["nightly"]
    )
    first, again = materialize(asset), materialize(asset)
    assert metadata_of(first)["version"].value == metadata_of(again)["version"].value == "v0"
    assert [metadata_of(one)["created"].value for one in (first, again)] == [True, False]
    found = wandb.artifact_status(artifact=f"{project}/rows:nightly")
    assert metadata_of(first)["wandb/artifact"].value == found.path
    versions = [
        event.materialization.tags["dagster/data_version"]
        for one in (first, again)
        for event in one.get_asset_materialization_events()
    ]
    assert versions == [found.digest, found.digest]
    (content / "rows.csv").write_text("a\n2\n")
    assert metadata_of(materialize(asset))["version"].value == "v1"
    runs = wandb.list_runs(project=project)
    assert len(runs) == 3
    assert {run.state for run in runs} == {"finished"}


def test_each_partition_has_a_collection_of_its_own(project, wandb, tmp_path, materialize):
    for key in ("a", "b"):
        (tmp_path / key).mkdir()
        (tmp_path / key / "x.txt").write_text(key)
    asset = wandb_artifact_asset(
        name="parts",
        artifact_type="dataset",
        content=tmp_path,
        project=project,
        partitions_def=dg.StaticPartitionsDefinition(["a", "b"]),
    )
    for key in ("a", "b"):
        assert metadata_of(materialize(asset, partition_key=key))["version"].value == "v0"
    done = wandb.download_artifact(artifact=f"{project}/parts.b", to=tmp_path / "out")
    assert Path(done.folder, "x.txt").read_text() == "b"


def test_content_that_is_not_there_fails_without_retries(project, materialize, tmp_path):
    asset = wandb_artifact_asset(
        name="rows", artifact_type="dataset", content=lambda _key: tmp_path / "nowhere", project=project
    )
    result = materialize(asset, raise_on_error=False)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "no file or folder" in failure.user_failure_data.description
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


@pytest.fixture
def tick(project, wandb, instance):
    @dg.op
    def nothing(): ...

    @dg.job
    def follow_up():
        nothing()

    def evaluate(cursor=None, **options):
        spec = wandb_artifact_spec(name="rows", project=project, artifact_type="dataset")
        sensor = build_wandb_artifact_sensor(name="rows", project=project, target=follow_up, **options)
        defs = dg.Definitions(assets=[spec], jobs=[follow_up], sensors=[sensor], resources={"wandb": wandb})
        with dg.build_sensor_context(
            instance_ref=instance.get_ref(), cursor=cursor, definitions=defs, resources={"wandb": wandb}
        ) as context:
            return sensor.evaluate_tick(context)

    return evaluate


@pytest.fixture
def log(project, wandb, content):
    def write(text):
        (content / "rows.csv").write_text(text)
        run = f"{wandb.resolve_entity()}/{project}/maker"
        return wandb.log_artifact(run=run, name="rows", type="dataset", content=content, make_run=True)

    return write


def test_each_new_version_is_recorded_and_requested_once(tick, log):
    nothing = tick()
    assert "No rows yet" in nothing.skip_message
    first, second = log("1"), log("2")
    outcome = tick(nothing.cursor)
    assert [request.run_key for request in outcome.run_requests] == [first.path, second.path]
    assert [event.metadata["version"].value for event in outcome.asset_events] == ["v0", "v1"]
    assert outcome.asset_events[1].tags["dagster/data_version"] == second.digest
    assert not tick(outcome.cursor).run_requests
    third = log("3")
    assert [request.run_key for request in tick(outcome.cursor).run_requests] == [third.path]


def test_what_is_there_at_the_first_tick_is_told_only_when_asked_for(tick, log):
    for text in ("1", "2", "3"):
        log(text)
    first = tick()
    assert not first.run_requests
    assert not tick(first.cursor).run_requests
    told, cursor = [], None
    for _ in range(3):
        outcome = tick(cursor, include_existing=True, max_versions_per_tick=2)
        cursor = outcome.cursor
        told.append([event.metadata["version"].value for event in outcome.asset_events or []])
    assert told == [["v0", "v1"], ["v2"], []]


@pytest.fixture
def manager(wandb, project, tmp_path):
    return WandbArtifactIOManager(wandb=wandb, project=project, base_dir=str(tmp_path / "below"))


def test_one_asset_hands_a_folder_to_the_next(project, wandb, manager, tmp_path):
    (tmp_path / "out").mkdir()
    seen = {}

    @dg.asset(io_manager_key="artifacts", key_prefix=["team", "one"])
    def model() -> Path:
        return tmp_path / "out"

    @dg.asset
    def report(model: Path) -> None:
        seen["text"] = (model / "w.bin").read_text()
        seen["folder"] = model

    @dg.asset(ins={"model": dg.AssetIn(["team", "one", "model"])})
    def described(model: Path) -> None:
        seen["text"] = (model / "w.bin").read_text()
        seen["folder"] = model

    assert report is not None
    for text in ("first", "second"):
        (tmp_path / "out" / "w.bin").write_text(text)
        result = dg.materialize([model, described], resources={"wandb": wandb, "artifacts": manager})
        assert result.success
        assert seen["text"] == text
    assert seen["folder"].parts[-2:] == ("team.one.model", "v1")
    (used,) = [
        run
        for run in wandb.api.runs(project)
        for one in run.used_artifacts()
        if one.source_name.endswith(":v1")
    ]
    assert used.state == "finished"
    # A run that makes no new model gets the latest one.
    alone = dg.materialize(
        [model, described], selection=[described], resources={"wandb": wandb, "artifacts": manager}
    )
    assert alone.success
    assert seen["text"] == "second"


def test_keys_that_end_alike_do_not_meet(project, wandb, manager, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")

    @dg.asset(io_manager_key="artifacts", key=["team", "model"])
    def one() -> Path:
        return tmp_path / "a.txt"

    @dg.asset(io_manager_key="artifacts", key=["team", "dataset"])
    def two() -> Path:
        return tmp_path / "b.txt"

    dg.materialize([one, two], resources={"wandb": wandb, "artifacts": manager})
    for name, file in (("team.model", "a.txt"), ("team.dataset", "b.txt")):
        assert list(wandb.api.artifact(f"{project}/{name}").manifest.entries) == [file]


def test_an_asset_that_returns_no_path_is_told_so(wandb, manager):
    @dg.asset(io_manager_key="artifacts")
    def frame() -> list:
        return [1, 2]

    result = dg.materialize([frame], resources={"wandb": wandb, "artifacts": manager}, raise_on_error=False)
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "keeps folders" in str(failure)
